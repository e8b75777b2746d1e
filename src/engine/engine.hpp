// engine: what runs a model's op lists on sequences of tokens, as a contract: backends carry it out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/thread_pool.hpp"
#include "base/thread_use.hpp"
#include "formats/gguf.hpp"
#include "graph/graph.hpp"

namespace cairn::engine {

enum class Precision : uint8_t { standard, f32 };  // standard: int8 activations; f32: all products in float
enum class KvType : uint8_t { f16, i8, q4 };       // docs/engine.md
// Where the file's weights are read from: its pages in the system's cache (mapped), or memory of our own on
// huge pages, which decode reads faster (copied). Automatic copies what fits well (docs/memory.md).
enum class Weights : uint8_t { automatic, mapped, copied };

// Sees the inputs of a layer's linear products: rows [tokens][width] of `slot`, for calibration.
using InputObserver =
    std::function<void(uint32_t layer, graph::Slot slot, const float* rows, size_t tokens, size_t width)>;

struct Options {
  uint32_t context = 4096;  // most positions of a sequence
  uint32_t threads = 0;     // 0: usable_processors()
  uint32_t chunk = 512;     // most tokens of a slice; longer inputs are cut by the caller
  Precision precision = Precision::standard;
  // Prompts are read in slices of rows() tokens at most, so that an answer's bits do not depend on what was
  // read before it and how; several times slower (docs/engine.md).
  bool repeatable = false;
  KvType kv = KvType::f16;  // f16 means f32 with Precision::f32
  Weights weights = Weights::automatic;
  // Most bytes of resident memory that this process shall have (Engine::set_memory); 0: nothing is asked for.
  uint64_t memory = 0;
  bool memory_auto = false;  // as much as the system has to spare, all the time
  // Where the model runs: "cpu"; "cuda" or "cuda:N", a GPU, and the CPU from where that fails; "auto": the
  // first GPU where there is one and it can, else the CPU (docs/cuda.md).
  std::string device = "cpu";
  // Most bytes of the GPU's memory that the engine shall have; 0: nothing is asked for. device_memory_auto: as
  // much as is free there, all the time.
  uint64_t device_memory = 0;
  bool device_memory_auto = false;
  // Gets one line when `memory` or `memory_auto` ask what a model that is no stack cannot do, and when the CPU
  // takes a GPU's place.
  std::function<void(const std::string&)> warn{};
  InputObserver observer{};  // called by one thread, before each product of a layer; empty: nobody looks
  std::shared_ptr<ThreadPool> pool{};  // to share with other engines; null: one of `threads`
};

// What a stack's engine holds. All in bytes.
struct MemoryStatus {
  uint64_t budget = 0;                  // for the process; 0: no limit
  bool automatic = false;               // the budget follows what the system can spare
  uint64_t process = 0;                 // resident, everything
  uint64_t stack = 0, stack_all = 0;    // blocks in memory; of the whole stack
  uint64_t read = 0;                    // of blocks, from the file so far
  double bits = 0;                      // a weight of the stack's matrices, in memory
  std::vector<std::string> problems{};  // a line for each block that is left out
  uint64_t least = 0;                   // the smallest budget that would be taken now
  uint64_t gave_way = 0;                // how often an automatic budget has fallen
  uint64_t device = 0;                  // what a matrix engine holds of the stack for itself
};

// The keys and values of some tokens that a model has read, in pages of its engine. It may outlive the
// engine, and be destroyed by any thread; its pages go back to the system then.
class Sequence {
 public:
  virtual ~Sequence() = default;
  virtual uint32_t length() const = 0;  // tokens read
  // Forgets all but the first `length` tokens. Returns what is left: less where a layer's window has let go
  // of what the next token would look at, or a recurrent state goes back to a checkpoint (docs/engine.md),
  // down to nothing. Tokens of the last step of up to Engine::rows() are taken back one by one always. Error
  // invalid_argument (longer than it is).
  virtual uint32_t truncate(uint32_t length) = 0;
  // Another sequence of the same tokens. Pages are shared until one of the two writes to them.
  virtual std::unique_ptr<Sequence> fork() const = 0;
  virtual uint64_t bytes() const = 0;  // of its pages, shared ones among them
  // Writes the keys and values of positions [index · positions, (index + 1) · positions), as
  // Engine::blocks() has it, for keeping them elsewhere. False where a window has let go of some.
  virtual bool read_block(uint32_t index, std::span<std::byte> to) const;
};

// What a sequence's state is kept elsewhere in, and taken up from (Sequence::read_block,
// Engine::append_block).
struct Blocks {
  uint32_t positions = 0;  // 0: this engine cannot
  size_t bytes = 0;
  std::string format{};  // engines of one model whose formats are equal read each other's
};

enum class Logits : uint8_t { none, last, all };

// Tokens that go behind those of a sequence.
struct Slice {
  Sequence* sequence = nullptr;
  std::span<const int32_t> tokens;  // 1 … Engine::chunk()
  Logits wanted = Logits::none;
  float* logits = nullptr;  // none: ignored; last: [vocabulary]; all: [tokens, vocabulary]
  // More than 0: those of the vocabulary's first so many tokens are enough; what becomes of the others is
  // left open. For drafts, which the head costs much beside all else.
  uint32_t enough = 0;
  // If there, [tokens][embedding]: what the head multiplies for each token, the hidden state behind the
  // output norm.
  float* hidden = nullptr;
};

using Cancelled = std::function<bool()>;

// A model's weights with what computes with them, for any number of sequences. From several threads, one step
// waits for the other.
class Engine {
 public:
  virtual ~Engine() = default;
  virtual const graph::Model& model() const = 0;
  virtual uint32_t context() const = 0;
  virtual uint32_t chunk() const = 0;
  // Most tokens of a slice whose logits are, to the bit, those of one token after the other.
  virtual uint32_t rows() const { return 1; }
  virtual std::unique_ptr<Sequence> make_sequence() = 0;

