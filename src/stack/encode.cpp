#include "stack/encode.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/error.hpp"
#include "base/sha256.hpp"
#include "llm/evaluate.hpp"
#include "quantize/collector.hpp"
#include "quantize/fingerprint.hpp"
#include "stack/moments.hpp"
#include "stack/order.hpp"
#include "stack/piece.hpp"
#include "stack/sources.hpp"
#include "stack/spool.hpp"

namespace cairn::stack {
namespace {

// A block is at most this share of what the matrices take at 3 bits, and at most kMostBlock bytes.
constexpr double kMostShare = 0.0005;
constexpr uint64_t kMostBlock = 64 << 10, kLeastBlock = 2 << 10;

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
    if (options.windows > 0)
      windows_ = llm::evaluation_windows(*model.tokenizer(), text, options.window, options.windows);
    uint64_t parameters = 0;
    for (const Source& source : sources_) parameters += source.tensor->elements();
    most_bytes_ = std::clamp(static_cast<uint64_t>(kMostShare * 3 / 8 * static_cast<double>(parameters)),
                             kLeastBlock, kMostBlock);
  }

  EncodeReport run() {
    Spool spool(path_ + ".partial", key());
    EncodeReport report{sources_.size(), 0, 0, 0, 0};
    for (; pieces_.size() < spool.size() && pieces_.size() < sources_.size(); ++report.resumed) resume(spool);
    while (pieces_.size() < sources_.size()) fit_layers(spool);
    Layout layout = arrange();
    report.blocks = layout.blocks.size();
    write(spool, layout);
    const gguf::File written(path_);
    layout = read_layout(written);
    report.linear_bytes = layout.linear_bytes(layout.blocks.size());
    report.file_bytes = written.file_bytes();
    spool.remove();
    return report;
  }

 private:
  static graph::Model checked_graph(const gguf::File& file) {
    if (is_stack(file)) fail(ErrorCode::invalid_argument, "{}: is a stack already", file.path());
    return graph::load(file);
  }

  void progress(std::string_view stage, uint64_t done, uint64_t total) const {
    if (progress_) progress_(stage, done, total);
  }

  std::string key() const {
    Sha256 hash;
    for (const auto& window : windows_) hash.update(std::as_bytes(std::span(window)));
    const FitOptions& fit = options_.fit;
    std::string numbers = fmt::format("{} {} {} {} {} {}", fit.first, fit.joint, fit.passes, fit.sweeps,
                                      options_.exact, most_bytes_);
    for (const float weight : fit.weights) numbers += fmt::format(" {}", weight);
    return fmt::format("{} {} {}", quantize::model_fingerprint(model_.file()), hash.hex(), numbers);
  }

  Piece empty_piece(const Source& source) const {
    Piece piece;
    const auto rows = static_cast<uint32_t>(source.tensor->rows());
    const auto columns = static_cast<uint32_t>(source.tensor->row_elements());
    piece.matrix = {
        std::string(source.tensor->name), rows, columns, choose_group_rows(rows, columns, most_bytes_), true,
        source.tensor->encoding,          {}};
    piece.levels = options_.exact ? kExact : kPlanes;
    return piece;
  }

  void resume(const Spool& spool) {
    Piece piece = empty_piece(sources_[pieces_.size()]);
    piece.record = pieces_.size();
    std::vector<std::byte> head(piece_head_bytes(piece.matrix, piece.levels));
    spool.read(piece.record, 0, head);
    read_piece(head, piece);
    pieces_.push_back(std::move(piece));
  }

  // The next layers whose moments fit the memory allowed.
  void fit_layers(Spool& spool) {
    const uint32_t first = sources_[pieces_.size()].layer;
    const auto widths = input_widths(sources_);
    const uint64_t fit = options_.moment_bytes / std::max<uint64_t>(MomentCollector::bytes(widths), 1);
    const auto layers =
        static_cast<uint32_t>(std::min<uint64_t>(std::max<uint64_t>(fit, 1), graph_.layers.size() - first));
    MomentCollector moments(first, windows_.empty() ? 0 : layers, widths, pool_);
    if (!windows_.empty()) observe(moments);
    Factors factors;
    std::pair<uint32_t, quantize::Input> of = {~0u, quantize::Input::count};
    while (pieces_.size() < sources_.size() && sources_[pieces_.size()].layer < first + layers) {
      const Source& source = sources_[pieces_.size()];
      progress("codes", pieces_.size(), sources_.size());
      if (of != std::pair(source.layer, source.input)) {
        of = {source.layer, source.input};
        factors = factors_of(moments, source);
      }
      const auto columns = static_cast<uint32_t>(source.tensor->row_elements());
      const auto rows = static_cast<uint32_t>(source.tensor->rows());
      const FittedMatrix fitted = fit_matrix(read_matrix(*source.tensor, true, pool_), rows, columns, factors,
                                             tables_, options_.fit, pool_);
      const std::vector<float> importance(rows, 1.0f);
      Piece piece = empty_piece(source);
      piece.record = pieces_.size();
      spool.append(
          make_piece(fitted, importance, *source.tensor, piece.matrix.rows_per_group, options_.exact, piece));
      pieces_.push_back(std::move(piece));
    }
    progress("codes", pieces_.size(), sources_.size());
  }

