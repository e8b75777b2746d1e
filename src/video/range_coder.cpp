#include "video/range_coder.hpp"

#include <algorithm>

namespace cairn::video {
namespace {

constexpr uint32_t kTop = 1u << 24;

}  // namespace

void RangeEncoder::shift() {
  if (low_ < 0xFF000000u || low_ > 0xFFFFFFFFu) {
    const auto carry = static_cast<uint8_t>(low_ >> 32);
    if (started_) bytes_.push_back(static_cast<std::byte>(held_ + carry));
    for (; pending_ > 0; --pending_) bytes_.push_back(static_cast<std::byte>(0xFF + carry));
    started_ = true;
    held_ = static_cast<uint8_t>(low_ >> 24);
  } else {
    ++pending_;
  }
  low_ = (low_ & 0x00FFFFFFu) << 8;
}

void RangeEncoder::encode(uint32_t before, uint32_t frequency, uint32_t total) {
  const uint32_t unit = range_ / total;
  low_ += static_cast<uint64_t>(unit) * before;
  range_ = unit * frequency;
  while (range_ < kTop) {
    range_ <<= 8;
    shift();
  }
}

std::vector<std::byte> RangeEncoder::finish() {
  // Any value in [low, low + range) will do: the one with most zero bytes at its end, which are not written.
  const uint64_t high = low_ + range_ - 1;
  for (int zeros = 3; zeros >= 0; --zeros) {
    const uint64_t mask = (uint64_t{1} << (8 * zeros)) - 1, value = high & ~mask;
    if (value < low_) continue;
    low_ = value;
    break;
  }
  for (int i = 0; i < 5; ++i) shift();
  while (!bytes_.empty() && bytes_.back() == std::byte{0}) bytes_.pop_back();
  return std::move(bytes_);
}

RangeDecoder::RangeDecoder(std::span<const std::byte> bytes) : bytes_(bytes) {
  for (int i = 0; i < 4; ++i) code_ = code_ << 8 | next();
}

uint32_t RangeDecoder::at(uint32_t total) {
  range_ /= total;
  return std::min(code_ / range_, total - 1);
}

void RangeDecoder::take(uint32_t before, uint32_t frequency) {
  code_ -= range_ * before;
  range_ *= frequency;
  while (range_ < kTop) {
    range_ <<= 8;
    code_ = code_ << 8 | next();
  }
}

AdaptiveModel::AdaptiveModel(std::vector<uint16_t> start, uint32_t step)
    : frequencies_(std::move(start)), step_(step) {
  for (const uint16_t frequency : frequencies_) total_ += frequency;
}

AdaptiveModel AdaptiveModel::bell(uint32_t size, uint32_t deviation_index) {
  // f(d + 1) / f(d) = q^(2d + 1), all in units of 2⁻¹⁶; q nears 1 as the index grows.
  std::vector<uint16_t> start(size);
  const uint64_t q = 65536 - 65536 / (2 + deviation_index * deviation_index / 4 + deviation_index);
  const uint32_t middle = size / 2;
  uint64_t value = uint64_t{640} << 16, ratio = q;
  for (uint32_t d = 0; d <= std::max(middle, size - middle); ++d) {
    const auto frequency = static_cast<uint16_t>(std::max<uint64_t>(value >> 16, 1));
    if (d <= middle) start[middle - d] = frequency;
    if (middle + d < size) start[middle + d] = frequency;
    value = value * ratio >> 16;
    ratio = (ratio * q >> 16) * q >> 16;
  }
  return AdaptiveModel(std::move(start));
}

AdaptiveModel AdaptiveModel::spike(uint32_t size, uint32_t index) {
  std::vector<uint16_t> start(size, 1);
  const uint32_t middle = size / 2;
  start[middle] = 2048;
  for (uint32_t d = 1; d < middle; ++d) {
    const uint32_t shift = index + d;
    start[middle - d] = start[middle + d] = static_cast<uint16_t>(shift < 11 ? 2048u >> shift : 1u);
  }
  return AdaptiveModel(std::move(start));
}

void AdaptiveModel::count(uint32_t symbol) {
  frequencies_[symbol] = static_cast<uint16_t>(frequencies_[symbol] + step_);
  total_ += step_;
  if (total_ < kRangeTotal / 2) return;
  total_ = 0;
  for (uint16_t& frequency : frequencies_) {
    frequency = static_cast<uint16_t>((frequency + 1) / 2);
    total_ += frequency;
  }
}

void AdaptiveModel::encode(RangeEncoder& coder, uint32_t symbol) {
  uint32_t before = 0;
  for (uint32_t s = 0; s < symbol; ++s) before += frequencies_[s];
  coder.encode(before, frequencies_[symbol], total_);
  count(symbol);
}

uint32_t AdaptiveModel::decode(RangeDecoder& coder) {
  const uint32_t at = coder.at(total_);
  uint32_t before = 0, symbol = 0;
  while (before + frequencies_[symbol] <= at) before += frequencies_[symbol++];
  coder.take(before, frequencies_[symbol]);
  count(symbol);
  return symbol;
}

}  // namespace cairn::video
