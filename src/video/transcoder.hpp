// Tracks that Matroska cannot hold as they are, made into what it can. Included by the files that call libav
// only.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "video/libav.hpp"

namespace cairn::video {

class Transcoder {
 public:
  using Emit = std::function<void(AVPacket&)>;  // stamps in the track's time base

  virtual ~Transcoder() = default;
  virtual std::string codec() const = 0;             // what comes of it, libav's name
  virtual void describe(AVStream& track) const = 0;  // codecpar and time base
  virtual AVRational time_base() const = 0;
  // What cannot be decoded is passed over and counted.
  virtual void put(const AVPacket& packet, const Emit& emit) = 0;
  virtual void finish(const Emit& emit) = 0;
  uint64_t failures() const { return failures_; }

 protected:
  uint64_t failures_ = 0;
};

// Null where libav lacks a decoder, or an encoder for it. PCM stays PCM, other sound becomes Opus.
std::unique_ptr<Transcoder> audio_transcoder(const AVStream& stream);
std::unique_ptr<Transcoder> opus_transcoder(const AVStream& stream);  // PCM too
// SubRip; null for pictures and what has no decoder.
std::unique_ptr<Transcoder> subtitle_transcoder(const AVStream& stream);
std::unique_ptr<Transcoder> webvtt_transcoder(const AVStream& stream);  // cues' texts

}  // namespace cairn::video
