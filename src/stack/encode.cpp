#include "stack/encode.hpp"

#include <fmt/format.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/sha256.hpp"
#include "base/unfinished_file.hpp"
#include "measure/evaluate.hpp"
#include "quantize/fingerprint.hpp"
#include "stack/distillation.hpp"
#include "stack/effort.hpp"
#include "stack/fit_tables.hpp"
#include "stack/moments.hpp"
#include "stack/piece.hpp"
#include "stack/sources.hpp"
#include "stack/spool.hpp"
#include "stack/statistics.hpp"
#include "stack/table_samples.hpp"
#include "stack/tune.hpp"
#include "stack/tune_states.hpp"

namespace cairn::stack {
namespace {

// A block is at most this share of what the matrices take at 3 bits, and at most kMostBlock bytes.
constexpr double kMostShare = 0.0005;
constexpr uint32_t kTuneStates = 8;  // states of the tuner that are kept on the way
constexpr double kTellBits = 3;      // at which what tuning gained is told
constexpr uint64_t kMostBlock = 64 << 10, kLeastBlock = 2 << 10;

// What the header says of a block (its matrix, group, level, checksum and loss) and of a row.
constexpr uint64_t kEntryBytes = 4 + 4 + 1 + 8 + 4, kRowBytes = 4;

// Of the first `levels` levels and what the header says of them.
uint64_t stacked_bytes(Codec codec, std::span<const Source> sources, uint32_t levels, uint64_t most_block) {
  uint64_t bytes = 0;
  for (const Source& source : sources) {
    const Matrix matrix = new_piece(codec, levels, *source.tensor, most_block).matrix;
    bytes += kRowBytes * matrix.rows;
    for (uint32_t group = 0; group < matrix.groups(); ++group) {
      for (uint32_t level = 1; level <= levels; ++level)
        bytes += padded(block_bytes(matrix, codec, group, static_cast<uint8_t>(level))) + kEntryBytes;
    }
  }
  return bytes;
}

uint64_t header_bytes(const Layout& layout) {
  uint64_t bytes = kEntryBytes * layout.blocks.size();
  for (const Matrix& matrix : layout.matrices) bytes += kRowBytes * matrix.rows;
  return bytes;
}

class Encoder {
 public:
  Encoder(const llm::Model& model, std::string_view text, const EncodeOptions& options,
          const std::string& path, const EncodeProgress& progress)
      : model_(model),
        options_(options),
        path_(path),
        progress_(progress),
        pool_(options.threads == 0 ? usable_processors() : options.threads, ThreadPool::Idle::sleep),
        graph_(checked_graph(model.file())),
        sources_(linear_sources(model.file(), graph_)),
        tables_(gaussian_tables()) {
    if (sources_.empty())
      fail(ErrorCode::invalid_argument, "{}: has no matrix to stack", model.file().path());
    if (options.window == 0 || options.window % 64 != 0)
      fail(ErrorCode::invalid_argument, "a window of {} tokens is no multiple of 64", options.window);
    if (options.windows > 0)
      windows_ = measure::evaluation_windows(*model.tokenizer(), text, options.window, options.windows);
    if (options.tune.steps > 0 && (options.codec != Codec::planes || text.empty()))
      fail(ErrorCode::invalid_argument, "scales are tuned on a text, and only those of planes");
    if (options.tune.steps > 0)
      tune_windows_ =
          measure::evaluation_windows(*model.tokenizer(), text, options.window, options.tune.windows);
    if (options.tune.steps > 0) check_tuning(options.tune.on);  // before hours of other work
    uint64_t parameters = 0;
    for (const Source& source : sources_) parameters += source.tensor->elements();
    linears_ = sources_.size();
    for (const Source& source : stacked_vocabulary(parameters)) {
      sources_.push_back(source);
      parameters += source.tensor->elements();
    }
    most_bytes_ = most_bytes(parameters);
    statistics_.emplace(
        TextStatistics::Job{model_, graph_, sources_, windows_, options_, path_, key()}, pool_,
        [this](std::string_view stage, uint64_t done, uint64_t total) { this->progress(stage, done, total); },
        [this] { effort_->finish_pass(); });
    effort_.emplace(options_, sources_, linears_,
                    Effort::Text{windows_.size(), graph_.layers.size(), layers_of_pass()});
  }

