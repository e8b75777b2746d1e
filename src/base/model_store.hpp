#pragma once

#include <string>
#include <string_view>

namespace cairn {

// Where pulled models live: $CAIRN_MODELS, else $XDG_CACHE_HOME/cairn/models, else ~/.cache/cairn/models.
std::string model_folder();

// Where cairn keeps what it can make again: $XDG_CACHE_HOME/cairn/<name>, else ~/.cache/cairn/<name>; empty
// when neither variable is set.
std::string cache_folder(std::string_view name);

// The store's file for a short name, there or not. Error invalid_argument for a name that is no file name.
std::string stored_model_path(std::string_view name);

// A file's path from what a user typed as MODEL: an existing path is itself, a short name is its file in the
// store. Error not_found says what to pull.
std::string resolve_model(const std::string& name_or_path);

}  // namespace cairn
