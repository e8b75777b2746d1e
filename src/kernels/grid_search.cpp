#include "kernels/grid_search.hpp"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "kernels/grids.hpp"

namespace cairn::kernels {
namespace {

// A search with the memory that it points to. zero, unit: a grid's byte stands for (byte − zero) / unit.
class Owner {
 public:
  template <size_t kPoints, size_t kCodes>
  Owner(const Grid<kPoints, kCodes>& grid, std::initializer_list<int8_t> values, int zero, int unit)
      : rows_(kPoints * kCodes), columns_(kPoints * kCodes) {
    search_.coordinates = kCodes;
    search_.levels = static_cast<int>(values.size());
    search_.points = kPoints;
    std::copy(values.begin(), values.end(), search_.values);
    for (size_t i = 0; i + 1 < values.size(); ++i)
      search_.middles[i] = (search_.values[i] + search_.values[i + 1]) / 2;
    cells_ = 1;
    for (size_t i = 0; i < kCodes; ++i) cells_ *= values.size();
    index_.assign(cells_, GridSearch::kNone);
    for (size_t p = 0; p < kPoints; ++p) {
      size_t cell = 0;
      for (size_t i = kCodes; i-- > 0;) {
        const auto value = static_cast<int8_t>((grid.points[p][i] - zero) / unit);
        const auto* level = std::find(values.begin(), values.end(), value);
        cell = cell * values.size() + static_cast<size_t>(level - values.begin());
        rows_[p * kCodes + i] = value;
        columns_[(p / 8 * kCodes + i) * 8 + p % 8] = value;
      }
      index_[cell] = static_cast<uint16_t>(p);
    }
    find_near();
    search_.index = index_.data();
    search_.near = near_.data();
    search_.near_values = near_values_.data();
    search_.rows = rows_.data();
    search_.columns = columns_.data();
  }
  const GridSearch& search() const { return search_; }

 private:
  void find_near() {
    const auto codes = static_cast<size_t>(search_.coordinates), levels = static_cast<size_t>(search_.levels);
    near_.resize(cells_ * GridSearch::kNear);
    near_values_.resize(cells_ * GridSearch::kNear * codes);
    std::vector<std::pair<float, uint16_t>> order(static_cast<size_t>(search_.points));
    std::array<float, 8> at{};
    for (size_t cell = 0; cell < cells_; ++cell) {
      for (size_t i = 0, rest = cell; i < codes; ++i, rest /= levels) at[i] = search_.values[rest % levels];
      for (size_t p = 0; p < order.size(); ++p) {
        float distance = 0;
        for (size_t i = 0; i < codes; ++i) {
          const float difference = at[i] - static_cast<float>(rows_[p * codes + i]);
          distance += difference * difference;
        }
        order[p] = {distance, static_cast<uint16_t>(p)};
      }
      std::partial_sort(order.begin(), order.begin() + GridSearch::kNear, order.end());
      for (size_t n = 0; n < GridSearch::kNear; ++n) {
        near_[cell * GridSearch::kNear + n] = order[n].second;
        for (size_t i = 0; i < codes; ++i)
          near_values_[((cell * (GridSearch::kNear / 8) + n / 8) * codes + i) * 8 + n % 8] =
              rows_[order[n].second * codes + i];
      }
    }
  }

  GridSearch search_;
  size_t cells_;
  std::vector<int8_t> rows_;
  std::vector<float> columns_;
  std::vector<uint16_t> index_, near_;
  std::vector<int8_t> near_values_;
};

}  // namespace

const GridSearch& grid_search(Encoding encoding) {
  switch (encoding) {
    case Encoding::iq2_xxs: {
      static const Owner owner(kGridIq2Xxs, {8, 25, 43}, 0, 1);
      return owner.search();
    }
    case Encoding::iq2_xs: {
      static const Owner owner(kGridIq2Xs, {8, 25, 43}, 0, 1);
      return owner.search();
    }
    case Encoding::iq2_s: {
      static const Owner owner(kGridIq2S, {8, 25, 43}, 0, 1);
      return owner.search();
    }
    case Encoding::iq3_xxs: {
      static const Owner owner(kGridIq3Xxs, {4, 12, 20, 28, 36, 44, 52, 62}, 0, 1);
      return owner.search();
    }
    case Encoding::iq3_s: {
      static const Owner owner(kGridIq3S, {1, 3, 5, 7, 9, 11, 13, 15}, 0, 1);
      return owner.search();
    }
    case Encoding::iq1_s:
    case Encoding::iq1_m: {
      static const Owner owner(kGridIq1, {-1, 0, 1}, 16, 8);
      return owner.search();
    }
    default:
      fail(ErrorCode::unsupported, "{} has no grid", info(encoding).name);
  }
}

}  // namespace cairn::kernels
