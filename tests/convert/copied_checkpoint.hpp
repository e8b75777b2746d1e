#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "base/temporary_folder.hpp"

namespace cairn::testing {

// A safetensors file: the header's length, the header, the data.
inline std::string safetensors(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  return std::string(reinterpret_cast<const char*>(&length), 8) + header + data;
}

// One of tests/data/convert, copied so that it can be spoiled.
class CopiedCheckpoint {
 public:
  explicit CopiedCheckpoint(const std::string& name) {
    std::filesystem::copy(std::string(CAIRN_TEST_DATA) + "/convert/" + name + "/" + name, folder_.path(),
                          std::filesystem::copy_options::recursive);
  }
  const std::string& path() const { return folder_.path(); }
  std::string operator/(const std::string& name) const { return folder_ / name; }

  void edit(const std::string& file, const std::function<void(nlohmann::json&)>& change) const {
    auto json = nlohmann::json::parse(read_file(folder_ / file));
    change(json);
    write_file(folder_ / file, json.dump());
  }
  // The header of model.safetensors; the data stays.
  void edit_header(const std::function<void(nlohmann::json&)>& change) const {
    const std::string file = read_file(folder_ / "model.safetensors");
    uint64_t length = 0;
    std::memcpy(&length, file.data(), 8);
    auto header = nlohmann::json::parse(file.substr(8, length));
    change(header);
    write_file(folder_ / "model.safetensors", safetensors(header.dump(), file.substr(8 + length)));
  }
  // Renames a tensor.
  void rename(const std::string& from, const std::string& to) const {
    edit_header([&](nlohmann::json& header) {
      header[to] = header[from];
      header.erase(from);
    });
  }

 private:
  const TemporaryFolder folder_;
};

}  // namespace cairn::testing
