// lfm2: LFM2 and LFM2.5, dense: short convolutions between two gates, and attention in some layers. Source:
// LFM2 Technical Report, arXiv 2511.23404, section 3.
#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "graph/families/families.hpp"
#include "graph/metadata.hpp"
#include "graph/ops.hpp"

namespace cairn::graph {
namespace {

void read(const gguf::File& file, HyperParameters& p) {
  const Metadata in(file);
  p.qk_norm = true;
  p.conv_window = in.size("shortconv.l_cache", kMostConvWindow);
  p.conv_channels = p.embedding;
  if (!file.boolean(in.key("attention.causal"), true)) {
    fail(ErrorCode::unsupported,
         "{}: {} is false: attention and convolutions that see what follows are not supported", in.path(),
         in.key("attention.causal"));
  }
}

Model build_lfm2(const HyperParameters& p) {
  // llama.cpp's name of the norm behind the last layer is that of one behind the embedding.
  return build_sequential(p, {.output_norm = "token_embd_norm.weight", .recurrent = add_short_convolution});
}

}  // namespace

const Family& lfm2_family() {
  static constexpr Family family{
      .architecture = "lfm2", .read = read, .build = build_lfm2, .recurrent = true};
  return family;
}

}  // namespace cairn::graph
