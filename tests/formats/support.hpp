// What the tests of formats share: folders that vanish, files made byte by byte.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <string>
#include <string_view>

#include "base/error.hpp"

namespace cairn::test {

class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "cairn-formats-XXXXXX").string();
    if (!mkdtemp(name.data())) throw std::runtime_error("cannot make " + name);
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  std::string operator/(const std::string& name) const { return path_ / name; }
  std::string write(const std::string& name, std::string_view bytes) const {
    const std::string path = *this / name;
    std::ofstream(path, std::ios::binary) << bytes;
    return path;
  }
  bool empty() const { return std::filesystem::is_empty(path_); }

 private:
  std::filesystem::path path_;
};

inline std::string read_file(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  if (!in) throw std::runtime_error("cannot read " + path);
  return {std::istreambuf_iterator<char>(in), {}};
}

inline std::string golden(const std::string& name) {
  return std::string(CAIRN_TEST_DATA "/gguf/") + name;
}

// A file's bytes in the making; numbers little-endian, strings with a 64-bit length.
class Bytes {
 public:
  template <class T>
  requires std::is_arithmetic_v<T> Bytes& put(T value) {
    data_.append(reinterpret_cast<const char*>(&value), sizeof(T));
    return *this;
  }
  Bytes& raw(std::string_view text) {
    data_ += text;
    return *this;
  }
  Bytes& string(std::string_view text) { return put(uint64_t{text.size()}).raw(text); }
  Bytes& header(uint64_t tensors, uint64_t pairs, uint32_t version = 3) {
    return raw("GGUF").put(version).put(tensors).put(pairs);
  }
  Bytes& tensor(std::string_view name, std::initializer_list<uint64_t> shape, uint32_t type,
                uint64_t offset) {
    string(name).put(static_cast<uint32_t>(shape.size()));
    for (const uint64_t length : shape) put(length);
    return put(type).put(offset);
  }
  Bytes& pad(size_t alignment = 32) {
    while (data_.size() % alignment != 0) data_ += '\0';
    return *this;
  }
  Bytes& zeros(size_t count) {
    data_.append(count, '\0');
    return *this;
  }
  size_t size() const { return data_.size(); }
  const std::string& str() const { return data_; }

 private:
  std::string data_;
};

// Expects an Error of that code whose one line contains all of `parts`.
inline void expect_error(const std::function<void()>& action, ErrorCode code,
                         const std::vector<std::string>& parts) {
  try {
    action();
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    const std::string text = error.what();
    EXPECT_EQ(error.code(), code) << text;
    for (const std::string& part : parts) EXPECT_THAT(text, ::testing::HasSubstr(part));
    EXPECT_EQ(text.find('\n'), std::string::npos) << text;
  }
}

}  // namespace cairn::test
