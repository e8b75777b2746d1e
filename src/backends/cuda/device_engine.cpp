// The engine itself: slices become lists of commands.
#include <algorithm>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "backends/cuda/elastic.hpp"
#include "backends/cuda/engine.hpp"
#include "backends/cuda/planes.hpp"
#include "backends/cuda/program.hpp"
#include "backends/cuda/sequence.hpp"
#include "base/byte_size.hpp"
#include "engine/reading.hpp"

namespace cairn::cuda {
namespace {

using engine::Logits;
using engine::Reading;
using engine::Slice;

void check_options(const engine::Options& options) {
  const auto refuse = [](const char* what) {
    fail(ErrorCode::unsupported, "{} on a GPU: choose --device cpu", what);
  };
  if (options.context == 0 || options.chunk == 0) {
    fail(ErrorCode::invalid_argument, "context ({}) and chunk ({}) must be at least 1", options.context,
         options.chunk);
  }
  if (options.precision == engine::Precision::f32) refuse("--precision f32 is not there");
  if (options.kv != engine::KvType::f16) refuse("keys and values are in f16 alone");
  if (options.observer) refuse("inputs of products are not observed");
}

// Long chunks are faster, as far as their activations are a small part of the GPU's memory.
engine::Options fitted(engine::Options options, const graph::Model& model, const Device& device) {
  constexpr uint32_t kLong = 2048;
  constexpr uint64_t kPart = 32;
  const uint64_t memory = options.device_memory != 0 ? options.device_memory : device.info().memory;
  if (options.chunk == engine::Options{}.chunk &&
      Program::bytes_needed(model, {}, kLong, options.context) <= memory / kPart)
    options.chunk = kLong;
  options.chunk = std::min(options.chunk, options.context);
  if (options.repeatable) options.chunk = std::min(options.chunk, kCudaRows);
  return options;
}

uint32_t power_of_two(uint32_t at_least) {
  uint32_t result = 4 * kCudaPage;
  while (result < at_least) result *= 2;
  return result;
}

class DeviceEngine final : public engine::Engine {
 public:
  DeviceEngine(const gguf::File& file, const engine::Options& options)
      : file_(file),
        model_(graph::load(file_, options.context)),
        supported_((require_supported(model_, file_.path()), true)),
        device_(Device::open(device_index(options.device))),
        options_(fitted(options, model_, *device_)),
        layout_(std::make_shared<PageLayout>(model_)),
        pool_(std::make_shared<PagePool>(device_, layout_->bytes())),
        planes_(stack::is_stack(file_) ? std::make_unique<Planes>(file_) : nullptr),
        weights_(*device_, file_, model_, options_.context, stacked_names(planes_.get())) {
    require_room();
    if (planes_) planes_->open(device_);
    const Reading reading(file_);
    weights_.upload(device_);
    reading.check();
    program_ = std::make_unique<Program>(device_, model_, weights_, stacked(), *layout_, most_rows(),
                                         options_.context);
    elastic_ = std::make_unique<Elastic>(file_.path(), device_, planes_.get(), *pool_,
                                         weights_.bytes() + program_->bytes(), options_, one_step_);
    pool_->set_make_room([this](uint64_t bytes, bool failed) { return elastic_->make_room(bytes, failed); });
    const std::lock_guard lock(one_step_);
    elastic_->fill();
  }
  ~DeviceEngine() override { pool_->set_make_room({}); }
  DeviceEngine(const DeviceEngine&) = delete;
  DeviceEngine& operator=(const DeviceEngine&) = delete;

  const std::string& device_name() const { return device_->name(); }
  const graph::Model& model() const override { return model_; }
  uint32_t context() const override { return options_.context; }
  uint32_t chunk() const override { return options_.chunk; }
  uint32_t rows() const override { return std::min(kCudaRows, options_.chunk); }
  std::unique_ptr<engine::Sequence> make_sequence() override {
    return std::make_unique<DeviceSequence>(layout_, pool_);
  }
  uint64_t kv_bytes() const override { return pool_->used_bytes(); }
  uint64_t spare_kv_bytes() const override { return pool_->slab_bytes() - pool_->used_bytes(); }
  uint64_t scratch_bytes() const override { return program_->bytes() + device_->own_bytes(); }

