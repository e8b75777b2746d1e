#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "backends/cpu/expert_pages.hpp"
#include "backends/cpu/experts.hpp"
#include "backends/cpu/key_biases.hpp"
#include "backends/cpu/key_feedback.hpp"
#include "backends/cpu/key_means.hpp"
#include "backends/cpu/plan.hpp"
#include "backends/cpu/planes.hpp"
#include "backends/cpu/recurrent.hpp"
#include "backends/cpu/sequence.hpp"
#include "base/buffer.hpp"
#include "base/thread_pool.hpp"
#include "engine/engine.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/planes.hpp"
#include "kernels/static_int8.hpp"
#include "kernels/vector.hpp"

namespace cairn::cpu {

// What both ways of running a plan share.
struct Machine {
  const graph::Model& model;
  const Plan& plan;
  ThreadPool& pool;
  kernels::KvFormat kv;
  uint32_t context;  // most positions of a sequence
  const engine::InputObserver* observer = nullptr;
  std::function<void()> between_steps{};  // of a chunk; may throw to leave it
  ExpertPages* expert_pages = nullptr;    // under a budget for memory
  const kernels::GemmKernels& gemm = kernels::kernel_set(plan.target()).gemm;
  const kernels::VectorKernels& vector = kernels::kernel_set(plan.target()).vector;
  const kernels::AttentionKernels& attention = kernels::kernel_set(plan.target()).attention;
  const kernels::PlaneKernels& planes = kernels::kernel_set(plan.target()).planes;
  const kernels::RecurrentKernels& recurrent = kernels::recurrent_kernels(plan.target());
  const kernels::StaticKernels& exact = kernels::kernel_set(plan.target()).exact;
  std::shared_ptr<const KeyMeans> means = key_means(model, plan, kv);
  std::shared_ptr<const KeyBiases> biases =
      kv == kernels::KvFormat::q4 ? std::make_shared<const KeyBiases>(model, plan, context) : nullptr;
  // Of heads of one size alone, and of keys that are no values.
  std::shared_ptr<const KeyFeedback> feedback = kv == kernels::KvFormat::q4 &&
                                                        model.parameters.local_head_size == 0 &&
                                                        model.parameters.latent_rank == 0
                                                    ? std::make_shared<const KeyFeedback>(model, plan, pool)
                                                    : nullptr;

  // 4-bit keys, values and queries are rotated, a head at a time, so that no element is far larger than the
  // others; and what attention sums up of the values is rotated back.
  bool rotates() const { return kv == kernels::KvFormat::q4; }
  kernels::KvRows keys(const PagedSequence& sequence, uint32_t layer, uint32_t head) const;
  // What a kv head's rows answer their errors with; null: nothing.
  const float* feedback_of(uint32_t layer, uint32_t head) const {
    return feedback ? feedback->of(layer, head) : nullptr;
  }
};

// The format of the cache that the options ask for.
kernels::KvFormat kv_format(const engine::Options& options);
// Rotates heads by an orthonormal Hadamard transform of blocks of powers of two, the largest first; its own
// inverse. hadamard: of VectorKernels; x: [heads][head_size][width], width as `hadamard` takes it.
void rotate_heads(decltype(kernels::VectorKernels::token_hadamard) hadamard, float* x, size_t head_size,
                  size_t heads, size_t width);

kernels::Unary unary(graph::Activation activation);
uint32_t kv_heads_of(const graph::HyperParameters& parameters, const graph::Op& op);
kernels::AttentionShape attention_shape(const graph::HyperParameters& parameters, const graph::Op& op);
// Of AttentionKernels::tiles, for any layer.
size_t most_attention_floats(const Plan& plan, const graph::HyperParameters& parameters,
                             const kernels::AttentionKernels& kernels);
// cos and sin of one position for all pairs of a RoPE: [dims / 2] each, `stride` floats apart.
void rope_table(const graph::Rope& rope, const std::vector<float>* factors, uint32_t position, size_t stride,
                float* cosines, float* sines);
// Error numeric: a token's router has scores that are no numbers.
[[noreturn]] void fail_route(const Plan& plan, uint32_t layer, uint32_t position);
// Whether any op of the model writes the slot.
bool uses(const Plan& plan, graph::Slot slot);
// Tiles of queries in one call: enough heads to be worth the keys' conversion, few enough to share among
// threads. It does not depend on their number: blocks of keys are rounded together, and results shall not
// change with it.
size_t query_tiles(const kernels::AttentionShape& shape);

// The row of its matrix that an op of the embedding takes.
uint32_t row_of(const graph::Op& op, int32_t token, uint32_t position);

constexpr size_t index_of(graph::Slot slot) {
  return static_cast<size_t>(slot);
}

// One token of one sequence.
struct Row {
  PagedSequence* sequence;  // that has a page for the position
  uint32_t position;
  int32_t token;
  float* logits;             // [vocabulary], or null
  size_t enough = SIZE_MAX;  // of them
  float* hidden = nullptr;   // [embedding], what the head multiplies; or null
};

// Token `at` of a slice behind what its sequence has, with the logits that the slice wants of it. hidden: the
// slice's, [tokens][embedding], or null.
Row row_of(const engine::Slice& slice, PagedSequence& sequence, size_t at,
           const graph::HyperParameters& model, float* hidden = nullptr);

// Few rows at a time: vectors of [features], products as matrix × vector straight from the file's blocks,
// each block read once for all rows. What a row computes does not depend on the others: a row's arithmetic is
// that of a row alone.
class RowExecutor {
 public:
  static constexpr size_t kMostRows = 8;

