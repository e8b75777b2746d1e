// A tuner's states as the last records of a spool, each with the key of what it was made with: with other
// options the codes before them are taken over and tuned anew.
#pragma once

#include <cstddef>
#include <string>

#include "stack/spool.hpp"
#include "stack/tune.hpp"

namespace cairn::stack {

std::string tune_key(ScaleTuner::Windows windows, const TuneOptions& options);

// The last state, if it is one of that key. records: those of the spool that are no states.
void restore_state(const Spool& spool, size_t records, const std::string& key, ScaleTuner& tuner);
void keep_state(const ScaleTuner& tuner, const std::string& key, Spool& spool);

}  // namespace cairn::stack
