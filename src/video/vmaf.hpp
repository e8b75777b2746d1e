// VMAF (Netflix), by the library libvmaf where one is installed: opened at run time.
#pragma once

#include <memory>
#include <string>

#include "video/frame.hpp"

namespace cairn::video {

class Vmaf {
 public:
  // CAIRN_VMAF, or libvmaf.so.3, libvmaf.so.1, libvmaf.so where the system's loader finds them; null, and
  // `why`, where there is none, it lacks a function or the model vmaf_v0.6.1, or the frames are grey.
  static std::unique_ptr<Vmaf> open(const Format& format, unsigned threads, std::string& why);
  ~Vmaf();
  Vmaf(const Vmaf&) = delete;
  Vmaf& operator=(const Vmaf&) = delete;

  // Errors: unsupported, with the library's number, here and in score().
  void add(const Frame& original, const Frame& other);
  double score();  // the mean over all frames added; call it once, at the end

 private:
  Vmaf();
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cairn::video
