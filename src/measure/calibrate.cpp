#include "measure/calibrate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <optional>
#include <utility>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/interruptible.hpp"
#include "base/sha256.hpp"
#include "base/work_share.hpp"
#include "formats/stack_file.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/kernels.hpp"
#include "measure/calibrate_checkpoint.hpp"
#include "measure/calibrate_cost.hpp"
#include "measure/evaluate.hpp"
#include "quantize/fingerprint.hpp"
#include "quantize/make_scheme.hpp"
#include "quantize/scheme_parts.hpp"

namespace cairn::measure {
namespace {

using quantize::Calibration;
using quantize::Form;
using quantize::kForms;
using quantize::kInputs;
using Windows = std::vector<std::vector<text::Token>>;
using Stage = CalibrateStage;

constexpr size_t kOutlierWindows = 32;  // most windows of the second pass

// Largest |w| of each column over the matrices that read an input.
void read_weight_maxima(const gguf::File& file, const graph::Model& model, ThreadPool& pool,
                        Calibration& calibration) {
  const kernels::Target target = kernels::default_target();
  run_interruptible(pool, model.layers.size() * kInputs, [&](size_t, size_t task) {
    const auto linears = quantize::input_linears(model.layers[task / kInputs])[task % kInputs];
    std::vector<float>& maxima = calibration.layers[task / kInputs][task % kInputs].weight_maxima;
    std::vector<float> row;
    for (const graph::Op* op : linears) {
      const gguf::Tensor& tensor = file.tensor(op->weight);
      const auto& kernels = kernels::kernel_set(target).encoding(tensor.encoding);
      row.resize(tensor.row_elements());
      for (uint64_t r = op->row_begin; r < uint64_t{op->row_begin} + op->rows; ++r) {
        kernels.dequantize(tensor.data.data() + r * tensor.row_bytes(), row.size(), row.data());
        for (size_t c = 0; c < row.size(); ++c) maxima[c] = std::max(maxima[c], std::abs(row[c]));
      }
    }
  });
}

class Calibrator {
 public:
  Calibrator(const llm::Model& model, std::string_view text, const CalibrateOptions& options,
             std::string checkpoint, CalibrateProgress progress)
      : model_(model),
        options_(options),
        pool_(options.threads == 0 ? usable_processors() : options.threads, ThreadPool::Idle::sleep),
        checkpoint_(std::move(checkpoint)),
        progress_(std::move(progress)) {
    if (stack::is_stack(model_.file())) {
      fail(ErrorCode::unsupported,
           "{}: is a stack, whose inputs are rotated and have a scale a token already: calibration is for "
           "other "
           "models",
           model_.file().path());
    }
    graph_ = graph::load(model_.file());
    graph::require_plain(graph_, model_.file().path(), "calibration does");
    cut(text);
    options_.threads = static_cast<uint32_t>(pool_.threads());
    begin();
    plan();
    key_ = key();
  }

  Calibration run() {
    std::optional<Checkpoint> found;
    if (!checkpoint_.empty()) found = Checkpoint::open(checkpoint_, key_);
    if (found && !found->restore(state_)) begin(), found.reset();
    if (state_.stage == Stage::ranges && options_.shares > 1) add_shares();
    if (state_.stage == Stage::ranges) observe<quantize::RangeCollector>(found, "magnitudes");
    if (state_.stage == Stage::outliers) observe<quantize::OutlierCollector>(found, "outliers");
    if (state_.stage == Stage::costs) measure_inputs();
    if (state_.stage == Stage::whole) measure_whole();
    measure_devices();
    std::error_code ignored;
    if (!checkpoint_.empty()) std::filesystem::remove(checkpoint_, ignored);
    for (uint32_t share = 0; options_.shares > 1 && share < options_.shares; ++share)
      std::filesystem::remove(share_path(share), ignored);
    return std::move(state_.calibration);
  }

  std::string gather(uint32_t share) {
    quantize::RangeCollector ranges(state_.calibration.layers.size(), state_.calibration.widths, pool_);
    gather(share, ranges);
    return share_path(share);
  }

 private:
  std::string share_path(uint32_t share) const {
    return fmt::format("{}.share-{}-of-{}", options_.shares_beside, share, options_.shares);
  }