  void gather(uint32_t share) { statistics_->gather(share); }

  EncodeReport run() {
    statistics_->gather_all();
    Spool spool(partial_path(path_, "stack"), key());
    EncodeReport report{.matrices = sources_.size()};
    const double done = effort_->skip(spool.size());
    if (options_.overall) options_.overall(done);
    if (options_.estimate) options_.estimate({effort_->seconds_left(model_), expected_bytes()});
    measure(spool);
    if (fits_tables(options_, windows_.size())) make_tables(spool);
    while (first_record_ + pieces_.size() < spool.size() && pieces_.size() < sources_.size()) {
      resume(spool);
      ++report.resumed;
    }
    if (options_.codec == Codec::avd && pieces_.size() < sources_.size()) decompose(spool);
    while (pieces_.size() < linears_) fit_layers(spool);
    while (pieces_.size() < sources_.size()) fit_vocabulary(spool);
    Layout layout = arrange(pieces_);
    layout.tables = tables_.integers;
    keep_within_source(layout);
    report.blocks = layout.blocks.size();
    const BlockSource read = [&](size_t index, std::span<std::byte> out) {
      const Block& block = layout.blocks[index];
      spool.read(first_record_ + block.matrix, pieces_[block.matrix].block_offset(block.group, block.level),
                 out);
    };
    if (options_.tune.steps > 0)
      tune(spool, layout, read, report);
    else
      write(layout, read);
    const gguf::File written(path_);
    layout = read_layout(written);
    report.linear_bytes = layout.linear_bytes(layout.blocks.size());
    report.file_bytes = written.file_bytes();
    if (std::getenv("XKEEP") == nullptr) spool.remove();  // EXPERIMENT
    statistics_->remove_shares();
    return report;
  }

 private:
  static graph::Model checked_graph(const gguf::File& file) {
    if (is_stack(file)) fail(ErrorCode::invalid_argument, "{}: is a stack already", file.path());
    graph::Model graph = graph::load(file);
    graph::require_plain(graph, file.path(), "stacks do");
    return graph;
  }

  static uint64_t most_bytes(uint64_t parameters) {
    return std::clamp(static_cast<uint64_t>(kMostShare * 3 / 8 * static_cast<double>(parameters)),
                      kLeastBlock, kMostBlock);
  }

  // What the file holds besides the tensors stacked.
  uint64_t rest_bytes(std::span<const Source> stacked) const {
    uint64_t bytes = model_.file().file_bytes();
    for (const Source& source : stacked) bytes -= source.tensor->data.size();
    return bytes;
  }

  // The last blocks, of the least gain for each byte, are left out where the stack would be larger than its
  // source.
  void keep_within_source(Layout& layout) const {
    if (options_.codec != Codec::planes || options_.exact || options_.embeddings != Embeddings::automatic)
      return;
    uint64_t bytes = rest_bytes(sources_) + header_bytes(layout);
    for (const Block& block : layout.blocks) bytes += padded(block.bytes);
    size_t base = 0;
    for (const Matrix& matrix : layout.matrices) base += matrix.groups();
    while (bytes > model_.file().file_bytes() && layout.blocks.size() > base) {
      bytes -= padded(layout.blocks.back().bytes) + kEntryBytes;
      layout.blocks.pop_back();
    }
  }

  // linears: parameters of the layers' matrices.
  std::vector<Source> stacked_vocabulary(uint64_t linears) const {
    if (options_.codec != Codec::planes || options_.embeddings == Embeddings::keep) return {};
    std::vector<Source> found = vocabulary_sources(model_.file(), graph_);
    if (options_.embeddings == Embeddings::planes || found.empty()) return found;
    uint64_t bytes = 0, parameters = linears;
    for (const Source& source : found) {
      bytes += source.tensor->data.size();
      parameters += source.tensor->elements();
    }
    const uint64_t planes =
        rest_bytes(sources_) + stacked_bytes(Codec::planes, sources_, kPlanes, most_bytes(parameters));
    const bool fits = options_.exact || planes <= model_.file().file_bytes();
    if (fits && bytes <= linears * 3 / 8) found.clear();
    return found;
  }

