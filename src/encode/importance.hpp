#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace cairn::encode {

// How much an error of each column of a matrix costs: the mean square of the activations that it is
// multiplied with (llama.cpp's importance matrix).
struct Importance {
  // By the matrix's name: [columns], or [experts][columns] for one of several experts. Finite, ≥ 0.
  std::map<std::string, std::vector<float>, std::less<>> columns;
  std::string file, dataset;  // where it comes from, as the quantised file will say; may be empty
  uint32_t chunks = 0, chunk_tokens = 0;

  const std::vector<float>* find(std::string_view matrix) const;  // null where there is none
};

// A GGUF file as llama.cpp's llama-imatrix writes it: of each matrix NAME.in_sum2 and NAME.counts. Columns of
// an expert that no token chose count 1. Errors: as gguf::File; format (not such a file, a count or sum that
// is negative or no number; file and tensor named).
Importance read_importance(const std::string& path);
// Readable by it and by llama.cpp. Errors: io.
void write_importance(const Importance& importance, const std::string& path);

}  // namespace cairn::encode
