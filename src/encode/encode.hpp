#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "base/thread_pool.hpp"
#include "encode/file_type.hpp"
#include "encode/importance.hpp"
#include "formats/gguf.hpp"

namespace cairn::encode {

struct EncodeOptions {
  const FileType* type = nullptr;
  const Importance* importance = nullptr;  // null: all columns alike
  bool pure = false;                       // one encoding for all that is quantised
  bool importance_follows = false;         // plan(): it will be there, but is not measured yet
};

struct EncodeReport {
  struct Fallback {
    std::string tensor;
    uint64_t width;
    Encoding wanted, taken;
  };
  uint64_t tensors = 0, bytes = 0;  // in the file written; bytes: of all tensors
  uint64_t source_bytes = 0;        // of all tensors
  uint64_t parameters = 0;
  std::map<Encoding, uint64_t> encodings;  // tensors of each
  std::vector<Fallback> fallbacks;         // rows that are no whole number of the mix's blocks
  uint64_t requantized = 0;                // tensors that were quantised before, and are again
  std::vector<std::string> unimportant;    // quantised without importance though there is some
};

// What encode() would do. Errors as its own.
EncodeReport plan(const gguf::File& file, const EncodeOptions& options);

// Writes the model in other encodings to `path`, which is whole or not there. Metadata is kept, but for
// general.file_type, general.quantization_version and quantize.imatrix.*, and split.*: the result is one
// file. Takes memory for a few rows a thread. Errors: unsupported (a stack; an encoding that cairn does not
// write), invalid_argument (importance of another width, or none for an encoding that is not written without;
// tensor named), numeric (NaN, infinity, or a number
// beyond what the encoding's halves hold: tensor, row and column), io, cancelled (after an interrupt).
EncodeReport encode(const gguf::File& file, const EncodeOptions& options, const std::string& path,
                    ThreadPool& pool,
                    const std::function<void(uint64_t done, uint64_t total)>& progress = {});

}  // namespace cairn::encode
