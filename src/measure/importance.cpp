#include "measure/importance.hpp"

#include <algorithm>
#include <vector>

#include "base/interrupt.hpp"
#include "graph/graph.hpp"
#include "measure/column_squares.hpp"
#include "measure/evaluate.hpp"

namespace cairn::measure {
encode::Importance measure_importance(const llm::Model& model, std::string_view text,
                                      const ImportanceOptions& options,
                                      const std::function<void(uint64_t, uint64_t)>& progress) {
  const uint32_t chunk = std::min(options.chunk, model.parameters().context);
  const auto chunks = evaluation_windows(*model.tokenizer(), text, chunk, options.chunks);
  const graph::Model graph = graph::load(model.file());
  engine::Options engine_options;
  engine_options.context = chunk;
  engine_options.chunk = chunk;
  engine_options.pool =
      std::make_shared<ThreadPool>(options.threads == 0 ? usable_processors() : options.threads);
  ColumnSquares squares(graph, *engine_options.pool);
  engine_options.observer = [&](uint32_t layer, graph::Slot slot, const float* rows, size_t tokens,
                                size_t width) { squares.add(layer, slot, rows, tokens, width); };
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
  importance.columns = squares.means(model.file().path(), uint64_t{chunk} * chunks.size());
  return importance;
}

}  // namespace cairn::measure
