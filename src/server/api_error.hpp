#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>

#include "server/reply.hpp"

namespace cairn::server {

// OpenAI's: {"error": {"message", "type", "param", "code"}}, param and code null if empty. Anthropic's:
// {"type": "error", "error": {"type", "message"}}.
enum class ErrorForm : uint8_t { openai, anthropic };
ErrorForm error_form(std::string_view path);

// A refusal.
class ApiError : public std::runtime_error {
 public:
  ApiError(int status, const std::string& message, std::string param = {}, std::string code = {})
      : std::runtime_error(message), status_(status), param_(std::move(param)), code_(std::move(code)) {}

  int status() const { return status_; }
  nlohmann::ordered_json json(ErrorForm form = ErrorForm::openai) const;
  void send(Reply& reply, ErrorForm form) const;

 private:
  int status_;
  std::string param_, code_;
};

// What an exception means to a client: an ApiError itself, or what a cairn::Error's code stands for.
ApiError api_error(const std::exception& error);

}  // namespace cairn::server