  uint64_t expected_bytes() const {
    const bool planes = options_.codec == Codec::planes;
    const uint64_t bytes =
        rest_bytes(sources_) + stacked_bytes(options_.codec, sources_, levels(), most_bytes_);
    const bool limited = planes && !options_.exact && options_.embeddings == Embeddings::automatic;
    return limited ? std::min(bytes, model_.file().file_bytes()) : bytes;
  }

  void progress(std::string_view stage, uint64_t done, uint64_t total) {
    const double share = effort_->update(stage, done, total);
    if (options_.overall) options_.overall(share);
    if (progress_) progress_(stage, done, total);
  }

  std::string key() const {
    Sha256 hash;
    for (const auto& window : windows_) hash.update(std::as_bytes(std::span(window)));
    const FitOptions& fit = options_.fit;
    std::string numbers =
        fmt::format("{} {} {} {} {} {} {} {} {} tokens weighed", static_cast<int>(options_.codec),
                    options_.avd.levels, options_.avd.iterations, fit.passes, fit.sweeps, fit.table_rounds,
                    options_.exact, most_bytes_, options_.importance_windows);
    if (linears_ < sources_.size()) numbers += " vocabulary";
    if (options_.shares > 1) numbers += fmt::format(" by {} shares", options_.shares);
    for (const float weight : fit.weights) numbers += fmt::format(" {}", weight);
    return fmt::format("{} {} {}", quantize::model_fingerprint(model_.file()), hash.hex(), numbers);
  }

  Piece empty_piece(const Source& source) const {
    return new_piece(options_.codec, levels(), *source.tensor, most_bytes_);
  }
  uint32_t levels() const {
    if (options_.codec == Codec::avd) return options_.avd.levels;
    return options_.exact ? kPlanes + 1u : kPlanes;
  }

  void finish(Spool& spool, std::span<const std::byte> record, Piece piece) {
    spool.append(record);
    pieces_.push_back(std::move(piece));
  }

  // What an error of each row costs, and in which directions for rows of the vocabulary: the spool's first
  // record.
  void measure(Spool& spool) {
    for (const Source& source : sources_) importance_.emplace_back(source.tensor->rows(), 1.0f);
    if (statistics_->importance_windows() == 0) return;
    for (size_t s = linears_; s < sources_.size(); ++s) {
      const size_t width = sources_[s].tensor->row_elements();
      vocabulary_moments_.emplace_back(width * width);
    }
    first_record_ = 1;
    if (spool.size() == 0) {
      const CostSums sums = statistics_->costs();
      std::vector<float> numbers = sums.tokens().weights();
      const std::vector<float> costs = sums.costs(windows_);
      numbers.insert(numbers.end(), costs.begin(), costs.end());
      spool.append(std::as_bytes(std::span(numbers)));
    }
    std::vector<float> weights(TokenWeights(graph_.layers.size()).count());
    spool.read(0, 0, std::as_writable_bytes(std::span(weights)));
    uint64_t offset = weights.size() * sizeof(float);
    statistics_->weigh_by(std::move(weights));
    for (auto* part : {&importance_, &vocabulary_moments_}) {
      for (std::vector<float>& numbers : *part) {
        const auto bytes = std::as_writable_bytes(std::span(numbers));
        spool.read(0, offset, bytes);
        offset += bytes.size();
      }
    }
  }

  void resume(const Spool& spool) {
    Piece piece = empty_piece(sources_[pieces_.size()]);
    std::vector<std::byte> head(piece.head_bytes());
    spool.read(first_record_ + pieces_.size(), 0, head);
    piece.read(head);
    pieces_.push_back(std::move(piece));
  }

