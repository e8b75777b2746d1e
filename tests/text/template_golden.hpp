#pragma once

#include <gtest/gtest.h>

#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>

#include "base/error.hpp"
#include "text/chat_template.hpp"

namespace cairn::text {

inline std::string template_data(const std::string& name) {
  return std::string(CAIRN_TEST_DATA) + "/templates/" + name;
}

inline std::string read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline nlohmann::ordered_json read_golden(const std::string& name) {
  return nlohmann::ordered_json::parse(read_file(template_data(name)));
}

// The moment that the expected outputs were made for; strftime_now shows it in the local time zone.
inline std::chrono::system_clock::time_point golden_clock() {
  setenv("TZ", "UTC", 1);
  tzset();
  return std::chrono::system_clock::from_time_t(1753000000);
}

// expected: {"text": ...}, {"error": ...} (jinja2's words, which end ours) or {"fails": true}
inline void expect_golden(const std::string& source, const nlohmann::ordered_json& variables,
                          const nlohmann::ordered_json& expected) {
  const std::string shown = source.substr(0, 400);
  try {
    const std::string text = ChatTemplate(source, golden_clock).render(variables);
    ASSERT_TRUE(expected.contains("text"))
        << shown << "\nrendered: " << text << "\nexpected: " << expected.dump();
    EXPECT_EQ(text, expected["text"].get<std::string>()) << shown;
  } catch (const Error& error) {
    ASSERT_FALSE(expected.contains("text")) << shown << "\n" << error.what();
    if (expected.contains("error")) {
      EXPECT_TRUE(std::string(error.what()).ends_with(": " + expected["error"].get<std::string>()))
          << shown << "\n"
          << error.what() << "\nexpected: " << expected["error"];
    }
  }
}

}  // namespace cairn::text
