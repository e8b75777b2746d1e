#include "stack/differentiate.hpp"

#include <algorithm>
#include <cmath>

#include "backends/cpu/executor.hpp"
#include "base/error.hpp"
#include "base/interruptible.hpp"
#include "kernels/encode.hpp"
#include "kernels/kernel_set.hpp"
#include "stack/attention.hpp"
#include "stack/float_ops.hpp"
#include "stack/panels.hpp"
#include "stack/trainable.hpp"

namespace cairn::stack {
namespace {

using graph::OpKind;
using graph::Slot;

constexpr size_t kStrip = kernels::kStripRows;
// Of a product at a time: their weights stay in the second-level cache.
constexpr size_t kOutputs = 4 * kPanel, kDepth = 128;
constexpr size_t kStrips = 4;  // that the same weights are multiplied with
// What one layer leaves to the next.
constexpr std::array<Slot, 3> kCarried = {Slot::hidden, Slot::branch, Slot::branch2};

std::vector<graph::Op> all_ops(const graph::Layer& layer) {
  std::vector<graph::Op> ops;
  for (const graph::OpList& list : layer) ops.insert(ops.end(), list.begin(), list.end());
  return ops;
}

}  // namespace

Differentiator::Differentiator(const gguf::File& file, const graph::Model& model, uint32_t window,
                               ThreadPool& pool, ReadRow read_row)
    : file_(file), model_(model), pool_(pool), window_(window), read_row_(std::move(read_row)) {
  check_trainable(model_);
}

Differentiator::Buffer Differentiator::take_gradient(Slot s) {
  Buffer taken = std::move(gradient(s));
  gradient(s).clear();
  if (taken.empty()) taken.assign(model_.width(s) * tokens_, 0.0f);
  return taken;
}

void Differentiator::add_gradient(Slot s, const Buffer& more) {
  Buffer& to = gradient(s);
  if (to.empty()) {
    to = more;
    return;
  }
  for_parts(more.size(), pool_, [&](size_t begin, size_t end) {
    for (size_t i = begin; i < end; ++i) to[i] += more[i];
  });
}

Differentiator::Buffer Differentiator::vector(const std::string& name) const {
  if (name.empty()) return {};
  const gguf::Tensor& tensor = file_.tensor(name);
  Buffer values(tensor.elements());
  kernels::kernel_set(kernels::default_target())
      .encoding(tensor.encoding)
      .dequantize(tensor.data.data(), values.size(), values.data());
  return values;
}

void Differentiator::load(const std::string& name, size_t begin, size_t count, Need need) {
  const gguf::Tensor& tensor = file_.tensor(name);
  const size_t k = tensor.row_elements();
  const auto& kernels = kernels::kernel_set(kernels::default_target()).encoding(tensor.encoding);
  weights_.resize(count * k);
  if (need == Need::columns) transposed_.resize(count * k);
  run_interruptible(pool_, (count + kStrip - 1) / kStrip, [&](size_t thread, size_t part) {
    const size_t first = part * kStrip, rows = std::min(kStrip, count - first);
    for (size_t r = first; r < first + rows; ++r) {
      float* to = weights_.data() + r * k;
      if (!read_row_ || !read_row_(name, begin + r, thread, to))
        kernels.dequantize(tensor.data.data() + (begin + r) * tensor.row_bytes(), k, to);
    }
    for (size_t c = 0; c < k && need == Need::columns; ++c) {
      for (size_t r = first; r < first + rows; ++r) transposed_[c * count + r] = weights_[r * k + c];
    }
  });
}

// Weights and tokens lie far apart where a model is wide or tokens are many: what a product reads again and
// again is copied together first.
void Differentiator::product(size_t m, size_t k, const float* a, const float* x, size_t x_stride, float* y,
                             size_t y_stride, size_t tokens) {
  const auto& kernels = kernels::kernel_set(kernels::default_target()).encode;
  const size_t strips = tokens / kStrip, groups = (strips + kStrips - 1) / kStrips;
  const size_t parts = (m + kOutputs - 1) / kOutputs;
  std::vector<Panels> weights(pool_.threads(), Panels(kDepth, kOutputs));
  std::vector<Buffer> inputs(pool_.threads(), Buffer(kDepth * kStrip));
  run_interruptible(pool_, parts * groups, [&](size_t thread, size_t task) {
    const size_t first = task / groups * kOutputs, outputs = std::min(kOutputs, m - first);
    const size_t begin = task % groups * kStrips, end = std::min(strips, begin + kStrips);
    Panels& w = weights[thread];
    float* const in = inputs[thread].data();
    for (size_t j = 0; j < k; j += kDepth) {
      const size_t depth = std::min(kDepth, k - j);
      for (size_t d = 0; d < depth; ++d) {
        Panels::for_panels(0, outputs, [&](size_t from, size_t to) {
          std::copy_n(a + (j + d) * m + first + from, to - from, &w.at(d, from));
        });
      }
      for (size_t strip = begin; strip < end; ++strip) {
        const size_t t = strip * kStrip;
        for (size_t d = 0; d < depth; ++d) std::copy_n(x + (j + d) * x_stride + t, kStrip, in + d * kStrip);
        w.multiply_add(kernels, 0, outputs, 0, depth, in, y + first * y_stride + t, y_stride);
      }
    }
  });
}

void Differentiator::embed(Windows windows) {
  for (const graph::Op& op : model_.embed) {
    if (op.kind != OpKind::embed) {
      forward(op, nullptr);
      continue;
    }
    const gguf::Tensor& tensor = file_.tensor(op.weight);
    const auto& kernels = kernels::kernel_set(kernels::default_target()).encoding(tensor.encoding);
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
      load(op.weight, op.row_begin, op.rows, Need::columns);
      out.assign(op.rows * tokens_, 0.0f);
      product(op.rows, model_.width(op.input), transposed_.data(), in.data(), tokens_, out.data(), tokens_,
              tokens_);
      if (tape != nullptr) saved.a = out;
      const Buffer bias = vector(op.bias);
      for (size_t r = 0; r < op.rows && !bias.empty(); ++r) {
        for (size_t t = 0; t < tokens_; ++t) out[r * tokens_ + t] += bias[op.row_begin + r];
      }
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
      for_parts(in.size(), pool_, [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) out[i] = in[i] + more[i];
      });
      break;
    }
    case OpKind::scale:
      out.resize(in.size());
      for_parts(in.size(), pool_, [&](size_t begin, size_t end) {
        for (size_t i = begin; i < end; ++i) out[i] = in[i] * op.factor;
      });
      break;
    case OpKind::quantize:  // float here
      break;
    case OpKind::embed:
    case OpKind::add_position:
    case OpKind::add_row:
    case OpKind::rotate:
    case OpKind::softcap:
    case OpKind::route:
    case OpKind::expert_linear:
    case OpKind::head_linear:
    case OpKind::combine:
    case OpKind::weigh:
    case OpKind::join:
    case OpKind::part:
    case OpKind::convolve:
    case OpKind::delta_rule:
    case OpKind::selective_scan:
      break;  // check_trainable() lets none through
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
      if (visit) visit(layer, op, dy.data(), saved.a.data(), tokens_);
      const size_t k = model_.width(op.input);
      load(op.weight, op.row_begin, op.rows, Need::rows);
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
    case OpKind::quantize:
    case OpKind::embed:
    case OpKind::add_position:
    case OpKind::add_row:
    case OpKind::rotate:
    case OpKind::softcap:
    case OpKind::route:
    case OpKind::expert_linear:
    case OpKind::head_linear:
    case OpKind::combine:
    case OpKind::weigh:
    case OpKind::join:
    case OpKind::part:
    case OpKind::convolve:
    case OpKind::delta_rule:
    case OpKind::selective_scan:
      break;  // check_trainable() lets none through
  }
  saved = {};
}

