// A small model of random weights, once as it is and once as a stack.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "base/expect_error.hpp"
#include "base/temporary_folder.hpp"
#include "formats/small_llama.hpp"
#include "resident/plain_stack.hpp"

namespace cairn::resident {

// Weights alone; `ffn` makes the model as large as is wanted.
inline void write_model(const std::string& path, uint32_t ffn = 768) {
  cairn::testing::write_small_llama(path,
                                    {.embedding = 256, .ffn = ffn, .vocabulary = 512, .tokenizer = false});
}

inline uint64_t page_bytes() {
  return static_cast<uint64_t>(sysconf(_SC_PAGESIZE));
}
inline uint64_t pages(uint64_t bytes) {  // rounded up to whole ones
  return (bytes + page_bytes() - 1) / page_bytes() * page_bytes();
}

class StackTest : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_.emplace();
    write_model(model_path());
    write_plain_stack(model_path(), stack_path(), small());
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static PlainStack small() {
    PlainStack options;
    options.rows_per_group = 48;
    return options;
  }
  static std::string model_path() { return *folder_ / "model.gguf"; }
  static std::string stack_path() { return *folder_ / "stack.gguf"; }
  static std::string make(const PlainStack& options, const std::string& name) {
    const std::string path = *folder_ / name;
    write_plain_stack(model_path(), path, options);
    return path;
  }
  static std::string copy(const std::string& name) {
    const std::string path = *folder_ / name;
    std::filesystem::copy_file(stack_path(), path, std::filesystem::copy_options::overwrite_existing);
    return path;
  }
  static void flip(const std::string& path, uint64_t at) {
    std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
    file.seekg(static_cast<std::streamoff>(at));
    const char byte = static_cast<char>(file.get() ^ 4);
    file.seekp(static_cast<std::streamoff>(at));
    file.put(byte);
  }
  static size_t find_block(const stack::Layout& layout, uint32_t matrix, uint32_t group, uint8_t level) {
    for (size_t i = 0; i < layout.blocks.size(); ++i) {
      const stack::Block& b = layout.blocks[i];
      if (b.matrix == matrix && b.group == group && b.level == level) return i;
    }
    ADD_FAILURE() << "no such block";
    return 0;
  }

  static inline std::optional<cairn::testing::TemporaryFolder> folder_;
};

}  // namespace cairn::resident
