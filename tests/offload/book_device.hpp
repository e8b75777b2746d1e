// A matrix engine by the book, in rows, whose weights are compiled in as far as a stack can tell.
#pragma once

#include <fmt/format.h>

#include <memory>
#include <string>
#include <vector>

#include "base/error.hpp"
#include "offload/registry.hpp"

namespace cairn::offload {

// The int8 products by the book; fails where told.
class BookDevice final : public Accelerator {
 public:
  explicit BookDevice(int runs_until_failure) : left_(runs_until_failure) {}
  const AcceleratorTraits& traits() const override { return traits_; }
  std::unique_ptr<AcceleratorGraph> compile(const Int8Graph& graph) override {
    if (graph.tokens > 64)
      fail(ErrorCode::unsupported, "device book: {}: no chunk of {}", graph.name, graph.tokens);
    for (const Int8Linear& linear : graph.linears) bytes_ += uint64_t{linear.rows} * linear.k;
    return std::make_unique<Graph>(graph, left_);
  }
  uint64_t weight_bytes() const override { return bytes_; }
  uint64_t outside_bytes() const override { return bytes_; }  // as if in memory of its own
  double compile_seconds() const override { return 0; }
  uint32_t cached_graphs() const override { return 0; }

 private:
  struct Graph final : AcceleratorGraph {
    Graph(const Int8Graph& source, int& counter) : graph(source), left(counter) {}
    void run(const void* values, std::span<float* const> outputs) override {
      if (left == 0) fail(ErrorCode::io, "device book: {}: unplugged", graph.name);
      --left;
      const auto* q = static_cast<const int8_t*>(values);
      for (size_t i = 0; i < graph.linears.size(); ++i) {
        const Int8Linear& linear = graph.linears[i];
        std::vector<int8_t> w(size_t{linear.rows} * linear.k);
        std::vector<float> scales(linear.rows);
        linear.fill(0, linear.rows, w.data(), scales.data());
        for (size_t t = 0; t < graph.tokens; ++t) {
          for (size_t r = 0; r < linear.rows; ++r) {
            int32_t sum = 0;
            for (size_t k = 0; k < linear.k; ++k) sum += q[t * linear.k + k] * w[r * linear.k + k];
            outputs[i][t * linear.rows + r] = static_cast<float>(sum) * scales[r];
          }
        }
      }
    }
    Int8Graph graph;
    int& left;
  };
  AcceleratorTraits traits_{.name = "book", .label = "book"};
  int left_;
  uint64_t bytes_ = 0;
};

// "book:5" fails after five products.
inline std::string book_device(int runs_until_failure) {
  add_accelerators(
      {.name = "book",
       .names = {},
       .list = [] { return std::vector<AcceleratorInfo>{}; },
       .traits = [](const std::string&) { return AcceleratorTraits{.name = "book", .label = "book"}; },
       .make = [](const std::string& runs,
                  const AcceleratorOptions&) { return std::make_unique<BookDevice>(std::stoi(runs)); }});
  return fmt::format("book:{}", runs_until_failure);
}

}  // namespace cairn::offload