void Differentiator::forward_layers(Windows windows, const Step& step, Begins* begins) {
  tokens_ = windows.size() * window_;
  embed(windows);
  for (const graph::Layer& layer : model_.layers) {
    if (step) step();
    if (begins != nullptr) {
      auto& begin = begins->emplace_back();
      for (size_t i = 0; i < kCarried.size(); ++i) begin[i] = slot(kCarried[i]);
    }
    for (const graph::Op& op : all_ops(layer)) forward(op, nullptr);
  }
}

// What comes between the rows looked up and the first layer is scaling at most (check_trainable).
void Differentiator::end_at_embedding(const Ends& ends) {
  Buffer& g = gradient(model_.embed.front().output);
  for (const graph::Op& op : model_.embed) {
    if (op.kind != OpKind::scale) continue;
    for (float& value : g) value *= op.factor;
  }
  ends.embedding(g.data(), tokens_);
}

double Differentiator::run(Windows windows, const Objective& objective, const Visit& visit,
                           const Step& step) {
  for (Buffer& buffer : gradients_) buffer.clear();
  Begins begins;
  forward_layers(windows, step, &begins);
  const double loss = head(objective, step);
  for (size_t layer = model_.layers.size(); layer-- > 0;) {
    if (step) step();
    for (size_t i = 0; i < kCarried.size(); ++i) slot(kCarried[i]) = std::move(begins[layer][i]);
    const std::vector<graph::Op> ops = all_ops(model_.layers[layer]);
    std::vector<Saved> tape;
    for (const graph::Op& op : ops) forward(op, &tape);
    for (size_t i = ops.size(); i-- > 0;) backward(static_cast<uint32_t>(layer), ops[i], tape[i], visit);
  }
  if (objective.ends != nullptr) end_at_embedding(*objective.ends);
  return loss;
}

void Differentiator::sample(Windows windows, uint64_t seed, const Visit& visit, const Step& step,
                            const Ends* ends) {
  run(windows, {seed, nullptr, ends}, visit, step);
}

double Differentiator::distil(Windows windows, const Buffer& teacher, const Visit& visit, const Step& step) {
  return run(windows, {0, &teacher, nullptr}, visit, step);
}

Differentiator::Buffer Differentiator::features(Windows windows, const Step& step) {
  forward_layers(windows, step, nullptr);
  return slot(before_head(nullptr, nullptr).input);
}

}  // namespace cairn::stack
