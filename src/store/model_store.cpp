#include "store/model_store.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "base/error.hpp"
#include "base/near_match.hpp"
#include "store/known_models.hpp"

namespace cairn {
namespace {

namespace fs = std::filesystem;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// A file whose time says when the model was last used: a file system need not keep times of reading.
std::string used_note(const std::string& model_path) {
  const fs::path path(model_path);
  return (path.parent_path() / ("." + path.stem().string() + ".used")).string();
}

// The path of the stored model of that name, exactly or but for its case; empty when there is none.
std::string find_stored(const std::string& name) {
  if (name.empty() || name.find('/') != std::string::npos || name.front() == '.') return {};
  std::error_code ignored;
  if (std::string exact = stored_model_path(name); fs::exists(exact, ignored)) return exact;
  std::string wanted = folded(name);
  if (wanted.ends_with(".gguf")) wanted.resize(wanted.size() - 5);
  for (const StoredModel& model : stored_models()) {
    if (folded(model.name) == wanted) return model.path;
  }
  return {};
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

std::vector<StoredModel> stored_models() {
  std::vector<StoredModel> models;
  std::error_code error;
  for (fs::directory_iterator at(model_folder(), error), end; !error && at != end; at.increment(error)) {
    std::error_code ignored;
    if (at->path().extension() != ".gguf" || !at->is_regular_file(ignored)) continue;
    StoredModel model{at->path().stem().string(), at->path().string(), at->file_size(ignored), 0};
    struct stat note = {};
    if (stat(used_note(model.path).c_str(), &note) == 0) model.used = note.st_mtim.tv_sec;
    models.push_back(std::move(model));
  }
  std::ranges::sort(models, {}, &StoredModel::name);
  return models;
}

std::vector<std::string> stored_model_names() {
  std::vector<std::string> names;
  for (const StoredModel& model : stored_models()) names.push_back(model.name);
  return names;
}

uint64_t remove_stored_model(const std::string& name) {
  const std::string path = find_stored(name);
  if (path.empty()) {
    const auto names = stored_model_names();
    if (name.find('/') != std::string::npos)
      fail(ErrorCode::not_found, "{}: not the name of a pulled model; rm leaves other files alone", name);
    fail(ErrorCode::not_found, "no model '{}' has been pulled{}", name, did_you_mean(name, names));
  }
  std::error_code error;
  const uint64_t bytes = fs::file_size(path, error);
  if (!fs::remove(path, error)) fail(ErrorCode::io, "cannot remove {}: {}", path, error.message());
  for (const std::string& note : {path + ".sha256", used_note(path)}) fs::remove(note, error);
  return bytes;
}

std::string resolve_model(const std::string& name_or_path) {
  std::error_code ignored;
  const fs::file_status status = fs::status(name_or_path, ignored);
  if (fs::exists(status) && !fs::is_directory(status)) return name_or_path;

  const bool could_be_name =
      !name_or_path.empty() && name_or_path.find('/') == std::string::npos && name_or_path.front() != '.';
  if (could_be_name) {
    if (const std::string stored = find_stored(name_or_path); !stored.empty()) {
      const std::string note = used_note(stored);
      const int descriptor = open(note.c_str(), O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
      if (descriptor >= 0) {  // a store that may not be written to keeps no notes
        futimens(descriptor, nullptr);
        close(descriptor);
      }
      return stored;
    }
    if (const KnownModel* known = find_known_model(folded(name_or_path)); known != nullptr) {
      fail(ErrorCode::not_found, "model {} is not here yet; run: cairn pull {}", known->name, known->name);
    }
  }
  if (fs::is_directory(status)) fail(ErrorCode::io, "{}: is a directory, not a model file", name_or_path);
  std::vector<std::string> names;
  if (could_be_name) {
    names = stored_model_names();
    for (const KnownModel& model : known_models()) names.emplace_back(model.name);
  }
  if (const std::string meant = did_you_mean(name_or_path, names); !meant.empty())
    fail(ErrorCode::not_found, "{}: no such file or model{}", name_or_path, meant);
  fail(ErrorCode::not_found, "{}: no such file, and no model of that name has been pulled (known: {})",
       name_or_path.empty() ? "''" : name_or_path, known_model_names());
}

}  // namespace cairn
