#pragma once

#include <memory>
#include <string_view>

#include "llm/model.hpp"

namespace cairn::llm {

// Error invalid_argument, if the two do not write the same text with the same tokens: names what differs, the
// size of their vocabularies or the first token. Tokens that nobody uses, at a vocabulary's end, do not
// count. what: that `other` cannot then do with the model, "draft for".
void check_vocabulary(const Model& model, const Model& other, std::string_view what);
void check_draft(const Model& model, const Model& draft);

// The engine of a small model that drafts for another one (Session::set_draft): as `options` have that one's,
// with memory of its own. Errors: as check_draft and make_engine.
std::shared_ptr<engine::Engine> make_draft(const Model& model, const Model& draft, engine::Options options);

}  // namespace cairn::llm
