#include "offload/layers_engine.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <mutex>
#include <utility>

#include "backends/cpu/executor.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/half.hpp"
#include "kernels/kernel_set.hpp"
#include "offload/engine_parts.hpp"
#include "offload/layer_graph.hpp"
#include "offload/prompt_timeline.hpp"

namespace cairn::offload {
namespace {

using graph::Slot;

constexpr size_t kRows = cpu::RowExecutor::kMostRows;
constexpr uint32_t kMostChunks = 16;
constexpr float kHidden = -30000;  // of a score: exp() of it is 0, and a sum with any score is finite

class LayersEngine final : public PrefillEngine {
 public:
  LayersEngine(const gguf::File& file, const PrefillOptions& options)
      : file_(file),
        model_(dense_model(file_, options.engine.context)),
        options_(options),
        target_(kernels::default_target()),
        pool_(thread_count(options.engine), ThreadPool::Idle::sleep),
        plan_(file_, model_, target_, false),
        float_plan_(file_, model_, target_, true),
        sequences_(model_, cpu::kv_format(options.engine), file_.path(), 0, 0),
        machine_{model_, plan_, pool_, sequences_.format(), options.engine.context},
        float_machine_{model_, float_plan_, pool_, sequences_.format(), options.engine.context},
        rows_(machine_),
        layers_(layer_graphs(float_plan_, model_)) {
    if (sequences_.format() != kernels::KvFormat::f16) {
      fail(ErrorCode::invalid_argument, "--npu-form {} keeps keys and values in 16 bits: --kv f16",
           name(options_.form));
    }
    options_.accelerator.threads = static_cast<uint32_t>(pool_.threads());
    accelerator_ = make_accelerator(options_.device, options_.accelerator);
    uint32_t& length = options_.engine.chunk;
    if (length == 0) length = std::max(1u, accelerator_->traits().usual_chunk);
    length = std::min(length, options_.engine.context);
    for (const cpu::Step& step : float_plan_.layers) {
      if (step.kind == cpu::StepKind::attention) attentions_.push_back(&step);
    }
    executor_ = std::make_unique<cpu::ChunkExecutor>(float_machine_, length);
    for (LayerGraph& layer : layers_) {
      layer.tokens = length;
      layer.form = options_.form;
    }
    const size_t width = model_.parameters.embedding;
    hidden_.resize(length * width);
    out_.resize(length * width);
  }

  const graph::Model& model() const override { return model_; }
  uint32_t context() const override { return options_.engine.context; }
  uint32_t chunk() const override {
    return std::min(options_.engine.context, options_.engine.chunk * kMostChunks);
  }
  uint32_t rows() const override { return options_.everything ? 1 : std::min<uint32_t>(kRows, chunk()); }
  uint32_t chunk_length() const override { return options_.engine.chunk; }
  std::unique_ptr<engine::Sequence> make_sequence() override { return sequences_.make(); }
  uint64_t kv_bytes() const override { return sequences_.bytes(); }
  uint64_t spare_kv_bytes() const override { return sequences_.spare_bytes(); }
  uint64_t scratch_bytes() const override {
    return rows_.scratch_bytes() + executor_->scratch_bytes() +
           sizeof(uint16_t) * (hidden_.size() + out_.size() + keys_.size() + values_.size());
  }
  ThreadUse thread_use() const override { return pool_.use(); }
  engine::Blocks blocks() const override { return device_blocks(sequences_, options_, name(options_.form)); }
  void append_block(engine::Sequence& sequence, std::span<const std::byte> block) override {
    sequences_.check_block(sequence, block.size(), options_.engine.context);
    reserve(sequence, kernels::kPagePositions);
    const std::lock_guard lock(one_step_);
    sequences_.own(sequence).write_block(block);
  }
  const Timeline& timeline() const override { return timeline_.timeline(); }
  const PrefillStatistics& statistics() const override { return statistics_; }
  void set_scheme(const quantize::Scheme&) override {
    fail(ErrorCode::unsupported, "--npu-form {}: whole layers have no other quantisation than their form's",
         name(options_.form));
  }

