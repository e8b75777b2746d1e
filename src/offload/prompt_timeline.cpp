#include "offload/prompt_timeline.hpp"

#include <algorithm>
#include <utility>

namespace cairn::offload {

void PromptTimeline::begin(const void* sequence, uint32_t position) {
  if (position != position_ || sequence != sequence_) {
    timeline_ = {};
    tokens_ = 0;
    since_.restart();
  }
  sequence_ = sequence;
  position_ = position;
  begin_ = since_.seconds();
}

void PromptTimeline::append(const Timeline& pass, size_t tokens, bool simulated) {
  const double begin = simulated ? timeline_.makespan() : begin_;
  uint32_t chunks = 0;
  for (const Event& event : timeline_.events) chunks = std::max(chunks, event.chunk + 1);
  for (Event event : pass.events) {
    event.chunk += chunks;
    event.begin += begin;
    event.end += begin;
    timeline_.events.push_back(event);
  }
  tokens_ += tokens;
  position_ += static_cast<uint32_t>(tokens);
}

void PromptTimeline::call(std::string title, std::string npu, std::string cpu) {
  timeline_.title = std::move(title);
  timeline_.npu = std::move(npu);
  timeline_.cpu = std::move(cpu);
}

}  // namespace cairn::offload
