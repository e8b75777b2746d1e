#include "cairn/embed.h"

#include "capi/call.hpp"
#include "capi/objects.hpp"
#include "capi/options.hpp"
#include "llm/pooling.hpp"

using namespace cairn;
using namespace cairn::capi;

namespace {

constexpr cairn_embed_options kUsual = {sizeof(cairn_embed_options), CAIRN_POOLING_MODEL, 0, 1};

llm::Pooling pooling_of(const Model& model, int32_t wanted) {
  if (wanted == CAIRN_POOLING_MEAN) return llm::Pooling::mean;
  if (wanted == CAIRN_POOLING_LAST) return llm::Pooling::last;
  if (wanted == CAIRN_POOLING_FIRST) return llm::Pooling::first;
  if (wanted != CAIRN_POOLING_MODEL)
    fail(ErrorCode::invalid_argument, "pooling: {} is none of 0 to {}", wanted, CAIRN_POOLING_FIRST);
  const auto told = llm::pooling_of(model.model->file());
  if (!told)
    fail(ErrorCode::unsupported, "{}: it asks for another pooling than by mean, first or last token",
         model.path);
  return *told;
}

}  // namespace

void cairn_embed_options_init(cairn_embed_options* options, size_t size) {
  write_usual(options, size, kUsual);
}

cairn_status cairn_embed(cairn_engine* engine, const int32_t* tokens, size_t token_count,
                         const cairn_embed_options* options, float** vector, size_t* dimensions,
                         cairn_error* error) {
  return call(error, [&] {
    require(vector, "vector");
    require(dimensions, "dimensions");
    *vector = nullptr;
    *dimensions = 0;
    const auto of = object_of<Engine>(engine);
    const cairn_embed_options given = read_options(options, kUsual, "cairn_embed_options");
    const auto text = numbers_of(tokens, token_count, "tokens");
    if (text.empty()) fail(ErrorCode::invalid_argument, "an empty text has no embedding");
    const size_t width = of->engine->model().parameters.embedding;
    const size_t wanted = given.dimensions == 0 ? width : given.dimensions;
    if (wanted > width) fail(ErrorCode::invalid_argument, "dimensions: {} is not in 0 to {}", wanted, width);
    llm::Pool pool(pooling_of(*of->model, given.pooling), width);
    llm::GenerateOptions read;
    read.max_tokens = 0;
    read.prompt_states = [&](size_t first, std::span<const float> states) { pool.add(first, states); };
    of->model->model->make_session(of->engine).generate(text, read);
    const std::vector<float> result = pool.result(wanted, given.normalize != 0);
    *vector = handed_out(result);
    *dimensions = result.size();
  });
}
