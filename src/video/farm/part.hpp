// One job of a list, its result, and all results joined.
#pragma once

#include <optional>

#include "video/farm/job_list.hpp"

namespace cairn::video {

// What became of a part. Its small video lies beside the list as LIST.part-N.mkv, what is told here as
// LIST.part-N.json, which appears last.
struct PartResult {
  enum class Serving : uint8_t { bicubic, shared, own };  // what restores it
  uint64_t frames = 0;
  uint64_t bytes = 0;  // of the small video's packets
  double error = 0;    // sum over frames of the mean squared error of luma, restored
  double gained = 0;   // what the error would be more without its own network
  Serving serving = Serving::bicubic;
  std::optional<std::vector<std::byte>> network;  // as it differs from network 0
  double seconds = 0;                             // of training
};

std::string part_path(const std::string& list_path, size_t part);  // without .mkv and .json

// Encodes a part and, where the list has a network, trains another from it, which stays if it pays. What was
// trained before an interrupt is gone on from. Errors: encode()'s; invalid_argument: no such part, an input
// that is not the list's any more.
PartResult work_part(const std::string& list_path, const JobList& list, size_t part, ThreadPool& pool);

// None where the part is not done, or its files are not whole or not of this list.
std::optional<PartResult> read_part(const std::string& list_path, const JobList& list, size_t part);

// Writes list.output and removes the parts' files and the list. Errors: invalid_argument: a part is not done;
// MatroskaFile's.
EncodeReport join_parts(const std::string& list_path, const JobList& list, const EncodeProgress& progress);

}  // namespace cairn::video
