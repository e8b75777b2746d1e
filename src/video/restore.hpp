// Small frames to restored ones: the networks that a Restoration names, run on whole frames by several
// threads. The result equals each network run on the whole frame, patch by patch: there are no seams.
#pragma once

#include <cstddef>
#include <memory>
#include <string>

#include "kernels/kernels.hpp"
#include "video/attachment.hpp"
#include "video/frame.hpp"

namespace cairn::video {

struct RestoreOptions {
  size_t threads = 0;  // 0: as many as usable processors
  kernels::Target target = kernels::default_target();
  bool floats = false;  // quantised networks too run in float32, with activations that are not quantised
};

class Restorer {
 public:
  // small: the small video's format, as decoded. what: names the file in errors. Error format where the
  // restoration does not fit it.
  Restorer(const Restoration& restoration, const Format& small, const std::string& what,
           const RestoreOptions& options = {});
  ~Restorer();
  Restorer(Restorer&&) noexcept;
  Restorer& operator=(Restorer&&) noexcept;

  const Format& format() const noexcept;  // of the restored frames
  // Whether any network looks at the frame before, or after.
  bool needs_before() const noexcept;
  bool needs_after() const noexcept;

  // Frame number `index` of the video. before, after: its neighbours; null at the ends of the video (or where
  // no network needs them). pts, duration and key are those of `small`.
  void restore(uint64_t index, const Frame* before, const Frame& small, const Frame* after, Frame& out);

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace cairn::video
