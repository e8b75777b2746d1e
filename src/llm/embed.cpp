#include "llm/embed.hpp"

#include "base/error.hpp"
#include "formats/gguf.hpp"

namespace cairn::llm {

std::vector<float> embed(Session& session, std::span<const Token> text, Pooling pooling, size_t dimensions,
                         bool unit, const engine::Cancelled& cancelled) {
  if (text.empty()) fail(ErrorCode::invalid_argument, "an empty text has no embedding");
  const size_t width = session.engine().model().parameters.embedding;
  if (dimensions > width)
    fail(ErrorCode::invalid_argument, "dimensions: {} is not in 0 to {}", dimensions, width);
  Pool pool(pooling, width);
  GenerateOptions read;
  read.max_tokens = 0;
  read.prompt_states = [&](size_t first, std::span<const float> states) { pool.add(first, states); };
  read.cancelled = cancelled;
  if (session.generate(text, read).finish == FinishReason::cancelled)
    fail(ErrorCode::cancelled, "interrupted");
  return pool.result(dimensions == 0 ? width : dimensions, unit);
}

Pooling require_pooling(const gguf::File& file) {
  const auto told = pooling_of(file);
  if (!told) {
    fail(ErrorCode::unsupported, "{}: it asks for another pooling than by mean, first or last token",
         file.path());
  }
  return *told;
}

}  // namespace cairn::llm