  void observe(MomentCollector& moments) {
    quantize::InputOrder order;
    device::RunnerOptions options{
        .context = options_.window, .threads = options_.threads, .chunk = options_.window};
    options.observer = [&](uint32_t layer, graph::Slot slot, const float* rows, size_t tokens, size_t) {
      moments.add(layer, order.next(slot), rows, tokens);
    };
    const auto runner = model_.make_runner(options);
    for (size_t i = 0; i < windows_.size(); ++i) {
      progress("second moments", i, windows_.size());
      runner->forward(windows_[i], 0, device::Logits::none, nullptr);
    }
    progress("second moments", windows_.size(), windows_.size());
  }

  Factors factors_of(MomentCollector& moments, const Source& source) const {
    const size_t width = source.tensor->row_elements();
    if (!windows_.empty()) return factorize(moments.take(source.layer, source.input), width);
    Factors identity{width, std::vector<float>(width * width), {}};
    for (size_t i = 0; i < width; ++i) identity.hessian[i * width + i] = 1;
    identity.upper = identity.hessian;
    return identity;
  }

  Layout arrange() const {
    Layout layout;
    layout.tables = tables_.integers;
    std::vector<Ladder> ladders;
    std::vector<std::pair<uint32_t, uint32_t>> groups;  // of each ladder: matrix, group
    for (uint32_t i = 0; i < pieces_.size(); ++i) {
      const Piece& piece = pieces_[i];
      layout.matrices.push_back(piece.matrix);
      for (uint32_t g = 0; g < piece.matrix.groups(); ++g) {
        Ladder ladder;
        for (uint8_t level = 1; level <= piece.levels; ++level) {
          ladder.bytes.push_back(padded(block_bytes(piece.matrix, Codec::planes, g, level)));
          ladder.losses.push_back(piece.losses[g * (piece.levels + 1) + level]);
        }
        ladders.push_back(std::move(ladder));
        groups.emplace_back(i, g);
      }
    }
    for (const Step& step : order_steps(ladders)) {
      const auto [matrix, group] = groups[step.ladder];
      const Piece& piece = pieces_[matrix];
      Block block{matrix, group, step.level, 0, 0, 0, 0};
      block.bytes = block_bytes(piece.matrix, Codec::planes, group, step.level);
      block.checksum = piece.checksums[group * piece.levels + step.level - 1];
      block.loss = static_cast<float>(step.loss);
      layout.blocks.push_back(block);
    }
    return layout;
  }

  void write(const Spool& spool, const Layout& layout) const {
    std::vector<const gguf::Tensor*> tensors;
    for (const gguf::Tensor& tensor : model_.file().tensors()) {
      const bool stacked = std::any_of(sources_.begin(), sources_.end(),
                                       [&](const Source& source) { return source.tensor == &tensor; });
      if (!stacked) tensors.push_back(&tensor);
    }
    write_stack(
        path_, model_.file(), tensors, layout,
        [&](size_t index, std::span<std::byte> out) {
          const Block& block = layout.blocks[index];
          const Piece& piece = pieces_[block.matrix];
          uint64_t offset = piece.first_block;
          for (uint32_t g = 0; g <= block.group; ++g) {
            const uint32_t levels = g < block.group ? piece.levels : block.level - 1u;
            for (uint32_t k = 1; k <= levels; ++k)
              offset += block_bytes(piece.matrix, Codec::planes, g, static_cast<uint8_t>(k));
          }
          spool.read(piece.record, offset, out);
        },
        [&](uint64_t done, uint64_t total) { progress("writing", done, total); });
  }

  const llm::Model& model_;
  const EncodeOptions& options_;
  const std::string path_;
  const EncodeProgress& progress_;
  ThreadPool pool_;
  graph::Model graph_;
  std::vector<Source> sources_;
  Tables tables_;
  std::vector<std::vector<text::Token>> windows_;
  uint64_t most_bytes_ = 0;
  std::vector<Piece> pieces_;  // of the first sources
};

}  // namespace

EncodeReport encode_stack(const llm::Model& model, std::string_view text, const EncodeOptions& options,
                          const std::string& path, const EncodeProgress& progress) {
  return Encoder(model, text, options, path, progress).run();
}

}  // namespace cairn::stack
