// Names taken apart as llama.cpp's gguf.Metadata takes them (tools/make_convert_golden.py).
#include "convert/general.hpp"

#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "base/temporary_folder.hpp"

namespace cairn::convert {
namespace {

TEST(Names, AreTakenApart) {
  const auto rows =
      nlohmann::json::parse(cairn::testing::read_file(std::string(CAIRN_TEST_DATA) + "/convert_names.json"));
  ASSERT_GT(rows.size(), 25u);
  const auto json = [](const std::optional<std::string>& text) {
    return text ? nlohmann::json(*text) : nullptr;
  };
  for (const auto& row : rows) {
    const NameParts parts = name_parts(row[0], row[1]);
    const nlohmann::json got = {row[0],
                                row[1],
                                parts.full,
                                json(parts.organization),
                                json(parts.basename),
                                json(parts.finetune),
                                json(parts.version),
                                json(parts.size),
                                name_title(parts.full),
                                size_label(row[1])};
    EXPECT_EQ(got, row);
  }
}

// config.json's name may be of any length: std::regex would use up the stack.
TEST(Names, OfAnyLength) {
  for (const char* piece : {"1", "v1.", "a", "q4_k_", "7b"}) {
    std::string name;
    while (name.size() < 1000000) name += piece;
    EXPECT_EQ(name_parts(name, 1000).full, name);
    EXPECT_EQ(name_parts("model-" + name, 1000).full, "model-" + name);
    EXPECT_EQ(name_title(name).size(), name.size());
  }
}

TEST(Sampling, CountsThatDoNotFitArePassedOver) {
  const cairn::testing::TemporaryFolder folder;
  cairn::testing::write_file(folder / "config.json", R"({"architectures": ["LlamaForCausalLM"]})");
  cairn::testing::write_file(
      folder / "generation_config.json",
      R"({"top_k": 4294967296, "penalty_last_n": -1, "mirostat": 18446744073709551615})");
  Metadata out;
  general_metadata(folder.path(), Config(folder.path()), {1000}, out);
  const auto find = [&](const char* key) -> const gguf::WriterValue* {
    for (const auto& [name, value] : out.all()) {
      if (name == std::string("general.sampling.") + key) return &value;
    }
    return nullptr;
  };
  EXPECT_EQ(find("top_k"), nullptr);
  EXPECT_EQ(find("mirostat"), nullptr);
  ASSERT_NE(find("penalty_last_n"), nullptr);
  EXPECT_EQ(std::get<int32_t>(*find("penalty_last_n")), -1);
}

}  // namespace
}  // namespace cairn::convert
