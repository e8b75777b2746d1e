#include "llm/prefix_files.hpp"

#include <fmt/format.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <utility>

#include "base/atomic_file.hpp"
#include "base/byte_size.hpp"
#include "base/error.hpp"
#include "base/sha256.hpp"
#include "store/model_store.hpp"

namespace cairn::llm {
namespace {

namespace fs = std::filesystem;

constexpr uint32_t kVersion = 1;

// What a file begins with; the block follows. Little-endian, as the block is.
struct Header {
  char magic[8] = {'c', 'a', 'i', 'r', 'n', 'k', 'v', '\n'};
  uint32_t version = kVersion;
  uint32_t unused = 0;
  uint64_t bytes = 0;     // of the block
  uint64_t checksum = 0;  // XXH3 of the block
  char name[64] = {};     // the file's: one of another model that was given this name is noticed
};
static_assert(sizeof(Header) == 96);

// A model's fingerprint: its metadata, and every tensor's description and first bytes. All bytes would take
// longer to read than many a prompt.
std::string fingerprint(const gguf::File& file) {
  constexpr size_t kFirst = 4096;
  Sha256 hash;
  const auto add = [&](std::string_view text) { hash.update(std::as_bytes(std::span(text))); };
  add(std::to_string(file.file_bytes()));
  for (const auto& [key, value] : file.raw_metadata()) {
    add(key);
    hash.update(value);
  }
  for (const gguf::Tensor& tensor : file.tensors()) {
    add(fmt::format("{} {} {}", tensor.name, static_cast<int>(tensor.encoding), tensor.elements()));
    hash.update(tensor.data.first(std::min(kFirst, tensor.data.size())));
  }
  return hash.hex();
}

std::string default_folder() {
  const char* named = std::getenv("CAIRN_PREFIXES");
  return named != nullptr && *named != '\0' ? named : cache_folder("prefixes");
}

}  // namespace

void check_prefixes(const gguf::File& model, const engine::Engine& engine) {
  if (!graph::has_state(engine.model())) return;
  fail(ErrorCode::unsupported,
       "{}: prefixes are not kept on disk: layers of architecture '{}' have a recurrent state", model.path(),
       engine.model().parameters.architecture);
}

PrefixFiles::PrefixFiles(const gguf::File& model, const engine::Engine& engine, PrefixFilesOptions options)
    : options_(std::move(options)), blocks_(engine.blocks()) {
  if (options_.folder.empty()) options_.folder = default_folder();
  if (options_.folder.empty()) blocks_.positions = 0;
  if (blocks_.positions == kBlock) model_ = fingerprint(model) + ' ' + blocks_.format;
}

// A stack's blocks would not say how many of its bits they were computed with.
bool PrefixFiles::keeps(const engine::Engine& engine) const {
  if (blocks_.positions != kBlock) return false;
  if (!engine.elastic()) return true;
  const engine::MemoryStatus memory = engine.memory();
  return memory.stack == memory.stack_all && memory.stack > 0;
}

std::string PrefixFiles::path(const std::string& name) const {
  return options_.folder + '/' + name + ".kv";
}

std::vector<std::string> PrefixFiles::names(std::span<const Token> tokens) const {
  std::vector<std::string> names;
  std::string before = model_;
  for (size_t at = 0; at + kBlock <= tokens.size(); at += kBlock) {
    Sha256 hash;
    hash.update(std::as_bytes(std::span(before)));
    hash.update(std::as_bytes(tokens.subspan(at, kBlock)));
    before = hash.hex();
    names.push_back(before);
  }
  return names;
}

uint32_t PrefixFiles::there(std::span<const Token> prompt) const {
  if (blocks_.positions != kBlock) return 0;
  uint32_t tokens = 0;
  for (const std::string& name : names(prompt)) {
    std::error_code ignored;
    if (!fs::exists(path(name), ignored)) break;
    tokens += kBlock;
  }
  return tokens;
}

void PrefixFiles::tell(const std::string& line) {
  if (!options_.warn) return;
  const std::string kind = line.substr(line.rfind(": ") + 1);
  if (std::find(told_.begin(), told_.end(), kind) != told_.end()) return;
  told_.push_back(kind);
  options_.warn(line);
}

bool PrefixFiles::read(const std::string& name, std::vector<std::byte>& block) {
  const std::string file = path(name);
  std::ifstream in(file, std::ios::binary);
  if (!in) return false;
  Header header, expected;
  std::memcpy(expected.name, name.data(), sizeof expected.name);
  in.read(reinterpret_cast<char*>(&header), sizeof header);
  block.resize(blocks_.bytes);
  const char* wrong = nullptr;
  if (!in || std::memcmp(header.magic, expected.magic, sizeof header.magic) != 0) {
    wrong = "is no block of a prefix";
  } else if (header.version != kVersion) {
    wrong = "is of another version of cairn";
  } else if (std::memcmp(header.name, expected.name, sizeof header.name) != 0 ||
             header.bytes != blocks_.bytes) {
    wrong = "is of another model or other tokens";
  } else {
    in.read(reinterpret_cast<char*>(block.data()), static_cast<std::streamsize>(block.size()));
    if (!in || in.peek() != std::ifstream::traits_type::eof() ||
        XXH3_64bits(block.data(), block.size()) != header.checksum)
      wrong = "is damaged";
  }
  if (wrong == nullptr) {
    std::error_code ignored;
    fs::last_write_time(file, fs::file_time_type::clock::now(), ignored);  // used
    return true;
  }
  std::error_code ignored;
  fs::remove(file, ignored);
  if (used_ != UINT64_MAX) used_ -= std::min(used_, blocks_.bytes);
  tell(fmt::format("{}: {}; its tokens are read again", file, wrong));
  return false;
}

void PrefixFiles::load(engine::Engine& engine, engine::Sequence& sequence, std::span<const Token> tokens) {
  if (!keeps(engine) || sequence.length() % kBlock != 0) return;
  const std::vector<std::string> all = names(tokens);
  std::vector<std::byte> block;
  for (size_t index = sequence.length() / kBlock; index < all.size(); ++index) {
    if (!read(all[index], block)) return;
    engine.append_block(sequence, block);
  }
}

// Removes the oldest blocks until so many more bytes fit.
void PrefixFiles::make_room(uint64_t bytes) {
  if (used_ != UINT64_MAX && used_ + bytes <= options_.bytes) {
    used_ += bytes;
    return;
  }
  std::vector<std::pair<fs::file_time_type, fs::path>> files;
  used_ = 0;
  for (const fs::directory_entry& entry : fs::directory_iterator(options_.folder)) {
    std::error_code gone;
    if (entry.path().extension() != ".kv") continue;
    const uint64_t size = entry.file_size(gone);
    if (gone) continue;
    used_ += size;
    files.emplace_back(entry.last_write_time(gone), entry.path());
  }
  std::sort(files.begin(), files.end());
  for (const auto& [time, file] : files) {
    if (used_ + bytes <= options_.bytes) break;
    std::error_code ignored;
    const uint64_t size = fs::file_size(file, ignored);
    if (!ignored && fs::remove(file, ignored)) used_ -= std::min(used_, size);
  }
  used_ += bytes;
}

void PrefixFiles::save(const engine::Engine& engine, const engine::Sequence& sequence,
                       std::span<const Token> tokens, uint32_t index) {
  if (!keeps(engine)) return;
  const std::vector<std::string> all = names(tokens);
  if (index < all.size()) write(sequence, all[index], index);
}

void PrefixFiles::save(const engine::Engine& engine, const engine::Sequence& sequence,
                       std::span<const Token> tokens) {
  if (!keeps(engine)) return;
  const std::vector<std::string> all = names(tokens.first(sequence.length()));
  for (uint32_t index = 0; index < all.size(); ++index) write(sequence, all[index], index);
}

void PrefixFiles::write(const engine::Sequence& sequence, const std::string& name, uint32_t index) {
  const std::string file = path(name);
  std::error_code ignored;
  if (failed_ || sizeof(Header) + blocks_.bytes > options_.bytes || fs::exists(file, ignored)) return;
  std::vector<std::byte> block(blocks_.bytes);
  if (!sequence.read_block(index, block)) return;
  Header header;
  header.bytes = block.size();
  header.checksum = XXH3_64bits(block.data(), block.size());
  std::memcpy(header.name, name.data(), sizeof header.name);
  try {
    fs::create_directories(options_.folder);
    make_room(sizeof header + block.size());
    AtomicFile out(file);
    out.write(std::as_bytes(std::span(&header, 1)));
    out.write(block);
    out.commit();
  } catch (const std::exception& error) {
    failed_ = true;
    tell(fmt::format("{}; prefixes are not kept on disk", error.what()));
  }
}

}  // namespace cairn::llm
