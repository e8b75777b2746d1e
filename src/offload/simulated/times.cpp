#include "offload/simulated/times.hpp"

#include <algorithm>
#include <cmath>
#include <tuple>

#include "base/error.hpp"
#include "quantize/scheme.hpp"

namespace cairn::offload {
namespace {

using simulated::Phone;
using simulated::Product;
using simulated::WeightGroups;

// llm.npu, section 3.3: 5–15 channels of an input have outliers, 0.1–0.3 % of them.
constexpr double kOutlierShare = 0.003;

constexpr std::array<Stage, 3> kStages = {Stage::naive, Stage::chunks, Stage::outliers};

}  // namespace

const char* name(Stage stage) {
  switch (stage) {
    case Stage::naive:
      return "naive";
    case Stage::chunks:
      return "chunks";
    case Stage::outliers:
      return "outliers";
  }
  return "";
}

Stage parse_stage(std::string_view text) {
  for (Stage stage : kStages)
    if (text == offload::name(stage)) return stage;
  fail(ErrorCode::invalid_argument, "stage '{}' is not known; there are naive, chunks, outliers", text);
}

SimulatedTimes::SimulatedTimes(const Phone& phone, const ModelSizes& sizes, std::span<const uint32_t> lengths,
                               Stage stage, Shadow shadow)
    : phone_(phone),
      sizes_(sizes),
      lengths_(lengths.begin(), lengths.end()),
      stage_(stage),
      shadow_(std::move(shadow)) {
  uint32_t position = 0;
  for (uint32_t length : lengths_) {
    positions_.push_back(position);
    position += length;
  }
}

double SimulatedTimes::npu(uint32_t tokens, std::span<const Product> products) const {
  return phone_.npu_products(tokens, products,
                             stage_ == Stage::outliers ? WeightGroups::tensor : WeightGroups::groups);
}

// Each op is a pass over memory of its own, as in the engine that the paper builds on: rows scaled back from
// the NPU's results, rotary embedding of queries and keys, heads brought together (queries, keys, values),
// context written, laid out by token and rounded to int8. Tokens after a token's own position are left out of
// products.
double SimulatedTimes::attention(uint32_t chunk) const {
  const double tokens = lengths_[chunk], seen = positions_[chunk] + tokens / 2;
  const double q = sizes_.query, kv = sizes_.kv;
  const double bytes = tokens * (4 * (4 * (q + 2 * kv) + 2 * (q + kv)) + 13 * q);
  return phone_.cpu_task(4 * tokens * seen * q, tokens * seen * sizes_.heads, bytes);
}

// The compact product, its sum with the NPU's result, and the wait for that.
double SimulatedTimes::shadow(uint32_t tokens, uint64_t k, uint64_t rows) const {
  const double columns = std::ceil(kOutlierShare * static_cast<double>(k));
  const double results = static_cast<double>(tokens) * static_cast<double>(rows);
  return phone_.cpu_task(2 * columns * results, 0, 12 * results + 8 * columns * tokens) + phone_.cpu_merge();
}

double SimulatedTimes::seconds(uint32_t chunk, uint32_t layer, TaskKind kind) const {
  const ModelSizes& s = sizes_;
  const uint32_t tokens = lengths_.at(chunk);
  const bool cut = !shadow_.empty() && cuts_feed_forward(shadow_.at(layer));
  const Product down{s.ffn, s.embedding}, up{s.embedding, s.ffn};
  switch (kind) {
    case TaskKind::attention_input:
    case TaskKind::ffn_input:  // add the branch, norm (reads twice), round to int8: 29 bytes an element
      return phone_.cpu_task(0, 0, 29.0 * tokens * s.embedding);
    case TaskKind::qkv:
      return npu(tokens, std::array{Product{s.embedding, s.query}, Product{s.embedding, s.kv},
                                    Product{s.embedding, s.kv}});
    case TaskKind::attention:
      return attention(chunk);
    case TaskKind::attention_output:
      return npu(tokens, std::array{Product{s.query, s.embedding}});
    case TaskKind::ffn: {
      std::vector<Product> products(s.gated ? 2 : 1, up);
      if (!cut) products.push_back(down);
      return npu(tokens, products) + phone_.npu_activation(uint64_t{tokens} * s.ffn);
    }
    case TaskKind::ffn_middle:  // reads gate and up, writes int8
      return phone_.cpu_task(0, 0, (s.gated ? 9.0 : 5.0) * tokens * s.ffn);
    case TaskKind::ffn_down:
      return npu(tokens, std::array{down});
    case TaskKind::shadow_qkv:
      return shadow(tokens, s.embedding, uint64_t{s.query} + 2 * uint64_t{s.kv});
    case TaskKind::shadow_attention_output:
      return shadow(tokens, s.query, s.embedding);
    case TaskKind::shadow_gate_up:
      return shadow(tokens, s.embedding, uint64_t{s.ffn} * (s.gated ? 2 : 1));
    case TaskKind::shadow_down:
      return shadow(tokens, s.ffn, s.embedding);
    case TaskKind::prepare:
      return phone_.make_graphs(s.layers, static_cast<double>(s.layer_weights()) * s.layers);
    case TaskKind::layer:
    case TaskKind::count:
      break;
  }
  fail(ErrorCode::invalid_argument, "simulated times: no task is called {}", static_cast<int>(kind));
}

std::vector<std::array<bool, 4>> shadow_inputs(uint32_t layers, double prune) {
  if (!(prune >= 0 && prune <= 1))
    fail(ErrorCode::invalid_argument, "prune: {} is not a share between 0 and 1", prune);
  // In quantize::Input's order: how many layers further from the model's ends an input counts.
  constexpr std::array<uint32_t, quantize::kInputs> kFurther = {5, 2, 5, 0};
  struct Place {
    uint32_t from_an_end, layer;
    size_t input;
  };
  std::vector<Place> places;
  for (uint32_t layer = 0; layer < layers; ++layer)
    for (size_t input = 0; input < quantize::kInputs; ++input)
      places.push_back({std::min(layer, layers - 1 - layer) + kFurther[input], layer, input});
  std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
    return std::tie(a.from_an_end, a.layer, a.input) < std::tie(b.from_an_end, b.layer, b.input);
  });
  std::vector<std::array<bool, 4>> shadow(layers, std::array<bool, 4>{});
  const auto kept = static_cast<size_t>(std::lround((1 - prune) * static_cast<double>(places.size())));
  for (size_t i = 0; i < kept; ++i) shadow[places[i].layer][places[i].input] = true;
  return shadow;
}

TaskGraph simulated_tasks(const simulated::PhoneConstants& phone, const ModelSizes& sizes,
                          std::span<const uint32_t> lengths, Stage stage, double prune) {
  const TaskGraphShape shape{
      .chunks = static_cast<uint32_t>(lengths.size()),
      .layers = sizes.layers,
      .shadow = shadow_inputs(sizes.layers, stage == Stage::outliers ? prune : 1),
      .prepare = stage == Stage::naive,
  };
  return make_task_graph(shape, SimulatedTimes(Phone(phone), sizes, lengths, stage, shape.shadow));
}

PromptSeconds simulated_profile(const simulated::PhoneConstants& phone, const ModelSizes& sizes,
                                double prune) {
  return [phone, sizes, prune](std::span<const uint32_t> lengths) {
    const auto scheduler = make_scheduler(Policy::look_ahead);
    return simulate(simulated_tasks(phone, sizes, lengths, Stage::outliers, prune), *scheduler)
        .timeline.makespan();
  };
}

}  // namespace cairn::offload
