#include "server/api_error.hpp"

#include <new>

#include "base/error.hpp"

namespace cairn::server {
namespace {

using Json = nlohmann::ordered_json;

const char* type_of(int status) {
  switch (status) {
    case 401:
      return "authentication_error";
    case 403:
      return "permission_error";
    case 404:
      return "not_found_error";
    case 429:
      return "rate_limit_error";
    default:
      return status < 500 ? "invalid_request_error" : "server_error";
  }
}

// Those of Anthropic's API reference, "Errors".
const char* anthropic_type(int status) {
  switch (status) {
    case 408:
    case 504:
      return "timeout_error";
    case 413:
      return "request_too_large";
    case 503:
      return "overloaded_error";
    default:
      return status < 500 ? type_of(status) : "api_error";
  }
}

}  // namespace

ErrorForm error_form(std::string_view path) {
  return path.starts_with("/v1/messages") ? ErrorForm::anthropic : ErrorForm::openai;
}

Json ApiError::json(ErrorForm form) const {
  if (form == ErrorForm::anthropic)
    return {{"type", "error"}, {"error", {{"type", anthropic_type(status_)}, {"message", what()}}}};
  const auto or_null = [](const std::string& text) { return text.empty() ? Json(nullptr) : Json(text); };
  return {{"error",
           {{"message", what()},
            {"type", type_of(status_)},
            {"param", or_null(param_)},
            {"code", or_null(code_)}}}};
}

void ApiError::send(Reply& reply, ErrorForm form) const {
  Headers headers;
  if (status_ == 429 || status_ == 503) headers.emplace_back("Retry-After", "1");
  if (status_ == 401) headers.emplace_back("WWW-Authenticate", "Bearer");
  reply.send(status_, "application/json", json(form).dump(-1, ' ', false, Json::error_handler_t::replace),
             std::move(headers));
}

ApiError api_error(const std::exception& error) {
  if (const auto* api = dynamic_cast<const ApiError*>(&error)) return *api;
  if (dynamic_cast<const std::bad_alloc*>(&error) != nullptr) return {503, "out of memory"};
  const auto* known = dynamic_cast<const Error*>(&error);
  if (known == nullptr) return {500, error.what()};
  switch (known->code()) {
    case ErrorCode::invalid_argument:
    case ErrorCode::unsupported:
      return {400, error.what()};
    case ErrorCode::busy:
      return {429, error.what(), {}, "queue_full"};
    case ErrorCode::out_of_memory:
      return {503, error.what(), {}, "out_of_memory"};
    case ErrorCode::io:  // the model's file was cut, or its disk fails
      return {503, error.what(), {}, "model_unavailable"};
    case ErrorCode::cancelled:
      return {503, error.what()};
    default:
      return {500, error.what()};
  }
}

}  // namespace cairn::server