  // Into an empty collector, from the share's file where it is there.
  void gather(uint32_t share, quantize::RangeCollector& ranges) {
    const std::string path = share_path(share),
                      key = fmt::format("{} share {} of {}", key_of_windows(), share, options_.shares);
    CalibrateState found = state_;
    if (auto file = Checkpoint::open(path, key); file && file->restore(found) && file->restore(ranges))
      return;
    quantize::InputOrder order;
    engine::Options options{.context = options_.window,
                            .threads = options_.threads,
                            .chunk = options_.window,
                            .precision = engine::Precision::f32};
    options.observer = [&](uint32_t layer, graph::Slot slot, const float* rows, size_t tokens, size_t) {
      ranges.add(layer, order.next(slot), rows, tokens);
    };
    const auto engine = model_.make_engine(options);
    const auto sequence = engine->make_sequence();
    const size_t begin = windows_.size() * share / options_.shares,
                 end = windows_.size() * (share + 1) / options_.shares;
    for (size_t i = begin; i < end; ++i) {
      progress("magnitudes", i, windows_.size());
      sequence->truncate(0);
      engine->step({sequence.get(), windows_[i]}, interrupted);
    }
    write_checkpoint(path, key, state_, &ranges, nullptr);
  }

  void add_shares() {
    Calibration& c = state_.calibration;
    quantize::RangeCollector all(c.layers.size(), c.widths, pool_);
    for (uint32_t share = 0; share < options_.shares; ++share) {
      quantize::RangeCollector one(c.layers.size(), c.widths, pool_);
      gather(share, one);
      all.add(one);
    }
    all.finish(c);
    advance(Stage::outliers);
  }

  void cut(std::string_view text) {
    const uint32_t context = model_.parameters().context;
    if (options_.window < kCostWindow || options_.window > context) {
      fail(ErrorCode::invalid_argument, "a window of {} tokens: it takes {} to {}, the model's context",
           options_.window, kCostWindow, context);
    }
    const std::shared_ptr<const text::Tokenizer> tokenizer = model_.tokenizer();
    const uint64_t least = uint64_t{kLeastWindows} * options_.window;
    const uint64_t tokens = tokenizer->encode(text).size();
    if (tokens < least) {
      fail(ErrorCode::invalid_argument,
           "the calibration text is too short: {} tokens, at least {} are needed ({} windows of {})", tokens,
           least, kLeastWindows, options_.window);
    }
    windows_ = evaluation_windows(*tokenizer, text, options_.window, options_.windows);
    for (size_t i = 0; i < std::min<size_t>(options_.cost_windows, windows_.size()); ++i) {
      cost_windows_.emplace_back(windows_[i].begin(), windows_[i].begin() + kCostWindow);
    }
  }

  // An empty calibration of the model's shape.
  void begin() {
    state_ = {};
    Calibration& c = state_.calibration;
    c.fingerprint = quantize::model_fingerprint(model_.file());
    c.model = model_.file().text("general.name", "");
    c.tokens = uint64_t{windows_.size()} * options_.window;
    c.window = options_.window;
    for (const gguf::Tensor& tensor : model_.file().tensors()) c.weight_bytes += tensor.data.size();
    const quantize::InputShape shape = quantize::input_shape(graph_);
    c.widths = shape.widths;
    c.outputs = shape.outputs;
    c.cost_skip = options_.float_tokens;
    c.layers.resize(graph_.layers.size());
    for (auto& layer : c.layers) {
      for (size_t i = 0; i < kInputs; ++i) {
        for (auto& basis : layer[i].outliers)
          for (auto& outliers : basis) outliers.counts.resize(c.widths[i]);
        for (auto& maxima : layer[i].channel_maxima) maxima.resize(c.widths[i]);
        layer[i].weight_maxima.resize(c.widths[i]);
        layer[i].costs.fill(std::numeric_limits<float>::quiet_NaN());
      }
    }
    read_weight_maxima(model_.file(), graph_, pool_, c);
  }

  std::string key_of_windows() const {
    Sha256 hash;
    for (const auto& window : windows_) hash.update(std::as_bytes(std::span(window)));
    return fmt::format("{} {} {} {}", state_.calibration.fingerprint, hash.hex(), options_.window,
                       windows_.size());
  }

  std::string key() const {
    return fmt::format("{} {} {} {} {}", key_of_windows(), options_.float_tokens, options_.cost_windows,
                       options_.whole_windows, options_.threads);
  }

  // In tokens that go through the model.
  void plan() {
    const auto window = static_cast<double>(options_.window);
    const size_t whole = std::min<size_t>(options_.whole_windows, windows_.size());
    const bool costs = !cost_windows_.empty();
    work_.expect("magnitudes", window * static_cast<double>(windows_.size()));
    work_.expect("outliers", window * static_cast<double>(std::min(windows_.size(), kOutlierWindows)));
    work_.expect("cost of each input", static_cast<double>(graph_.layers.size() * kInputs * kForms *
                                                           cost_windows_.size() * kCostWindow));
    work_.expect("cost of whole models", costs ? window * static_cast<double>(4 * kForms * whole) : 0);
    work_.expect("time of each subgraph",
                 static_cast<double>(options_.devices.size()) * options_.chunk * options_.chunks * 8);
  }