  // Runs all slices, each of another sequence of this engine. What a sequence's logits are depends on its own
  // tokens alone, and on how they were cut into long slices (docs/engine.md); not on the other slices nor on
  // the number of threads. cancelled: asked between a long slice's steps on the caller's thread; true ends
  // the step with Error cancelled. Errors: invalid_argument (beyond the context, a token outside the
  // vocabulary, a sequence twice or of another engine; of a model whose tokens see the whole text, tokens
  // behind others), unsupported (hidden states of an accelerator, logits of a model without a head), as
  // reserve(). After an error, and what `cancelled`
  // throws, every sequence is as long as it was.
  virtual void step(std::span<const Slice> slices, const Cancelled& cancelled = {}) = 0;
  void step(const Slice& slice, const Cancelled& cancelled = {}) { step({&slice, 1}, cancelled); }
  // A model guesses for itself.
  // A stack: step() with fewer of its bits, those that the file's first so many bits a weight hold
  // and that are in memory. What the tokens leave in the sequences is as rough as their logits: whoever wants
  // to keep them truncates to what was there before and steps over them again. Slices of at most rows()
  // tokens.
  // A model that predicts(): slices of the one token that goes behind the sequence, or behind what was
  // guessed before; `bits` means nothing. The sequence stays as long as it is, and forgets the guesses when
  // it is truncated or stepped. Errors: unsupported (neither), as step().
  virtual void draft(std::span<const Slice> slices, double bits, const Cancelled& cancelled = {});
  // Whether the model has a layer that predicts further tokens (graph::Draft), and drafts with it.
  virtual bool predicts() const { return false; }
  // Takes the pages for so many more tokens, so that step() finds them; who cannot get them is told alone.
  // Error out_of_memory (the system has none, or the budget leaves no room for them).
  virtual void reserve(Sequence& sequence, uint32_t tokens) = 0;

  virtual Blocks blocks() const { return {}; }
  // Puts a block behind a sequence whose length is a multiple of Blocks::positions: it has read those tokens
  // then. Errors: as reserve(), invalid_argument (another length or size, beyond the context), unsupported.
  virtual void append_block(Sequence& sequence, std::span<const std::byte> block);

  virtual uint64_t kv_bytes() const = 0;  // of pages in use, each once
  // … of those given back that stay for the next sequence.
  virtual uint64_t spare_kv_bytes() const { return 0; }
  virtual uint64_t scratch_bytes() const = 0;          // of what sequences do not have for themselves
  virtual ThreadUse thread_use() const { return {}; }  // of the pool so far

  // A stack's weights grow and shrink: so that the process's resident memory stays within `bytes` (0: no
  // limit), all its engines, pages and scratch included. From any thread at any time, in the middle of a step
  // too. Errors: unsupported (the model is no stack), out_of_memory (less than everything but the stacks'
  // blocks and their bases need; nothing changes then).
  virtual void set_memory(uint64_t bytes);
  // … within what the system can spare, all the time. Error unsupported.
  virtual void set_memory_auto() { set_memory(0); }
  virtual bool elastic() const { return false; }
  virtual MemoryStatus memory() const { return {}; }
};

// For engines: throws step()'s errors of invalid_argument but that of another engine's sequence.
void check_slices(const Engine& engine, std::span<const Slice> slices);

// For engines: throws Error cancelled if `cancelled` says so.
void throw_if(const Cancelled& cancelled);

// Tells options.warn when the options limit the memory of a model that is no stack.
void warn_of_fixed_memory(const gguf::File& file, const Options& options);

}  // namespace cairn::engine
