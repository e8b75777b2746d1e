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

}  // namespace
}  // namespace cairn::convert
