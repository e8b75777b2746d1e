#pragma once

#include "server/fields.hpp"
#include "server/served_model.hpp"

namespace cairn::server {

// How an answer is sampled, as all APIs say it: temperature, top_p, top_k, min_p, penalties, logit_bias,
// seed, ignore_eos; what is not said stays. Throws ApiError 400 that names the field.
void read_sampling(const Fields& fields, const text::Tokenizer& tokenizer, llm::GenerateOptions& options);

// Strings that end an answer: one, or an array of them. Throws ApiError 400.
void read_stop(const Fields& fields, const char* name, llm::GenerateOptions& options);

// The most tokens of an answer, by a field that is there. Throws ApiError 400.
void read_most_tokens(const Fields& fields, const char* name, llm::GenerateOptions& options);

}  // namespace cairn::server
