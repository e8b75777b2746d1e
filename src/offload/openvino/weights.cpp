#include "offload/openvino/weights.hpp"

#include <algorithm>
#include <utility>

#include "base/error.hpp"

namespace cairn::offload::openvino {
namespace {

constexpr uint32_t kRowsAtOnce = 256;

std::string identity_of(const Int8Graph& graph, const GraphShape& shape) {
  std::string text = fmt::format("cairn int8 weights 1\n{:016x}\nk {}\n", graph.key, shape.k);
  for (const Int8Linear& linear : graph.linears) text += fmt::format("{} {}\n", linear.name, linear.rows);
  return text;
}

}  // namespace

Weights::Weights(const Int8Graph& graph, const GraphShape& shape) : layout_(shape), memory_(layout_.bytes) {
  std::byte* block = memory_.as<std::byte>();
  WeightLayout::put_constants(block);
  for (size_t i = 0; i < graph.linears.size(); ++i) {
    const Int8Linear& linear = graph.linears[i];
    auto* values = reinterpret_cast<int8_t*>(block + layout_.linears[i].values);
    auto* scales = reinterpret_cast<float*>(block + layout_.linears[i].scales);
    for (uint32_t begin = 0; begin < linear.rows; begin += kRowsAtOnce) {
      const uint32_t count = std::min(kRowsAtOnce, linear.rows - begin);
      linear.fill(begin, count, values + size_t{begin} * shape.k, scales + begin);
    }
  }
}

std::shared_ptr<const Weights> Weights::from_cache(const std::string& folder, const Int8Graph& graph,
                                                   const GraphShape& shape, bool* cached,
                                                   const std::function<void(const std::string&)>& notice) {
  const std::string path = fmt::format("{}/{:016x}.int8", folder, graph.key);
  const std::string identity = identity_of(graph, shape);
  const WeightLayout layout(shape);
  const auto open = [&](std::string* why) -> std::shared_ptr<const Weights> {
    std::optional<SealedFile> file = open_sealed(path, identity, why);
    if (!file || file->size != layout.bytes) return nullptr;
    return std::shared_ptr<const Weights>(new Weights(shape, std::move(*file)));
  };

  std::string why;
  *cached = true;
  if (auto weights = open(&why)) return weights;
  if (!why.empty() && notice) notice(why + "; weights are quantised anew");
  *cached = false;
  auto made = std::make_shared<const Weights>(graph, shape);
  try {
    write_sealed(path, identity, 0, [&](const auto& put) { put({made->block(), made->layout().bytes}); });
  } catch (const Error& error) {
    if (notice) notice(fmt::format("{}; the next start will not be faster", error.what()));
    return made;
  }
  auto mapped = open(&why);
  return mapped ? mapped : made;
}

}  // namespace cairn::offload::openvino
