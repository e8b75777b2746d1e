#include "llm/prefix_cache.hpp"

#include <algorithm>
#include <utility>

namespace cairn::llm {
namespace {

// Slices of so many tokens or fewer are rows (docs/engine.md).
constexpr uint32_t kRows = 8;

uint32_t common(std::span<const Token> a, std::span<const Token> b) {
  return static_cast<uint32_t>(std::mismatch(a.begin(), a.end(), b.begin(), b.end()).first - a.begin());
}

}  // namespace

uint32_t usable_prefix(uint32_t there, uint32_t prompt, uint32_t chunk) {
  uint32_t take = std::min(there, prompt - 1) / kBlock * kBlock;
  const uint32_t last = (prompt - 1) % chunk + 1;  // the size of a fresh prompt's last chunk
  if (take > 0 && prompt - take <= kRows && last > kRows) take -= kBlock;
  return take;
}

uint32_t next_piece(uint32_t done, uint32_t prompt, uint32_t chunk, uint32_t most) {
  const uint32_t end = std::min(prompt, (done / chunk + 1) * chunk);
  if (end - done <= most) return end - done;
  uint32_t cut = (done + most) / kBlock * kBlock;
  if (cut <= done) cut = done + most;
  return (end - cut <= kRows ? end : cut) - done;
}

PrefixCache::PrefixCache(uint64_t bytes) : most_bytes_(bytes) {
  resident::Account::process().join(*this);
}

PrefixCache::~PrefixCache() {
  resident::Account::process().leave(*this);
}

std::unique_ptr<engine::Sequence> PrefixCache::find(std::span<const Token> prompt, uint32_t chunk,
                                                    Reader reader) {
  const auto size = static_cast<uint32_t>(prompt.size());
  std::unique_ptr<engine::Sequence> best;
  const std::lock_guard lock(mutex_);
  List& list = of(reader);
  auto from = list.end();
  for (auto at = list.begin(); at != list.end(); ++at) {
    const uint32_t take = usable_prefix(common(prompt, at->tokens), size, chunk);
    if (take == 0 || (best && take <= best->length())) continue;
    auto fork = at->sequence->fork();
    // Of a recurrent state there is the last checkpoint; 0: a window has let go of them.
    const uint32_t left = fork->truncate(take);
    if (left == 0 || (best && left <= best->length())) continue;
    best = std::move(fork);
    from = at;
  }
  if (from != list.end()) list.splice(list.begin(), list, from);
  return best;
}

void PrefixCache::keep(std::span<const Token> tokens, std::unique_ptr<engine::Sequence> sequence,
                       Reader reader) {
  const auto whole = static_cast<uint32_t>(tokens.size() / kBlock * kBlock);
  if (whole == 0 || sequence->truncate(whole) < whole || sequence->bytes() > most_bytes_) return;
  const auto begun = tokens.first(whole);
  const std::lock_guard lock(mutex_);
  List& list = of(reader);
  for (auto at = list.begin(); at != list.end();) {
    const uint32_t shared = common(begun, at->tokens);
    if (shared == whole && at->sequence->fork()->truncate(whole) == whole) {
      list.splice(list.begin(), list, at);
      return;
    }
    const bool replaced = shared == at->tokens.size() && sequence->fork()->truncate(shared) == shared;
    at = replaced ? list.erase(at) : std::next(at);
  }
  list.push_front({{begun.begin(), begun.end()}, std::move(sequence)});
  for (uint64_t bytes = sum(); bytes > most_bytes_;) {
    List& from = drafts_.empty() ? models_ : drafts_;
    bytes -= from.back().sequence->bytes();
    from.pop_back();
  }
}

size_t PrefixCache::size() const {
  const std::lock_guard lock(mutex_);
  return models_.size() + drafts_.size();
}

uint64_t PrefixCache::bytes() const {
  const std::lock_guard lock(mutex_);
  return sum();
}

uint64_t PrefixCache::sum() const {
  uint64_t bytes = 0;
  for (const List* list : {&models_, &drafts_}) {
    for (const Kept& kept : *list) bytes += kept.sequence->bytes();
  }
  return bytes;
}

bool PrefixCache::drop_oldest() {
  return drop_oldest(Reader::draft) || drop_oldest(Reader::model);
}

bool PrefixCache::drop_oldest(Reader reader) {
  const std::lock_guard lock(mutex_);
  List& list = of(reader);
  if (list.empty()) return false;
  list.pop_back();
  return true;
}

}  // namespace cairn::llm
