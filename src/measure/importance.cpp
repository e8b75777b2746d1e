#include "measure/importance.hpp"

#include <algorithm>
#include <limits>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "graph/graph.hpp"
#include "measure/evaluate.hpp"
#include "quantize/calibration.hpp"
#include "quantize/collector.hpp"

namespace cairn::measure {
namespace {

// Sums of squares of each input's channels, [layers][inputs][width].
class Squares {
 public:
  Squares(size_t layers, ThreadPool& pool) : sums_(layers * quantize::kInputs), pool_(pool) {}

  void add(uint32_t layer, quantize::Input input, const float* rows, size_t tokens, size_t width) {
    std::vector<double>& sums = sums_[layer * quantize::kInputs + static_cast<size_t>(input)];
    sums.resize(width);
    constexpr size_t kColumns = 64;
    pool_.run((width + kColumns - 1) / kColumns, [&](size_t, size_t task) {
      const size_t begin = task * kColumns, end = std::min(width, begin + kColumns);
      for (size_t token = 0; token < tokens; ++token) {
        const float* row = rows + token * width;
        for (size_t c = begin; c < end; ++c)
          sums[c] += static_cast<double>(row[c]) * static_cast<double>(row[c]);
      }
    });
  }

  std::vector<float> means(const std::string& path, size_t layer, size_t input, uint64_t tokens) const {
    std::vector<float> means;
    for (const double sum : sums_[layer * quantize::kInputs + input]) {
      const double mean = sum / static_cast<double>(tokens);
      if (!(mean <= static_cast<double>(std::numeric_limits<float>::max())))
        fail(ErrorCode::numeric, "{}: layer {}, {}: the activations' mean square is {}", path, layer,
             name(static_cast<quantize::Input>(input)), mean);
      means.push_back(static_cast<float>(mean));
    }
    return means;
  }

 private:
  std::vector<std::vector<double>> sums_;
  ThreadPool& pool_;
};

}  // namespace

encode::Importance measure_importance(const llm::Model& model, std::string_view text,
                                      const ImportanceOptions& options,
                                      const std::function<void(uint64_t, uint64_t)>& progress) {
  const uint32_t chunk = std::min(options.chunk, model.parameters().context);
  const auto chunks = evaluation_windows(*model.tokenizer(), text, chunk, options.chunks);
  const graph::Model graph = graph::load(model.file());
  if (graph.parameters.local_head_size != 0) {
    fail(ErrorCode::unsupported,
         "{}: the importance of columns is not measured where layers differ in heads (architecture '{}')",
         model.file().path(), graph.parameters.architecture);
  }
  engine::Options engine_options;
  engine_options.context = chunk;
  engine_options.chunk = chunk;
  engine_options.pool =
      std::make_shared<ThreadPool>(options.threads == 0 ? usable_processors() : options.threads);
  Squares squares(graph.layers.size(), *engine_options.pool);
  quantize::InputOrder order;
  engine_options.observer = [&, last = quantize::Input::count](uint32_t layer, graph::Slot slot,
                                                               const float* rows, size_t tokens,
                                                               size_t width) mutable {
    // The expert that all tokens share reads what the router has read: not the next layer's input.
    if (graph.parameters.shared_expert && slot == graph::Slot::normed && last == quantize::Input::gate_up)
      return;
    last = order.next(slot);
    squares.add(layer, last, rows, tokens, width);
  };
  const auto engine = model.make_engine(engine_options);
  const auto sequence = engine->make_sequence();
  for (size_t i = 0; i < chunks.size(); ++i) {
    throw_if_interrupted();
    if (progress) progress(i, chunks.size());
    sequence->truncate(0);
    engine->step({sequence.get(), chunks[i]}, interrupted);
  }
  if (progress) progress(chunks.size(), chunks.size());

  encode::Importance importance;
  importance.chunks = static_cast<uint32_t>(chunks.size());
  importance.chunk_tokens = chunk;
  for (size_t layer = 0; layer < graph.layers.size(); ++layer) {
    const auto linears = quantize::input_linears(graph.layers[layer]);
    for (size_t input = 0; input < quantize::kInputs; ++input) {
      for (const graph::Op* op : linears[input])
        importance.columns[op->weight] =
            squares.means(model.file().path(), layer, input, uint64_t{chunk} * chunks.size());
    }
  }
  return importance;
}

}  // namespace cairn::measure
