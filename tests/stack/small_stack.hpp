// A small model, a text, and stacks made of them in a folder of the suite's own.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <string>

#include "base/temporary_folder.hpp"
#include "formats/small_llama.hpp"
#include "llm/model.hpp"
#include "stack/encode.hpp"

namespace cairn::stack {

class SmallStack : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_.emplace();
    cairn::testing::write_small_llama(path("model.gguf"));
    text_.clear();
    for (int i = 0; i < 400; ++i) text_ += "The stones lie " + std::to_string(i * 7919) + " deep. ";
  }
  static void TearDownTestSuite() { folder_.reset(); }

  static std::string path(const std::string& name) { return *folder_ / name; }
  static std::string content(const std::string& name) { return cairn::testing::read_file(path(name)); }
  // As cairn wrote them before headers had checksums: nothing but the version says that they are looked at.
  static std::string as_version_1(std::string bytes) {
    const std::string key = "cairn.stack.version";
    bytes[bytes.find(key) + key.size() + sizeof(uint32_t)] = 1;
    return bytes;
  }
  // Quick ones.
  static EncodeOptions options() {
    EncodeOptions options;
    options.threads = 2;
    options.windows = 4;
    options.window = 64;
    options.importance_windows = 2;
    options.embeddings = Embeddings::keep;
    options.fit.sweeps = 1;
    return options;
  }
  static EncodeReport encode(const std::string& to, const EncodeOptions& options,
                             const EncodeProgress& progress = {}) {
    return encode_stack(*llm::Model::load(path("model.gguf")), text_, options, path(to), progress);
  }

  static inline std::optional<cairn::testing::TemporaryFolder> folder_;
  static inline std::string text_;
};

}  // namespace cairn::stack