  // The spool's next record.
  void make_tables(Spool& spool) {
    const size_t record = first_record_++;
    if (spool.size() == record) {
      const auto observe_some = [&](const ObserveInputs& add) {
        statistics_->observe("moments for tables", {0, std::min(kTableWindows, windows_.size())},
                             statistics_->weighted(add));
      };
      const auto samples =
          table_samples(sources_, importance_, graph_.layers.size(), observe_some, pool_,
                        [&](uint64_t done, uint64_t total) { progress("factors for tables", done, total); });
      const auto told = [&](uint64_t done, uint64_t total) { progress("tables", done, total); };
      spool.append(table_bytes(fit_tables(samples, tables_, options_.fit, pool_, told)));
    }
    std::vector<std::byte> bytes(spool.bytes(record));
    spool.read(record, 0, bytes);
    set_tables(bytes, tables_);
  }

  uint32_t layers_of_pass() const {
    return TextStatistics::layers_of_pass(options_, sources_, graph_.layers.size());
  }

  void fit_layers(Spool& spool) {
    const uint32_t first = sources_[pieces_.size()].layer;
    const auto layers = std::min(layers_of_pass(), static_cast<uint32_t>(graph_.layers.size()) - first);
    MomentCollector moments = statistics_->moments(first, layers);
    Factors factors;
    std::pair<uint32_t, quantize::Input> of = {~0u, quantize::Input::count};
    while (pieces_.size() < linears_ && sources_[pieces_.size()].layer < first + layers) {
      const Source& source = sources_[pieces_.size()];
      if (of != std::pair(source.layer, source.input)) {
        of = {source.layer, source.input};
        factors = factors_of(moments, source);
      }
      fit_next(factors, spool);
    }
  }

  void fit_next(const Factors& factors, Spool& spool) {
    progress("codes", pieces_.size(), sources_.size());
    const Source& source = sources_[pieces_.size()];
    const std::vector<float> weights = read_matrix(*source.tensor, true, pool_);
    Piece piece = empty_piece(source);
    const Matrix& m = piece.matrix;
    std::optional<Spool> parts;  // of a matrix that takes long
    if (m.rows > rows_of_part(m.columns, pool_.threads()))
      parts.emplace(partial_path(path_, "stack-rows"),
                    fmt::format("{} {} {}", key(), pieces_.size(), pool_.threads()));
    const FittedMatrix fitted = fit_matrix(weights, m.rows, m.columns, factors, tables_, options_.fit, pool_,
                                           parts ? &*parts : nullptr);
    const auto record = make_piece(fitted, importance_[pieces_.size()], *source.tensor, piece);
    finish(spool, record, std::move(piece));
    if (parts) parts->remove();
    progress("codes", pieces_.size(), sources_.size());
  }

  void fit_vocabulary(Spool& spool) {
    const size_t width = sources_[pieces_.size()].tensor->row_elements();
    fit_next(vocabulary_moments_.empty()
                 ? identity_factors(width)
                 : factorize(std::move(vocabulary_moments_[pieces_.size() - linears_]), width, pool_),
             spool);
  }

  // BitStack leaves the attention's output unscaled where v and o differ in shape (grouped queries), since it
  // folds scales into v.
  void decompose(Spool& spool) {
    const bool scale_output = graph_.parameters.heads == graph_.parameters.kv_heads;
    ChannelCollector channels(graph_.layers.size(), input_widths(sources_));
    statistics_->observe("channel scales", {0, windows_.size()},
                         [&](auto... input) { channels.add(input...); });
    while (pieces_.size() < sources_.size()) {
      const Source& source = sources_[pieces_.size()];
      progress("decomposition", pieces_.size(), sources_.size());
      Piece piece = empty_piece(source);
      std::vector<float> scales;
      double unit = 1;
      if (!windows_.empty() && (scale_output || source.input != quantize::Input::attention_output)) {
        scales = channels.scales(source.layer, source.input);
        unit = channels.mean(source.layer, source.input);
      }
      std::vector<double> losses;
      const auto blocks = avd_blocks(read_matrix(*source.tensor, false, pool_), piece.matrix.rows,
                                     piece.matrix.columns, scales, options_.avd, pool_, losses);
      double worth = 0;
      for (const float row : importance_[pieces_.size()])
        worth += 0.5 * static_cast<double>(row) * unit * unit / piece.matrix.rows;
      const auto record = make_piece(blocks, losses, worth, piece);
      finish(spool, record, std::move(piece));
    }
  }

