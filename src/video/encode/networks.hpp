#pragma once

#include <functional>

#include "video/encode/encode.hpp"

namespace cairn::video {

struct Overfitted {
  Restoration restoration;
  AttachmentSizes sizes;
  std::vector<std::byte> attachment;
  double psnr = 0;
  double train_seconds = 0;
};

// Trains what the options ask for (one network, K chunks, JSTDO, chroma) for a small video and measures it.
Overfitted overfit(Clip& clip, const SmallVideo& small, const EncodeOptions& options,
                   const EncodeProgress& progress, ThreadPool& pool);

}  // namespace cairn::video
