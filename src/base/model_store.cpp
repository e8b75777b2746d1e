#include "base/model_store.hpp"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/error.hpp"
#include "base/known_models.hpp"

namespace cairn {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

}  // namespace

std::string model_folder() {
  if (const std::string own = variable("CAIRN_MODELS"); !own.empty()) return own;
  if (std::string folder = cache_folder("models"); !folder.empty()) return folder;
  fail(ErrorCode::not_found, "no place for models: set CAIRN_MODELS to a folder (HOME is not set)");
}

std::string cache_folder(std::string_view name) {
  if (const std::string cache = variable("XDG_CACHE_HOME"); !cache.empty())
    return fmt::format("{}/cairn/{}", cache, name);
  if (const std::string home = variable("HOME"); !home.empty())
    return fmt::format("{}/.cache/cairn/{}", home, name);
  return {};
}

std::string stored_model_path(std::string_view name) {
  constexpr std::string_view suffix = ".gguf";
  if (name.ends_with(suffix)) name.remove_suffix(suffix.size());
  const bool plain = !name.empty() && name.front() != '.' && std::ranges::none_of(name, [](char c) {
    return c == '/' || static_cast<unsigned char>(c) < 0x20;
  });
  if (!plain) fail(ErrorCode::invalid_argument, "'{}' cannot be a model's name", name);
  return fmt::format("{}/{}{}", model_folder(), name, suffix);
}

std::string resolve_model(const std::string& name_or_path) {
  std::error_code ignored;
  const fs::file_status status = fs::status(name_or_path, ignored);
  if (fs::exists(status) && !fs::is_directory(status)) return name_or_path;

  const bool could_be_name =
      !name_or_path.empty() && name_or_path.find('/') == std::string::npos && name_or_path.front() != '.';
  if (could_be_name) {
    const std::string stored = stored_model_path(name_or_path);
    if (fs::exists(stored, ignored)) return stored;
    if (find_known_model(name_or_path) != nullptr) {
      fail(ErrorCode::not_found, "model {} is not here yet; run: cairn pull {}", name_or_path, name_or_path);
    }
  }
  if (fs::is_directory(status)) fail(ErrorCode::io, "{}: is a directory, not a model file", name_or_path);
  fail(ErrorCode::not_found, "{}: no such file, and no model of that name has been pulled (known: {})",
       name_or_path.empty() ? "''" : name_or_path, known_model_names());
}

}  // namespace cairn
