#include "stack/differentiate.hpp"

#include <algorithm>
#include <cmath>

#include "device/cpu/executor.hpp"
#include "kernels/encode.hpp"
#include "stack/attention.hpp"
#include "stack/float_ops.hpp"

namespace cairn::stack {
namespace {

using graph::OpKind;
using graph::Slot;

constexpr size_t kStrip = kernels::kStripRows;
constexpr size_t kOutputs = 96;      // of a product at a time: their weights stay in the second-level cache
constexpr size_t kHeadTokens = 256;  // whose logits are held at a time
constexpr size_t kVocabularyPart = 2048;  // rows of the output head in float at a time
// What one layer leaves to the next.
constexpr std::array<Slot, 3> kCarried = {Slot::hidden, Slot::branch, Slot::branch2};

double uniform(uint64_t& state) {  // SplitMix64
  uint64_t z = state += 0x9e3779b97f4a7c15;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
  z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
  return static_cast<double>((z ^ (z >> 31)) >> 11) * 0x1p-53;
}

std::vector<graph::Op> all_ops(const graph::Layer& layer) {
  std::vector<graph::Op> ops;
  for (const graph::OpList& list : layer) ops.insert(ops.end(), list.begin(), list.end());
  return ops;
}

}  // namespace

Differentiator::Differentiator(const gguf::File& file, const graph::Model& model, uint32_t window,
                               ThreadPool& pool)
    : file_(file), model_(model), pool_(pool), window_(window) {}

Differentiator::Buffer Differentiator::take_gradient(Slot s) {
  Buffer taken = std::move(gradient(s));
  gradient(s).assign(model_.width(s) * tokens_, 0.0f);
  if (taken.empty()) taken = gradient(s);
  return taken;
}

void Differentiator::add_gradient(Slot s, const Buffer& more) {
  Buffer& to = gradient(s);
  if (to.empty()) to.assign(more.size(), 0.0f);
  for (size_t i = 0; i < more.size(); ++i) to[i] += more[i];
}

Differentiator::Buffer Differentiator::vector(const std::string& name) const {
  if (name.empty()) return {};
  const gguf::Tensor& tensor = file_.tensor(name);
  Buffer values(tensor.elements());
  kernels::encoding_kernels(tensor.encoding, kernels::default_target())
      .dequantize(tensor.data.data(), values.size(), values.data());
  return values;
}

void Differentiator::load(const std::string& name, size_t begin, size_t count) {
  const gguf::Tensor& tensor = file_.tensor(name);
  const size_t k = tensor.row_elements();
  const auto& kernels = kernels::encoding_kernels(tensor.encoding, kernels::default_target());
  weights_.resize(count * k);
  transposed_.resize(count * k);
  pool_.run((count + kStrip - 1) / kStrip, [&](size_t, size_t part) {
    const size_t first = part * kStrip, rows = std::min(kStrip, count - first);
    for (size_t r = first; r < first + rows; ++r)
      kernels.dequantize(tensor.data.data() + (begin + r) * tensor.row_bytes(), k, weights_.data() + r * k);
    for (size_t c = 0; c < k; ++c) {
      for (size_t r = first; r < first + rows; ++r) transposed_[c * count + r] = weights_[r * k + c];
    }
  });
}

void Differentiator::product(size_t m, size_t k, const float* a, const float* x, size_t x_stride, float* y,
                             size_t y_stride, size_t tokens) {
  const auto& kernels = kernels::encode_kernels(kernels::default_target());
  const size_t strips = tokens / kStrip, parts = (m + kOutputs - 1) / kOutputs;
  pool_.run(parts * strips, [&](size_t, size_t task) {
    const size_t first = task / strips * kOutputs, t = task % strips * kStrip;
    kernels.multiply_add(std::min(kOutputs, m - first), k, 1, a + first, m, x + t, x_stride,
                         y + first * y_stride + t, y_stride);
  });
}

void Differentiator::embed(std::span<const std::vector<text::Token>> windows) {
  for (const graph::Op& op : model_.embed) {
    if (op.kind != OpKind::embed) {
      forward(op, nullptr);
      continue;
    }
    const gguf::Tensor& tensor = file_.tensor(op.weight);
    const auto& kernels = kernels::encoding_kernels(tensor.encoding, kernels::default_target());
    Buffer& out = slot(op.output);
    out.resize(tensor.row_elements() * tokens_);
    Buffer row(tensor.row_elements());
    for (size_t t = 0; t < tokens_; ++t) {
      const auto token = static_cast<uint64_t>(windows[t / window_][t % window_]);
      kernels.dequantize(tensor.data.data() + token * tensor.row_bytes(), row.size(), row.data());
      for (size_t i = 0; i < row.size(); ++i) out[i * tokens_ + t] = row[i];
    }
  }
}

void Differentiator::forward(const graph::Op& op, std::vector<Saved>* tape) {
  Saved saved;
  Buffer& in = slot(op.input);
  Buffer& out = slot(op.output);
  switch (op.kind) {
    case OpKind::norm_rms:
    case OpKind::norm_layer:
      if (tape != nullptr) saved.a = in;
      out.resize(in.size());
      norm_forward(op, vector(op.weight), vector(op.bias), tokens_, model_.width(op.input), in.data(),
                   out.data(), pool_);
      break;
    case OpKind::linear: {
      const size_t k = model_.width(op.input);
      load(op.weight, op.row_begin, op.rows);
      const Buffer bias = vector(op.bias);
      out.assign(op.rows * tokens_, 0.0f);
      for (size_t r = 0; r < op.rows && !bias.empty(); ++r)
        std::fill_n(out.begin() + static_cast<ptrdiff_t>(r * tokens_), tokens_, bias[op.row_begin + r]);
      product(op.rows, k, transposed_.data(), in.data(), tokens_, out.data(), tokens_, tokens_);
      break;
    }
    case OpKind::rope: {
      const Buffer factors = vector(op.rope.factors);
      rope(op, factors.empty() ? nullptr : &factors, tokens_, window_, model_.width(op.input) / op.heads,
           false, in.data(), pool_);
      break;
    }
    case OpKind::attention: {
      const graph::HyperParameters& p = model_.parameters;
      const AttentionShape shape{p.heads, p.kv_heads, p.head_size, tokens_, window_, op};
      const Buffer &k = slot(Slot::key), &v = slot(Slot::value);
      out.resize(model_.width(Slot::context) * tokens_);
      attention_forward(shape, in.data(), k.data(), v.data(), out.data(), pool_);
      if (tape != nullptr) saved = {in, k, v};
      break;
    }
    case OpKind::gate:
      if (tape != nullptr) saved = {in, slot(op.input2), {}};
      for_parts(in.size(), pool_, [&](size_t begin, size_t end) {
        const float* b = slot(op.input2).data();
        for (size_t i = begin; i < end; ++i) out[i] = activation(op.activation, in[i]).value * b[i];
      });
      break;
    case OpKind::activate:
      if (tape != nullptr) saved.a = in;
      for_parts(in.size(), pool_, [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) out[i] = activation(op.activation, in[i]).value;
      });
      break;
    case OpKind::add: {
      const Buffer& more = slot(op.input2);
      out.resize(in.size());
      for (size_t i = 0; i < in.size(); ++i) out[i] = in[i] + more[i];
      break;
    }
    case OpKind::scale:
      for (size_t i = 0; i < in.size(); ++i) out[i] = in[i] * op.factor;
      break;
    default:  // quantize: float here
      break;
  }
  if (tape != nullptr) tape->push_back(std::move(saved));
}

