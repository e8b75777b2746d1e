// Runs a model's op lists in double precision, one obvious loop an op: the reference that devices are
// compared with, and the check of the op lists themselves against transformers. Weights in f32, f16, mxfp4.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <map>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "formats/gguf.hpp"
#include "graph/graph.hpp"
#include "graph/reference_numbers.hpp"

namespace cairn::graph {

class ReferenceInterpreter {
 public:
  // context: see load().
  explicit ReferenceInterpreter(const gguf::File& file, uint32_t context = 0)
      : file_(file), model_(load(file, context)) {}

  const Model& model() const { return model_; }
  // After run(): of each matrix the mean square of what each column was multiplied with.
  const std::map<std::string, std::vector<double>>& mean_squares() const { return squares_; }

  // Logits [tokens, vocabulary] of tokens at positions 0, 1, ...; of a model without a head what it would
  // multiply, [tokens, embedding].
  std::vector<double> run(std::span<const int32_t> tokens) {
    tokens_ = tokens;
    for (size_t i = 0; i < slots_.size(); ++i) {
      slots_[i].assign(tokens.size() * model_.width(static_cast<Slot>(i)), 0);
    }
    run(model_.embed);
    keys_.clear(), values_.clear();
    for (const Layer& layer : model_.layers) {
      for (const OpList& ops : layer) run(ops);
      keys_.push_back(slot(Slot::key));
      values_.push_back(slot(Slot::value));
    }
    run(model_.head);
    return slot(model_.parameters.causal ? Slot::logits : Slot::normed);
  }

 private:
  std::vector<double>& slot(Slot slot) { return slots_[static_cast<size_t>(slot)]; }

  std::vector<double> weights(const std::string& name) const { return reference::values(file_.tensor(name)); }

  void run(const OpList& ops) {
    for (const Op& op : ops) run(op);
  }

  void run(const Op& op) {
    switch (op.kind) {
      case OpKind::embed:
        return embed(op);
      case OpKind::add_position:
      case OpKind::add_row:
        return add_rows(op);
      case OpKind::scale:
        return map(op, [&, factor = op.weight.empty() ? 1.0 : weights(op.weight)[0]](double x) {
          return x * op.factor * factor;
        });
      case OpKind::norm_rms:
      case OpKind::norm_layer:
        return norm(op);
      case OpKind::rotate:
        throw std::invalid_argument("no family rotates");
      case OpKind::join:
        throw std::invalid_argument("only layers that draft join");
      case OpKind::quantize:
        return;
      case OpKind::linear:
        return linear(op);
      case OpKind::head_linear:
        return head_linear(op);
      case OpKind::rope:
        return rope(op);
      case OpKind::attention:
        return attention(op);
      case OpKind::gate:
        return gate(op);
      case OpKind::route:
        return route(op);
      case OpKind::expert_linear:
        return expert_linear(op);
      case OpKind::combine:
        return combine(op);
      case OpKind::weigh:
        return weigh(op);
      case OpKind::part:
        return part(op);
      case OpKind::convolve:
        return convolve(op);
      case OpKind::delta_rule:
        return delta_rule(op);
      case OpKind::selective_scan:
        return selective_scan(op);
      case OpKind::activate:
        return map(op, [&](double x) { return reference::activation(op.activation, x); });
      case OpKind::add:
        return zip(op, [](double x, double y) { return x + y; });
      case OpKind::softcap:
        return map(op, [&](double x) { return op.factor * std::tanh(x / op.factor); });
    }
  }

  template <class Function>
  void map(const Op& op, Function function) {
    std::transform(slot(op.input).begin(), slot(op.input).end(), slot(op.output).begin(), function);
  }

  template <class Function>
  void zip(const Op& op, Function function) {
    std::transform(slot(op.input).begin(), slot(op.input).end(), slot(op.input2).begin(),
                   slot(op.output).begin(), function);
  }

  // Features of an op's input.
  size_t width_of(const Op& op) const { return op.width != 0 ? op.width : model_.width(op.input); }

