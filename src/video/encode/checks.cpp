#include "video/encode/checks.hpp"

#include <algorithm>

#include "base/output_path.hpp"

namespace cairn::video {
uint32_t scale_of(Mode mode) {
  return mode <= Mode::x1 ? 1 : static_cast<uint32_t>(mode) - static_cast<uint32_t>(Mode::x1) + 1;
}

double usual_crf(Codec codec) {
  return codec == Codec::x264 ? 24 : codec == Codec::x265 ? 28 : 35;
}

bool grey_as_420(const EncodeOptions& options) {
  if (!options.coded.empty()) return Reader(options.coded).info().format.chroma != Chroma::none;
  return options.codec != Codec::x265;
}

void check_outputs(const std::string& input, const std::string& output, const EncodeOptions& options) {
  const std::vector<std::string> inputs = {input, options.coded};
  check_output(output, inputs);
  check_output(options.checkpoint, inputs, {&output, 1});
}

void check_coder(const VideoInfo& info, const EncodeOptions& options) {
  if (!options.coded.empty()) return;
  const double crf = std::min(options.crf.value_or(usual_crf(options.codec)), largest_crf(options.codec));
  const Coder coder(small_format(info.format, scale_of(options.mode)), info,
                    {options.codec, crf, options.preset, 0});
}

}  // namespace cairn::video