void Differentiator::backward(uint32_t layer, const graph::Op& op, Saved& saved, const Visit& visit) {
  if (op.kind == OpKind::quantize) return;
  Buffer dy = take_gradient(op.output);
  switch (op.kind) {
    case OpKind::norm_rms:
    case OpKind::norm_layer: {
      Buffer dx(saved.a.size());
      norm_backward(op, vector(op.weight), tokens_, model_.width(op.input), saved.a.data(), dy.data(),
                    dx.data(), pool_);
      add_gradient(op.input, dx);
      break;
    }
    case OpKind::linear: {
      if (visit) visit(layer, op, dy.data(), tokens_);
      const size_t k = model_.width(op.input);
      load(op.weight, op.row_begin, op.rows);
      Buffer& dx = gradient(op.input);
      if (dx.empty()) dx.assign(k * tokens_, 0.0f);
      product(k, op.rows, weights_.data(), dy.data(), tokens_, dx.data(), tokens_, tokens_);
      break;
    }
    case OpKind::rope: {
      const Buffer factors = vector(op.rope.factors);
      rope(op, factors.empty() ? nullptr : &factors, tokens_, window_, model_.width(op.input) / op.heads,
           true, dy.data(), pool_);
      add_gradient(op.input, dy);
      break;
    }
    case OpKind::attention: {
      const graph::HyperParameters& p = model_.parameters;
      const AttentionShape shape{p.heads, p.kv_heads, p.head_size, tokens_, window_, op};
      Buffer dq(saved.a.size()), dk(saved.b.size()), dv(saved.c.size());
      attention_backward(shape, saved.a.data(), saved.b.data(), saved.c.data(), dy.data(), dq.data(),
                         dk.data(), dv.data(), pool_);
      add_gradient(Slot::query, dq);
      add_gradient(Slot::key, dk);
      add_gradient(Slot::value, dv);
      break;
    }
    case OpKind::gate: {
      Buffer da(dy.size());
      for_parts(dy.size(), pool_, [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) {
          const ValueAndSlope f = activation(op.activation, saved.a[i]);
          da[i] = dy[i] * f.slope * saved.b[i];
          dy[i] *= f.value;
        }
      });
      add_gradient(op.input, da);
      add_gradient(op.input2, dy);
      break;
    }
    case OpKind::activate:
      for (size_t i = 0; i < dy.size(); ++i) dy[i] *= activation(op.activation, saved.a[i]).slope;
      add_gradient(op.input, dy);
      break;
    case OpKind::add:
      add_gradient(op.input, dy);
      add_gradient(op.input2, dy);
      break;
    case OpKind::scale:
      for (float& d : dy) d *= op.factor;
      add_gradient(op.input, dy);
      break;
    default:
      break;
  }
  saved = {};
}

