// Files in other encodings: what is in them, and what cannot be one.
#include "encode/encode.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "encode/mix.hpp"
#include "formats/gguf_writer.hpp"
#include "formats/small_llama.hpp"
#include "formats/support.hpp"
#include "kernels/kernel_set.hpp"
#include "kernels/quantize.hpp"

namespace cairn::encode {
namespace {

using test::expect_error;
using ::testing::ElementsAre;

std::vector<float> values(const gguf::Tensor& tensor) {
  std::vector<float> x(tensor.elements());
  kernels::kernel_set(kernels::Target::portable)
      .encoding(tensor.encoding)
      .dequantize(tensor.data.data(), x.size(), x.data());
  return x;
}

// Of the relative square, for numbers as a small model has them.
double most_error(Encoding encoding) {
  switch (encoding) {
    case Encoding::tq1_0:
    case Encoding::tq2_0:
      return 0.7;  // scaled by the largest
    case Encoding::iq1_s:
    case Encoding::iq1_m:
      return 0.22;
    case Encoding::q2_k:
    case Encoding::iq2_xxs:
    case Encoding::iq2_xs:
    case Encoding::iq2_s:
      return 0.12;
    default:
      return 0.04;
  }
}

class Encode : public ::testing::Test {
 protected:
  Encode() { testing::write_small_llama(source_, {.embedding = 256, .ffn = 320}); }

  EncodeReport run(const std::string& from, const char* type, const Importance* importance = nullptr) {
    ThreadPool pool(2, ThreadPool::Idle::sleep);
    EncodeOptions options;
    options.type = &parse_file_type(type);
    options.importance = importance;
    return encode(gguf::File(from), options, out_, pool);
  }
  // A file of one matrix of two rows; the number at (1, 3) is `bad`.
  std::string with(float bad) {
    gguf::Writer writer;
    writer.add_tensor("some.weight", Encoding::f32, {32, 2});
    writer.write(folder_ / "bad.gguf", [&](size_t, const gguf::Writer::Sink& sink) {
      std::vector<float> x(64, 1);
      x[35] = bad;
      sink(std::as_bytes(std::span(x)));
    });
    return folder_ / "bad.gguf";
  }