  void progress(std::string_view stage, uint64_t done, uint64_t total) {
    const double share =
        work_.update(stage, total == 0 ? 1 : static_cast<double>(done) / static_cast<double>(total));
    if (options_.overall) options_.overall(share);
    if (progress_) progress_(stage, done, total);
  }

  void advance(Stage stage) {
    state_.stage = stage;
    state_.done = state_.seen = 0;
  }

  // Runs step(done) until `total` are done; keeps a checkpoint from time to time and when the work ends
  // early.
  template <class Collector, class Step>
  void steps(std::string_view label, uint64_t total, Collector* collector, Step step) {
    const auto save = [&] {
      if (checkpoint_.empty()) return;
      quantize::RangeCollector* ranges = nullptr;
      quantize::OutlierCollector* outliers = nullptr;
      if constexpr (std::is_same_v<Collector, quantize::RangeCollector>) ranges = collector;
      if constexpr (std::is_same_v<Collector, quantize::OutlierCollector>) outliers = collector;
      write_checkpoint(checkpoint_, key_, state_, ranges, outliers);
    };
    Stopwatch since;
    try {
      for (; state_.done < total; ++state_.done) {
        progress(label, state_.done, total);
        if (since.seconds() > options_.checkpoint_seconds) {
          save();
          since.restart();
        }
        step(state_.done);
      }
      progress(label, total, total);
    } catch (const Error& error) {
      if (error.code() == ErrorCode::cancelled) save();
      throw;
    }
  }

  // One pass over all windows; the observer fills the collector.
  template <class Collector>
  void observe(std::optional<Checkpoint>& found, std::string_view label) {
    Calibration& c = state_.calibration;
    std::optional<Collector> collector;
    const auto make = [&] {
      if constexpr (std::is_same_v<Collector, quantize::RangeCollector>) {
        collector.emplace(c.layers.size(), c.widths, pool_);
      } else {
        collector.emplace(c, pool_);
      }
    };
    make();
    if (found && !found->restore(*collector)) {
      state_.done = state_.seen = 0;
      make();
    }
    found.reset();
    quantize::InputOrder order;
    engine::Options options{.context = options_.window,
                            .threads = options_.threads,
                            .chunk = options_.window,
                            .precision = engine::Precision::f32};
    // A window that was interrupted is read again from its beginning, and what was collected of it is passed
    // over.
    uint64_t offered = 0;
    options.observer = [&](uint32_t layer, graph::Slot slot, const float* rows, size_t tokens, size_t) {
      const quantize::Input input = order.next(slot);
      if (offered++ < state_.seen) return;
      collector->add(layer, input, rows, tokens);
      ++state_.seen;
    };
    const auto engine = model_.make_engine(options);
    const auto sequence = engine->make_sequence();
    // Which channels stand out shows on fewer windows than how far.
    const bool all = std::is_same_v<Collector, quantize::RangeCollector>;
    steps(label, all ? windows_.size() : std::min(windows_.size(), kOutlierWindows), &*collector,
          [&](uint64_t i) {
            offered = 0;
            sequence->truncate(0);
            engine->step({sequence.get(), windows_[i]}, interrupted);
            state_.seen = 0;
          });
    collector->finish(c);
    advance(static_cast<Stage>(static_cast<int>(state_.stage) + 1));
  }

  offload::PrefillOptions prefill_options(uint32_t context, uint32_t chunk) const {
    offload::PrefillOptions options;
    options.engine.context = context;
    options.engine.chunk = chunk;
    options.engine.threads = options_.threads;
    options.accelerator.threads = options_.threads;
    options.concurrent = false;
    options.everything = true;
    return options;
  }

  // Each input alone in each form, all others in float.
  void measure_inputs() {
    Calibration& c = state_.calibration;
    if (!cost_windows_.empty()) {
      // The first tokens' own way is in the reference too: costs are the treatment's alone.
      quantize::Scheme untreated = float_scheme(c.layers.size());
      untreated.float_tokens = options_.float_tokens;
      const auto engine = offload::make_prefill_engine(model_.file(), untreated,
                                                       prefill_options(kCostWindow, kCostWindow / 2));
      DivergenceMeter meter(*engine, pool_, cost_windows_);
      c.cost_tokens = static_cast<uint32_t>(meter.positions());
      steps("cost of each input", c.layers.size() * kInputs * kForms, static_cast<void*>(nullptr),
            [&](uint64_t i) {
              const size_t layer = i / kForms / kInputs, input = i / kForms % kInputs;
              quantize::InputRecord& record = c.layers[layer][input];
              quantize::Scheme scheme = untreated;
              scheme.float_tokens = options_.float_tokens;
              scheme.layers[layer][input] =
                  quantize::treatment_of(static_cast<Form>(i % kForms), record, options_.float_tokens);
              engine->set_scheme(scheme);
              record.costs[i % kForms] = static_cast<float>(meter.measure());
            });
    }
    advance(Stage::whole);
  }

