// How a clip is to be encoded, found on a part of it.
#pragma once

#include "video/encode/networks.hpp"

namespace cairn::video {

struct EncodingPlan {
  Choice choice;        // mode, crf and filter, as measured on the sample
  Overfitted networks;  // trained on it; none in the plain mode
  double slope = 0;     // dB that the codec gives for e times the bytes
};

// All that encode() does with a whole clip, but for networks for scenes and a file. Errors: encode()'s.
EncodingPlan plan_encoding(Clip sample, const EncodeOptions& options, const EncodeProgress& progress,
                           ThreadPool& pool);

}  // namespace cairn::video