  Factors factors_of(MomentCollector& moments, const Source& source) {
    const size_t width = source.tensor->row_elements();
    if (!windows_.empty()) return factorize(moments.take(source.layer, source.input), width, pool_);
    return identity_factors(width);
  }

  // The spool's further records are states of the tuner.
  void tune(Spool& spool, Layout& layout, const BlockSource& read, EncodeReport& report) {
    ScaleTuner tuner(model_.file(), graph_, layout, read, tune_windows_, options_.tune,
                     static_cast<uint32_t>(pool_.threads()));
    report.loss_before = tuner.measure(kTellBits, options_.tune.batch);
    const std::string made_with = tune_key(tune_windows_, options_.tune);
    restore_state(spool, first_record_ + sources_.size(), made_with, tuner);
    const uint32_t steps = options_.tune.steps, kept = std::max(steps / kTuneStates, 1u);
    while (tuner.steps() < steps) {
      try {
        tuner.advance([&] {
          throw_if_interrupted();
          progress("tuning", tuner.steps(), steps);
        });
      } catch (const Error& error) {  // the steps before it are whole
        if (error.code() == ErrorCode::cancelled) keep_state(tuner, made_with, spool);
        throw;
      }
      if (tuner.steps() % kept == 0 || tuner.steps() == steps) keep_state(tuner, made_with, spool);
    }
    report.loss_after = tuner.measure(kTellBits, options_.tune.batch);
    progress("tuning", steps, steps);
    const BlockSource tuned = [&](size_t index, std::span<std::byte> out) {
      read(index, out);
      tuner.apply(layout.blocks[index], out);
    };
    std::vector<std::byte> bytes;
    for (size_t i = 0; i < layout.blocks.size(); ++i) {
      bytes.resize(layout.blocks[i].bytes);
      tuned(i, bytes);
      layout.blocks[i].checksum = XXH3_64bits(bytes.data(), bytes.size());
    }
    write(layout, tuned);
  }

  void write(const Layout& layout, const BlockSource& read) {
    std::vector<const gguf::Tensor*> tensors;
    for (const gguf::Tensor& tensor : model_.file().tensors()) {
      const bool stacked = std::any_of(sources_.begin(), sources_.end(),
                                       [&](const Source& source) { return source.tensor == &tensor; });
      if (!stacked) tensors.push_back(&tensor);
    }
    write_stack(path_, model_.file(), tensors, layout, read,
                [&](uint64_t done, uint64_t total) { progress("writing", done, total); });
  }

  const llm::Model& model_;
  const EncodeOptions& options_;
  const std::string path_;
  const EncodeProgress& progress_;
  ThreadPool pool_;
  graph::Model graph_;
  std::vector<Source> sources_;  // the layers' matrices, then what of the vocabulary is stacked
  size_t linears_ = 0;           // of them are layers' matrices
  Tables tables_;
  std::vector<std::vector<text::Token>> windows_, tune_windows_;
  uint64_t most_bytes_ = 0;
  std::vector<std::vector<float>> importance_;          // [source][row]
  std::vector<std::vector<float>> vocabulary_moments_;  // [source after linears_][width][width]
  size_t first_record_ = 0;                             // of the pieces in the spool
  std::vector<Piece> pieces_;                           // of the first sources
  std::optional<TextStatistics> statistics_;
  std::optional<Effort> effort_;
};

}  // namespace

std::string gather_share(const llm::Model& model, std::string_view text, const EncodeOptions& options,
                         const std::string& path, uint32_t share, const EncodeProgress& progress) {
  if (share >= options.shares || options.windows == 0)
    fail(ErrorCode::invalid_argument, "no share {}: they are 0 … {}, of a text", share, options.shares - 1);
  Encoder(model, text, options, path, progress).gather(share);
  return share_path(path, share, options.shares);
}

EncodeReport encode_stack(const llm::Model& model, std::string_view text, const EncodeOptions& options,
                          const std::string& path, const EncodeProgress& progress) {
  return Encoder(model, text, options, path, progress).run();
}

}  // namespace cairn::stack
