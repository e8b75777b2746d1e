#include "offload/openvino/weights.hpp"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/error.hpp"
#include "base/thread_pool.hpp"

namespace cairn::offload::openvino {
namespace {

constexpr uint32_t kRowsAtOnce = 256;
constexpr uint32_t kStoredRowsAtOnce = 64;

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

Weights::Weights(const GraphShape& shape, std::shared_ptr<Buffer> shared)
    : layout_(shape), shared_(std::move(shared)) {
  if (shared_->bytes() < layout_.bytes) *shared_ = Buffer(layout_.bytes);
}

void Weights::take(const Int8Graph& graph, ThreadPool* pool) {
  struct Part {
    size_t linear;
    uint32_t begin;
  };
  std::vector<Part> parts;
  for (size_t i = 0; i < graph.linears.size(); ++i) {
    for (uint32_t row = 0; row < graph.linears[i].order.size(); row += kStoredRowsAtOnce)
      parts.push_back({i, row});
  }
  const auto take_part = [&](size_t, size_t index) {
    const Int8Linear& linear = graph.linears[parts[index].linear];
    const auto order = linear.order.subspan(parts[index].begin);
    const auto count = static_cast<uint32_t>(std::min<size_t>(order.size(), kStoredRowsAtOnce));
    static thread_local std::vector<int8_t> rows;
    if (rows.size() < size_t{count} * linear.k) rows.resize(size_t{count} * linear.k);
    float row_scales[kStoredRowsAtOnce];
    linear.fill_stored(parts[index].begin, count, rows.data(), row_scales);
    std::byte* block = shared_->as<std::byte>();
    auto* values = reinterpret_cast<int8_t*>(block + layout_.linears[parts[index].linear].values);
    auto* scales = reinterpret_cast<float*>(block + layout_.linears[parts[index].linear].scales);
    for (uint32_t r = 0; r < count; ++r) {
      if (order[r] == UINT32_MAX) continue;
      std::memcpy(values + size_t{order[r]} * linear.k, rows.data() + size_t{r} * linear.k, linear.k);
      scales[order[r]] = row_scales[r];
    }
  };
  if (pool != nullptr) return pool->run(parts.size(), take_part);
  for (size_t i = 0; i < parts.size(); ++i) take_part(0, i);
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
