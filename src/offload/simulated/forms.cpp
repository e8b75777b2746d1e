#include "offload/simulated/forms.hpp"

#include <array>
#include <vector>

#include "offload/simulated/times.hpp"

namespace cairn::offload {
namespace {

using simulated::Phone;
using simulated::PhoneConstants;
using simulated::Product;
using simulated::WeightGroups;

constexpr uint64_t kInput = 1, kResult = 2;  // bytes of a product's input and of everything else

// A product with 16-bit inputs takes two passes of the matrix unit, of which the weights come once.
constexpr double kPasses16 = 2;

// With a graph for each input the CPU activates, between the third and the fourth.
class ProductTimes final : public TaskSeconds {
 public:
  ProductTimes(const PhoneConstants& phone, const ModelSizes& sizes, std::span<const uint32_t> lengths,
               const SimulatedTimes::Shadow& shadow)
      : phone_(phone),
        sizes_(sizes),
        lengths_(lengths),
        times_(phone_, sizes, lengths, Stage::outliers, shadow) {}

  double seconds(uint32_t chunk, uint32_t layer, TaskKind kind) const override {
    if (kind != TaskKind::ffn) return times_.seconds(chunk, layer, kind);
    const std::array up = {Product{sizes_.embedding, sizes_.ffn}, Product{sizes_.embedding, sizes_.ffn}};
    return phone_.npu_products(lengths_[chunk], std::span(up).first(sizes_.gated ? 2 : 1),
                               WeightGroups::tensor);
  }

 private:
  Phone phone_;
  const ModelSizes& sizes_;
  std::span<const uint32_t> lengths_;
  SimulatedTimes times_;
};

TaskGraph layer_tasks(const PhoneConstants& phone, const ModelSizes& sizes, std::span<const uint32_t> lengths,
                      Form form) {
  TaskGraph graph;
  uint32_t position = 0;
  for (uint32_t chunk = 0; chunk < lengths.size(); ++chunk) {
    const double seconds = layer_seconds(phone, sizes, form, lengths[chunk], position);
    for (uint32_t layer = 0; layer < sizes.layers; ++layer) {
      const uint32_t task = graph.add({chunk, layer, TaskKind::layer, Processor::npu, seconds});
      if (layer > 0) graph.depend(task, task - 1);
      if (chunk > 0) graph.depend(task, task - sizes.layers);
    }
    position += lengths[chunk];
  }
  graph.finish();
  return graph;
}

}  // namespace

const char* name(Form form) {
  switch (form) {
    case Form::products:
      return "products";
    case Form::subgraphs:
      return "subgraphs";
    case Form::layers8:
      return "layers-a8";
    case Form::layers16:
      return "layers-a16";
    case Form::layers_float:
      return "layers-fp16";
    case Form::count:
      break;
  }
  return "";
}

bool whole_layers(Form form) {
  return form != Form::products && form != Form::subgraphs;
}

Crossings& Crossings::operator+=(const Crossings& other) {
  graphs += other.graphs;
  in += other.in;
  out += other.out;
  return *this;
}

Crossings crossings(const ModelSizes& s, Form form, uint32_t tokens, uint32_t position) {
  const uint64_t d = s.embedding, q = s.query, kv = s.kv, f = s.ffn, t = tokens;
  Crossings layer;
  if (whole_layers(form)) {
    layer = {1, kResult * (t * d + 2 * kv * position), kResult * t * (d + 2 * kv)};
  } else {
    layer = {3, kInput * t * (d + q + d), kResult * t * (q + 2 * kv + d + d)};
    if (form == Form::products)
      layer += {1, kInput * t * f, kResult * t * (s.gated ? 2 : 1) * f};  // down's input, gate's and up's
  }
  return {layer.graphs * s.layers, layer.in * s.layers, layer.out * s.layers};
}

Crossings crossings(const ModelSizes& sizes, Form form, std::span<const uint32_t> lengths) {
  Crossings all;
  uint32_t position = 0;
  for (uint32_t length : lengths) {
    all += crossings(sizes, form, length, position);
    position += length;
  }
  return all;
}

double layer_seconds(const PhoneConstants& c, const ModelSizes& s, Form form, uint32_t tokens,
                     uint32_t position) {
  const double t = tokens, seen = t + position;  // a static graph multiplies what its mask hides, too
  const double d = s.embedding, q = s.query, kv = s.kv, f = s.ffn;
  const double passes = form == Form::layers16 ? kPasses16 : 1;
  const double products =
      static_cast<double>(s.layer_weights()) * (1 + passes * t / c.knee_tokens) / c.weight_rate;
  // Queries by keys and probabilities by values: as weights of a product, seen · q each.
  const double attention =
      form == Form::layers_float ? 2 * seen * q / c.half_weight_rate : 4 * t * seen * q / c.half_flop_rate;
  // Norms read twice and write, residuals read two and write, queries and keys are turned in place, the
  // softmax reads its scores twice and writes them once: 16 bits each.
  const double elements = t * (2 * 3 * d + 2 * 3 * d + 2 * (q + kv) + 3 * seen * s.heads);
  return c.launch + products + attention + t * seen * s.heads / c.vector_exp_rate +
         2 * elements / c.vector_memory_rate + Phone(c).npu_activation(static_cast<uint64_t>(t * f));
}

TaskGraph form_tasks(const PhoneConstants& phone, const ModelSizes& sizes, std::span<const uint32_t> lengths,
                     Form form, double prune) {
  if (whole_layers(form)) return layer_tasks(phone, sizes, lengths, form);
  if (form == Form::subgraphs) return simulated_tasks(phone, sizes, lengths, Stage::outliers, prune);
  const TaskGraphShape shape{.chunks = static_cast<uint32_t>(lengths.size()),
                             .layers = sizes.layers,
                             .shadow = shadow_inputs(sizes.layers, prune),
                             .cpu_middle = true,
                             .cut = true};
  return make_task_graph(shape, ProductTimes(phone, sizes, lengths, shape.shadow));
}

}  // namespace cairn::offload
