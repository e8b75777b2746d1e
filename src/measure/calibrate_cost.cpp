#include "measure/calibrate_cost.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "base/error.hpp"
#include "base/interruptible.hpp"
#include "measure/median.hpp"

namespace cairn::measure {

quantize::Scheme float_scheme(size_t layers) {
  quantize::Scheme scheme;
  scheme.name = "float";
  scheme.layers.resize(layers);
  quantize::Treatment untreated;
  untreated.float_product = true;
  for (auto& layer : scheme.layers) layer.fill(untreated);
  return scheme;
}

DivergenceMeter::DivergenceMeter(offload::PrefillEngine& engine, ThreadPool& pool,
                                 std::span<const std::vector<text::Token>> windows)
    : engine_(engine), pool_(pool), windows_(windows), vocabulary_(engine.model().parameters.vocabulary) {
  constexpr size_t kBytes = size_t{128} << 20;
  rows_ = std::clamp<size_t>(kBytes / (sizeof(float) * vocabulary_ * windows.size()), 1,
                             windows.front().size() / 2);
  reference_.resize(windows.size() * rows_ * vocabulary_);
  summaries_.resize(windows.size() * rows_);
  for (size_t w = 0; w < windows.size(); ++w) run(windows[w], reference_.data() + w * rows_ * vocabulary_);
  run_interruptible(pool_, summaries_.size(), [&](size_t, size_t row) {
    summaries_[row] = summarize(std::span(reference_).subspan(row * vocabulary_, vocabulary_));
  });
}

void DivergenceMeter::run(std::span<const text::Token> window, float* logits) {
  const size_t before = window.size() - rows_, chunk = engine_.chunk();
  const auto sequence = engine_.make_sequence();
  for (size_t begin = 0; begin < window.size();) {
    const bool wanted = begin >= before;
    const size_t end = std::min({begin + chunk, wanted ? window.size() : before});
    engine_.step({sequence.get(), window.subspan(begin, end - begin),
                  wanted ? engine::Logits::all : engine::Logits::none,
                  wanted ? logits + (begin - before) * vocabulary_ : nullptr},
                 interrupted);
    begin = end;
  }
}

double DivergenceMeter::measure() {
  std::vector<float> logits(rows_ * vocabulary_);
  double total = 0;
  for (size_t w = 0; w < windows_.size(); ++w) {
    run(windows_[w], logits.data());
    std::vector<double> divergences(rows_);
    run_interruptible(pool_, rows_, [&](size_t, size_t row) {
      const auto q = std::span<const float>(logits).subspan(row * vocabulary_, vocabulary_);
      const size_t at = w * rows_ + row;
      const auto p = std::span<const float>(reference_).subspan(at * vocabulary_, vocabulary_);
      divergences[row] = kl_divergence(p, summaries_[at], q, summarize(q));
    });
    for (const double divergence : divergences) total += divergence;
  }
  const double mean = total / static_cast<double>(positions());
  if (!std::isfinite(mean)) fail(ErrorCode::numeric, "NaN or infinity in the logits");
  return std::max(mean, 0.0);
}

quantize::DeviceTimes measure_times(const gguf::File& file, const offload::PrefillOptions& options,
                                    std::span<const quantize::Scheme> schemes, uint32_t chunks,
                                    std::span<const text::Token> tokens) {
  constexpr int kRounds = 3;
  std::map<offload::TaskKind, std::vector<std::vector<double>>> seconds;  // [kind][chunk]
  const auto engine = offload::make_prefill_engine(file, schemes.front(), options);
  const auto sequence = engine->make_sequence();
  for (const quantize::Scheme& scheme : schemes) {
    engine->set_scheme(scheme);
    for (int round = 0; round <= kRounds; ++round) {
      const uint32_t most = engine->chunk();
      sequence->truncate(0);
      for (uint32_t begin = 0; begin < tokens.size(); begin += most) {
        const auto part = tokens.subspan(begin, std::min<size_t>(most, tokens.size() - begin));
        engine->step({sequence.get(), part}, interrupted);
      }
      if (round == 0) continue;  // cold
      for (const offload::Event& event : engine->timeline().events) {
        if (event.chunk >= chunks) continue;
        auto& of_kind = seconds[event.kind];
        of_kind.resize(chunks);
        of_kind[event.chunk].push_back(event.end - event.begin);
      }
    }
  }
  quantize::DeviceTimes times{options.device, options.engine.chunk, chunks, options.engine.threads, {}, {}};
  for (auto& [kind, by_chunk] : seconds) {
    times.kinds.emplace_back(offload::name(kind));
    for (std::vector<double>& all : by_chunk)
      times.seconds.push_back(all.empty() ? 0 : static_cast<float>(median(std::move(all))));
  }
  return times;
}

}  // namespace cairn::measure
