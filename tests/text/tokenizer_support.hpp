#pragma once

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "formats/gguf.hpp"
#include "formats/gguf_writer.hpp"
#include "text/tokenizer.hpp"

namespace cairn::text::testing {

using Ids = std::vector<Token>;

inline nlohmann::json golden(const std::string& name) {
  const std::string path = std::string(CAIRN_TEST_DATA) + "/tokenizer/" + name;
  std::ifstream in(path);
  if (!in) throw std::runtime_error(path + " is missing");
  return nlohmann::json::parse(in);
}

struct HardCase {
  std::string bytes;  // perhaps broken UTF-8
  std::string text;   // what the reference made of it
};

inline std::vector<HardCase> hard_cases() {
  std::vector<HardCase> out;
  for (const auto& one : golden("hard_cases.json")) {
    HardCase result{{}, one["text"].get<std::string>()};
    if (one.contains("hex")) {
      const std::string hex = one["hex"];
      for (size_t i = 0; i < hex.size(); i += 2)
        result.bytes.push_back(static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16)));
    } else {
      result.bytes = result.text;
    }
    out.push_back(result);
  }
  return out;
}

// The metadata of a small model; a test changes what it is about.
struct Metadata {
  std::vector<std::pair<std::string, gguf::WriterValue>> values;

  Metadata& set(const std::string& key, gguf::WriterValue value) {
    erase(key);
    values.emplace_back("tokenizer.ggml." + key, std::move(value));
    return *this;
  }
  Metadata& erase(const std::string& key) {
    std::erase_if(values, [&](const auto& pair) { return pair.first == "tokenizer.ggml." + key; });
    return *this;
  }

  void write(const std::string& path) const {
    gguf::Writer writer;
    for (const auto& [key, value] : values) writer.set(key, value);
    writer.write(path, [](size_t, const gguf::Writer::Sink&) {});
  }

  // The file is gone when this returns; the tokenizer keeps its mapping.
  std::unique_ptr<Tokenizer> tokenizer() const {
    static int count = 0;
    const std::filesystem::path path = std::filesystem::temp_directory_path() /
                                       fmt::format("cairn-tokenizer-{}-{}.gguf", ::getpid(), count++);
    write(path.string());
    struct Remove {
      const std::filesystem::path& path;
      ~Remove() { std::filesystem::remove(path); }
    } remove{path};
    return make_tokenizer(gguf::File(path.string()));
  }
};

inline Metadata byte_level(const std::string& pre) {
  const nlohmann::json data = golden("byte_level.json");
  Metadata out;
  out.set("model", "gpt2").set("pre", pre);
  out.set("tokens", data["tokens"].get<std::vector<std::string>>());
  out.set("token_type", data["types"].get<std::vector<int32_t>>());
  out.set("merges", data["merges"].get<std::vector<std::string>>());
  out.set("add_bos_token", false);
  return out;
}

inline Metadata sentencepiece(const nlohmann::json& data) {
  Metadata out;
  out.set("model", "llama");
  out.set("tokens", data["tokens"].get<std::vector<std::string>>());
  out.set("token_type", data["types"].get<std::vector<int32_t>>());
  out.set("scores", data["scores"].get<std::vector<float>>());
  out.set("add_space_prefix", data["add_space_prefix"].get<bool>());
  return out;
}

// Valid UTF-8 with all lengths of characters; control characters, blanks and ASCII are likelier than others.
inline std::string random_text(std::mt19937& random, size_t characters) {
  std::string out;
  const auto below = [&](uint32_t n) { return static_cast<uint32_t>(random() % n); };
  for (size_t i = 0; i < characters; ++i) {
    uint32_t point = 0;
    switch (below(6)) {
      case 0:
        point = below(0x80);
        break;
      case 1:
        point = " \n\t\r'0aA"[below(8)];
        break;
      case 2:
        point = 'a' + below(26);
        break;
      case 3:
        point = 0x80 + below(0x780);
        break;
      case 4:
        point = 0x800 + below(0xF800);
        break;
      default:
        point = 0x10000 + below(0x100000);
    }
    if (point >= 0xD800 && point < 0xE000) point -= 0x800;
    if (point < 0x80) {
      out.push_back(static_cast<char>(point));
      continue;
    }
    const int more = point < 0x800 ? 1 : point < 0x10000 ? 2 : 3;
    out.push_back(static_cast<char>((0xFF00u >> (more + 1) & 0xFF) | point >> (6 * more)));
    for (int k = more - 1; k >= 0; --k) out.push_back(static_cast<char>(0x80 | (point >> (6 * k) & 0x3F)));
  }
  return out;
}

}  // namespace cairn::text::testing