  test::TemporaryFolder folder_;
  const std::string source_ = folder_ / "f32.gguf", out_ = folder_ / "out.gguf";
};

TEST_F(Encode, WritesWhatTheMixSaysOfEveryType) {
  const gguf::File source(source_);
  Importance ones;
  for (const gguf::Tensor& tensor : source.tensors())
    ones.columns[std::string(tensor.name)].assign(tensor.row_elements(), 1);
  for (const FileType& type : file_types()) {
    const EncodeReport report = run(source_, std::string(type.name).c_str(), &ones);
    const gguf::File file(out_);
    EXPECT_EQ(file.integer("general.file_type"), type.number);
    EXPECT_EQ(file.integer("general.quantization_version"), 2U);
    EXPECT_EQ(file.text("general.architecture"), "llama");
    EXPECT_EQ(file.texts("tokenizer.ggml.tokens"), source.texts("tokenizer.ggml.tokens"));
    ASSERT_EQ(file.tensors().size(), source.tensors().size());
    EXPECT_EQ(report.tensors, source.tensors().size());
    const std::vector<Choice> choices = choose_encodings(source, type, true);
    uint64_t bytes = 0, down = 0;
    for (size_t i = 0; i < choices.size(); ++i) {
      const gguf::Tensor& tensor = file.tensors()[i];
      EXPECT_EQ(tensor.name, source.tensors()[i].name);
      EXPECT_EQ(tensor.shape, source.tensors()[i].shape);
      EXPECT_EQ(tensor.encoding, choices[i].encoding) << type.name << " " << tensor.name;
      bytes += tensor.data.size();
      down += tensor.name.find("ffn_down") != std::string_view::npos && choices[i].wanted ? 1 : 0;
      const std::vector<float> before = values(source.tensors()[i]), after = values(tensor);
      double rest = 0, all = 0;
      for (size_t k = 0; k < before.size(); ++k) {
        rest += std::pow(static_cast<double>(before[k]) - static_cast<double>(after[k]), 2);
        all += std::pow(static_cast<double>(before[k]), 2);
      }
      EXPECT_LT(rest / all, most_error(tensor.encoding)) << type.name << " " << tensor.name;
      EXPECT_EQ(rest == 0, tensor.encoding == Encoding::f32) << type.name << " " << tensor.name;
    }
    EXPECT_EQ(report.bytes, bytes);
    EXPECT_EQ(report.fallbacks.size(), down);
    EXPECT_EQ(report.requantized, 0U);
  }
}

TEST_F(Encode, CountsWhatWasQuantisedAndKeepsWhatIsAlike) {
  run(source_, "q4_0");
  const std::string first = folder_ / "first.gguf";
  std::filesystem::rename(out_, first);
  const EncodeReport again = run(first, "q4_0");
  EXPECT_EQ(again.requantized, 0U);
  EXPECT_EQ(test::read_file(first), test::read_file(out_));
  EXPECT_EQ(run(first, "f16").requantized, 15U);  // 14 matrices of two layers and the embedding
}

TEST_F(Encode, TakesImportanceAndTellsWhereItIsMissing) {
  const EncodeReport plain = run(source_, "q4_k_m");
  const gguf::File without(out_);
  const std::string name = "blk.1.attn_q.weight";
  Importance importance;
  importance.dataset = "words.txt";
  importance.chunks = 3;
  std::vector<float>& columns = importance.columns[name];
  for (int i = 0; i < 256; ++i) columns.push_back(i < 16 ? 100.0F : 0.01F);
  const std::vector<float> source = values(gguf::File(source_).tensor(name)),
                           before = values(without.tensor(name));
  const EncodeReport report = run(source_, "q4_k_m", &importance);
  const gguf::File file(out_);
  EXPECT_EQ(report.unimportant.size(), 14U);
  EXPECT_EQ(plain.unimportant.size(), 0U);
  EXPECT_EQ(file.text("quantize.imatrix.dataset"), "words.txt");
  EXPECT_EQ(file.find("quantize.imatrix.file"), nullptr);
  EXPECT_EQ(file.integer("quantize.imatrix.entries_count"), 1U);
  EXPECT_EQ(file.integer("quantize.imatrix.chunks_count"), 3U);
  const std::vector<float> after = values(file.tensor(name));
  double error_before = 0, error_after = 0;
  for (size_t i = 0; i < source.size(); ++i) {
    if (i % 256 >= 16) continue;
    error_before += std::pow(static_cast<double>(source[i]) - static_cast<double>(before[i]), 2);
    error_after += std::pow(static_cast<double>(source[i]) - static_cast<double>(after[i]), 2);
  }
  EXPECT_LT(error_after, 0.8 * error_before);

  columns.resize(255);
  expect_error([&] { run(source_, "q4_k_m", &importance); }, ErrorCode::invalid_argument,
               {source_, name, "256 columns", "255"});
}

TEST_F(Encode, RefusesTheSmallestTypesWithoutImportance) {
  Importance some;
  some.columns["blk.1.attn_q.weight"].assign(256, 1);
  expect_error(
      [&] { run(source_, "iq2_xxs"); }, ErrorCode::invalid_argument,
      {source_, "iq2_xxs needs importance (--text or --imatrix): tensor 'blk.0.", "would be iq2_xxs"});
  expect_error([&] { run(source_, "iq2_xxs", &some); }, ErrorCode::invalid_argument,
               {source_, ", and what is given lacks some: tensor 'blk.0."});
  expect_error([&] { run(source_, "q2_k_s"); }, ErrorCode::invalid_argument, {"q2_k_s needs importance"});
  EXPECT_FALSE(std::filesystem::exists(out_));
  EncodeOptions options;
  options.type = &parse_file_type("iq2_xxs");
  options.importance_follows = true;
  EXPECT_GT(plan(gguf::File(source_), options).bytes, 0U);
  EXPECT_GT(run(source_, "iq3_s").bytes, 0U);
}

// Of four dimensions the last two count experts: importance for the third alone is too short.
TEST_F(Encode, TakesImportanceOfEveryMatrixOfFourDimensions) {
  gguf::Writer writer;
  writer.add_tensor("some.weight", Encoding::f32, {32, 2, 3, 4});
  const std::string path = folder_ / "deep.gguf";
  const std::vector<float> ones(32 * 2 * 3 * 4, 1);
  writer.write(path, [&](size_t, const gguf::Writer::Sink& sink) { sink(std::as_bytes(std::span(ones))); });
  Importance importance;
  std::vector<float>& columns = importance.columns["some.weight"];
  columns.assign(32 * 3 * 4, 1);
  EXPECT_EQ(run(path, "q4_0", &importance).encodings.at(Encoding::q4_0), 1U);
  columns.resize(32 * 3);
  expect_error([&] { run(path, "q4_0", &importance); }, ErrorCode::invalid_argument,
               {path, "some.weight", "12 experts", "96"});
}

TEST_F(Encode, NamesTheNumberThatIsNone) {
  for (const float bad : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()}) {
    for (const char* type : {"q8_0", "f16", "f32"})
      expect_error([&] { run(with(bad), type); }, ErrorCode::numeric,
                   {"bad.gguf", "'some.weight'", "row 1, column 3"});
  }
  expect_error([&] { run(with(70000), "q8_0"); }, ErrorCode::numeric,
               {"'some.weight'", "row 1, column 3", "70000", "65504"});
  EXPECT_EQ(run(with(70000), "bf16").tensors, 1U);
  std::filesystem::remove(out_);
  expect_error([&] { run(with(NAN), "q8_0"); }, ErrorCode::numeric, {"some.weight"});
  for (const auto& entry : std::filesystem::directory_iterator(std::filesystem::path(out_).parent_path()))
    EXPECT_THAT(entry.path().filename().string(), ::testing::AnyOf("f32.gguf", "bad.gguf"));
}

TEST(ImportanceFile, IsReadAsItWasWritten) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "some.imatrix";
  Importance importance;
  importance.columns["a"] = {1, 2, 0.5F};
  importance.columns["b"] = {0, 4};
  importance.dataset = "text";
  importance.chunks = 2;
  importance.chunk_tokens = 8;
  write_importance(importance, path);
  const Importance back = read_importance(path);
  EXPECT_EQ(back.columns, importance.columns);
  EXPECT_EQ(back.dataset, "text");
  EXPECT_EQ(back.file, "some.imatrix");
  EXPECT_EQ(back.chunks, 2U);
  EXPECT_EQ(back.chunk_tokens, 8U);
}

