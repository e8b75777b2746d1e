#pragma once

#include <cstdint>
#include <functional>
#include <string_view>

#include "encode/importance.hpp"
#include "llm/model.hpp"

namespace cairn::measure {

struct ImportanceOptions {
  uint32_t threads = 0;   // 0: usable_processors()
  uint32_t chunks = 100;  // most chunks of text
  uint32_t chunk = 512;   // tokens of one; at most the model's context
};

// The mean squares of every linear input's channels over chunks of the text, as llama.cpp's llama-imatrix
// measures them; nothing is measured for the token embedding and the output head. Errors: invalid_argument (a
// text shorter than one chunk, both numbers told), numeric (activations that are no numbers), what
// llm::Model::make_engine throws (an architecture that cairn does not run), cancelled.
encode::Importance measure_importance(
    const llm::Model& model, std::string_view text, const ImportanceOptions& options,
    const std::function<void(uint64_t done, uint64_t total)>& progress = {});

}  // namespace cairn::measure