  explicit RowExecutor(const Machine& machine);
  // Runs 1 … kMostRows rows through the layers, writes their keys and values, and runs the head on those that
  // want logits or what it multiplies. Rows of one sequence may see each other: a row's keys are there before
  // any row looks. draft: with fewer of a stack's bits (resident::Set::set_draft).
  void run(std::span<const Row> rows, bool draft = false);
  // The layer that drafts, on 1 … kMostRows rows of a token and what the head multiplied for the one before
  // it, [embedding] each; a row's position is that one's. Writes keys and values; guess: makes logits, and
  // what a further guess takes in hidden's place, too.
  void run_draft(std::span<const Row> rows, std::span<const float* const> before, bool guess);
  // Runs the head alone on the slots that another executor filled.
  void run_head(float* logits);
  float* slot(graph::Slot slot, size_t row = 0) { return slots_[row] + at_[index_of(slot)]; }
  uint64_t scratch_bytes() const { return row_bytes_; }

 private:
  static constexpr size_t kSlots = static_cast<size_t>(graph::Slot::count);
  struct Part;         // of a row's attention
  struct Run;          // rows of one sequence
  struct ExpertGroup;  // rows that have chosen the same expert

  void run_steps(std::span<const Step> steps);
  void run_heads(std::span<const Step> steps, size_t rows);
  void begin(std::span<const Row> rows);
  void embed(std::span<const BoundOp> ops, size_t row);
  template <class Body>
  void each_row(const Body& body) {
    if (count_ == 1) return body(active_[0]);
    machine_.pool.run(count_, [&](size_t, size_t i) { body(active_[i]); });
  }
  void run_float_op(const BoundOp& bound, size_t row);
  void run_floats(const Step& step);
  void run_linears(const Step& step);
  void gather(const Step& step);
  kernels::PreparedBatch prepared(const kernels::EncodingKernels& encoding, size_t k, bool fine,
                                  size_t thread);
  void multiply(const Step& step, const BoundOp& bound, size_t first, size_t count, size_t thread);
  void route(const BoundOp& bound, size_t row);
  void check_routes(const Step& step) const;
  void run_experts(const Step& step);
  void multiply_expert(const Step& step, const BoundOp& bound, const ExpertGroup& group, size_t id,
                       size_t first, size_t count, size_t thread);
  void run_head_products(const Step& step);
  void combine(const BoundOp& bound, size_t row);
  void quantize_experts(graph::Slot slot, size_t row);
  void run_planes(const Step& step);
  void multiply_planes(const Step& step, size_t op, uint32_t group, const resident::Matrix* next,
                       size_t thread);
  void run_recurrent(const Step& step);
  void convolve(const BoundOp& bound, uint32_t layer, const Run& run);
  // A head's input of a row, as the `at`-th token.
  void take_delta(const BoundOp& bound, size_t row, size_t head, size_t at, const DeltaScratch& scratch);
  void take_scan(const BoundOp& bound, size_t row, size_t head, size_t at, const DeltaScratch& scratch);
  void run_state(const BoundOp& bound, uint32_t layer, const Run& run, size_t head,
                 const DeltaScratch& scratch);
  void run_attention(const Step& step);
  void store_keys(const Step& step, size_t row);
  void merge_parts(const BoundOp& bound, size_t row, const Part* parts, size_t count);
  void quantize(graph::Slot slot, size_t row, size_t width);
  void quantize_residual(graph::Slot slot, size_t row);
  float* output(graph::Slot slot, size_t row) {
    return slot == graph::Slot::logits ? rows_[row].logits : this->slot(slot, row);
  }

