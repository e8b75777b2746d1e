// A sound track on its way into segments. Included by the files that call libav only.
#pragma once

extern "C" {
#include <libavcodec/bsf.h>
}

#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "video/publish/fragments.hpp"
#include "video/publish/published.hpp"
#include "video/transcoder.hpp"

namespace cairn::video {

// AAC and Opus as they are (AAC's headers of broadcasts and streams become MP4's), others as Opus.
class SoundTrack {
 public:
  using Write = std::function<void(const std::string& name, std::span<const std::byte> bytes)>;

  // what: names the track in errors; folder: of init.mp4, 1.m4s …, which `write` gets; origin: seconds of the
  // stamps at which time 0 is. Errors: out_of_memory; unsupported: sound without the header it needs.
  SoundTrack(const AVStream& stream, const std::string& what, std::string folder, double origin, Write write);

  bool there() const { return mp4_ != nullptr || filter_ != nullptr; }  // false: libav cannot make it Opus
  bool transcoded() const { return transcoder_ != nullptr; }
  uint64_t failures() const;  // packets that could not be decoded

  // Stamps in the stream's time base. Errors: io; `write`'s.
  void put(const AVPacket& packet);
  // A segment begins with the first packet from there on: seconds from the origin, increasing.
  void cut_at(double seconds) { cuts_.push_back(seconds); }
  bool is_cut() const { return next_cut_ == cuts_.size(); }  // at all of these
  // One ends with the last packet but one, if there is none yet.
  void cut_first();
  void finish();
  const PublishedTrack& track() const { return track_; }

 private:
  struct FreeFilter {
    void operator()(AVBSFContext* p) const noexcept { av_bsf_free(&p); }
  };
  double seconds(int64_t ticks) const { return static_cast<double>(ticks) * av_q2d(base_); }
  void open();
  void filter(const AVPacket& packet);
  void add(const AVPacket& packet);
  void write(int64_t until);
  void cut(int64_t end);

  std::string what_;
  double origin_;
  Write write_;
  PublishedTrack track_;
  std::unique_ptr<AVCodecParameters, ParametersDeleter> parameters_;
  AVRational base_{};
  std::unique_ptr<Transcoder> transcoder_;
  std::unique_ptr<AVBSFContext, FreeFilter> filter_;
  uint64_t refused_ = 0;  // by the filter
  Libav<AVPacket> packet_;
  std::unique_ptr<Fragmenter> mp4_;
  CodedPacket waiting_;
  bool waits_ = false, pending_ = false;
  int64_t begin_ = 0, last_ticks_ = 0;
  std::vector<double> cuts_;
  size_t next_cut_ = 0;
};

// "FILE: track 1 (audio aac)"
std::string name_of_sound(const std::string& file, const AVStream& stream);
// That it becomes another codec's, or is left out; empty: it stays as it is.
std::string change_of(const SoundTrack& sound, const std::string& what);
// One track is what is chosen where nobody chooses: the first that says so, or the first.
void choose_usual(std::vector<PublishedTrack>& tracks);

}  // namespace cairn::video
