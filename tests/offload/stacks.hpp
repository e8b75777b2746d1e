// Stacks of a tiny model, and runs of them on devices.
#pragma once

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>

#include "backends/cpu/engine.hpp"
#include "base/expect_error.hpp"
#include "base/memory_pressure.hpp"
#include "base/sanitized.hpp"
#include "base/temporary_folder.hpp"
#include "engine/one_sequence.hpp"
#include "formats/small_llama.hpp"
#include "graph/golden_models.hpp"
#include "offload/book_device.hpp"
#include "offload/engine.hpp"
#include "offload/openvino/accelerator.hpp"
#include "offload/openvino/device.hpp"
#include "quantize/make_scheme.hpp"
#include "resident/plain_stack.hpp"

namespace cairn::offload {

using cairn::testing::expect_error;
using cairn::testing::ScopedVariable;
using cairn::testing::TemporaryFolder;
using engine::Logits;
using engine::OneSequence;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kMiB = 1 << 20;

inline double distance(std::span<const float> expected, std::span<const float> actual) {
  double error = 0, power = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double e = static_cast<double>(expected[i]), d = static_cast<double>(actual[i]) - e;
    error += d * d, power += e * e;
  }
  return std::sqrt(error / power);
}

inline std::vector<int32_t> some_tokens(size_t count, int32_t vocabulary = 40) {
  std::vector<int32_t> tokens(count);
  for (size_t i = 0; i < count; ++i) tokens[i] = static_cast<int32_t>(3 + i * 7 % size_t(vocabulary - 3));
  return tokens;
}

inline std::vector<float> last_logits(OneSequence& run, const std::vector<int32_t>& tokens,
                                      const engine::Cancelled& cancelled = {}) {
  std::vector<float> logits(run.vocabulary());
  run.run(tokens, 0, Logits::last, logits.data(), cancelled);
  return logits;
}

constexpr const char* kFake = CAIRN_FAKE_OPENVINO;

// In slices of a device's chunks: attention rounds keys that are read together.
constexpr uint32_t kChunk = 32;
inline std::vector<float> in_chunks(OneSequence& run, const std::vector<int32_t>& tokens) {
  std::vector<float> logits(run.vocabulary());
  for (size_t begin = 0; begin < tokens.size(); begin += kChunk) {
    const size_t count = std::min<size_t>(kChunk, tokens.size() - begin);
    run.run(std::span(tokens).subspan(begin, count), static_cast<uint32_t>(begin), Logits::last,
            logits.data());
  }
  return logits;
}

// A device, and whether it compiles a copy of the stack. A new matrix engine is a row at the end.
struct Device {
  const char* name;
  const char* device;
  bool copies;
  const char* openvino = kFake;  // the library; null: the one that is installed
};
inline void PrintTo(const Device& device, std::ostream* out) {
  *out << device.device;
}

// "inside:CPU": OpenVINO's CPU as a device that compiles weights in.
inline void add_inside() {
  const auto traits = [](const std::string& device) {
    AcceleratorTraits all = accelerator_traits("openvino:" + device);
    all.takes_moving_weights = false;
    return all;
  };
  add_accelerators({.name = "inside",
                    .names = {},
                    .list = [] { return std::vector<AcceleratorInfo>{}; },
                    .traits = traits,
                    .make =
                        [](const std::string& device, const AcceleratorOptions& options) {
                          return make_openvino_accelerator(device, options,
                                                           openvino::WeightPlacement::constants);
                        }});
}

class Stacks : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  std::vector<std::string> lines_;

  // 2 MB of planes: what a process's memory does besides is little against them.
  std::string stack() {
    const std::string path = folder_ / "stack.gguf", model = folder_ / "model.gguf";
    if (std::filesystem::exists(path)) return path;
    cairn::testing::write_small_llama(model,
                                      {.embedding = 256, .ffn = 1024, .vocabulary = 64, .tokenizer = false});
    resident::write_plain_stack(model, path, {.rows_per_group = 48, .embeddings = false, .random = true});
    return path;
  }
  // The file's first blocks, so many bits a weight of them.
  static std::string cut(const std::string& whole, double bits) {
    const std::string path = fmt::format("{}-{}", whole, bits);
    if (std::filesystem::exists(path)) return path;
    std::filesystem::copy_file(whole, path);
    const stack::Layout layout = stack::read_layout(gguf::File(whole));
    size_t blocks = layout.base_blocks;
    while (blocks < layout.blocks.size() && layout.bits(blocks + 1) <= bits) ++blocks;
    std::filesystem::resize_file(path, layout.end_of(blocks));
    return path;
  }
  PrefillOptions options_of(const std::string& device) {
    PrefillOptions options;
    options.engine = {.context = 256, .threads = 2, .chunk = kChunk};
    options.device = device;
    options.warn = options.accelerator.notice = [this](const std::string& line) { lines_.push_back(line); };
    return options;
  }
  static quantize::Scheme scheme_of(const gguf::File& file, quantize::Method method) {
    return quantize::make_scheme(graph::read_hyper_parameters(file).layers, {.method = method});
  }
  static OneSequence prefill(const std::string& path, const PrefillOptions& options,
                             quantize::Method method = quantize::Method::rotation) {
    const gguf::File file(path);
    return OneSequence(make_prefill_engine(file, scheme_of(file, method), options));
  }
  static OneSequence own(const std::string& path, engine::Precision precision = engine::Precision::standard) {
    return OneSequence(cpu::make_engine(
        gguf::File(path), {.context = 256, .threads = 1, .chunk = 256, .precision = precision}));
  }
};

}  // namespace cairn::offload
