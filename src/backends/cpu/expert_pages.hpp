#pragma once

#include <cstdint>
#include <list>
#include <string>
#include <vector>

#include "backends/cpu/plan.hpp"

namespace cairn::cpu {

// Which experts of a mapped file are in memory: those that were used last, within a budget. What is let go of
// comes back from the file when it is chosen again.
class ExpertPages {
 public:
  // plan: outlives it. memory: most bytes of resident memory that the process shall have.
  ExpertPages(const Plan& plan, uint32_t experts, uint64_t memory);
  // The layer's expert is going to be read: its pages are asked for at once, which is faster than one after
  // the other as they are touched.
  void use(uint32_t layer, uint32_t expert);
  // Called where nobody reads. Lets go of those used longest ago until the process is within its budget, with
  // as many bytes more that it is going to touch; and the same without.
  // Error out_of_memory: there is no room for these and one layer's experts. path: the model's, for messages.
  void make_room(uint64_t coming, const std::string& path);
  void keep_within() { let_go(0); }

  uint64_t bytes() const { return bytes_; }       // of experts in memory
  uint64_t all_bytes() const { return all_; }     // of all experts
  uint64_t layer_bytes() const { return most_; }  // of one layer's, the most

 private:
  struct Entry {
    uint64_t bytes = 0;
    std::list<uint32_t>::iterator at;
    bool resident = false;
  };
  void let_go(uint64_t coming);
  void advise(uint32_t entry, int advice) const;

  const uint32_t experts_;
  const uint64_t memory_;
  // A tensor of experts, all of one size; a layer's, that which drafts last.
  struct Experts {
    const std::byte* begin;
    size_t bytes;  // of an expert
  };
  std::vector<std::vector<Experts>> layers_;
  std::vector<Entry> entries_;  // [layer][expert]
  std::list<uint32_t> order_;   // those in memory, the last used first
  uint64_t bytes_ = 0, all_ = 0, most_ = 0;
  uint64_t weights_ = 0;  // bytes of the other products' weights, until a step has read them
};

}  // namespace cairn::cpu
