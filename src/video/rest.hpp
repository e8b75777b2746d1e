// What a file holds beside its pictures, on its way into Matroska: sound, subtitles, other videos, chapters,
// fonts, covers, tags. Included by the files that call libav only.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "video/container.hpp"
#include "video/muxer.hpp"
#include "video/source.hpp"
#include "video/transcoder.hpp"

namespace cairn::video {

// Tracks are copied where Matroska holds them, otherwise made into what it holds, otherwise left out; a line
// tells each that is not copied.
class Rest {
 public:
  // Errors: Source's.
  Rest(const std::string& from, const Keep& keep);

  // Declares every track in the file's order, chapters and tags; returns that of the pictures, whose codec is
  // still to be told.
  AVStream& declare(Muxer& muxer);
  // Copies what begins up to so many seconds; INFINITY: all of it.
  void copy(Muxer& muxer, double until);

  const std::vector<std::string>& notes() const { return notes_; }

 private:
  struct Track {
    int to = -1;
    bool began = false;
    std::unique_ptr<Transcoder> transcoder;
  };
  enum class Fate : uint8_t { leave, video, copy, transcode, attach };

  Fate plan(int index, const Keep& keep);
  void attach(Muxer& muxer, const AVStream& stream) const;
  void copy_chapters(AVFormatContext& to) const;
  void write(Muxer& muxer, AVPacket& packet);
  void tell_failures();

  std::string name_;
  Keep keep_;
  Source source_;
  std::vector<Fate> fates_;
  std::vector<Track> tracks_;
  Libav<AVPacket> packet_;
  std::vector<std::string> notes_;
  bool waits_ = false, ended_ = false;  // whether packet_ holds the next one
};

}  // namespace cairn::video
