#pragma once

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "llm/model.hpp"

namespace cairn::cli {

struct SpeculateFlag {
  llm::Speculation kind = llm::Speculation::none;
  std::string draft;  // the small model, as the user named it; empty: none
};

// --speculate
void add_speculate_flag(CLI::App& command, SpeculateFlag& flag);
// To be called before the model's engine is made: it and the draft's share a pool. several: models, which
// share one too.
void share_threads(const SpeculateFlag& flag, engine::Options& options, bool several = false);
// The engine that drafts for the model; null where none is asked for. Errors: invalid_argument (a model that
// is no stack cannot draft for itself), as resolve_model, Model::load and make_draft.
std::shared_ptr<engine::Engine> make_draft(const SpeculateFlag& flag, const llm::Model& model,
                                           const engine::Options& options);

}  // namespace cairn::cli
