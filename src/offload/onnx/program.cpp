#include "offload/onnx/program.hpp"

#include <algorithm>
#include <cstring>

namespace cairn::offload::onnx {
namespace {

size_t bytes_of(Form form) {
  return form == Form::steps ? sizeof(uint16_t) : sizeof(float);  // integers: of 32 bits
}

ElementType type_of(Form form) {
  return form == Form::steps      ? ElementType::u16
         : form == Form::integers ? ElementType::i32
                                  : ElementType::f32;
}

// Sums that the device has no room for.
struct Beyond {
  uint32_t row, token;
};

// out[t][r] = scale of row r · Σ_k x[t][k] · values[r][k], as the device would have it. Few rows have most of
// them, and making a row's values costs more than its sums.
void compute_exactly(const Int8Linear& linear, std::vector<Beyond> beyond, const int8_t* x, float* out) {
  std::ranges::sort(beyond, {}, &Beyond::row);
  std::vector<int8_t> values(linear.k);
  float scale = 0;
  for (size_t i = 0; i < beyond.size(); ++i) {
    const auto [row, token] = beyond[i];
    if (i == 0 || beyond[i - 1].row != row) linear.fill(row, 1, values.data(), &scale);
    const int8_t* of = x + size_t{token} * linear.k;
    int32_t sum = 0;  // k ≤ 2^17
    for (uint32_t c = 0; c < linear.k; ++c) sum += of[c] * values[c];
    out[size_t{token} * linear.rows + row] = static_cast<float>(sum) * scale;
  }
}

}  // namespace

Program::Program(const Device& device, Int8Graph graph, std::vector<OutputScale> scales,
                 Handle<Session> session, std::shared_ptr<Buffers> buffers)
    : device_(device),
      graph_(std::move(graph)),
      scales_(std::move(scales)),
      session_(std::move(session)),
      buffers_(std::move(buffers)) {
  const size_t tokens = graph_.tokens;
  buffers_->input.resize(std::max(buffers_->input.size(), tokens * graph_.linears.front().k));
  if (buffers_->outputs.size() < graph_.linears.size()) buffers_->outputs.resize(graph_.linears.size());
  for (size_t i = 0; i < graph_.linears.size(); ++i) {
    names_.push_back(fmt::format("y{}", i));
    const size_t bytes = tokens * graph_.linears[i].rows * bytes_of(device_.form);
    buffers_->outputs[i].resize(std::max(buffers_->outputs[i].size(), bytes));
  }
}

uint64_t Program::run(const void* x, std::span<float* const> outputs) {
  const Library& library = *device_.library;
  const auto tokens = static_cast<int64_t>(graph_.tokens), k = static_cast<int64_t>(graph_.linears.front().k);
  const std::string where = fmt::format("{}, graph {}", device_.name, graph_.name);
  const auto* values = static_cast<const int8_t*>(x);
  const auto size = static_cast<size_t>(tokens * k);
  for (size_t i = 0; i < size; ++i) buffers_->input[i] = static_cast<uint8_t>(values[i] ^ 0x80);  // + 128
  const Handle<Value> input = library.tensor(ElementType::u8, {tokens, k}, buffers_->input.data(), size);
  std::vector<Handle<Value>> held;
  std::vector<Value*> results;
  std::vector<const char*> names;
  for (size_t i = 0; i < graph_.linears.size(); ++i) {
    const int64_t rows = graph_.linears[i].rows;
    // Floats go where they are wanted.
    const bool direct = device_.form == Form::floats;
    held.push_back(library.tensor(type_of(device_.form), {tokens, rows},
                                  direct ? static_cast<void*>(outputs[i]) : buffers_->outputs[i].data(),
                                  static_cast<size_t>(tokens * rows) * bytes_of(device_.form)));
    results.push_back(held.back().get());
    names.push_back(names_[i].c_str());
  }
  const char* input_name = "x";
  const Value* inputs = input.get();
  library.check(library.api().Run(session_.get(), nullptr, &input_name, &inputs, 1, names.data(),
                                  names.size(), results.data()),
                ErrorCode::io, where + " failed");
  uint64_t recomputed = 0;
  for (size_t i = 0; i < graph_.linears.size(); ++i) recomputed += read_output(i, values, outputs[i]);
  return recomputed;
}

uint64_t Program::read_output(size_t index, const int8_t* x, float* out) const {
  const Int8Linear& linear = graph_.linears[index];
  const float* factors = scales_[index].factors.data();
  const std::byte* raw = buffers_->outputs[index].data();
  const size_t rows = linear.rows;
  if (device_.form == Form::floats) return 0;
  if (device_.form == Form::integers) {
    for (size_t t = 0; t < graph_.tokens; ++t) {
      const auto* sums = reinterpret_cast<const int32_t*>(raw) + t * rows;
      for (size_t r = 0; r < rows; ++r) out[t * rows + r] = static_cast<float>(sums[r]) * factors[r];
    }
    return 0;
  }
  std::vector<Beyond> beyond;
  for (uint32_t t = 0; t < graph_.tokens; ++t) {
    const auto* steps = reinterpret_cast<const uint16_t*>(raw) + t * rows;
    int least = 65535, most = 0;
    for (size_t r = 0; r < rows; ++r) {
      const int step = steps[r];
      least = std::min(least, step);
      most = std::max(most, step);
      out[t * rows + r] = static_cast<float>(step - 32768) * factors[r];
    }
    if (least > 0 && most < 65535) continue;
    for (uint32_t r = 0; r < linear.rows; ++r) {
      if (steps[r] == 0 || steps[r] == 65535) beyond.push_back({r, t});
    }
  }
  compute_exactly(linear, beyond, x, out);
  return beyond.size();
}

}  // namespace cairn::offload::onnx
