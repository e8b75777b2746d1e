#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "engine/engine.hpp"
#include "formats/gguf.hpp"
#include "llm/prefix_cache.hpp"

namespace cairn::llm {

struct PrefixFilesOptions {
  std::string folder{};                // empty: $CAIRN_PREFIXES, else the cache folder's "prefixes"
  uint64_t bytes = uint64_t{4} << 30;  // most that the folder's blocks have; the oldest go first
  std::function<void(const std::string&)> warn{};  // gets one line for each kind of trouble
};

// Error unsupported: the model's layers have a recurrent state, which is not kept on disk.
void check_prefixes(const gguf::File& model, const engine::Engine& engine);

// Blocks of sequences on disk, one a file, named by the hash of the model, the engine's format and all tokens
// up to the block's end. A file is there whole or not at all. Nothing that is wrong with the folder or a file
// is an error: it is told once, and the prompt is read as if there was nothing. Not thread-safe; several
// processes may share a folder.
class PrefixFiles {
 public:
  // An engine without blocks: nothing is ever kept.
  PrefixFiles(const gguf::File& model, const engine::Engine& engine, PrefixFilesOptions options = {});

  // How many of the prompt's tokens lie in blocks on disk, as their names say.
  uint32_t there(std::span<const Token> prompt) const;
  // Puts blocks behind the sequence, which has read the first of these tokens, as far as they are there.
  // Error out_of_memory: no pages; what was put behind it stays.
  void load(engine::Engine& engine, engine::Sequence& sequence, std::span<const Token> tokens);
  // Writes block `index` of a sequence that has read these tokens, unless it is there.
  void save(const engine::Engine& engine, const engine::Sequence& sequence, std::span<const Token> tokens,
            uint32_t index);
  // … all whole blocks.
  void save(const engine::Engine& engine, const engine::Sequence& sequence, std::span<const Token> tokens);

 private:
  bool keeps(const engine::Engine& engine) const;
  std::string path(const std::string& name) const;
  std::vector<std::string> names(std::span<const Token> tokens) const;  // of its whole blocks
  void write(const engine::Sequence& sequence, const std::string& name, uint32_t index);
  bool read(const std::string& name, std::vector<std::byte>& block);
  void make_room(uint64_t bytes);
  void tell(const std::string& line);

  PrefixFilesOptions options_;
  engine::Blocks blocks_;
  std::string model_;           // what begins every chain of hashes
  bool failed_ = false;         // writing has: nothing more is written
  uint64_t used_ = UINT64_MAX;  // bytes in the folder, as far as known
  std::vector<std::string> told_;
};

}  // namespace cairn::llm
