// Which encoding each tensor gets, against what llama.cpp expects of itself (tools/make_mix_golden.py).
#include "encode/mix.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <nlohmann/json.hpp>

#include "formats/gguf_writer.hpp"
#include "formats/support.hpp"

namespace cairn::encode {
namespace {

using nlohmann::json;

json golden() {
  return json::parse(std::ifstream(CAIRN_TEST_DATA "/mixes.json"));
}

// A model's tensors by name, as narrow as their widths' remainders by 256 allow.
void write_model(const std::string& path, const json& model) {
  gguf::Writer writer;
  const auto architecture = model.at("architecture").get<std::string>();
  const auto set = [&](const std::string& key, const char* from) {
    if (model.contains(from)) writer.set(architecture + "." + key, model.at(from).get<uint32_t>());
  };
  writer.set("general.architecture", architecture);
  set("block_count", "n_layer");
  set("attention.head_count", "n_head");
  set("attention.head_count_kv", "n_head_kv");
  set("expert_count", "n_expert");
  const bool experts = model.contains("n_expert");
  const auto width = [&](const char* from) {
    const auto rest = model.at(from).get<uint64_t>() % 256;
    return rest == 0 ? uint64_t{256} : rest;
  };
  const uint64_t embedding = width("n_embd"), ffn = width("n_ff");
  std::vector<uint64_t> lengths;
  const auto add = [&](const std::string& name, std::vector<uint64_t> shape) {
    lengths.push_back(shape[0] * (shape.size() > 1 ? shape[1] : 1) * (shape.size() > 2 ? shape[2] : 1));
    writer.add_tensor(name, Encoding::f32, std::move(shape));
  };
  add("token_embd.weight", {embedding, 2});
  if (model.at("types").at("q8_0").contains("output.weight") ||
      model.at("types").at("q4_0").contains("output.weight"))
    add("output.weight", {embedding, 2});
  for (int layer = model.at("n_layer").get<int>() - 1; layer >= 0; --layer) {  // in whichever order they lie
    const std::string block = "blk." + std::to_string(layer) + ".";
    add(block + "attn_norm.weight", {embedding});
    if (architecture == "deepseek2") {
      for (const char* name : {"attn_q_a", "attn_q_b", "attn_kv_a_mqa"})
        add(block + name + ".weight", {256, 2});
      add(block + "attn_k_b.weight", {128, 2, 2});
      add(block + "attn_v_b.weight", {256, 2, 2});
    } else {
      for (const char* name : {"attn_q", "attn_k", "attn_v"}) add(block + name + ".weight", {embedding, 2});
    }
    add(block + "attn_output.weight", {256, 2});
    for (const char* name : {"ffn_gate", "ffn_up", "ffn_down"}) {
      const uint64_t columns = name == std::string("ffn_down") ? ffn : embedding;
      if (architecture == "deepseek2" && layer >= 3) add(block + name + "_shexp.weight", {columns, 2});
      if (experts && (architecture != "deepseek2" || layer >= 3))
        add(block + name + "_exps.weight", {columns, 2, 2});
      else
        add(block + name + ".weight", {columns, 2});
    }
    if (experts) add(block + "ffn_gate_inp.weight", {embedding, 2});
  }
  writer.write(path, [&](size_t i, const gguf::Writer::Sink& sink) {
    const std::vector<float> zeros(lengths[i]);
    sink(std::as_bytes(std::span(zeros)));
  });
}

std::string expected(const json& overrides, const std::string& name, const std::string& otherwise) {
  int layer = -1;
  std::string pattern = name;
  if (name.starts_with("blk.")) {
    const size_t end = name.find('.', 4);
    layer = std::stoi(name.substr(4));
    pattern = "blk.*" + name.substr(end);
  }
  if (!overrides.contains(pattern)) return otherwise;
  for (const auto& [encoding, layers] : overrides.at(pattern).items()) {
    if (layers.empty() || std::find(layers.begin(), layers.end(), layer) != layers.end()) return encoding;
  }
  return otherwise;
}

TEST(Mix, IsLlamaCpps) {
  const test::TemporaryFolder folder;
  const json models = golden();
  EXPECT_EQ(models.size(), 6U);
  for (const auto& [model_name, model] : models.items()) {
    const std::string path = folder / "model.gguf";
    write_model(path, model);
    const gguf::File file(path);
    EXPECT_EQ(model.at("types").size(), 33U);
    for (const auto& [type_name, overrides] : model.at("types").items()) {
      const FileType& type = parse_file_type(type_name);
      const std::vector<Choice> choices = choose_encodings(file, type, false);
      for (size_t i = 0; i < choices.size(); ++i) {
        const std::string name(file.tensors()[i].name);
        const bool kept = name.ends_with("norm.weight") || name.ends_with("gate_inp.weight");
        EXPECT_EQ(choices[i].kept, kept) << name;
        const std::string wanted =
            kept ? "f32" : expected(overrides, name, std::string(info(type.encoding).name));
        EXPECT_EQ(info(choices[i].encoding).name, wanted) << model_name << ", " << type_name << ", " << name;
      }
    }
  }
}

TEST(Mix, TellsWhatDoesNotFit) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "model.gguf";
  gguf::Writer writer;
  writer.add_tensor("a.weight", Encoding::f32, {96, 1});
  writer.add_tensor("b.weight", Encoding::f32, {33, 1});
  writer.write(path, [](size_t i, const gguf::Writer::Sink& sink) {
    const std::vector<float> zeros(i == 0 ? 96 : 33);
    sink(std::as_bytes(std::span(zeros)));
  });
  const auto choices = choose_encodings(gguf::File(path), parse_file_type("Q4_K"), false);
  EXPECT_EQ(choices[0].encoding, Encoding::q5_0);
  EXPECT_EQ(choices[0].wanted, Encoding::q4_k);
  EXPECT_EQ(choices[1].encoding, Encoding::f16);
  EXPECT_EQ(choices[1].wanted, Encoding::q4_k);
}

// Importance makes two types more careful with the first layers, and two less.
TEST(Mix, LooksAtWhetherThereIsImportance) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "model.gguf";
  write_model(path, golden().at("qwen3-0.6b"));
  const gguf::File file(path);
  const auto encoding = [&](const char* type, bool importance) {
    const auto choices = choose_encodings(file, parse_file_type(type), importance);
    for (size_t i = 0; i < choices.size(); ++i)
      if (file.tensors()[i].name == "blk.0.ffn_down.weight") return choices[i].encoding;
    return Encoding::f32;
  };
  EXPECT_EQ(encoding("q4_0", true), Encoding::q4_1);
  EXPECT_EQ(encoding("q5_0", true), Encoding::q5_1);
  EXPECT_EQ(encoding("iq3_xxs", true), Encoding::iq3_xxs);
  EXPECT_EQ(encoding("iq3_xxs", false), Encoding::q4_k);
  EXPECT_EQ(encoding("iq4_xs", true), Encoding::iq4_xs);
  EXPECT_EQ(encoding("iq4_xs", false), Encoding::q5_k);
}