  void step(std::span<const engine::Slice> slices, const engine::Cancelled& cancelled) override {
    for (const engine::Slice& slice : slices) {
      if (slice.hidden != nullptr)
        fail(ErrorCode::unsupported, "an engine with an accelerator hands out no hidden states");
    }
    const std::lock_guard lock(one_step_);
    sequences_.step(*this, slices, [&] {
      file_.require_whole();
      for (const engine::Slice& slice : slices) {
        sequences_.extend(*slice.sequence, static_cast<uint32_t>(slice.tokens.size()));
        run(slice, cancelled);
      }
    });
  }

  void reserve(engine::Sequence& sequence, uint32_t tokens) override {
    const std::lock_guard lock(one_step_);
    sequences_.extend(sequence, tokens);
  }

 private:
  struct Tables {
    std::map<uint32_t, std::vector<uint16_t>> masks;  // by window
    // By the plan's number of the RoPE.
    std::map<uint32_t, std::pair<std::vector<uint16_t>, std::vector<uint16_t>>> turns;
  };
  using Programs = std::vector<std::unique_ptr<AcceleratorLayer>>;

  void run(const engine::Slice& slice, const engine::Cancelled& cancelled) {
    cpu::PagedSequence& sequence = sequences_.own(*slice.sequence);
    if (!options_.everything && slice.tokens.size() <= kRows) return run_rows(slice, sequence);
    const size_t length = options_.engine.chunk, vocabulary = model_.parameters.vocabulary;
    timeline_.begin(&sequence, sequence.length());
    const Stopwatch watch;
    Timeline now;
    for (size_t begin = 0; begin < slice.tokens.size(); begin += length) {
      const auto tokens = slice.tokens.subspan(begin, std::min(length, slice.tokens.size() - begin));
      const uint32_t position = sequence.length() + static_cast<uint32_t>(begin);
      run_chunk(sequence, tokens, position, cancelled, [&](uint32_t layer, double from) {
        now.events.push_back({static_cast<uint32_t>(begin / length), layer, TaskKind::layer, Processor::npu,
                              watch.seconds() - from, watch.seconds()});
      });
      const bool ends = begin + tokens.size() == slice.tokens.size();
      if (slice.wanted == engine::Logits::all) {
        if (!head_) head_ = std::make_unique<cpu::ChunkExecutor>(machine_, options_.engine.chunk);
        head_->take_hidden(*executor_);
        head_->run_head(tokens.size(), slice.logits + begin * vocabulary);
      } else if (slice.wanted == engine::Logits::last && ends) {
        executor_->hand_over(tokens.size() - 1, rows_);
        rows_.run_head(slice.logits);
      }
    }
    timeline_.append(now, slice.tokens.size(), false);
    timeline_.call(
        fmt::format("{} tokens in chunks of {}, {}", timeline_.tokens(), length, name(options_.form)),
        accelerator_ ? accelerator_->traits().label + ", whole layers" : "CPU", "CPU, the rest");
  }

  void run_rows(const engine::Slice& slice, cpu::PagedSequence& sequence) {
    cpu::Row rows[kRows];
    for (size_t i = 0; i < slice.tokens.size(); ++i)
      rows[i] = cpu::row_of(slice, sequence, i, model_.parameters);
    rows_.run({rows, slice.tokens.size()});
  }

  template <class Ran>
  void run_chunk(cpu::PagedSequence& sequence, std::span<const int32_t> tokens, uint32_t position,
                 const engine::Cancelled& cancelled, const Ran& ran) {
    if (accelerator_) {
      // What is not there yet is compiled for all later chunks; a first one sees nothing before it.
      const uint32_t past = position == 0 ? 0 : past_of(options_.engine.context);
      const Programs& programs = compiled(past, cancelled);
      try {
        return run_layers(programs, past, sequence, tokens, position, cancelled, ran);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::io) throw;
        if (options_.warn)
          options_.warn(fmt::format("{}; the CPU goes on in its place, in float", error.what()));
      }
      statistics_.fell_back = true;
      programs_.clear();
      accelerator_.reset();
    }
    executor_->run(sequence, tokens, position);
  }

  const Programs& compiled(uint32_t past, const engine::Cancelled& cancelled) {
    Programs& programs = programs_[past];
    try {
      for (size_t i = programs.size(); i < layers_.size(); ++i) {
        engine::throw_if(cancelled);
        layers_[i].past = past;
        programs.push_back(accelerator_->compile_layer(layers_[i]));
      }
    } catch (...) {
      programs_.erase(past);
      throw;
    }
    statistics_.graphs = 0;
    for (const auto& [_, of] : programs_) statistics_.graphs += static_cast<uint32_t>(of.size());
    statistics_.cached_graphs = accelerator_->cached_graphs();
    statistics_.compile_seconds = accelerator_->compile_seconds();
    statistics_.device_weight_bytes = accelerator_->weight_bytes();
    return programs;
  }

