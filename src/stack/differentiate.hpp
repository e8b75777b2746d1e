#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/thread_pool.hpp"
#include "formats/gguf.hpp"
#include "graph/graph.hpp"
#include "text/tokenizer.hpp"

namespace cairn::stack {

// A model's op lists in float, forwards and backwards through the inputs of its products (its weights get no
// gradients). Only what a layer begins with is kept; the rest is computed again on the way back.
class Differentiator {
 public:
  using Buffer = std::vector<float>;  // [features][tokens]
  // Writes row `row` of a tensor, or leaves it to the file (false). Called from all threads of the pool.
  using ReadRow = std::function<bool(const std::string& tensor, uint64_t row, size_t thread, float* out)>;

  // window: tokens, a multiple of 64. The file must outlive it. read_row: weights in place of the file's.
  // Error unsupported: an op that it does not know (check_trainable).
  Differentiator(const gguf::File& file, const graph::Model& model, uint32_t window, ThreadPool& pool,
                 ReadRow read_row = {});

  // Sees a layer's product: dL/dy [op.rows][tokens] and y without bias, [op.rows][tokens].
  using Visit = std::function<void(uint32_t layer, const graph::Op& op, const float* gradient,
                                   const float* output, size_t tokens)>;
  // Called before each layer, twice a layer, and within the head; what it throws ends the work.
  using Step = std::function<void()>;
  using Windows = std::span<const std::vector<text::Token>>;

  // What the vocabulary's matrices see, all [rows or width][tokens].
  struct Ends {
    std::function<void(const float* features, size_t tokens)> features;  // what the output product reads
    // dL/dlogits of some of the tokens.
    std::function<void(const graph::Op& op, const float* gradient, size_t tokens)> logits;
    std::function<void(const float* gradient, size_t tokens)> embedding;  // dL/d(rows looked up)
  };
  // L = −Σ log p(label) over all positions of all windows, each label drawn from the model's own prediction
  // with `seed`: E[gradient²] is then the diagonal of the Fisher information.
  void sample(Windows windows, uint64_t seed, const Visit& visit, const Step& step,
              const Ends* ends = nullptr);
  // What the output head reads: [embedding][tokens] of all windows.
  Buffer features(Windows windows, const Step& step);
  // L = KL(teacher ‖ model), the mean over all positions; teacher: features() of the same windows by a model
  // of the same output head. Returns L in nats a token.
  double distil(Windows windows, const Buffer& teacher, const Visit& visit, const Step& step);

 private:
  using Slots = std::array<Buffer, static_cast<size_t>(graph::Slot::count)>;
  struct Saved {
    Buffer a, b, c;
  };
  using Begins = std::vector<std::array<Buffer, 3>>;  // of each layer: what it takes from the one before
  struct Objective {
    uint64_t seed;
    const Buffer* teacher;  // null: labels drawn with the seed
    const Ends* ends;       // null: nobody looks
  };
  enum class Need : uint8_t { rows, columns };  // which of weights_ and transposed_

  Buffer& slot(graph::Slot s) { return slots_[static_cast<size_t>(s)]; }
  Buffer& gradient(graph::Slot s) { return gradients_[static_cast<size_t>(s)]; }
  Buffer take_gradient(graph::Slot s);
  void add_gradient(graph::Slot s, const Buffer& more);
  Buffer vector(const std::string& name) const;
  // Rows [begin, begin + count) of a tensor: [count][k] or, transposed, [k][count].
  void load(const std::string& name, size_t begin, size_t count, Need need);

  void embed(Windows windows);
  void forward_layers(Windows windows, const Step& step, Begins* begins);
  void forward(const graph::Op& op, std::vector<Saved>* tape);
  void backward(uint32_t layer, const graph::Op& op, Saved& saved, const Visit& visit);
  const graph::Op& before_head(std::vector<Saved>* tape, std::vector<const graph::Op*>* ops);
  double head(const Objective& objective, const Step& step);
  void end_at_embedding(const Ends& ends);
  void logits(const graph::Op& output, const Buffer& x, size_t first, size_t tokens, Buffer& to);
  double run(Windows windows, const Objective& objective, const Visit& visit, const Step& step);
  // y += a · x for a held as [k][m]: y [m][tokens], x [k][tokens].
  void product(size_t m, size_t k, const float* a, const float* x, size_t x_stride, float* y, size_t y_stride,
               size_t tokens);

  const gguf::File& file_;
  const graph::Model& model_;
  ThreadPool& pool_;
  size_t window_, tokens_ = 0;
  ReadRow read_row_;
  Slots slots_, gradients_;
  Buffer weights_, transposed_;  // of the product at hand
};

}  // namespace cairn::stack