  void gate(const Op& op) {
    if (model_.width(op.input) == model_.width(op.input2))
      return zip(op, [&](double x, double y) { return reference::gated(op.activation, x, y); });
    const size_t width = width_of(op), other = model_.width(op.input2);
    for (size_t i = 0; i < tokens_.size() * width; ++i) {
      slot(op.output)[i] = reference::gated(op.activation, slot(op.input)[i],
                                            slot(op.input2)[i / width * other + op.offset + i % width]);
    }
  }

  void embed(const Op& op) {
    const std::vector<double> table = weights(op.weight);
    const size_t width = model_.width(op.output);
    for (size_t t = 0; t < tokens_.size(); ++t) {
      std::copy_n(table.begin() + static_cast<ptrdiff_t>(tokens_[t] * width), width,
                  slot(op.output).begin() + static_cast<ptrdiff_t>(t * width));
    }
  }

  void add_rows(const Op& op) {
    const std::vector<double> table = weights(op.weight);
    const size_t width = model_.width(op.output);
    for (size_t i = 0; i < slot(op.output).size(); ++i) {
      const size_t row = op.kind == OpKind::add_position ? i / width : op.row_begin;
      slot(op.output)[i] += table[row * width + i % width];
    }
  }

  void norm(const Op& op) {
    const std::vector<double> weight = op.weight.empty()
                                           ? std::vector<double>(width_of(op) / std::max(1U, op.heads), 1)
                                           : weights(op.weight);
    const std::vector<double> bias = op.bias.empty() ? std::vector<double>(weight.size()) : weights(op.bias);
    const size_t width = op.own ? weight.size() / op.heads : weight.size();
    const std::vector<double> in = slot(op.input);
    std::vector<double>& out = slot(op.output);
    const size_t stride = op.heads == 0 ? model_.width(op.input) : width;  // a slot's first features
    for (size_t begin = 0; begin < in.size(); begin += stride) {
      double mean = 0, variance = 0;
      if (op.kind == OpKind::norm_layer) {
        for (size_t i = 0; i < width; ++i) mean += in[begin + i] / static_cast<double>(width);
      }
      for (size_t i = 0; i < width; ++i) {
        variance += (in[begin + i] - mean) * (in[begin + i] - mean) / static_cast<double>(width);
      }
      const size_t first = op.own ? begin % weight.size() : 0;
      for (size_t i = 0; i < width; ++i) {
        out[begin + i] =
            (in[begin + i] - mean) / std::sqrt(variance + op.epsilon) * weight[first + i] + bias[first + i];
      }
    }
  }

  // Columns of `heads` parts, each `stride` apart.
  void note_squares(const Op& op, size_t width, size_t heads = 1, size_t stride = 0) {
    std::vector<double>& sums = squares_[op.weight];
    sums.assign(heads * width, 0);
    const size_t row = heads == 1 ? width : heads * stride;
    for (size_t t = 0; t < tokens_.size(); ++t) {
      for (size_t i = 0; i < sums.size(); ++i) {
        const double x = slot(op.input)[t * row + i / width * stride + i % width];
        sums[i] += x * x / static_cast<double>(tokens_.size());
      }
    }
  }

  void linear(const Op& op) {
    note_squares(op, width_of(op));
    const std::vector<double> weight = weights(op.weight);
    const std::vector<double> bias = op.bias.empty() ? std::vector<double>() : weights(op.bias);
    const size_t width = width_of(op);
    const std::vector<double> in = slot(op.input);
    std::vector<double>& out = slot(op.output);
    for (size_t t = 0; t < tokens_.size(); ++t) {
      for (size_t r = 0; r < op.rows; ++r) {
        const size_t row = op.row_begin + r;
        double sum = bias.empty() ? 0 : bias[row];
        for (size_t i = 0; i < width; ++i) sum += in[t * width + i] * weight[row * width + i];
        out[t * op.rows + r] = sum;
      }
    }
  }

