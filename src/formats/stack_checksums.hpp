// Checksums of what stands before a stack's blocks (docs/stack.md). Each block has its own, in the order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "formats/gguf_part.hpp"

namespace cairn::stack {

// Stacks of this version and later have them; those of version 1 are taken as they are.
constexpr uint64_t kChecksumVersion = 2;

// xxh3-64 of a header: of a file's bytes up to its first tensor, those of the number at `sum_at` taken as
// zeros.
uint64_t header_checksum(std::span<const std::byte> header, size_t sum_at);

// That a stack's header is as it was written, and that nothing stands between its tensors. Error format.
void check_header(const gguf::Part& part);

// The tensors whose content is not as it was written. Errors: format (their checksums are missing).
std::vector<std::string> damaged_tensors(const gguf::File& file);
// Error format names the first of them.
void require_sound_tensors(const gguf::File& file);

bool has_checksums(const gguf::File& file);  // of header and tensors

}  // namespace cairn::stack
