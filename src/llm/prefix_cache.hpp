#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "engine/engine.hpp"
#include "resident/account.hpp"
#include "text/tokenizer.hpp"

namespace cairn::llm {

using text::Token;

// Prefixes are shared and kept in blocks of so many tokens: a page of the CPU's.
constexpr uint32_t kBlock = 64;

// How many of a prompt's tokens that are there already to take: whole blocks, the prompt's last token is not
// among them, and what remains is cut as a fresh prompt would be (docs/engine.md: few tokens are rows, whose
// arithmetic is another), so that the answer is that of a fresh prompt. chunk: Engine::chunk().
uint32_t usable_prefix(uint32_t there, uint32_t prompt, uint32_t chunk);

// The tokens of a prompt to read next, at most `most` (a few more where that keeps the last of them from
// being rows). Cuts lie at multiples of blocks and of chunks, so that they change nothing in what is
// computed.
uint32_t next_piece(uint32_t done, uint32_t prompt, uint32_t chunk, uint32_t most);

// Whose sequence it is: the model's that answers, or a small one's that drafts for it.
enum class Reader : uint8_t { model, draft };

// Sequences that requests have left behind, to be gone on with by prompts that begin alike; those of drafts,
// which only cost time, and then the least recently used are given back first: when they are too many, and
// when the process's account would otherwise take blocks from a stack. All calls may come from any thread.
class PrefixCache final : private resident::Spare {
 public:
  // bytes: most that kept sequences have, shared pages counted for each.
  explicit PrefixCache(uint64_t bytes);
  ~PrefixCache() override;
  PrefixCache(const PrefixCache&) = delete;
  PrefixCache& operator=(const PrefixCache&) = delete;

  // A fork of the one that begins with most of the prompt's tokens, cut to usable_prefix, or to where a
  // recurrent state can go back to, which is at the end of a block as well; null: none.
  std::unique_ptr<engine::Sequence> find(std::span<const Token> prompt, uint32_t chunk,
                                         Reader reader = Reader::model);
  // Keeps the whole blocks of a sequence that has read those tokens. One that it begins with is replaced. A
  // draft's is kept where there is room beside the model's.
  void keep(std::span<const Token> tokens, std::unique_ptr<engine::Sequence> sequence,
            Reader reader = Reader::model);
  bool drop_oldest();               // a draft's, as long as there is one; false: there was none at all
  bool drop_oldest(Reader reader);  // of that one's
  size_t size() const;
  uint64_t bytes() const;  // as the constructor counts them

 private:
  bool give_back() override { return drop_oldest(); }
  struct Kept {
    std::vector<Token> tokens;  // of the sequence
    std::unique_ptr<engine::Sequence> sequence;
  };
  using List = std::list<Kept>;  // most recently used first
  List& of(Reader reader) { return reader == Reader::model ? models_ : drafts_; }
  uint64_t sum() const;

  const uint64_t most_bytes_;
  mutable std::mutex mutex_;  // of what follows
  List models_, drafts_;
};

}  // namespace cairn::llm
