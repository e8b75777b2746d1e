#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "text/tokenizer.hpp"

namespace cairn::text {

// The loop that both kinds of byte-pair encoding share: of all neighbours that may merge take the best, the
// leftmost of equals, until none may. O(n log n) with a heap; entries that a merge has made stale are
// recognised when they come up. Reusable: the vectors keep their memory between words.
//
// Order: a type whose smaller values merge first (BPE: rank; SentencePiece: minus the score).
template <class Order>
class MergeQueue {
 public:
  struct Symbol {
    uint32_t begin, bytes;   // where in the word; bytes is 0 once merged into its left neighbour
    Token token;             // -1 for a character that is no token
    int32_t previous, next;  // -1 at the ends
  };
  struct Candidate {
    Order order;
    Token token;  // -1: these two do not merge
  };

  void clear() {
    symbols_.clear();
    heap_.clear();
  }
  void append(uint32_t begin, uint32_t bytes, Token token) {
    const auto at = static_cast<int32_t>(symbols_.size());
    symbols_.push_back({begin, bytes, token, at - 1, at + 1});
  }

  // candidate(left, right) → Candidate
  template <class Lookup>
  void merge(const Lookup& candidate) {
    if (symbols_.empty()) return;
    symbols_.back().next = -1;
    for (size_t i = 1; i < symbols_.size(); ++i) push(candidate, static_cast<int32_t>(i - 1));
    while (!heap_.empty()) {
      std::pop_heap(heap_.begin(), heap_.end());
      const Entry entry = heap_.back();
      heap_.pop_back();
      Symbol& left = symbols_[static_cast<size_t>(entry.left)];
      if (left.bytes == 0 || left.next < 0) continue;
      Symbol& right = symbols_[static_cast<size_t>(left.next)];
      // Symbols only ever grow, so an entry is stale exactly when the two are longer than they were.
      if (left.bytes + right.bytes != entry.bytes) continue;
      left.token = entry.token;
      left.bytes = entry.bytes;
      left.next = right.next;
      right.bytes = 0;
      if (left.next >= 0) symbols_[static_cast<size_t>(left.next)].previous = entry.left;
      if (left.previous >= 0) push(candidate, left.previous);
      push(candidate, entry.left);
    }
  }

  // The symbols that are left, in order.
  template <class Visit>
  void each(const Visit& visit) const {
    if (symbols_.empty()) return;
    for (int32_t at = 0; at >= 0; at = symbols_[static_cast<size_t>(at)].next)
      visit(symbols_[static_cast<size_t>(at)]);
  }

 private:
  struct Entry {
    Order order;
    int32_t left;
    uint32_t bytes;
    Token token;
    // For a max-heap: the best is the one with the smallest order, then the leftmost.
    bool operator<(const Entry& other) const {
      return order > other.order || (order == other.order && left > other.left);
    }
  };

  template <class Lookup>
  void push(const Lookup& candidate, int32_t at) {
    const Symbol& left = symbols_[static_cast<size_t>(at)];
    if (left.next < 0) return;
    const Symbol& right = symbols_[static_cast<size_t>(left.next)];
    const Candidate found = candidate(left, right);
    if (found.token < 0) return;
    heap_.push_back({found.order, at, left.bytes + right.bytes, found.token});
    std::push_heap(heap_.begin(), heap_.end());
  }

  std::vector<Symbol> symbols_;
  std::vector<Entry> heap_;
};

}  // namespace cairn::text
