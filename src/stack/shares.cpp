#include "stack/shares.hpp"

#include <fmt/format.h>

#include <cstring>

#include "base/error.hpp"

namespace cairn::stack {

std::string share_path(const std::string& path, uint32_t share, uint32_t shares) {
  return fmt::format("{}.share-{}-of-{}", path, share, shares);
}

std::vector<std::byte> moment_record(const MomentCollector& moments, uint32_t layer) {
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < quantize::kInputs; ++i) {
    const auto input = static_cast<quantize::Input>(i);
    const uint64_t tokens = moments.tokens(layer, input);
    for (const auto part : {std::as_bytes(std::span(&tokens, 1)), std::as_bytes(moments.sums(layer, input))})
      bytes.insert(bytes.end(), part.begin(), part.end());
  }
  return bytes;
}

void add_moment_record(const Spool& spool, size_t record, const std::string& path, uint32_t layer,
                       MomentCollector& moments) {
  uint64_t offset = 0, wanted = 0;
  for (size_t i = 0; i < quantize::kInputs; ++i)
    wanted += sizeof(uint64_t) + moments.sums(layer, static_cast<quantize::Input>(i)).size() * sizeof(float);
  if (spool.bytes(record) != wanted)
    fail(ErrorCode::format, "{}: the moments of layer {} are of another size", path, layer);
  std::vector<float> sums;
  for (size_t i = 0; i < quantize::kInputs; ++i) {
    const auto input = static_cast<quantize::Input>(i);
    uint64_t tokens = 0;
    spool.read(record, offset, std::as_writable_bytes(std::span(&tokens, 1)));
    sums.resize(moments.sums(layer, input).size());
    spool.read(record, offset + sizeof(tokens), std::as_writable_bytes(std::span(sums)));
    moments.add_sums(layer, input, sums, tokens);
    offset += sizeof(tokens) + sums.size() * sizeof(float);
  }
}

}  // namespace cairn::stack
