#pragma once

#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>

#include "server/reply.hpp"

namespace cairn::server {

// A refusal in OpenAI's form: {"error": {"message", "type", "param", "code"}}, param and code null if empty.
class ApiError : public std::runtime_error {
 public:
  ApiError(int status, const std::string& message, std::string param = {}, std::string code = {})
      : std::runtime_error(message), status_(status), param_(std::move(param)), code_(std::move(code)) {}

  int status() const { return status_; }
  nlohmann::ordered_json json() const;
  void send(Reply& reply) const;

 private:
  int status_;
  std::string param_, code_;
};

// What an exception means to a client: an ApiError itself, or what a cairn::Error's code stands for.
ApiError api_error(const std::exception& error);

}  // namespace cairn::server
