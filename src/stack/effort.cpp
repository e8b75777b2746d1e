#include "stack/effort.hpp"

#include <algorithm>
#include <cmath>

#include "base/clock.hpp"
#include "base/interrupt.hpp"
#include "stack/table_samples.hpp"

namespace cairn::stack {
namespace {

// What a multiplication costs, one of a forward pass as unit: of the passes for importance and tuning, of
// moments, of codes; and the choice of a weight's code, in multiplications. Of an AVX2 machine; what another
// one makes of them shows while it runs.
constexpr double kBackward = 10, kMoments = 1, kProduct = 2, kChoice = 3400, kTuning = 3,
                 kDecomposition = 120;

// Codes of a weight in a row of `width`, by products with the moments: to begin with, of a pass, of the first
// sweep and of each.
double codes_cost(double passes, double sweeps, double width) {
  const double products = 0.5 + kPlanes * (passes / 2 + sweeps) + (sweeps > 0 ? kPlanes + 1 : 0);
  return kProduct * (products * width + (passes + sweeps) * kChoice);
}

// Of a weight that tables are fitted to: half of the rounds are passes, the others first sweeps.
double tables_cost(double rounds, double width) {
  return codes_cost(rounds / 2, 0, width) + rounds / 2 * codes_cost(0, 1, width);
}

}  // namespace

bool fits_tables(const EncodeOptions& options, size_t windows) {
  return options.codec == Codec::planes && windows > 0 && options.fit.table_rounds > 0;
}

Effort::Effort(const EncodeOptions& options, std::span<const Source> sources, size_t linears,
               const Text& text)
    : options_(options),
      sources_(sources.size()),
      linears_(linears),
      windows_(text.windows),
      passes_(std::ceil(static_cast<double>(text.layers) / text.layers_of_pass)) {
  const auto tokens = static_cast<double>(options.window), windows = static_cast<double>(windows_);
  double parameters = 0, moments = 0, tables = 0;
  for (size_t i = 0; i < sources.size(); ++i) {
    const gguf::Tensor& tensor = *sources[i].tensor;
    const auto elements = static_cast<double>(tensor.elements());
    parameters += elements;
    const auto width = static_cast<double>(tensor.row_elements());
    const auto sampled = static_cast<double>(std::min<uint64_t>(tensor.rows(), kSampledRows));
    if (i < linears) {
      linear_parameters_ += elements;
      tables += sampled * width * tables_cost(options.fit.table_rounds, width);
    }
    codes_.push_back(codes_.back() + elements * codes_cost(options.fit.passes, options.fit.sweeps, width));
  }
  for (const uint32_t width : input_widths(sources)) moments += static_cast<double>(width) * width;
  moments *= static_cast<double>(text.layers);
  const size_t measured = std::min<size_t>(options.importance_windows, windows_);
  work_.expect("importance", kBackward * static_cast<double>(measured) * tokens * parameters);
  const bool fits = fits_tables(options, windows_);
  const double share = std::min(1.0, static_cast<double>(kSampledLayers) / static_cast<double>(text.layers));
  work_.expect("moments for tables",
               fits ? static_cast<double>(std::min(kTableWindows, windows_)) * tokens * parameters : 0);
  work_.expect("tables", fits ? tables * share : 0);
  work_.expect("second moments", windows * tokens * (parameters + kMoments * moments));
  const bool planes = options.codec == Codec::planes;
  work_.expect("codes", planes ? codes_.back() : 0);
  work_.expect(
      "decomposition",
      planes ? 0 : kDecomposition * options.avd.levels * options.avd.iterations * kAvdRank * parameters);
  work_.expect("tuning", kTuning * options.tune.steps * options.tune.batch * tokens * parameters);
}

double Effort::skip(size_t records) {
  const auto take = [&](bool made, std::string_view stage) {
    if (!made || records > 0) work_.update(stage, 1);
    if (made && records > 0) --records;
  };
  take(options_.importance_windows > 0 && windows_ > 0, "importance");
  const bool tables = fits_tables(options_, windows_);
  if (!tables || records > 0) work_.update("moments for tables", 1);
  take(tables, "tables");
  const size_t pieces = std::min(records, sources_);
  work_.update("codes", codes_[pieces] / codes_.back());
  work_.update("decomposition", static_cast<double>(pieces) / static_cast<double>(sources_));
  passes_done_ =
      std::floor(passes_ * static_cast<double>(std::min(pieces, linears_)) / static_cast<double>(linears_));
  return work_.update("second moments", passes_done_ / passes_);
}

double Effort::update(std::string_view stage, uint64_t done, uint64_t total) {
  double part = total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total);
  if (stage == "codes") part = codes_[done] / codes_.back();
  if (stage == "second moments") part = (passes_done_ + part) / passes_;
  return work_.update(stage, part);
}

double Effort::seconds_left(const llm::Model& model) const {
  const auto tokens =
      static_cast<uint32_t>(std::clamp(2e10 / linear_parameters_, 16.0, 128.0));  // a second or two at most
  const auto engine = model.make_engine({.context = tokens, .threads = options_.threads, .chunk = tokens});
  const auto sequence = engine->make_sequence();
  const std::vector<text::Token> text(tokens);
  engine->step({sequence.get(), text}, interrupted);  // reads the weights
  sequence->truncate(0);
  const Stopwatch watch;
  engine->step({sequence.get(), text}, interrupted);
  return work_.left() * watch.seconds() / tokens / linear_parameters_;
}

}  // namespace cairn::stack
