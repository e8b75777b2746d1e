#include "offload/onnx/layer_program.hpp"

#define XXH_INLINE_ALL
#include <fmt/format.h>
#include <xxhash.h>

namespace cairn::offload::onnx {

std::string layer_identity(const LayerGraph& layer, const std::string& fingerprint) {
  return fmt::format("cairn onnx layer 3\n{}{:016x}\n{} tokens, {} before, {}\n", fingerprint, layer.key,
                     layer.tokens, layer.past, name(layer.form));
}

uint64_t layer_key(const LayerGraph& layer) {
  const uint64_t fields[] = {layer.key, layer.past, static_cast<uint64_t>(layer.form)};
  return XXH3_64bits(fields, sizeof(fields));
}

std::pair<uint64_t, uint64_t> layer_crossing(const LayerGraph& layer) {
  const uint64_t kv = uint64_t{layer.kv_heads()} * layer.head_size(), tokens = layer.tokens,
                 past = layer.past;
  const uint64_t turns = layer.rope() == nullptr ? 0 : 2 * tokens * layer.head_size();
  return {sizeof(uint16_t) * (tokens * layer.width() + 2 * past * kv + tokens * (past + tokens) + turns),
          sizeof(uint16_t) * tokens * (layer.width() + 2 * kv)};
}

LayerProgram::LayerProgram(const Device& device, const LayerGraph& layer, Handle<Session> session)
    : device_(device),
      name_(layer.name),
      hidden_{layer.tokens, layer.width()},
      past_{layer.kv_heads(), layer.past, layer.head_size()},
      mask_{layer.tokens, layer.past + layer.tokens},
      turns_{layer.tokens, layer.head_size()},
      new_{layer.tokens, layer.kv_heads() * layer.head_size()},
      rope_(layer.rope() != nullptr),
      session_(std::move(session)) {}

void LayerProgram::run(const LayerValues& values) {
  const Library& library = *device_.library;
  std::vector<Handle<Value>> held;
  std::vector<const char*> names;
  std::vector<const Value*> inputs;
  const auto tensor = [&](const std::vector<int64_t>& dims, const uint16_t* data) {
    size_t bytes = sizeof(uint16_t);
    for (const int64_t dim : dims) bytes *= static_cast<size_t>(dim);
    held.push_back(library.tensor(ElementType::f16, dims, const_cast<uint16_t*>(data), bytes));
    return held.back().get();
  };
  const auto input = [&](const char* input_name, const std::vector<int64_t>& dims, const uint16_t* data) {
    names.push_back(input_name);
    inputs.push_back(tensor(dims, data));
  };
  input("hidden", hidden_, values.hidden);
  if (past_[1] > 0) {
    input("keys", past_, values.keys);
    input("values", past_, values.values);
  }
  input("mask", mask_, values.mask);
  if (rope_) {
    input("cosines", turns_, values.cosines);
    input("sines", turns_, values.sines);
  }
  const char* const output_names[] = {"out", "new_keys", "new_values"};
  Value* outputs[] = {tensor(hidden_, values.out), tensor(new_, values.new_keys),
                      tensor(new_, values.new_values)};
  library.check(library.api().Run(session_.get(), nullptr, names.data(), inputs.data(), inputs.size(),
                                  output_names, std::size(outputs), outputs),
                ErrorCode::io, fmt::format("{}, layer {} failed", device_.name, name_));
}

}  // namespace cairn::offload::onnx
