#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "base/clock.hpp"
#include "offload/timeline.hpp"

namespace cairn::offload {

// The timelines of the passes that a prompt takes, as one.
class PromptTimeline {
 public:
  // A pass begins. One of another sequence, or not where the last one ended, begins a new prompt.
  void begin(const void* sequence, uint32_t position);
  // What it did, in seconds since it began; its chunks count on. simulated: on a clock of its own, on which
  // it begins where the last one ended.
  void append(const Timeline& pass, size_t tokens, bool simulated);
  size_t tokens() const { return tokens_; }  // of the prompt so far
  const Timeline& timeline() const { return timeline_; }
  void call(std::string title, std::string npu, std::string cpu);

 private:
  Timeline timeline_;
  Stopwatch since_;  // the prompt's begin
  double begin_ = 0;
  size_t tokens_ = 0;
  uint32_t position_ = ~0u;  // where the next pass would go on
  const void* sequence_ = nullptr;
};

}  // namespace cairn::offload
