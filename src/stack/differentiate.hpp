#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <span>
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
  // window: tokens, a multiple of 64. The file must outlive it.
  Differentiator(const gguf::File& file, const graph::Model& model, uint32_t window, ThreadPool& pool);

  // Sees dL/dy of a layer's product: [op.rows][tokens].
  using Visit =
      std::function<void(uint32_t layer, const graph::Op& op, const float* gradient, size_t tokens)>;
  // L = −Σ log p(label) over all positions of all windows, each label drawn from the model's own prediction
  // with `seed`: E[gradient²] is then the diagonal of the Fisher information. step is called before each
  // layer, twice a layer; what it throws ends the work.
  void run(std::span<const std::vector<text::Token>> windows, uint64_t seed, const Visit& visit,
           const std::function<void()>& step);

 private:
  using Buffer = std::vector<float>;  // [features][tokens]
  using Slots = std::array<Buffer, static_cast<size_t>(graph::Slot::count)>;
  struct Saved {
    Buffer a, b, c;
  };

  Buffer& slot(graph::Slot s) { return slots_[static_cast<size_t>(s)]; }
  Buffer& gradient(graph::Slot s) { return gradients_[static_cast<size_t>(s)]; }
  Buffer take_gradient(graph::Slot s);
  void add_gradient(graph::Slot s, const Buffer& more);
  Buffer vector(const std::string& name) const;
  // Rows [begin, begin + count) of a tensor: [count][k] and, transposed, [k][count].
  void load(const std::string& name, size_t begin, size_t count);

  void embed(std::span<const std::vector<text::Token>> windows);
  void forward(const graph::Op& op, std::vector<Saved>* tape);
  void backward(uint32_t layer, const graph::Op& op, Saved& saved, const Visit& visit);
  void head(uint64_t seed, const std::function<void()>& step);
  // y += a · x for a held as [k][m]: y [m][tokens], x [k][tokens].
  void product(size_t m, size_t k, const float* a, const float* x, size_t x_stride, float* y, size_t y_stride,
               size_t tokens);

  const gguf::File& file_;
  const graph::Model& model_;
  ThreadPool& pool_;
  size_t window_, tokens_ = 0;
  Slots slots_, gradients_;
  Buffer weights_, transposed_;  // of the product at hand
};

// E[(dL/dy)²] of each of a tensor's rows, by tensor name: how much a squared error of that output costs, in
// nats a token and times two. Rows that no product reads stay 0.
using RowImportance = std::vector<std::pair<std::string, std::vector<float>>>;
RowImportance measure_importance(const gguf::File& file, const graph::Model& model,
                                 std::span<const std::vector<text::Token>> windows, ThreadPool& pool,
                                 const std::function<void(uint64_t done, uint64_t total)>& progress);

}  // namespace cairn::stack
