#pragma once

#include <string>
#include <string_view>

namespace cairn {

// "hf:owner/repository"
bool is_hub_checkpoint(std::string_view source);

// Fetches what a checkpoint needs of a hub's repository ("hf:owner/repository", from $HF_ENDPOINT with
// $HF_TOKEN): config.json, the tokenizer's files, model.safetensors or the shards that its index names.
// Returns the folder, cache_folder("checkpoints")/owner/repository, where it stays; what is there already is
// not fetched again, and a file that broke off goes on where it stopped. Each is compared with the sha256
// that the hub announces. Errors: those of download(); invalid_argument (a name that is none), format (an
// index that is none).
std::string pull_checkpoint(const std::string& source);

}  // namespace cairn