  template <class Ran>
  void run_layers(const Programs& programs, uint32_t past, cpu::PagedSequence& sequence,
                  std::span<const int32_t> tokens, uint32_t position, const engine::Cancelled& cancelled,
                  const Ran& ran) {
    executor_->begin(sequence, tokens, position);
    take_hidden();
    const Tables tables = make_tables(past, tokens.size(), position);
    for (uint32_t i = 0; i < layers_.size(); ++i) {
      engine::throw_if(cancelled);
      const LayerGraph& layer = layers_[i];
      const uint32_t heads = layer.kv_heads(), size = layer.head_size();
      gather(sequence, i, past, position);
      new_keys_.resize(size_t{layer.tokens} * heads * size);
      new_values_.resize(new_keys_.size());
      LayerValues values = {.hidden = hidden_.data(),
                            .keys = keys_.data(),
                            .values = values_.data(),
                            .mask = tables.masks.at(layer.attention().window).data(),
                            .cosines = nullptr,
                            .sines = nullptr,
                            .out = out_.data(),
                            .new_keys = new_keys_.data(),
                            .new_values = new_values_.data()};
      if (const cpu::BoundOp* rope = layer.rope()) {
        values.cosines = tables.turns.at(rope->rope_table).first.data();
        values.sines = tables.turns.at(rope->rope_table).second.data();
      }
      const Stopwatch watch;
      programs[i]->run(values);
      ran(i, watch.seconds());
      count(layer, past);
      put(Slot::key, heads * size, new_keys_);
      put(Slot::value, heads * size, new_values_);
      executor_->store_keys(*attentions_[i], pool_);
      std::swap(hidden_, out_);
    }
    put(Slot::hidden, model_.parameters.embedding, hidden_, kResidualUnit);
    for (size_t index = 0; index < executor_->tiles(); ++index) {  // the last layer has added its own
      std::fill_n(executor_->tile(Slot::branch, index), model_.parameters.embedding * lanes(), 0.0f);
    }
  }

  void count(const LayerGraph& layer, uint32_t past) {
    const uint64_t kv = uint64_t{layer.kv_heads()} * layer.head_size(), tokens = layer.tokens;
    ++statistics_.crossings;
    statistics_.bytes_in +=
        sizeof(uint16_t) * (tokens * layer.width() + 2 * past * kv + tokens * (past + tokens) +
                            (layer.rope() == nullptr ? 0 : 2 * tokens * layer.head_size()));
    statistics_.bytes_out += sizeof(uint16_t) * tokens * (layer.width() + 2 * kv);
  }

  size_t lanes() const { return kernels::kernel_set(target_).exact.tile_tokens; }

  // Tiles to rows [tokens][width], behind which a short chunk leaves tokens that are none.
  void take_hidden() {
    const size_t width = model_.parameters.embedding;
    std::ranges::fill(hidden_, to_half(1));
    for (size_t t = 0; t < executor_->tokens(); ++t) {
      const float* from = executor_->tile(Slot::hidden, t / lanes()) + t % lanes();
      for (size_t f = 0; f < width; ++f) hidden_[t * width + f] = to_half(from[f * lanes()] / kResidualUnit);
    }
  }
  void put(Slot slot, size_t width, const std::vector<uint16_t>& rows, float unit = 1) {
    for (size_t t = 0; t < executor_->tokens(); ++t) {
      float* to = executor_->tile(slot, t / lanes()) + t % lanes();
      for (size_t f = 0; f < width; ++f) to[f * lanes()] = from_half(rows[t * width + f]) * unit;
    }
  }

