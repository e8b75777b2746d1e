#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {

// Where pulled models live: $CAIRN_MODELS, else $XDG_CACHE_HOME/cairn/models, else ~/.cache/cairn/models.
std::string model_folder();

// Where cairn keeps what it can make again: $XDG_CACHE_HOME/cairn/<name>, else ~/.cache/cairn/<name>; empty
// when neither variable is set.
std::string cache_folder(std::string_view name);

// The store's file for a short name, there or not. Error invalid_argument for a name that is no file name.
std::string stored_model_path(std::string_view name);

// A file's path from what a user typed as MODEL: an existing path is itself, a short name (in any case, with
// or without .gguf) is its file in the store. Error not_found says what to pull, or which name is near.
std::string resolve_model(const std::string& name_or_path);

struct StoredModel {
  std::string name, path;
  uint64_t bytes = 0;
  int64_t used = 0;  // seconds since 1970 when resolve_model() last found it by name; 0: never
};

// What is in the store, by name. No folder is an empty store.
std::vector<StoredModel> stored_models();
std::vector<std::string> stored_model_names();

// Deletes a model of the store with the notes kept beside it; returns how many bytes that freed. Errors:
// not_found (with the name that is near), io.
uint64_t remove_stored_model(const std::string& name);

}  // namespace cairn