// As llama.cpp: but for the vocabulary's, which no importance is measured for.
TEST(Mix, SaysWhatIsNotWrittenWithoutImportance) {
  const test::TemporaryFolder folder;
  const std::string path = folder / "model.gguf";
  write_model(path, golden().at("qwen3-0.6b"));
  const gguf::File file(path);
  const auto count = [&](const char* type) {
    size_t needing = 0;
    for (const Choice& choice : choose_encodings(file, parse_file_type(type), true)) {
      needing += choice.needs_importance ? 1 : 0;
      if (choice.needs_importance) EXPECT_FALSE(choice.kept);
    }
    return needing;
  };
  for (const char* type : {"q2_k", "iq3_s", "iq3_m", "iq4_xs", "q4_0", "tq1_0", "tq2_0"})
    EXPECT_EQ(count(type), 0U);
  EXPECT_EQ(count("iq3_xs"), 28U * 2 + 42);  // queries, keys, gate and up of the layers between
  EXPECT_EQ(count("q2_k_s"), 28U * 7 - 3);   // all but the first layers' down
  EXPECT_EQ(count("iq2_xxs"), 28U * 6 - 3);  // nor values
}

TEST(FileTypes, HaveNamesInEitherCase) {
  EXPECT_EQ(parse_file_type("Q4_K_M").number, 15U);
  EXPECT_EQ(parse_file_type("q3_k").name, "q3_k_m");
  test::expect_error([] { parse_file_type("q4_x"); }, ErrorCode::invalid_argument,
                     {"'q4_x'", "q4_k_m", "iq4_xs", "mxfp4_moe"});
}

}  // namespace
}  // namespace cairn::encode