  void step(std::span<const Slice> slices, const engine::Cancelled& cancelled) override {
    const std::lock_guard lock(one_step_);
    elastic_->adjust();
    run(slices, false, cancelled);
  }

  void draft(std::span<const Slice> slices, double bits, const engine::Cancelled& cancelled) override {
    if (!planes_) return Engine::draft(slices, bits, cancelled);
    for (const Slice& slice : slices) {
      if (slice.tokens.size() > rows()) {
        fail(ErrorCode::invalid_argument, "a draft's slice takes 1 to {} tokens, not {}", rows(),
             slice.tokens.size());
      }
    }
    const std::lock_guard lock(one_step_);
    planes_->set_draft(bits);
    run(slices, true, cancelled);
  }

  bool elastic() const override { return planes_ != nullptr; }
  void set_memory(uint64_t bytes) override {
    if (!planes_) return Engine::set_memory(bytes);
    elastic_->set_memory(bytes);
  }
  void set_memory_auto() override {
    if (!planes_) return Engine::set_memory_auto();
    elastic_->set_automatic();
  }
  engine::MemoryStatus memory() const override {
    return planes_ ? elastic_->status() : engine::MemoryStatus{};
  }

  void reserve(engine::Sequence& sequence, uint32_t tokens) override {
    const std::lock_guard lock(one_step_);
    DeviceSequence& found = own(sequence);
    try {
      found.extend(tokens);
    } catch (...) {
      found.trim();
      throw;
    }
  }

 private:
  // A row of a list that the caller wants something of.
  struct Wanted {
    int32_t row;
    float* logits;  // null: none
    uint32_t enough;
    float* hidden;  // null: none
  };

  uint32_t most_rows() const { return std::max(options_.chunk, kCudaBatch); }

  static std::set<std::string> stacked_names(const Planes* planes) {
    std::set<std::string> names;
    if (planes == nullptr) return names;
    for (const stack::Matrix& matrix : planes->layout().matrices) names.insert(matrix.name);
    return names;
  }
  const StackedMatrices& stacked() const {
    static const StackedMatrices none;
    return planes_ ? planes_->matrices() : none;
  }

  // Tells beforehand what does not fit, with figures.
  void require_room() const {
    const uint64_t scratch = Program::bytes_needed(model_, stacked(), most_rows(), options_.context);
    const uint64_t base = planes_ ? planes_->base_bytes() + planes_->fixed_bytes() : 0;
    const uint64_t weights = weights_.bytes() + base, needed = weights + scratch + layout_->bytes();
    const uint64_t free = device_->free_memory();
    const uint64_t budget = options_.device_memory;
    if (budget != 0 && needed > budget) {
      fail(ErrorCode::out_of_memory,
           "{}: {} of weights and {} beside them are more than --gpu-memory allows ({})", file_.path(),
           mebibytes(weights_.bytes()), mebibytes(scratch), mebibytes(budget));
    }
    if (needed > free) {
      fail(ErrorCode::out_of_memory,
           "{}: {} of weights and {} beside them do not fit in {}, which has {} free", file_.path(),
           mebibytes(weights_.bytes()), mebibytes(scratch), device_->name(), mebibytes(free));
    }
  }

  DeviceSequence& own(engine::Sequence& sequence) const {
    auto* found = dynamic_cast<DeviceSequence*>(&sequence);
    if (found == nullptr || found->pool() != pool_.get()) {
      fail(ErrorCode::invalid_argument, "a sequence belongs to the engine that made it, not to that of {}",
           file_.path());
    }
    return *found;
  }