// Logits of some tokens at a time, a label for each, and what that says about the head's input.
void Differentiator::head(uint64_t seed, const std::function<void()>& step) {
  std::vector<Saved> tape;
  std::vector<const graph::Op*> before;
  const graph::Op* output = nullptr;
  float cap = 0;
  for (const graph::Op& op : model_.head) {
    if (op.kind == OpKind::softcap) cap = op.factor;
    if (op.kind == OpKind::linear) output = &op;
    if (op.kind == OpKind::linear || op.kind == OpKind::softcap || op.kind == OpKind::quantize) continue;
    before.push_back(&op);
    forward(op, &tape);
  }
  const size_t k = model_.width(output->input), rows = output->rows;
  const Buffer& x = slot(output->input);
  const Buffer bias = vector(output->bias);
  Buffer dx(k * tokens_, 0.0f);
  for (size_t first = 0; first < tokens_; first += kHeadTokens) {
    if (step) step();
    const size_t tokens = std::min(kHeadTokens, tokens_ - first);
    Buffer logits(rows * tokens, 0.0f);
    for (size_t row = 0; row < rows; row += kVocabularyPart) {
      const size_t count = std::min(kVocabularyPart, rows - row);
      load(output->weight, output->row_begin + row, count);
      product(count, k, transposed_.data(), x.data() + first, tokens_, logits.data() + row * tokens, tokens,
              tokens);
    }
    pool_.run(tokens / kSoftmaxTokens, [&](size_t, size_t part) {
      const size_t begin = part * kSoftmaxTokens;
      std::array<double, kSoftmaxTokens> draws;
      for (size_t t = 0; t < kSoftmaxTokens; ++t) {
        uint64_t state = (seed << 32) + first + begin + t;
        draws[t] = uniform(state);
      }
      softmax_gradient(logits.data() + begin, rows, tokens, bias.empty() ? nullptr : bias.data(), cap, draws);
    });
    for (size_t row = 0; row < rows; row += kVocabularyPart) {
      const size_t count = std::min(kVocabularyPart, rows - row);
      load(output->weight, output->row_begin + row, count);
      product(k, count, weights_.data(), logits.data() + row * tokens, tokens, dx.data() + first, tokens_,
              tokens);
    }
  }
  add_gradient(output->input, dx);
  for (size_t i = before.size(); i-- > 0;) backward(0, *before[i], tape[i], {});
}

