#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "server/answer.hpp"
#include "server/api_error.hpp"
#include "server/fields.hpp"

namespace cairn::server {

// The form in which an API has its answers: one subclass each. For one request, and not thread-safe; a
// stream's functions return what is to be sent, and are called in the order in which they stand here.
class Encoder {
 public:
  virtual ~Encoder() = default;

  virtual std::string begin() = 0;
  // A piece of answer `index`; logprobs: of the tokens since its piece before, where they are asked for. A
  // token that was read before the answer (echo) has NaN if it was the first.
  virtual std::string piece(size_t index, const Piece& piece,
                            std::span<const llm::TokenLogprobs> logprobs) = 0;
  // Answer `index` is whole; logprobs: of the tokens that no piece came with.
  virtual std::string finished(size_t index, const Answer& answer,
                               std::span<const llm::TokenLogprobs> logprobs) = 0;
  virtual std::string end(const std::vector<Answer>& answers, const Usage& usage) = 0;
  virtual std::string failed(const ApiError& error) = 0;  // in place of what would follow

  // All answers in one.
  virtual Json whole(const std::vector<Answer>& answers, const Usage& usage) = 0;
};

// For encoders.
std::string dumped(const Json& json);                             // bytes that are no UTF-8 become U+FFFD
std::string event(const Json& data);                              // server-sent
std::string event(std::string_view name, const Json& data);       // with a name
std::string new_id(std::string_view kind, char separator = '-');  // "chatcmpl-" and 24 random digits
int64_t now();                                                    // seconds since 1970

}  // namespace cairn::server
