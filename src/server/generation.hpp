#pragma once

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "server/answer.hpp"
#include "server/completion_request.hpp"
#include "server/encoder.hpp"
#include "server/work.hpp"

namespace cairn::server {

// The answers to one request, on their way from the scheduler to the client: whole or in pieces (server-sent
// events), in the encoder's form.
class Generation : public Work {
 public:
  Generation(const Call& call, CompletionRequest request, std::unique_ptr<Encoder> encoder);

 private:
  struct Writing {
    explicit Writing(const AnswerFormat& format) : parser(format) {}
    AnswerParser parser;
    Answer answer;
    std::vector<llm::TokenLogprobs> prompt;  // of its tokens, where they are asked for
    size_t sent = 0;                         // of answer.logprobs
    bool echoed = false;
  };

  void begin() override;
  void begun() override;
  void count(const llm::Result& result) override;
  void finished(size_t index, const llm::Result& result) override;
  void end() override;
  void tell(const ApiError& error) override;

  llm::Request asked(size_t index);
  bool take(size_t index, const llm::TokenEvent& event);
  void echo(size_t index);
  void send(size_t index, const std::vector<Piece>& pieces);
  void write(const std::string& events);
  std::span<const llm::TokenLogprobs> unsent(Writing& writing) const;

  const CompletionRequest request_;
  const std::unique_ptr<Encoder> encoder_;
  std::vector<Writing> writing_;
  Usage usage_;
};

}  // namespace cairn::server