  // Whole models in one form, with and without the first tokens in float.
  void measure_whole() {
    Calibration& c = state_.calibration;
    const auto windows = std::span(windows_).first(std::min<size_t>(options_.whole_windows, windows_.size()));
    std::vector<std::pair<Form, uint32_t>> cases;
    for (const uint32_t float_tokens : {0u, options_.float_tokens}) {
      if (!cases.empty() && float_tokens == 0) break;
      for (size_t form = 0; form < kForms; ++form) cases.emplace_back(static_cast<Form>(form), float_tokens);
    }
    if (!windows.empty() && !cost_windows_.empty()) {
      const auto engine = offload::make_prefill_engine(model_.file(), float_scheme(c.layers.size()),
                                                       prefill_options(options_.window, options_.window));
      const auto reference = model_.make_engine({.context = options_.window,
                                                 .threads = options_.threads,
                                                 .chunk = options_.window,
                                                 .precision = engine::Precision::f32});
      steps("cost of whole models", cases.size(), static_cast<void*>(nullptr), [&](uint64_t i) {
        const auto [form, float_tokens] = cases[i];
        quantize::Scheme scheme;
        scheme.float_tokens = float_tokens;
        for (const auto& records : c.layers) {
          auto& layer = scheme.layers.emplace_back();
          for (size_t input = 0; input < kInputs; ++input)
            layer[input] = quantize::treatment_of(form, records[input], float_tokens);
        }
        engine->set_scheme(scheme);
        const auto tell = [&](uint64_t, uint64_t) { progress("cost of whole models", i, cases.size()); };
        const Agreement found = Evaluator(*engine, pool_, tell, interrupted).agreement(*reference, windows);
        c.whole.push_back({form, float_tokens, static_cast<float>(std::max(found.mean_kl, 0.0)),
                           static_cast<float>(found.engine.all / found.reference.all)});
      });
    }
    advance(Stage::times);
  }

  // Subgraphs of a prompt of several chunks, with rotation and with shadow execution, both sides at work.
  void measure_devices() {
    Calibration& c = state_.calibration;
    const uint32_t length = std::min(options_.chunk * options_.chunks, model_.parameters().context);
    std::vector<text::Token> prompt;
    for (const auto& window : windows_) prompt.insert(prompt.end(), window.begin(), window.end());
    prompt.resize(std::min<size_t>(prompt.size(), length));
    const uint32_t chunk = std::min(options_.chunk, static_cast<uint32_t>(prompt.size()));
    for (size_t i = 0; i < options_.devices.size(); ++i) {
      progress("time of each subgraph", i, options_.devices.size());
      std::vector<quantize::Scheme> schemes = {
          quantize::make_scheme(c, {.method = quantize::Method::shadow}),
          quantize::make_scheme(c, {.method = quantize::Method::rotation})};
      offload::PrefillOptions options = prefill_options(static_cast<uint32_t>(prompt.size()), chunk);
      options.device = options_.devices[i];
      options.accelerator.threads = std::max(1u, options_.threads / 2);
      options.concurrent = true;
      options.everything = false;
      c.times.push_back(measure_times(model_.file(), options, schemes,
                                      static_cast<uint32_t>(prompt.size()) / chunk, prompt));
    }
    if (!options_.devices.empty()) progress("time of each subgraph", 1, 1);
  }

  const llm::Model& model_;
  CalibrateOptions options_;
  ThreadPool pool_;
  std::string checkpoint_, key_;
  CalibrateProgress progress_;
  WorkShare work_;
  Windows windows_, cost_windows_;
  graph::Model graph_;
  CalibrateState state_;
};

}  // namespace

std::string gather_share(const llm::Model& model, std::string_view text, const CalibrateOptions& options,
                         uint32_t share, const CalibrateProgress& progress) {
  if (share >= options.shares)
    fail(ErrorCode::invalid_argument, "no share {}: they are 0 … {}", share, options.shares - 1);
  return Calibrator(model, text, options, {}, progress).gather(share);
}

Calibration calibrate(const llm::Model& model, std::string_view text, const CalibrateOptions& options,
                      const std::string& checkpoint, const CalibrateProgress& progress) {
  return Calibrator(model, text, options, checkpoint, progress).run();
}

}  // namespace cairn::measure
