#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "formats/gguf.hpp"

namespace cairn::gguf {

// How much of a model is stored in one encoding, or in all.
struct Share {
  uint64_t tensors = 0, elements = 0, bytes = 0;
  double bits_per_weight() const {
    return elements ? 8.0 * static_cast<double>(bytes) / static_cast<double>(elements) : 0;
  }
};

struct Totals {
  Share all;
  std::vector<std::pair<Encoding, Share>> encodings;  // by bytes, most first
};
Totals totals(const File& file);

struct DescribeOptions {
  bool full = false;  // long arrays and texts in full instead of their beginning and length
  bool metadata = true, tensors = true;  // for people: whether these are listed below the totals
};

// A metadata value in one line, safe to print.
std::string describe(const Value& value, const DescribeOptions& options = {});
// An array longer than 16 is {"length": n, "first": [...]} unless `full`.
nlohmann::ordered_json to_json(const Value& value, const DescribeOptions& options = {});

// Totals, metadata, tensors: for people, and as {"path", "version", "file_bytes", "metadata": {key: value},
// "tensors": [{"name", "shape", "encoding", "bytes"}], "totals": {"tensors", "elements", "bytes",
// "bits_per_weight", "encodings": {name: {...}}}}.
std::string describe(const File& file, const DescribeOptions& options = {});
nlohmann::ordered_json to_json(const File& file, const DescribeOptions& options = {});

}  // namespace cairn::gguf