// Sums of two experts, one of which no token chose.
TEST(ImportanceFile, DividesEachExpertsSums) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "some.imatrix";
  const auto write = [&](std::vector<float> sums, std::vector<float> counts) {
    gguf::Writer writer;
    writer.add_tensor("m.in_sum2", Encoding::f32, {sums.size() / counts.size(), counts.size()});
    writer.add_tensor("m.counts", Encoding::f32, {1, counts.size()});
    writer.write(path, [&](size_t i, const gguf::Writer::Sink& sink) {
      sink(std::as_bytes(std::span(i == 0 ? sums : counts)));
    });
  };
  write({2, 4, 6, 8}, {2, 0});
  EXPECT_THAT(*read_importance(path).find("m"), ElementsAre(1, 2, 1, 1));
  write({2, -4}, {1});
  expect_error([&] { read_importance(path); }, ErrorCode::format, {path, "m.in_sum2", "-4"});
  write({2, NAN}, {1});
  expect_error([&] { read_importance(path); }, ErrorCode::format, {path, "m.in_sum2"});
  write({2, 1e30F}, {1e-30F});
  expect_error([&] { read_importance(path); }, ErrorCode::format, {path, "m.in_sum2", "1e+30", "1e-30"});
  const std::string model = folder / "model.gguf";
  testing::write_small_llama(model);
  expect_error([&] { read_importance(model); }, ErrorCode::format, {model, "in_sum2"});
}

}  // namespace
}  // namespace cairn::encode