  void head_linear(const Op& op) {
    const std::vector<double> weight = weights(op.weight);
    const size_t in = model_.width(op.input) / op.heads, out = model_.width(op.output) / op.heads;
    note_squares(op, op.block, op.heads, in);
    for (size_t i = 0; i < tokens_.size() * op.heads; ++i) {
      const double* x = slot(op.input).data() + i * in;
      double* y = slot(op.output).data() + i * out;
      for (size_t r = 0; r < out; ++r) {
        y[r] = r < op.rows ? 0 : x[op.block + r - op.rows];
        const size_t row = i % op.heads * op.rows + r;
        for (size_t j = 0; j < op.block && r < op.rows; ++j) y[r] += weight[row * op.block + j] * x[j];
      }
    }
  }

  void route(const Op& op) {
    chosen_.assign(tokens_.size(), {});
    const auto optional = [&](const std::string& name) {
      return name.empty() ? std::vector<double>() : weights(name);
    };
    const std::vector<double> bias = optional(op.bias), factors = optional(op.weight);
    for (size_t t = 0; t < tokens_.size(); ++t) {
      double* scores = slot(op.input).data() + t * op.experts;
      const bool sigmoid = op.activation == Activation::sigmoid;
      std::vector<double> parts;
      double all = 0, sum = 0;
      for (uint32_t e = 0; e < op.experts; ++e) {
        parts.push_back(sigmoid ? reference::activation(op.activation, scores[e]) : std::exp(scores[e]));
        all += parts[e];
      }
      using Ranks = std::vector<std::pair<double, uint32_t>>;  // the largest first, of equal ones the first
      Ranks order, groups;
      for (uint32_t e = 0; e < op.experts; ++e)
        order.emplace_back(-(sigmoid ? parts[e] : parts[e] / all) - (bias.empty() ? 0 : bias[e]), e);
      const size_t size = op.experts / std::max(1U, op.groups);
      for (uint32_t g = 0; g < op.groups; ++g) {
        Ranks own(order.begin() + g * size, order.begin() + (g + 1) * size);
        std::sort(own.begin(), own.end());
        groups.emplace_back(own[0].first + (sigmoid ? own[1].first : 0), g);
      }
      std::sort(groups.begin(), groups.end());
      for (uint32_t g = op.groups_used; g < op.groups; ++g) {
        for (uint32_t e = 0; e < op.experts; ++e) {
          if (e / size == groups[g].second) order[e].first = 1e9;
        }
      }
      std::sort(order.begin(), order.end());
      order.resize(op.used);
      for (const auto& [rank, e] : order) sum += parts[e];
      if (!op.normalise) sum = sigmoid ? 1 : all;
      std::fill_n(scores, op.experts, 0);
      for (const auto& [rank, e] : order) {
        scores[e] = op.factor * parts[e] / sum * (factors.empty() ? 1 : factors[e]);
        chosen_[t].push_back(e);
      }
      std::sort(chosen_[t].begin(), chosen_[t].end());
    }
  }

  void expert_linear(const Op& op) {
    const std::vector<double> weight = weights(op.weight);
    const std::vector<double> bias = op.bias.empty() ? std::vector<double>() : weights(op.bias);
    const bool each = op.input == Slot::expert_gate;
    const size_t width = model_.width(op.input) / (each ? op.used : 1);
    for (size_t t = 0; t < tokens_.size(); ++t) {
      for (size_t j = 0; j < op.used; ++j) {
        const double* x = slot(op.input).data() + (each ? t * op.used + j : t) * width;
        for (size_t r = 0; r < op.rows; ++r) {
          const size_t row = chosen_[t][j] * (op.all_rows != 0 ? op.all_rows : op.rows) + op.row_begin + r;
          double sum = bias.empty() ? 0 : bias[row];
          for (size_t i = 0; i < width; ++i) sum += x[i] * weight[row * width + i];
          slot(op.output)[(t * op.used + j) * op.rows + r] = sum;
        }
      }
    }
  }

  void combine(const Op& op) {
    const size_t width = model_.width(op.output);
    for (size_t i = 0; i < tokens_.size() * width; ++i) {
      const size_t t = i / width;
      double sum = 0;
      for (size_t j = 0; j < op.used; ++j) {
        sum += slot(op.input2)[t * op.experts + chosen_[t][j]] *
               slot(op.input)[(t * op.used + j) * width + i % width];
      }
      slot(op.output)[i] = sum;
    }
  }