  void run(std::span<const Slice> slices, bool draft, const engine::Cancelled& cancelled) {
    engine::check_slices(*this, slices);
    for (const Slice& slice : slices) own(*slice.sequence);
    try {
      for (const Slice& slice : slices)
        own(*slice.sequence).extend(static_cast<uint32_t>(slice.tokens.size()));
      std::vector<const Slice*> batch;
      uint32_t rows = 0;
      const auto finish = [&] {
        if (!batch.empty()) run_batch(batch, rows, draft);
        batch.clear();
        rows = 0;
      };
      for (const Slice& slice : slices) {
        const auto count = static_cast<uint32_t>(slice.tokens.size());
        if (count > kCudaRows) continue;
        if (rows + count > kCudaBatch) {
          finish();
          engine::throw_if(cancelled);
        }
        batch.push_back(&slice);
        rows += count;
      }
      finish();
      for (const Slice& slice : slices) {
        if (slice.tokens.size() <= kCudaRows) continue;
        engine::throw_if(cancelled);
        run_long(slice);
      }
      device_->wait();
      engine::throw_if(cancelled);
    } catch (...) {
      for (const Slice& slice : slices) own(*slice.sequence).trim();
      throw;
    }
    for (const Slice& slice : slices) own(*slice.sequence).commit(static_cast<uint32_t>(slice.tokens.size()));
  }

  // A slice's tokens behind those that are in the step.
  void add(const Slice& slice, std::vector<Wanted>& wanted) {
    const DeviceSequence& sequence = own(*slice.sequence);
    const auto count = static_cast<uint32_t>(slice.tokens.size()), begin = sequence.length();
    const auto first = static_cast<uint32_t>(step_.tokens.size());
    step_.tokens.insert(step_.tokens.end(), slice.tokens.begin(), slice.tokens.end());
    for (uint32_t i = 0; i < count; ++i) step_.positions.push_back(static_cast<int32_t>(begin + i));
    step_.slices.push_back({first, count, begin, static_cast<uint32_t>(step_.pages.size())});
    sequence.table(begin + count, step_.pages);
    longest_ = std::max(longest_, begin + count);
    const size_t vocabulary = model_.parameters.vocabulary, width = model_.parameters.embedding;
    const auto enough =
        static_cast<uint32_t>(slice.enough == 0 ? vocabulary : std::min<size_t>(slice.enough, vocabulary));
    for (uint32_t i = 0; i < count; ++i) {
      float* const logits = slice.wanted == Logits::all                      ? slice.logits + i * vocabulary
                            : slice.wanted == Logits::last && i + 1 == count ? slice.logits
                                                                             : nullptr;
      float* const hidden = slice.hidden == nullptr ? nullptr : slice.hidden + i * width;
      if (logits != nullptr || hidden != nullptr)
        wanted.push_back({static_cast<int32_t>(first + i), logits, enough, hidden});
    }
  }

  void begin() {
    step_.tokens.clear();
    step_.positions.clear();
    step_.index.clear();
    step_.slices.clear();
    step_.pages.clear();
    longest_ = 0;
  }

  void upload() {
    program_->upload(step_);
    if (!program_->embeds()) return;
    embedded_.resize(step_.tokens.size() * model_.parameters.embedding);
    planes_->read_rows(model_.embed.front().weight, step_.tokens, embedded_.data());
    program_->upload_embedding(embedded_);
  }

  // Short slices of several sequences, as one list.
  void run_batch(std::span<const Slice* const> slices, uint32_t rows, bool draft) {
    begin();
    std::vector<Wanted> wanted;
    for (const Slice* slice : slices) add(*slice, wanted);
    Shape shape{.rows = rows,
                .slices = rows,
                .longest = power_of_two(longest_),
                .head_rows = static_cast<uint32_t>(wanted.size()),
                .enough = most_logits(wanted),
                .take = wanted.size() < rows && !wanted.empty(),
                .draft = draft};
    for (const Wanted& row : wanted) step_.index.push_back(row.row);
    upload();
    program_->run(shape, pool_->base());
    hand_out(wanted);
  }