  const Machine machine_;
  size_t row_bytes_ = 0;
  Buffer memory_;
  std::array<size_t, kSlots> at_{};  // floats from a row's begin
  std::array<float*, kMostRows> slots_{};
  std::array<std::array<kernels::QuantizedVector, kSlots>, kMostRows> quantized_{};
  std::array<kernels::QuantizedVector, kMostRows> residual_{};  // of the head's input, which takes 16 bits
  std::array<std::vector<uint32_t>, kMostRows> experts_;        // that each row has chosen, ascending
  std::array<std::vector<kernels::QuantizedVector>, kMostRows> expert_input_;  // of each, their own inputs
  std::array<bool, kMostRows> routed_{};                                       // whether it could choose
  std::array<std::vector<float*>, kMostRows> cosines_, sines_;
  std::array<PlanesInput, kMostRows> planes_;
  // A step's input, of the active rows one after the other.
  std::array<kernels::QuantizedVector, kMostRows> x_{}, rest_{};
  std::array<kernels::PlaneVector, kMostRows> planes_x_{};
  // A thread's copy of the step's input in an encoding's order: its cache has it then, and nobody is waited
  // for.
  struct Prepared {
    Buffer memory;
    const kernels::EncodingKernels* encoding = nullptr;
    uint64_t gathered = 0;
  };
  std::vector<Prepared> prepared_;
  uint64_t gathered_ = 0;                        // inputs so far
  std::vector<std::vector<float>> dequantized_;  // a thread's row, for float products
  // A thread's: a head's part of each row.
  Buffer head_memory_;
  std::vector<std::array<kernels::QuantizedVector, kMostRows>> head_input_;
  std::vector<float> attention_scratch_;
  std::vector<DeltaScratch> delta_;  // a thread's

  std::array<Row, kMostRows> rows_{};
  std::array<size_t, kMostRows> active_{};  // the rows that the steps are run on
  size_t count_ = 0;                        // of them
  bool draft_ = false;
  size_t head_rows_ = 0;  // that the head computes at least
};

// A chunk of tokens in tiles: [tile][features][tile_tokens].
class ChunkExecutor {
 public:
  ChunkExecutor(const Machine& machine, uint32_t most_tokens);
  // Runs the tokens through the layers and writes their keys and values; the sequence has pages for them.
  void run(PagedSequence& sequence, std::span<const int32_t> tokens, uint32_t position);

  // The same in parts, for those who schedule a chunk's subgraphs themselves: begin() embeds the tokens,
  // run_step runs one step on `pool`, which may have no more threads than the machine's. An attention step is
  // store_keys, then attend; keys of earlier chunks must have been stored by then.
  void begin(PagedSequence& sequence, std::span<const int32_t> tokens, uint32_t position);
  void run_step(const Step& step, ThreadPool& pool);
  // A step of floats on one tile: for those who do more with it in the same loop.
  void run_floats(const Step& step, size_t index) {
    for (const BoundOp& bound : step.ops) run_float_op(bound, index);
  }
  void store_keys(const Step& step, ThreadPool& pool);
  void attend(const Step& step, ThreadPool& pool);
  // Takes over the state that the head reads from a chunk of the same model and size.
  void take_hidden(const ChunkExecutor& from);
  size_t tokens() const { return tokens_; }
  size_t tiles() const { return tiles_; }
  float* tile(graph::Slot slot, size_t index) const;

  // After run(): copies one token's hidden state and pending branches into the slots of `to`'s first row.
  void hand_over(size_t token, RowExecutor& to);
  // After run(), once: the head on all tokens; logits: [tokens][vocabulary], or null; hidden: [tokens]
  // [embedding], what it multiplies, or null.
  void run_head(size_t tokens, float* logits, float* hidden = nullptr);
  uint64_t scratch_bytes() const;

