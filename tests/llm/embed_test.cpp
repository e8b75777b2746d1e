// Embeddings of models made for them: pooled as transformers' states are, alone and from a scheduler; those
// of all-MiniLM-L6-v2 against sentence-transformers (tools/make_embedding_golden.py).
#include "llm/embed.hpp"

#include <gtest/gtest.h>

#include <cmath>

#include "base/expect_error.hpp"
#include "graph/golden_models.hpp"
#include "llm/model.hpp"
#include "llm/scheduler.hpp"
#include "store/model_store.hpp"

namespace cairn::llm {
namespace {

double largest_difference(std::span<const float> a, std::span<const float> b) {
  EXPECT_EQ(a.size(), b.size());
  double worst = 0;
  for (size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  return worst;
}

engine::Options exact() {
  engine::Options options;
  options.threads = 2;
  options.precision = engine::Precision::f32;
  return options;
}

TEST(Embed, PoolsAsTheFileSays) {
  for (const char* name : graph::kEmbedders) {
    const auto model = Model::load(graph::golden_model_path(name));
    const graph::GoldenStates golden(name);
    Session session = model->make_session(exact());
    const Pooling pooling = require_pooling(model->file());
    EXPECT_EQ(pooling, std::string(name) == "bert" ? Pooling::mean : Pooling::first);
    EXPECT_LT(largest_difference(embed(session, golden.tokens, pooling), golden.embedding), 1e-5) << name;
    const auto raw = embed(session, golden.tokens, Pooling::last, 5, false);
    const auto last = std::span<const float>(golden.states).last(32).first(5);
    EXPECT_LT(largest_difference(raw, last), 2e-5) << name;
  }
}

TEST(Embed, RefusesWhatHasNone) {
  const auto model = Model::load(graph::golden_model_path("bert"));
  Session session = model->make_session(exact());
  const auto refuse = [&](ErrorCode code, const char* part, const std::vector<Token>& text, size_t size = 0) {
    cairn::testing::expect_error(code, part, [&] { embed(session, text, Pooling::mean, size); });
  };
  refuse(ErrorCode::invalid_argument, "an empty text has no embedding", {});
  refuse(ErrorCode::invalid_argument, "dimensions: 33 is not in 0 to 32", {7}, 33);
  refuse(ErrorCode::invalid_argument, "has 65 tokens, the context holds 64", std::vector<Token>(65, 7));
  refuse(ErrorCode::invalid_argument, "token 128 at position 0", {128});
  cairn::testing::expect_error(ErrorCode::unsupported, "architecture 'bert' makes embeddings, no text", [&] {
    session.generate(std::vector<Token>{7, 8}, {});
  });
  EXPECT_EQ(embed(session, std::vector<Token>(64, 7), Pooling::mean).size(), 32u);
}

// Texts of many lengths at once: each is read in one step, whatever else there is.
TEST(Embed, FromASchedulerIsTheSame) {
  const auto model = Model::load(graph::golden_model_path("bert"));
  const auto engine = model->make_engine(exact());
  Scheduler scheduler(engine, model->tokenizer());
  Session session(engine, model->tokenizer());
  std::vector<std::vector<Token>> texts;
  for (size_t length : {3, 64, 40, 1, 63, 17, 64, 9, 30, 64, 2, 50}) {
    texts.emplace_back();
    for (size_t i = 0; i < length; ++i)
      texts.back().push_back(static_cast<Token>(5 + (i * 31 + length) % 120));
  }
  std::vector<Pool> pools(texts.size(), Pool(Pooling::mean, 32));
  std::vector<Scheduler::Ticket> tickets;
  for (size_t i = 0; i < texts.size(); ++i) {
    Request request;
    request.prompt = texts[i];
    request.options.max_tokens = 0;
    request.options.prompt_states = [&pools, i](size_t first, std::span<const float> states) {
      pools[i].add(first, states);
    };
    tickets.push_back(scheduler.submit(std::move(request)));
  }
  for (size_t i = 0; i < texts.size(); ++i) {
    tickets[i].wait();
    EXPECT_EQ(pools[i].result(32), embed(session, texts[i], Pooling::mean)) << i;
  }
}

TEST(RealModelEmbeddings, AreThoseOfSentenceTransformers) {
  const auto model = Model::load(resolve_model("all-minilm-l6-v2"));
  const gguf::File golden(CAIRN_TEST_DATA "/golden_real/all-minilm-l6-v2.golden.gguf");
  const std::vector<float> expected = graph::golden_floats(golden, "embeddings");
  const auto texts = golden.texts("golden.texts");
  Session accurate = model->make_session(exact());
  engine::Options options;
  options.threads = 2;
  Session usual = model->make_session(options);
  double most_exact = 0, most_usual = 0;
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto tokens = model->tokenizer()->encode(texts[i]);
    const auto wanted = std::span<const float>(expected).subspan(i * 384, 384);
    const Pooling pooling = require_pooling(model->file());
    most_exact = std::max(most_exact, largest_difference(embed(accurate, tokens, pooling), wanted));
    most_usual = std::max(most_usual, largest_difference(embed(usual, tokens, pooling), wanted));
  }
  RecordProperty("f32", fmt::format("{:.1e}", most_exact));
  RecordProperty("standard", fmt::format("{:.1e}", most_usual));
  EXPECT_LT(most_exact, 2e-4);  // matrices are rounded to f16
  EXPECT_EQ(most_usual, most_exact);
}

}  // namespace
}  // namespace cairn::llm