  // One sequence's chunk; the head takes its rows piece by piece.
  void run_long(const Slice& slice) {
    begin();
    std::vector<Wanted> wanted;
    add(slice, wanted);
    const auto piece = [&](size_t at) {
      return std::span(wanted).subspan(at, std::min<size_t>(Program::kHeadRows, wanted.size() - at));
    };
    const std::span<const Wanted> first = piece(0);
    for (const Wanted& row : first) step_.index.push_back(row.row);
    upload();
    Shape shape{.rows = static_cast<uint32_t>(slice.tokens.size()),
                .slices = 1,
                .longest = longest_,
                .head_rows = static_cast<uint32_t>(first.size()),
                .enough = most_logits(first),
                .take = !first.empty()};
    program_->run(shape, pool_->base());
    hand_out(first);
    for (size_t at = first.size(); at < wanted.size(); at += Program::kHeadRows) {
      const std::span<const Wanted> rows = piece(at);
      std::vector<int32_t> index;
      for (const Wanted& row : rows) index.push_back(row.row);
      program_->upload_index(index);
      program_->run(
          {.head_rows = static_cast<uint32_t>(rows.size()), .enough = most_logits(rows), .take = true},
          pool_->base());
      hand_out(rows);
    }
  }

  static uint32_t most_logits(std::span<const Wanted> rows) {
    uint32_t most = 0;
    for (const Wanted& row : rows) most = std::max(most, row.logits == nullptr ? 0 : row.enough);
    return most;
  }

  // What the head made of rows, to where it is wanted.
  void hand_out(std::span<const Wanted> rows) {
    const uint32_t width = model_.parameters.embedding;
    if (!hand_out_many(rows)) {
      for (size_t i = 0; i < rows.size(); ++i) {
        if (rows[i].logits != nullptr)
          program_->logits(static_cast<uint32_t>(i), 1, rows[i].enough, rows[i].logits);
      }
    }
    for (size_t i = 0; i < rows.size();) {
      size_t end = i + 1;  // neighbours here that are neighbours there go at once
      const auto follows = [&](const Wanted& a, const Wanted& b) {
        return a.hidden != nullptr && b.hidden == a.hidden + width;
      };
      while (end < rows.size() && follows(rows[end - 1], rows[end])) ++end;
      if (rows[i].hidden != nullptr)
        program_->hidden(static_cast<uint32_t>(i), static_cast<uint32_t>(end - i), rows[i].hidden);
      i = end;
    }
  }

  // Logits of several rows, which a thread would copy for longer than it takes to compute them.
  bool hand_out_many(std::span<const Wanted> rows) {
    if (rows.size() < 2 || most_logits(rows) == 0) return false;
    const float* staged = program_->staged_logits(static_cast<uint32_t>(rows.size()));
    if (staged == nullptr) return false;
    if (!threads_) {
      threads_ = options_.pool ? options_.pool
                               : std::make_shared<ThreadPool>(
                                     options_.threads == 0 ? usable_processors() : options_.threads,
                                     ThreadPool::Idle::sleep);
    }
    const uint32_t stride = program_->logits_stride();
    threads_->run(rows.size(), [&](size_t, size_t i) {
      if (rows[i].logits != nullptr) std::copy_n(staged + i * stride, rows[i].enough, rows[i].logits);
    });
    return true;
  }

  const gguf::File file_;  // shares the mapping
  const graph::Model model_;
  const bool supported_;
  const std::shared_ptr<Device> device_;
  const engine::Options options_;
  const std::shared_ptr<const PageLayout> layout_;
  const std::shared_ptr<PagePool> pool_;
  const std::unique_ptr<Planes> planes_;  // null: no stack
  Weights weights_;
  std::unique_ptr<Program> program_{};
  mutable std::mutex one_step_;
  std::unique_ptr<Elastic> elastic_{};
  Program::Step step_{};
  uint32_t longest_ = 0;
  std::shared_ptr<ThreadPool> threads_{};  // that copy logits
  std::vector<float> embedded_{};          // rows of a stack's embedding
};

}  // namespace

std::string device_of(const engine::Engine& engine) {
  const auto* found = dynamic_cast<const DeviceEngine*>(&behind_guard(engine));
  return found == nullptr ? std::string() : found->device_name();
}

std::unique_ptr<engine::Engine> make_device_engine(const gguf::File& file, const engine::Options& options) {
  check_options(options);
  return std::make_unique<DeviceEngine>(file, options);
}

}  // namespace cairn::cuda