 private:
  // Tiles [begin, end) of a group of the step's matrix `op`; ops that follow it and share the matrix take
  // part.
  struct PlanesTask {
    size_t op, ops;
    uint32_t group, begin, end;
  };
  // Tokens that have chosen an expert: pairs_[first, first + count).
  struct ExpertTile {
    uint32_t expert, first, count;
  };
  // k: of the slot's features, the first so many.
  kernels::ActivationTile quantized(graph::Slot slot, size_t index, size_t k) const;
  void embed(std::span<const int32_t> tokens);
  void take_off_bias(uint32_t layer, size_t index);
  void store_fed_back(size_t n, const float* keys, size_t lane, size_t count, const float* feedback,
                      const PagedSequence::Place& place);
  void run_steps(std::span<const Step> steps, float* logits);
  void run_floats(const Step& step, ThreadPool& pool);
  void run_float_op(const BoundOp& bound, size_t index);
  void run_linears(const Step& step, ThreadPool& pool, float* logits);
  void multiply(const Step& step, const BoundOp& bound, size_t row, size_t rows, size_t thread,
                float* logits);
  size_t tile_width(graph::Slot slot) const;  // features of a tile
  size_t most_expert_tiles() const;
  void route(const BoundOp& bound, size_t index);
  void group_by_expert(const Step& step);
  void gather(const Step& step, size_t index);
  uint8_t* gathered(size_t index) const { return gathered_ + index * gathered_stride_; }
  void run_experts(const Step& step, ThreadPool& pool);
  void run_head_products(const Step& step, ThreadPool& pool);
  void combine(const BoundOp& bound, size_t index);
  static constexpr size_t kDeltaTokens = 64;  // that a head's state stays in the cache for
  void run_recurrent(const Step& step, ThreadPool& pool);
  void convolve(const BoundOp& bound, const ConvPart& part, size_t begin, size_t end);
  void delta_rule(const BoundOp& bound, const DeltaPart& part, size_t head, const DeltaScratch& scratch);
  void score_scan(const BoundOp& bound, ThreadPool& pool);
  void selective_scan(const BoundOp& bound, const DeltaPart& part, size_t head, const DeltaScratch& scratch);
  void prepare_planes(const Step& step, ThreadPool& pool);
  void run_planes(const Step& step, ThreadPool& pool, float* logits);
  void multiply_planes(const Step& step, const PlanesTask& task, size_t thread, float* logits);
  void multiply_stored_rows(const Step& step, const PlanesTask& task, size_t thread, float* logits);
  void scatter(const Step& step, const PlanesTask& task, size_t first, size_t rows, size_t index,
               const float* from, float* logits);
  kernels::ActivationTile residual(size_t k, size_t index) const;
  void quantize_residual(graph::Slot slot, size_t index, float* rest);
  void observe(const Step& step);
  void copy_rows(graph::Slot slot, size_t tokens, float* to) const;

  const Machine machine_;
  size_t tile_tokens_, most_tiles_, tokens_ = 0, tiles_ = 0;
  PagedSequence* sequence_ = nullptr;
  uint32_t position_ = 0;
  size_t panel_rows(size_t k, size_t value_bytes) const;
  size_t value_bytes(const Step& step, const Matrix& matrix) const;

  Buffer memory_;
  std::array<float*, static_cast<size_t>(graph::Slot::count)> slots_{};
  std::array<size_t, static_cast<size_t>(graph::Slot::count)> strides_{};      // floats a tile
  std::array<uint8_t*, static_cast<size_t>(graph::Slot::count)> quantized_{};  // tiles of activation_bytes
  // Experts: of each token its own, ascending; pairs of them, token · used + which of its own, by expert;
  // what they read, a tile each, as the steps' input is (see gather); and what they write, [pair][embedding].
  std::vector<uint32_t> chosen_, pairs_, expert_ends_;
  std::vector<ExpertTile> expert_tiles_;
  uint8_t* gathered_ = nullptr;
  size_t gathered_stride_ = 0;
  float* expert_rows_ = nullptr;
  float* scan_scores_ = nullptr;      // of selective scans: [tile][group][tile_tokens][tile_tokens]
  uint8_t* planes_values_ = nullptr;  // a step's input as planes read it: [tile][k / 4][tile_tokens][4]
  float* planes_scales_ = nullptr;    // [tile][tile_tokens]
  float* planes_rotated_ = nullptr;   // [tile][k][tile_tokens], for float products alone
  Buffer residual_;  // of run_head alone: tiles of its input's residuals, and a tile of floats a thread
  std::vector<float*> cosines_, sines_;
  struct ThreadScratch {
    Buffer memory;
    kernels::WeightPanel panel;
    float* row;       // dequantised rows: one, or a panel's for float products
    float* out;       // a block of rows of one tile, for logits and ragged ends
    float* residual;  // as out, for the second half of 16-bit activations
    float* attention;
    float* rotated;   // [k][tile_tokens]: one tile of a planes step's input
    float* identity;  // [16][tile_tokens]: a tile of rows before they are spread over several outputs
    float* mixing;    // [Plan::rotation_scratch()]
    uint8_t* head;    // a head's part of a tile, as integer products read it
  };
  std::vector<ThreadScratch> threads_;
  std::vector<DeltaScratch> delta_;  // a thread's
  // Rows of weights from `first` on, as the step's products read them.
  void fill_panel(const Step& step, const Matrix& matrix, const std::byte* first, size_t rows,
                  const ThreadScratch& thread) const;
  void multiply_expert(const Step& step, const BoundOp& bound, const ExpertTile& group, size_t index,
                       size_t row, size_t rows, const ThreadScratch& thread);
};

}  // namespace cairn::cpu