  // Keys and values of the positions before the chunk; beyond them, and where a window has let go, zeros.
  void gather(const cpu::PagedSequence& sequence, uint32_t i, uint32_t past, uint32_t position) {
    const LayerGraph& layer = layers_[i];
    const uint32_t window = layer.attention().window;
    const size_t size = layer.head_size(), bytes = size * sizeof(uint16_t);
    keys_.assign(size_t{layer.kv_heads()} * past * size, 0);
    values_.assign(keys_.size(), 0);
    if (past == 0) return;
    const uint32_t first = window != 0 && position + 1 > window ? position + 1 - window : 0;
    for (uint32_t head = 0; head < layer.kv_heads(); ++head) {
      for (uint32_t at = first; at < position; ++at) {
        const size_t to = (size_t{head} * past + at) * size;
        std::memcpy(keys_.data() + to, sequence.key(i, head, at).row, bytes);
        std::memcpy(values_.data() + to, sequence.value(i, head, at).row, bytes);
      }
    }
  }

  // The chunk's masks and turns. A token that is none sees itself alone.
  Tables make_tables(uint32_t past, size_t tokens, uint32_t position) const {
    Tables tables;
    const uint32_t length = options_.engine.chunk;
    const uint16_t seen = to_half(0), hidden = to_half(kHidden);
    for (const LayerGraph& layer : layers_) {
      const uint32_t window = layer.attention().window;
      if (auto [found, fresh] = tables.masks.try_emplace(window); fresh) {
        std::vector<uint16_t>& mask = found->second;
        mask.assign(size_t{length} * (past + length), hidden);
        for (uint32_t t = 0; t < length; ++t) {
          uint16_t* row = mask.data() + size_t{t} * (past + length);
          row[past + t] = seen;
          if (t >= tokens) continue;
          const uint32_t at = position + t, first = window != 0 && at + 1 > window ? at + 1 - window : 0;
          for (uint32_t p = first; p < std::min(position, past); ++p) row[p] = seen;
          for (uint32_t p = std::max(first, position); p < at; ++p) row[past + p - position] = seen;
        }
      }
      const cpu::BoundOp* rope = layer.rope();
      if (rope == nullptr) continue;
      if (auto [found, fresh] = tables.turns.try_emplace(rope->rope_table); fresh)
        found->second = turns(*rope, layer.head_size(), position);
    }
    return tables;
  }

  std::pair<std::vector<uint16_t>, std::vector<uint16_t>> turns(const cpu::BoundOp& bound, uint32_t size,
                                                                uint32_t position) const {
    const graph::Rope& rope = bound.op.rope;
    const uint32_t length = options_.engine.chunk, pairs = rope.dims / 2;
    std::vector<uint16_t> cosines(size_t{length} * size, to_half(1)),
        sines(size_t{length} * size, to_half(0));
    std::vector<float> c(pairs), s(pairs);
    for (uint32_t t = 0; t < length; ++t) {
      cpu::rope_table(rope, float_plan_.rope_factors[bound.rope_table], position + t, 1, c.data(), s.data());
      for (uint32_t i = 0; i < pairs; ++i) {
        const uint32_t a = rope.neox ? i : 2 * i, b = rope.neox ? i + pairs : 2 * i + 1;
        for (const uint32_t f : {a, b}) {
          cosines[size_t{t} * size + f] = to_half(c[i]);
          sines[size_t{t} * size + f] = to_half(s[i]);
        }
      }
    }
    return {std::move(cosines), std::move(sines)};
  }

  gguf::File file_;  // shares the mapping
  graph::Model model_;
  PrefillOptions options_;
  kernels::Target target_;
  ThreadPool pool_;
  cpu::Plan plan_, float_plan_;
  const cpu::Sequences sequences_;
  std::mutex one_step_;
  cpu::Machine machine_, float_machine_;
  cpu::RowExecutor rows_;
  std::vector<LayerGraph> layers_;
  std::vector<const cpu::Step*> attentions_;  // by layer
  std::unique_ptr<Accelerator> accelerator_;  // null: it failed, and the CPU has taken over
  std::map<uint32_t, Programs> programs_;     // by past; gone before the accelerator
  std::unique_ptr<cpu::ChunkExecutor> executor_, head_;
  std::vector<uint16_t> hidden_, out_, keys_, values_, new_keys_, new_values_;
  PromptTimeline timeline_;
  PrefillStatistics statistics_;
};

}  // namespace

std::unique_ptr<PrefillEngine> make_layers_engine(const gguf::File& file, const PrefillOptions& options) {
  return std::make_unique<LayersEngine>(file, options);
}

}  // namespace cairn::offload
