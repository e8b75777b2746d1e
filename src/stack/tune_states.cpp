#include "stack/tune_states.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <span>
#include <vector>

#include "base/sha256.hpp"

namespace cairn::stack {

std::string tune_key(ScaleTuner::Windows windows, const TuneOptions& options) {
  Sha256 hash;
  for (const auto& window : windows) hash.update(std::as_bytes(std::span(window)));
  const std::string numbers = fmt::format("{} {} {} {} {}", options.steps, options.batch, options.rate,
                                          options.teacher_bytes, static_cast<int>(options.on));
  hash.update(std::as_bytes(std::span(numbers)));
  return hash.hex();
}

void restore_state(const Spool& spool, size_t records, const std::string& key, ScaleTuner& tuner) {
  if (spool.size() <= records) return;
  std::vector<std::byte> record(spool.bytes(spool.size() - 1));
  spool.read(spool.size() - 1, 0, record);
  const auto expected = std::as_bytes(std::span(key));
  if (record.size() > expected.size() && std::equal(expected.begin(), expected.end(), record.begin()))
    tuner.restore(std::span(record).subspan(expected.size()));
}

void keep_state(const ScaleTuner& tuner, const std::string& key, Spool& spool) {
  const auto begin = std::as_bytes(std::span(key));
  std::vector<std::byte> record(begin.begin(), begin.end());
  const std::vector<std::byte> state = tuner.state();
  record.insert(record.end(), state.begin(), state.end());
  spool.append(record);
}

}  // namespace cairn::stack
