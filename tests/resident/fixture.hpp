// A small model of random weights, once as it is and once as a stack.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <random>
#include <string>

#include "base/error.hpp"
#include "formats/gguf_writer.hpp"
#include "resident/plain_stack.hpp"

namespace cairn::resident {

// A llama of two layers with random weights in f32; `ffn` makes it as large as is wanted.
inline void write_model(const std::string& path, uint32_t ffn = 768) {
  constexpr uint32_t kEmbedding = 256, kVocabulary = 512, kLayers = 2;
  gguf::Writer writer;
  writer.set("general.architecture", std::string("llama"));
  writer.set("llama.block_count", kLayers);
  writer.set("llama.embedding_length", kEmbedding);
  writer.set("llama.feed_forward_length", ffn);
  writer.set("llama.context_length", uint32_t{512});
  writer.set("llama.attention.head_count", uint32_t{4});
  writer.set("llama.attention.head_count_kv", uint32_t{2});
  writer.set("llama.attention.layer_norm_rms_epsilon", 1e-5F);
  struct Shape {
    uint64_t columns, rows;
  };
  std::vector<Shape> shapes;
  const auto add = [&](const std::string& name, uint64_t columns, uint64_t rows) {
    writer.add_tensor(name, Encoding::f32, rows == 0 ? std::vector{columns} : std::vector{columns, rows});
    shapes.push_back({columns, rows});
  };
  add("token_embd.weight", kEmbedding, kVocabulary);
  add("output_norm.weight", kEmbedding, 0);
  for (uint32_t layer = 0; layer < kLayers; ++layer) {
    const std::string blk = "blk." + std::to_string(layer) + ".";
    add(blk + "attn_norm.weight", kEmbedding, 0);
    add(blk + "attn_q.weight", kEmbedding, kEmbedding);
    add(blk + "attn_k.weight", kEmbedding, kEmbedding / 2);
    add(blk + "attn_v.weight", kEmbedding, kEmbedding / 2);
    add(blk + "attn_output.weight", kEmbedding, kEmbedding);
    add(blk + "ffn_norm.weight", kEmbedding, 0);
    add(blk + "ffn_gate.weight", kEmbedding, ffn);
    add(blk + "ffn_up.weight", kEmbedding, ffn);
    add(blk + "ffn_down.weight", ffn, kEmbedding);
  }
  std::mt19937 random(1);
  writer.write(path, [&](size_t tensor, const gguf::Writer::Sink& sink) {
    const auto [columns, rows] = shapes[tensor];
    std::vector<float> values(columns * std::max<uint64_t>(rows, 1));
    std::normal_distribution<float> normal(0, 1 / std::sqrt(static_cast<float>(columns)));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = rows == 0 ? 1.0F : i < 1'000'000 ? normal(random) : values[i - 1'000'000];
    sink(std::as_bytes(std::span(values)));
  });
}

class StackTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder() = std::filesystem::temp_directory_path() / ("cairn-resident-" + std::to_string(getpid()));
    std::filesystem::create_directories(folder());
    write_model(model_path());
    write_plain_stack(model_path(), stack_path(), small());
  }
  static void TearDownTestSuite() { std::filesystem::remove_all(folder()); }

  static PlainStack small() {
    PlainStack options;
    options.rows_per_group = 48;
    return options;
  }
  static std::filesystem::path& folder() {
    static std::filesystem::path path;
    return path;
  }
  static std::string model_path() { return folder() / "model.gguf"; }
  static std::string stack_path() { return folder() / "stack.gguf"; }
  static std::string make(const PlainStack& options, const std::string& name) {
    const std::string path = folder() / name;
    write_plain_stack(model_path(), path, options);
    return path;
  }
  static std::string copy(const std::string& name) {
    const std::string path = folder() / name;
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
  template <class F>
  static void expect_error(const F& f, ErrorCode code, const std::string& part) {
    try {
      f();
      FAIL() << "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), code);
      EXPECT_THAT(error.what(), testing::HasSubstr(part));
    }
  }
};

}  // namespace cairn::resident
