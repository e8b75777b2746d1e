#include "backends/cpu/key_feedback.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "backends/cpu/executor.hpp"
#include "base/buffer.hpp"

namespace cairn::cpu {
namespace {

using graph::OpKind;
using graph::Slot;

constexpr size_t kStrip = kernels::kStripRows;
// Inputs that are looked at, evenly spaced where there are more: of each query head several for an element.
constexpr size_t kMostInputs = 2048;
constexpr uint32_t kPositions = 2048, kStep = 32;  // that RoPE's turns are averaged over: a prompt's
constexpr double kDamping = 0.01;                  // of the mean of G's diagonal

// How a layer's queries come about.
struct Queries {
  const BoundOp* linear = nullptr;
  const std::vector<float>* gain = nullptr;  // of the norm in front
  const std::vector<float>* norm = nullptr;  // of each head, or of all together
  const BoundOp* rope = nullptr;
};

std::vector<Queries> find_queries(const Plan& plan, size_t layers) {
  std::vector<Queries> found(layers);
  std::map<Slot, const std::vector<float>*> gains;
  for (const Step& step : plan.layers) {
    if (step.layer >= layers) continue;
    Queries& queries = found[step.layer];
    for (const BoundOp& bound : step.ops) {
      const graph::Op& op = bound.op;
      const bool norm = op.kind == OpKind::norm_rms || op.kind == OpKind::norm_layer;
      if (norm && op.input == Slot::query) queries.norm = bound.weight;
      if (norm && op.output != Slot::none) gains[op.output] = bound.weight;
      if (op.kind == OpKind::rope && op.input == Slot::query) queries.rope = &bound;
      if (op.kind != OpKind::linear || op.output != Slot::query) continue;
      queries.linear = bound.matrix.stack == nullptr ? &bound : nullptr;
      const auto at = gains.find(op.input);
      queries.gain = at == gains.end() ? nullptr : at->second;
    }
  }
  return found;
}

// Means over positions of what RoPE makes of two elements' product. Element e becomes c_e · e + s_e · (its
// pair's other one).
struct Turns {
  std::vector<size_t> other;                      // of the pair; itself where nothing turns
  std::array<std::vector<double>, 4> products{};  // c c, c s, s c, s s: [e][f]
};

Turns turns_of(const graph::Rope& rope, const std::vector<float>* factors, size_t n) {
  Turns turns;
  for (auto& part : turns.products) part.resize(n * n);
  for (size_t e = 0; e < n; ++e) turns.other.push_back(e);
  const size_t pairs = rope.dims / 2;
  std::vector<float> cosines(pairs), sines(pairs);
  std::vector<double> c(n, 1.0), s(n, 0.0);
  for (uint32_t position = 0; position < kPositions; position += kStep) {
    rope_table(rope, factors, position, 1, cosines.data(), sines.data());
    for (size_t i = 0; i < pairs; ++i) {
      const size_t first = rope.neox ? i : 2 * i, second = first + (rope.neox ? pairs : 1);
      turns.other[first] = second;
      turns.other[second] = first;
      c[first] = c[second] = static_cast<double>(cosines[i]);
      s[second] = static_cast<double>(sines[i]);
      s[first] = -s[second];
    }
    for (size_t e = 0; e < n; ++e) {
      for (size_t f = 0; f < n; ++f) {
        const size_t i = e * n + f;
        turns.products[0][i] += c[e] * c[f] * kStep / kPositions;
        turns.products[1][i] += c[e] * s[f] * kStep / kPositions;
        turns.products[2][i] += s[e] * c[f] * kStep / kPositions;
        turns.products[3][i] += s[e] * s[f] * kStep / kPositions;
      }
    }
  }
  return turns;
}

// What one thread works with.
struct Work {
  Work(size_t n, size_t width, size_t inputs)
      : stride(round_up(n, kStrip)),
        row(width),
        weights(inputs * stride),
        sums(n * stride),
        g(n * n),
        turned(n * n),
        rotated(n * n) {}
  size_t stride;
  std::vector<float> row, weights;  // [inputs][stride]: of a head, transposed
  std::vector<float> sums;          // [n][stride]
  std::vector<double> g, turned;    // [n][n]
  std::vector<float> rotated;
};

// Adds a query head's E[q qᵀ], not turned, to work.g.
void add_head(const Queries& queries, size_t head, size_t n, const kernels::EncodeKernels& kernels,
              Work& work) {
  const Matrix& matrix = queries.linear->matrix;
  const size_t step = (matrix.k + kMostInputs - 1) / kMostInputs, inputs = matrix.k / step;
  for (size_t r = 0; r < n; ++r) {
    matrix.encoding->dequantize(matrix.row(head * n + r), matrix.k, work.row.data());
    for (size_t j = 0; j < inputs; ++j) {
      const float gain = queries.gain == nullptr ? 1.0f : (*queries.gain)[j * step];
      work.weights[j * work.stride + r] = work.row[j * step] * gain;
    }
  }
  std::fill(work.sums.begin(), work.sums.end(), 0.0f);
  for (size_t strip = 0; strip < work.stride; strip += kStrip) {
    kernels.multiply_add(n, inputs, static_cast<float>(step), work.weights.data(), work.stride,
                         work.weights.data() + strip, work.stride, work.sums.data() + strip, work.stride);
  }
  const float* bias = queries.linear->bias == nullptr ? nullptr : queries.linear->bias + head * n;
  const auto moment = [&](size_t e, size_t f) {
    const float rest = bias == nullptr ? 0.0f : bias[e] * bias[f];
    return static_cast<double>(work.sums[e * work.stride + f] + rest);
  };
  const bool whole = queries.norm != nullptr && queries.norm->size() > n;
  const float* gains = queries.norm == nullptr ? nullptr : queries.norm->data() + (whole ? head * n : 0);
  double size = 1;  // what a norm divides all heads by is the same for all, and U does not see it
  if (gains != nullptr && !whole) {
    size = 1e-30;
    for (size_t e = 0; e < n; ++e) size += moment(e, e) / static_cast<double>(n);
  }
  for (size_t e = 0; e < n; ++e) {
    for (size_t f = 0; f < n; ++f) {
      const float gain = gains == nullptr ? 1.0f : gains[e] * gains[f];
      work.g[e * n + f] += moment(e, f) / size * static_cast<double>(gain);
    }
  }
}

void turn(const Turns& turns, size_t n, Work& work) {
  const auto& [cc, cs, sc, ss] = turns.products;
  for (size_t e = 0; e < n; ++e) {
    for (size_t f = 0; f < n; ++f) {
      const double *own = &work.g[e * n], *others = &work.g[turns.other[e] * n];
      const size_t i = e * n + f, g = turns.other[f];
      work.turned[i] = cc[i] * own[f] + cs[i] * own[g] + sc[i] * others[f] + ss[i] * others[g];
    }
  }
  std::swap(work.g, work.turned);
}

// As caches rotate what they hold: on both sides.
void rotate(decltype(kernels::VectorKernels::token_hadamard) hadamard, size_t n, Work& work) {
  for (int side = 0; side < 2; ++side) {
    for (size_t e = 0; e < n; ++e) {
      for (size_t f = 0; f < n; ++f) work.rotated[f * n + e] = static_cast<float>(work.g[e * n + f]);
    }
    rotate_heads(hadamard, work.rotated.data(), n, n, 1);
    std::copy(work.rotated.begin(), work.rotated.end(), work.g.begin());
  }
}

// out: [n][stride], zeros.
void decompose(size_t n, size_t stride, Work& work, float* out) {
  std::vector<double>& g = work.g;
  double mean = 0;
  for (size_t e = 0; e < n; ++e) mean += g[e * n + e] / static_cast<double>(n);
  if (!std::isfinite(mean)) return;  // as the model's logits will be
  for (size_t e = 0; e < n; ++e) g[e * n + e] += kDamping * mean + 1e-30;
  for (size_t j = n; j-- > 0;) {
    const double* row = &g[j * n];
    for (size_t i = 0; i < j; ++i) {
      const double u = row[i] / row[j];
      out[i * stride + j] = static_cast<float>(u);
      for (size_t k = 0; k <= i; ++k) g[i * n + k] -= u * row[k];
    }
  }
}

}  // namespace

KeyFeedback::KeyFeedback(const graph::Model& model, const Plan& plan, ThreadPool& pool)
    : each_(model.parameters.head_size * kernels::fed_back_stride(model.parameters.head_size)),
      layers_(model.layers.size() + 1) {
  const graph::HyperParameters& p = model.parameters;
  const size_t n = p.head_size, group = p.heads / p.kv_heads;
  if (n > kernels::kMostFedBack) return;
  const std::vector<Queries> queries = find_queries(plan, layers_.size());
  std::map<uint32_t, Turns> turns;  // by Plan::ropes
  size_t width = 0;
  for (size_t layer = 0; layer < layers_.size(); ++layer) {
    const Queries& of = queries[layer];
    if (of.linear == nullptr) continue;
    layers_[layer].resize(p.kv_heads * each_);
    width = std::max(width, of.linear->matrix.k);
    if (of.rope == nullptr) continue;
    const uint32_t index = of.rope->rope_table;
    if (!turns.contains(index))
      turns.emplace(index, turns_of(plan.ropes[index], plan.rope_factors[index], n));
  }
  std::vector<Work> works(pool.threads(), Work(n, width, std::min(width, kMostInputs)));
  const kernels::KernelSet& kernels = kernels::kernel_set(plan.target());
  pool.run(layers_.size() * p.kv_heads, [&](size_t thread, size_t index) {
    const size_t layer = index / p.kv_heads, head = index % p.kv_heads;
    if (layers_[layer].empty()) return;
    Work& work = works[thread];
    std::fill(work.g.begin(), work.g.end(), 0.0);
    for (size_t q = head * group; q < (head + 1) * group; ++q)
      add_head(queries[layer], q, n, kernels.encode, work);
    if (queries[layer].rope != nullptr) turn(turns.at(queries[layer].rope->rope_table), n, work);
    rotate(kernels.vector.token_hadamard, n, work);
    decompose(n, kernels::fed_back_stride(n), work, layers_[layer].data() + head * each_);
  });
}

}  // namespace cairn::cpu
