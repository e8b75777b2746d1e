// A long video's encoding as a list of jobs, one a part of it, that processes of one machine or the tasks of
// a cluster's scheduler do in any order.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "video/encode/encode.hpp"

namespace cairn::video {

struct JobList {
  std::string input, output;                  // absolute
  uint64_t input_bytes = 0, input_check = 0;  // size; XXH3 of the first and last MiB
  // Mode, crf, downscale as they were chosen on a sample of the clip; what they were before is in `asked`.
  EncodeOptions options;
  double slope = 0;  // dB that the codec gives for e times the bytes: what a part's network must beat
  // Of one attachment: the network trained on the sample, that parts without their own use; one for chroma;
  // empty: no networks.
  std::vector<std::byte> attachment;
  std::vector<TimedRange> parts;
  nlohmann::ordered_json asked;  // of which the list was made: the same again gives the same list
};

// Beyond encode()'s.
struct PartOptions {
  double part_seconds = 8;       // no part is longer
  uint64_t sample_frames = 128;  // of the clip, in four pieces, on which mode and first network are found
};

// What a list of these options would be `asked`. Errors: not_found, io; invalid_argument: what is not done by
// parts (--size, --coded, several chunks, minutes of training).
nlohmann::ordered_json asked_of(const std::string& input, const EncodeOptions& options,
                                const PartOptions& parts);

// Reads the video once, cuts it into parts at its scenes, and encodes a sample. Errors: encode()'s,
// asked_of()'s.
JobList make_job_list(const std::string& input, const std::string& output, const EncodeOptions& options,
                      const PartOptions& parts, const EncodeProgress& progress, ThreadPool& pool);

// Appears whole or not at all.
void write_job_list(const JobList& list, const std::string& path);
// Errors: not_found, io; format: no list of jobs, or one of another version, told with its name.
JobList read_job_list(const std::string& path);

// The list at `path`, if it was made of this.
std::optional<JobList> job_list_of(const std::string& path, const nlohmann::ordered_json& asked);

// Parts of at most `most` frames: neighbouring scenes together as far as they fit, longer ones cut evenly.
std::vector<FrameRange> cut_parts(const std::vector<uint64_t>& scenes, uint64_t frames, uint64_t most);

// XXH3 of the first and the last MiB, and the size. Errors: not_found, io.
uint64_t file_check(const std::string& path, uint64_t& bytes);

std::string to_hex(std::span<const std::byte> bytes);
std::vector<std::byte> from_hex(const std::string& text, const std::string& what);  // Error format

}  // namespace cairn::video
