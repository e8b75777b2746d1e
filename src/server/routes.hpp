// What is behind each path.
#pragma once

#include <map>
#include <string>
#include <string_view>

#include "server/call.hpp"

namespace cairn::server {

struct Route {
  const char* methods;               // as the header Allow has them
  void (*answer)(const Call& call);  // throws what api_error() knows
};

using Routes = std::map<std::string, Route, std::less<>>;
// By path; one that ends in "/" has more behind it.
const Routes& routes();
bool takes(const Route& route, const std::string& method);  // HEAD where GET is
// The model that fields name, or the only one. ApiError: 400 (none is named), 404.
std::string model_name(const Fields& fields, const Models& models);
// That of a path; end(): there is none.
Routes::const_iterator find_route(std::string_view path);

void answer_health(const Call& call);  // at once, on the server's thread
void answer_chat(const Call& call);
void answer_text(const Call& call);
void answer_messages(const Call& call);
void answer_count_tokens(const Call& call);
void answer_responses(const Call& call);
void answer_input_tokens(const Call& call);
void answer_embeddings(const Call& call);
void answer_models(const Call& call);
void answer_model(const Call& call);
void answer_memory(const Call& call);
void answer_openapi(const Call& call);
void answer_props(const Call& call);
void answer_template(const Call& call);
void answer_metrics(const Call& call);
void answer_tokenize(const Call& call);
void answer_detokenize(const Call& call);

}  // namespace cairn::server
