#include "offload/onnx/kept_graph.hpp"

#include <fmt/format.h>

#include <cstring>

namespace cairn::offload::onnx {
namespace {

constexpr uint32_t kTag = 2;  // the second form of such files: factors, then the model

}  // namespace

std::string graph_identity(const Int8Graph& graph, const std::string& fingerprint, WeightBits bits) {
  std::string shape;
  for (const Int8Linear& linear : graph.linears) shape += fmt::format(" {}", linear.rows);
  return fmt::format("cairn onnx graph 2\n{}{:016x}\n{} tokens, {} by{}\n{} bits\n", fingerprint, graph.key,
                     graph.tokens, graph.linears.front().k, shape, static_cast<int>(bits));
}

std::optional<KeptGraph> read_kept(const std::string& path, const std::string& identity,
                                   const Int8Graph& graph, std::string* why) {
  std::optional<SealedFile> sealed = open_sealed(path, identity, why);
  if (!sealed) return {};
  KeptGraph kept{std::move(*sealed), {}, {}};
  std::span<const std::byte> content = kept.file.content();
  for (const Int8Linear& linear : graph.linears) {
    const size_t bytes = linear.rows * sizeof(float);
    if (kept.file.tag != kTag || content.size() < bytes) {
      *why = fmt::format("{}: is not a compiled graph of this version", path);
      return {};
    }
    OutputScale& scale = kept.scales.emplace_back();
    scale.factors.resize(linear.rows);
    std::memcpy(scale.factors.data(), content.data(), bytes);
    content = content.subspan(bytes);
  }
  kept.model = content;
  return kept;
}

void write_kept(const std::string& path, const std::string& identity, const std::vector<OutputScale>& scales,
                std::span<const std::byte> model) {
  write_sealed(path, identity, kTag, [&](const auto& put) {
    for (const OutputScale& scale : scales) put(std::as_bytes(std::span(scale.factors)));
    put(model);
  });
}

}  // namespace cairn::offload::onnx
