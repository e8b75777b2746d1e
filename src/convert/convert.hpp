// convert: Hugging Face checkpoints as GGUF files, as llama.cpp's converter writes them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace cairn::convert {

// What matrices become; vectors and norms are always f32. automatic: what the checkpoint's first matrix of 16
// bits is, f16 where there is none.
enum class Type : uint8_t { automatic, f32, f16, bf16 };

struct Report {
  std::string architecture, type;                   // GGUF's
  uint64_t tensors = 0, parameters = 0, bytes = 0;  // bytes: of tensors
};

// Called between pieces of tensors' data (bytes written, bytes in all); what it throws ends the conversion.
using Progress = std::function<void(uint64_t done, uint64_t total)>;

// Reads the checkpoint in `folder` and writes `path`, which appears when it is whole. Weights are mapped and
// streamed: memory is a few MiB beside the tokenizer's. Errors, one line each: not_found, format, unsupported
// (see checkpoint.hpp, config.hpp, names.hpp, vocabulary.hpp, elements.hpp), io, whatever progress throws.
Report convert(const std::string& folder, Type type, const std::string& path, const Progress& progress);

}  // namespace cairn::convert
