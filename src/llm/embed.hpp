#pragma once

#include <span>
#include <vector>

#include "llm/pooling.hpp"
#include "llm/session.hpp"

namespace cairn::llm {

// A text's embedding: its tokens are read anew by `session`, and their hidden states pooled. dimensions: the
// first so many of the vector, 0: all; unit: of length 1. Errors: invalid_argument (no tokens, more than the
// context, one outside the vocabulary, more dimensions than there are), cancelled, numeric, as Session.
std::vector<float> embed(Session& session, std::span<const Token> text, Pooling pooling,
                         size_t dimensions = 0, bool unit = true, const engine::Cancelled& cancelled = {});

// What the file asks for, unless somebody has chosen. Error unsupported: it asks for another way.
Pooling require_pooling(const gguf::File& file);

}  // namespace cairn::llm