  void weigh(const Op& op) {
    const size_t width = model_.width(op.output);
    for (size_t i = 0; i < tokens_.size() * width; ++i)
      slot(op.output)[i] = reference::gated(op.activation, slot(op.input)[i / width], slot(op.input2)[i]);
  }

  void part(const Op& op) {
    const size_t size = model_.width(op.output) / op.heads;
    for (size_t i = 0; i < tokens_.size() * op.heads * size; ++i)
      slot(op.output)[i] = slot(op.input)[(i / size * 2 + op.row_begin) * size + i % size];
  }

  void convolve(const Op& op) {
    const std::vector<double> weight = weights(op.weight), in = slot(op.input);
    const size_t channels = model_.width(op.input);
    const std::vector<double> bias = op.bias.empty() ? std::vector<double>(channels) : weights(op.bias);
    for (size_t t = 0; t < tokens_.size(); ++t) {
      for (size_t c = 0; c < channels; ++c) {
        double sum = bias[c];
        for (size_t back = 0; back < op.window && back <= t; ++back)
          sum += weight[c * op.window + op.window - 1 - back] * in[(t - back) * channels + c];
        slot(op.output)[t * channels + c] = sum;
      }
    }
  }

  void delta_rule(const Op& op) {
    const std::vector<double> rate = weights(op.weight), bias = weights(op.bias);
    const size_t n = op.block, width = model_.width(op.input);
    const auto unit = [&](const double* x, double scale) {
      double sum = static_cast<double>(op.epsilon);
      for (size_t i = 0; i < n; ++i) sum += x[i] * x[i];
      std::vector<double> result(x, x + n);
      for (double& v : result) v *= scale / std::sqrt(sum);
      return result;
    };
    for (size_t h = 0; h < op.heads; ++h) {
      std::vector<double> state(n * n);  // [key][value]
      for (size_t t = 0; t < tokens_.size(); ++t) {
        const double* x = slot(op.input).data() + t * width;
        const double *value = x + (2 * op.key_heads + h) * n,
                     *keys = x + (op.key_heads + h % op.key_heads) * n;
        const std::vector<double> q = unit(x + h % op.key_heads * n, 1 / std::sqrt(static_cast<double>(n)));
        const std::vector<double> k = unit(keys, 1);
        const double alpha = slot(op.input2)[t * op.heads + h] + bias[h];
        const double step = 1 / (1 + std::exp(-slot(Slot::beta)[t * op.heads + h]));
        for (double& s : state) s *= std::exp(rate[h] * std::log1p(std::exp(alpha)));
        for (size_t j = 0; j < n; ++j) {
          double known = 0, result = 0;
          for (size_t i = 0; i < n; ++i) known += k[i] * state[i * n + j];
          for (size_t i = 0; i < n; ++i) state[i * n + j] += k[i] * step * (value[j] - known);
          for (size_t i = 0; i < n; ++i) result += q[i] * state[i * n + j];
          slot(op.output)[(t * op.heads + h) * n + j] = result;
        }
      }
    }
  }

  void selective_scan(const Op& op) {
    const std::vector<double> rate = weights(op.weight), bias = weights(op.bias), skip = weights(op.skip);
    const size_t n = op.block, width = model_.width(op.input);
    for (size_t h = 0; h < op.heads; ++h) {
      std::vector<double> state(op.state * n);
      for (size_t t = 0; t < tokens_.size(); ++t) {
        const double* x = slot(op.input).data() + t * width;
        const double* b = x + op.heads * n + h / (op.heads / op.key_heads) * op.state;
        const double* c = b + op.key_heads * op.state;
        const double step = std::log1p(std::exp(slot(op.input2)[t * op.heads + h] + bias[h]));
        for (size_t j = 0; j < n; ++j) {
          double result = skip[h] * x[h * n + j];
          for (size_t i = 0; i < op.state; ++i) {
            double& s = state[i * n + j];
            s = std::exp(rate[h] * step) * s + b[i] * step * x[h * n + j];
            result += c[i] * s;
          }
          slot(op.output)[(t * op.heads + h) * n + j] = result;
        }
      }
    }
  }

