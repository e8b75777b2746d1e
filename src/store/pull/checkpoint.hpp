#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace cairn {

// "hf:owner/repository"
bool is_hub_checkpoint(std::string_view source);

// Fetches what a checkpoint needs of a hub's repository ("hf:owner/repository", from $HF_ENDPOINT with
// $HF_TOKEN): config.json, the tokenizer's files, what sentence-transformers say of pooling,
// model.safetensors or the shards that its index names. Returns the folder,
// cache_folder("checkpoints")/owner/repository, where it stays; what is there already is not fetched again,
// and a file that broke off goes on where it stopped. Each is compared with the sha256 that the hub
// announces. Errors: those of download(); invalid_argument (a name that is none), format (an index that is
// none).
struct Patience {
  uint32_t retries = 4;  // see DownloadRequest
  long connect_seconds = 20;
};
std::string pull_checkpoint(const std::string& source, const Patience& patience = {});

}  // namespace cairn