void Differentiator::run(std::span<const std::vector<text::Token>> windows, uint64_t seed, const Visit& visit,
                         const std::function<void()>& step) {
  tokens_ = windows.size() * window_;
  for (Buffer& buffer : gradients_) buffer.clear();
  embed(windows);
  std::vector<std::array<Buffer, kCarried.size()>> begins;
  for (const graph::Layer& layer : model_.layers) {
    if (step) step();
    auto& begin = begins.emplace_back();
    for (size_t i = 0; i < kCarried.size(); ++i) begin[i] = slot(kCarried[i]);
    for (const graph::Op& op : all_ops(layer)) forward(op, nullptr);
  }
  head(seed, step);
  for (size_t layer = model_.layers.size(); layer-- > 0;) {
    if (step) step();
    for (size_t i = 0; i < kCarried.size(); ++i) slot(kCarried[i]) = std::move(begins[layer][i]);
    const std::vector<graph::Op> ops = all_ops(model_.layers[layer]);
    std::vector<Saved> tape;
    for (const graph::Op& op : ops) forward(op, &tape);
    for (size_t i = ops.size(); i-- > 0;) backward(static_cast<uint32_t>(layer), ops[i], tape[i], visit);
  }
}

RowImportance measure_importance(const gguf::File& file, const graph::Model& model,
                                 std::span<const std::vector<text::Token>> windows, ThreadPool& pool,
                                 const std::function<void(uint64_t done, uint64_t total)>& progress) {
  const size_t window = windows.front().size(), at_once = std::max<size_t>(1, 1024 / window);
  RowImportance result;
  const auto of = [&](const std::string& name) -> std::vector<float>& {
    for (auto& [other, rows] : result) {
      if (other == name) return rows;
    }
    return result.emplace_back(name, std::vector<float>(file.tensor(name).rows(), 0.0f)).second;
  };
  Differentiator differentiator(file, model, static_cast<uint32_t>(window), pool);
  const float share = 1 / static_cast<float>(windows.size() * window);
  const uint64_t batches = (windows.size() + at_once - 1) / at_once,
                 steps = batches * model.layers.size() * 2;
  uint64_t done = 0;
  for (size_t i = 0; i < windows.size(); i += at_once) {
    const auto batch = windows.subspan(i, std::min(at_once, windows.size() - i));
    differentiator.run(
        batch, i,
        [&](uint32_t, const graph::Op& op, const float* gradient, size_t tokens) {
          std::vector<float>& rows = of(op.weight);
          pool.run(op.rows, [&](size_t, size_t r) {
            double sum = 0;
            for (size_t t = 0; t < tokens; ++t)
              sum += static_cast<double>(gradient[r * tokens + t]) *
                     static_cast<double>(gradient[r * tokens + t]);
            rows[op.row_begin + r] += static_cast<float>(sum) * share;
          });
        },
        [&] { progress(std::min(done++, steps), steps); });
  }
  progress(steps, steps);
  return result;
}

}  // namespace cairn::stack
