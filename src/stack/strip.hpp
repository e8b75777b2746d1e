// What fit.cpp and fit_tables.cpp do with rows of a matrix: codes by error feedback and coordinate descent.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "kernels/encode.hpp"
#include "stack/fit.hpp"

namespace cairn::stack {

// What was aimed at where each code was chosen, in the tables' units, each weighted by what a squared error
// there costs: enough to move the table's values to their centroids (Lloyd's other condition).
struct CodeSums {
  struct Moments {
    double weight = 0, first = 0;
    void add(double w, double x) { weight += w, first += w * x; }
    void add(const Moments& more) { weight += more.weight, first += more.first; }
  };
  std::array<std::array<Moments, size_t{1} << kPlanes>, kPlanes + 1> moments{};  // [level][code]
};

// kernels::kStripRows rows of a matrix at most.
class Strip {
 public:
  // All must outlive it; tables may change between its calls.
  Strip(const Factors& factors, const Tables& tables, const FitOptions& options,
        const kernels::EncodeKernels& kernels);

  // weights: [rows][factors.width].
  void start(std::span<const float> weights, size_t rows);
  // Codes of all levels and their scales, by GPTQ over the columns with a track of what is fed back for each
  // level; refits: without, the scales stay, for who wants the sums alone
  void feed_back(CodeSums* sums = nullptr, bool refits = true);
  // and by one sweep of coordinate descent on Σ weight_k · e_k H e_kᵀ. Who wants sums is to change the
  // tables.
  void descend(CodeSums* sums = nullptr, bool refits = true);
  void store(FittedMatrix& out, size_t first_row) const;
  // What rows' errors cost in CodeSums; 1 unless given.
  void set_importance(std::span<const float> importance);

 private:
  using Lane = std::array<float, kernels::kStripRows>;
  using Lanes = std::array<Lane, kPlanes + 1>;  // [level]
  // v H wᵀ and v H vᵀ of a level's values v in units of its scale, w the weights.
  struct Products {
    std::array<double, kernels::kStripRows> cross{}, square{};
  };

  float* at(std::vector<float>& x, size_t column) { return x.data() + column * kernels::kStripRows; }
  unsigned shift(unsigned level) const { return kPlanes - level; }
  float value(unsigned level, size_t column, size_t r) const {
    return tables_.values[level][codes_[column * kernels::kStripRows + r] >> shift(level)];
  }
  // y[i] += Σ_j matrix(j, i) · x[j] for columns i of [begin, end), rows j of [first, last).
  void product(const Panels& matrix, size_t begin, size_t end, size_t first, size_t last,
               const std::vector<float>& x, std::vector<float>& y) const;
  void look_ahead();
  void begin_descent();
  // What rows [first, last) of the block that begins at `block` changed by reaches columns [begin, end).
  void carry(const Panels& matrix, size_t block, size_t first, size_t last, size_t begin, size_t end);
  // The codes of a column for the given targets, in the tables' units.
  void choose(const Lanes& targets, size_t column);
  void add(const Lanes& targets, size_t column, float weight, CodeSums& sums) const;
  // The scale that minimises e H eᵀ for the codes at hand; leaves what is lost with it rounded to half.
  void refit(unsigned level, const Products& products);

  size_t n_, rows_ = 0;
  const Factors& factors_;
  const Tables& tables_;
  const FitOptions& options_;
  const kernels::EncodeKernels& kernels_;
  // Transposed: [column][row]. W; W H; and of each column what error feedback would aim at if nothing before
  // it were chosen, w[c] + Σ_j<c w[j] · feedback(j, c).
  std::vector<float> weights_, target_, ahead_;
  std::vector<uint8_t> codes_;  // of kPlanes bits
  // Of each level, in units of its scale: what chosen values feed back or V H; what a block chose or changed.
  std::array<std::vector<float>, kPlanes + 1> tracks_, change_;
  bool descending_ = false;  // tracks_ are V H
  Lane deviation_{}, importance_{};
  Lanes scales_{}, inverse_{}, losses_{};            // inverse_: 1 / scale
  std::array<double, kernels::kStripRows> whole_{};  // w H wᵀ
  std::array<std::array<uint16_t, kernels::kStripRows>, kPlanes + 1> half_{};
};

}  // namespace cairn::stack
