#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "base/atomic_file.hpp"
#include "text/tokenizer.hpp"

namespace cairn::measure {

// Logits for other programs to compare with, all little-endian: "cairnlog"; uint32 vocabulary, tokens a
// window, windows; then for each window its tokens (int32) and the logits after each of them (float32
// [tokens, vocabulary]). All windows have the same size. Errors: io.
class LogitsFile {
 public:
  LogitsFile(const std::string& path, uint32_t vocabulary, std::span<const std::vector<text::Token>> windows);
  // Rows come in order.
  void add(size_t window, uint32_t position, std::span<const float> logits);
  void commit() { file_.commit(); }

 private:
  AtomicFile file_;
  std::span<const std::vector<text::Token>> windows_;
};

}  // namespace cairn::measure
