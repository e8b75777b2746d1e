#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "offload/accelerator.hpp"

namespace cairn::offload {

// A graph whose weights are value(row, column) and whose scales lie between 0.001 and 0.02.
template <class Value>
Int8Graph graph_of(uint64_t key, uint32_t tokens, uint32_t k, const std::vector<uint32_t>& rows,
                   Value value) {
  Int8Graph graph{"blk." + std::to_string(key) + ".test", key, tokens, {}};
  for (uint32_t i = 0; i < rows.size(); ++i) {
    graph.linears.push_back({"linear." + std::to_string(i), rows[i], k,
                             [=](uint32_t begin, uint32_t count, int8_t* values, float* scales) {
                               for (uint32_t r = begin; r < begin + count; ++r) {
                                 *scales++ = 0.001F * static_cast<float>(1 + (r + i) % 20);
                                 for (uint32_t c = 0; c < k; ++c) *values++ = value(r + 1000 * i, c);
                               }
                             }});
  }
  return graph;
}

inline Int8Graph random_graph(uint64_t key, uint32_t tokens, uint32_t k, const std::vector<uint32_t>& rows) {
  return graph_of(key, tokens, k, rows, [key](uint32_t r, uint32_t c) {
    uint64_t mixed = key * 0x9E3779B97F4A7C15U + (uint64_t{r} << 32) + c;
    mixed = (mixed ^ (mixed >> 31)) * 0xBF58476D1CE4E5B9U;
    return static_cast<int8_t>(static_cast<int>((mixed ^ (mixed >> 29)) % 255) - 127);
  });
}

inline Int8Graph extreme_graph(uint64_t key, uint32_t k, const std::vector<uint32_t>& rows) {
  return graph_of(key, 6, k, rows, [](uint32_t r, uint32_t c) {
    return static_cast<int8_t>(r % 3 == 0 || c % r % 2 == 0 ? 127 : -127);
  });
}

// Calls error(result, exact sum, its row's scale, largest sum that the row could have) for each output.
template <class Error>
void each_output(AcceleratorGraph& compiled, const Int8Graph& graph, const std::vector<int8_t>& x,
                 const Error& error) {
  const uint32_t k = graph.linears[0].k, tokens = graph.tokens;
  std::vector<std::vector<float>> results;
  std::vector<float*> outputs;
  for (const Int8Linear& linear : graph.linears) {
    outputs.push_back(results.emplace_back(size_t{tokens} * linear.rows, NAN).data());
  }
  compiled.run(x.data(), outputs);
  for (size_t i = 0; i < graph.linears.size(); ++i) {
    const Int8Linear& linear = graph.linears[i];
    std::vector<int8_t> row(k);
    for (uint32_t r = 0; r < linear.rows; ++r) {
      float scale = 0;
      linear.fill(r, 1, row.data(), &scale);
      int largest = 1;
      for (const int8_t w : row) largest += 127 * std::abs(w);
      for (uint32_t t = 0; t < tokens; ++t) {
        int64_t sum = 0;
        for (uint32_t c = 0; c < k; ++c) sum += int64_t{x[size_t{t} * k + c]} * row[c];
        error(static_cast<double>(results[i][size_t{t} * linear.rows + r]), static_cast<double>(sum),
              static_cast<double>(scale), static_cast<double>(largest));
      }
    }
  }
}

// Against sums of exact integers: the largest difference in parts of the largest sum a row could have.
// Inputs: all 127, all -127, alternating, then random.
inline double worst_error(AcceleratorGraph& compiled, const Int8Graph& graph) {
  const uint32_t k = graph.linears[0].k, tokens = graph.tokens;
  std::mt19937 random(7);
  std::vector<int8_t> x(size_t{tokens} * k);
  for (uint32_t t = 0; t < tokens; ++t) {
    for (uint32_t c = 0; c < k; ++c) {
      const int extreme = t == 0 || (t == 2 && c % 2 == 0) ? 127 : -127;
      x[size_t{t} * k + c] = static_cast<int8_t>(t < 3 ? extreme : static_cast<int>(random() % 255) - 127);
    }
  }
  double worst = 0;
  each_output(compiled, graph, x, [&](double result, double sum, double scale, double largest) {
    const double error = std::abs(result - sum * scale);
    worst = std::isfinite(error) ? std::max(worst, error / (largest * scale)) : INFINITY;
  });
  return worst;
}

}  // namespace cairn::offload