  void rope(const Op& op) {
    const Rope& rope = op.rope;
    const size_t half = rope.dims / 2, head_size = width_of(op) / op.heads;
    const std::vector<double> divisors =
        rope.factors.empty() ? std::vector<double>(half, 1) : weights(rope.factors);
    std::vector<double>& x = slot(op.input);
    for (size_t t = 0; t < tokens_.size(); ++t) {
      for (size_t head = 0; head < op.heads; ++head) {
        double* row = x.data() + (t * op.heads + head) * head_size + op.offset;
        for (size_t i = 0; i < half; ++i) {
          const double frequency =
              std::pow(rope.base, -2.0 * static_cast<double>(i) / rope.dims) / divisors[i];
          const double pair = static_cast<double>(i), begin = rope.ramp_begin, end = rope.ramp_end;
          const double past = pair <= begin ? 0 : pair >= end ? 1 : (pair - begin) / (end - begin);
          const double kept = rope.yarn * (1 - past);
          const double angle =
              static_cast<double>(t) * (rope.frequency_scale * (1 - kept) + kept) * frequency;
          double size = rope.attention_factor;
          if (rope.temperature != 0)
            size *= 1 + rope.temperature *
                            std::log(1 + std::floor(static_cast<double>(t) / rope.temperature_length));
          const double cosine = std::cos(angle) * size;
          const double sine = std::sin(angle) * size;
          double& a = row[rope.neox ? i : 2 * i];
          double& b = row[rope.neox ? i + half : 2 * i + 1];
          const double rotated = a * cosine - b * sine;
          b = a * sine + b * cosine;
          a = rotated;
        }
      }
    }
  }

  void attention(const Op& op) {
    const HyperParameters& p = model_.parameters;
    const size_t size = op.head_size != 0 ? op.head_size : p.head_size;
    const size_t kv_heads = op.kv_heads != 0 ? op.kv_heads : p.kv_heads, group = p.heads / kv_heads;
    const std::vector<double>& query = slot(Slot::query);
    const std::vector<double>& key = op.shared != 0 ? keys_[keys_.size() - op.shared] : slot(Slot::key);
    const std::vector<double>& value = op.latent        ? key
                                       : op.shared != 0 ? values_[values_.size() - op.shared]
                                                        : slot(Slot::value);
    const std::vector<double> sinks = op.weight.empty() ? std::vector<double>() : weights(op.weight);
    std::vector<double>& out = slot(op.output);
    for (size_t t = 0; t < tokens_.size(); ++t) {
      const size_t first = op.window == 0 || t < op.window ? 0 : t + 1 - op.window;
      for (size_t head = 0; head < p.heads; ++head) {
        const double* q = query.data() + (t * p.heads + head) * size;
        double* result = out.data() + (t * p.heads + head) * size;
        const auto row = [&](const std::vector<double>& rows, size_t s) {
          return rows.data() + (s * kv_heads + head / group) * size;
        };
        std::vector<double> scores;
        const size_t end = op.causal ? t + 1 : tokens_.size();
        for (size_t s = first; s < end; ++s) {
          double score = 0;
          for (size_t i = 0; i < size; ++i) score += q[i] * row(key, s)[i];
          score *= op.factor;
          if (op.softcap > 0) score = op.softcap * std::tanh(score / op.softcap);
          scores.push_back(score);
        }
        const double most = *std::max_element(scores.begin(), scores.end());
        double sum = sinks.empty() ? 0 : std::exp(sinks[head] - most);
        for (double& score : scores) sum += score = std::exp(score - most);
        std::fill_n(result, size, 0);
        for (size_t s = first; s < end; ++s) {
          for (size_t i = 0; i < size; ++i) result[i] += scores[s - first] / sum * row(value, s)[i];
        }
      }
    }
  }

  const gguf::File& file_;
  Model model_;
  std::map<std::string, std::vector<double>> squares_{};
  std::vector<std::vector<double>> keys_{}, values_{};  // of the layers so far
  std::span<const int32_t> tokens_;
  std::vector<std::vector<uint32_t>> chosen_{};  // experts of each token, ascending
  std::array<std::vector<double>, static_cast<size_t>(Slot::count)> slots_;
};

}  // namespace cairn::graph
