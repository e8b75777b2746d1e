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
  // Codes of all levels and their scales, by GPTQ over the columns with a track of
  // corrected weights for each level; refits: without, the scales stay, for who wants the sums alone
  void feed_back(CodeSums* sums = nullptr, bool refits = true);
  // and by one sweep of coordinate descent on Σ weight_k · e_k H e_kᵀ.
  void descend(CodeSums* sums = nullptr, bool refits = true);
  // The scale that minimises e H eᵀ for the codes at hand; leaves what is lost with it rounded to half.
  void refit(unsigned level);
  void store(FittedMatrix& out, size_t first_row) const;
  // What rows' errors cost in CodeSums; 1 unless given.
  void set_importance(std::span<const float> importance);

 private:
  using Lane = std::array<float, kernels::kStripRows>;

  float* at(std::vector<float>& x, size_t column) { return x.data() + column * kernels::kStripRows; }
  unsigned shift(unsigned level) const { return kPlanes - level; }
  void product(const std::vector<float>& x, std::vector<float>& y) const;  // y += H x
  float value(unsigned level, size_t column, size_t r) const {
    return tables_.values[level][codes_[column * kernels::kStripRows + r] >> shift(level)] *
           scales_[level][r];
  }
  // The codes of a column for the given targets, in the tables' units.
  void choose(const std::array<Lane, kPlanes + 1>& targets, size_t column);
  void add(const std::array<Lane, kPlanes + 1>& targets, size_t column, float weight, CodeSums& sums) const;
  void refit_all();
  // What columns [first, last) of the block that begins at `block` changed by reaches tracks [last, end).
  void carry(const float* matrix, unsigned level, size_t block, size_t first, size_t last, size_t end);

  size_t n_, rows_ = 0;
  const Factors& factors_;
  const Tables& tables_;
  const FitOptions& options_;
  const kernels::EncodeKernels& kernels_;
  std::vector<float> weights_, target_;  // W and W H, transposed: [column][row]
  std::vector<uint8_t> codes_;           // of kPlanes bits
  std::array<std::vector<float>, kPlanes + 1> tracks_, change_;
  std::vector<float> values_, moments_;
  Lane deviation_{}, importance_{};
  std::array<Lane, kPlanes + 1> scales_{}, losses_{};
  std::array<std::array<uint16_t, kernels::kStripRows>, kPlanes + 1> half_{};
};

}  // namespace cairn::stack
