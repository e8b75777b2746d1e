#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/error.hpp"

namespace cairn::video {

// Arithmetic coding in 32 bits with carries (Martin 1979, Schindler's byte-wise form). Integers only: what
// one machine writes every machine reads.
constexpr uint32_t kRangeTotal = 1u << 16;  // the largest sum of frequencies

class RangeEncoder {
 public:
  // A symbol of `frequency` > 0 whose predecessors' sum is `before`, of `total` ≤ kRangeTotal.
  void encode(uint32_t before, uint32_t frequency, uint32_t total);
  std::vector<std::byte> finish();

 private:
  void shift();
  uint64_t low_ = 0;
  uint32_t range_ = 0xFFFFFFFFu;
  uint8_t held_ = 0;
  uint64_t pending_ = 0;  // bytes of 0xFF behind `held_`
  bool started_ = false;
  std::vector<std::byte> bytes_;
};

// Beyond the end of its bytes it reads zeros; overrun() tells.
class RangeDecoder {
 public:
  explicit RangeDecoder(std::span<const std::byte> bytes);
  // Where in [0, total) the next symbol lies; take() with the symbol found there must follow.
  uint32_t at(uint32_t total);
  void take(uint32_t before, uint32_t frequency);
  // More bytes were needed than there are: what was decoded is nonsense.
  bool overrun() const { return position_ > bytes_.size() + 4; }

 private:
  uint32_t next() {
    return position_ < bytes_.size() ? static_cast<uint32_t>(bytes_[position_++]) : (++position_, 0u);
  }
  std::span<const std::byte> bytes_;
  size_t position_ = 0;
  uint32_t code_ = 0, range_ = 0xFFFFFFFFu;
};

// Frequencies of symbols 0 … size - 1, counted along; a start may be given.
class AdaptiveModel {
 public:
  explicit AdaptiveModel(std::vector<uint16_t> start, uint32_t step = 24);
  static AdaptiveModel even(uint32_t size) { return AdaptiveModel(std::vector<uint16_t>(size, 8)); }
  // Symbols around `size / 2` fall off as exp(-d² / 2σ²), σ = deviation_index's, floor 1; integers only.
  static AdaptiveModel bell(uint32_t size, uint32_t deviation_index);
  static constexpr uint32_t kBells = 64;
  // Around `size / 2`, which has 2^(index + 1) times the frequency of its neighbours, halving from there on.
  static AdaptiveModel spike(uint32_t size, uint32_t index);
  static constexpr uint32_t kSpikes = 8;

  void encode(RangeEncoder& coder, uint32_t symbol);
  uint32_t decode(RangeDecoder& coder);

 private:
  void count(uint32_t symbol);
  std::vector<uint16_t> frequencies_;
  uint32_t total_ = 0, step_;
};

}  // namespace cairn::video
