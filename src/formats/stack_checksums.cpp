#include "formats/stack_checksums.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <array>
#include <memory>

#include "base/error.hpp"
#include "formats/byte_reader.hpp"
#include "formats/stack_keys.hpp"

namespace cairn::stack {
namespace {

// What is no unsigned 1 has checksums: a flipped bit must not turn a new stack into an old one.
bool is_old(const gguf::Value& version) {
  const auto* number = std::get_if<uint64_t>(&version);
  return number != nullptr && *number < kChecksumVersion && *number != 0;
}

size_t offset_in(const gguf::Part& part, const std::byte* at) {
  return static_cast<size_t>(at - part.file.bytes().data());
}

[[noreturn]] void refuse_header(const gguf::Part& part) {
  fail(ErrorCode::format, "{}: its header is damaged: the checksum is wrong", part.file.path());
}

void check_gaps(const gguf::Part& part, size_t begin) {
  std::vector<std::pair<size_t, size_t>> used;
  for (const gguf::Tensor& tensor : part.tensors) {
    const size_t at = offset_in(part, tensor.data.data());
    used.emplace_back(at, at + tensor.data.size());
  }
  const auto bytes = part.file.bytes();
  used.emplace_back(bytes.size(), bytes.size());
  std::sort(used.begin(), used.end());
  for (const auto& [from, to] : used) {
    for (; begin < from; ++begin) {
      if (bytes[begin] != std::byte{})
        fail(ErrorCode::format, "{}: byte {}, between two tensors, is not zero", part.file.path(), begin);
    }
    begin = to;
  }
}

}  // namespace

uint64_t header_checksum(std::span<const std::byte> header, size_t sum_at) {
  static constexpr std::array<std::byte, sizeof(uint64_t)> kZeros{};
  XXH3_state_t state;
  XXH3_64bits_reset(&state);
  XXH3_64bits_update(&state, header.data(), sum_at);
  XXH3_64bits_update(&state, kZeros.data(), kZeros.size());
  const auto rest = header.subspan(sum_at + kZeros.size());
  XXH3_64bits_update(&state, rest.data(), rest.size());
  return XXH3_64bits_digest(&state);
}

void check_header(const gguf::Part& part) {
  const auto version = part.metadata.find(kVersion);
  if (version == part.metadata.end())
    fail(ErrorCode::format, "{}: metadata: a stack's '{}' is missing", part.file.path(), kVersion);
  if (is_old(version->second)) return;
  const auto bytes = part.file.bytes();
  size_t end = bytes.size();
  for (const gguf::Tensor& tensor : part.tensors) end = std::min(end, offset_in(part, tensor.data.data()));
  for (const auto& [key, raw] : part.raw_metadata) {
    constexpr size_t kKind = sizeof(uint32_t);
    if (key != kHeaderChecksum || raw.size() != kKind + sizeof(uint64_t)) continue;
    uint64_t expected = 0;
    std::memcpy(&expected, raw.data() + kKind, sizeof expected);
    if (header_checksum(bytes.first(end), offset_in(part, raw.data()) + kKind) != expected) break;
    return check_gaps(part, end);
  }
  refuse_header(part);
}

bool has_checksums(const gguf::File& file) {
  const gguf::Value* version = file.find(kVersion);
  return version != nullptr && !is_old(*version);
}

std::vector<std::string> damaged_tensors(const gguf::File& file) {
  if (!has_checksums(file)) return {};
  const gguf::Value* value = file.find(kTensorChecksums);
  const auto* sums = value ? std::get_if<std::vector<uint64_t>>(value) : nullptr;
  if (sums == nullptr || sums->size() != file.tensors().size())
    fail(ErrorCode::format, "{}: metadata: '{}' is not a checksum for each tensor", file.path(),
         kTensorChecksums);
  std::vector<std::string> damaged;
  for (size_t i = 0; i < sums->size(); ++i) {
    const gguf::Tensor& tensor = file.tensors()[i];
    if (XXH3_64bits(tensor.data.data(), tensor.data.size()) != (*sums)[i]) damaged.emplace_back(tensor.name);
  }
  return damaged;
}

void require_sound_tensors(const gguf::File& file) {
  const std::vector<std::string> damaged = damaged_tensors(file);
  if (!damaged.empty())
    fail(ErrorCode::format, "{}: tensor {} is damaged: its checksum is wrong", file.path(),
         quote(damaged[0]));
}

}  // namespace cairn::stack
