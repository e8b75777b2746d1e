#pragma once

#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "server/answer_parser.hpp"
#include "server/completion_request.hpp"
#include "server/encoder.hpp"
#include "server/metrics.hpp"
#include "server/reply.hpp"

namespace cairn::server {

// The answers to one request, on their way from the scheduler to the client: whole or in pieces (server-sent
// events), in the encoder's form. Kept alive by its tickets until the last answer is there.
class Generation : public std::enable_shared_from_this<Generation> {
 public:
  Generation(CompletionRequest request, std::unique_ptr<Encoder> encoder, ServedModel& model,
             Metrics& metrics, std::shared_ptr<Reply> reply);

  // Errors: as Scheduler::submit; nothing is under way then.
  void start();

 private:
  struct Writing {
    explicit Writing(const AnswerFormat& format) : parser(format) {}
    AnswerParser parser;
    Answer answer;
    std::vector<llm::TokenLogprobs> prompt;  // of its tokens, where they are asked for
    size_t sent = 0;                         // of answer.logprobs
    bool echoed = false;
  };

  llm::Request asked(size_t index);
  bool take(size_t index, const llm::TokenEvent& event);
  void echo(size_t index);
  void send(size_t index, const std::vector<Piece>& pieces);
  void write(const std::string& events);
  std::span<const llm::TokenLogprobs> unsent(Writing& writing) const;
  void finished(size_t index);
  void finish(size_t index, const llm::Result& result);
  bool late() const { return std::chrono::steady_clock::now() > deadline_; }
  void cancel();
  void client_left();
  void fail(const std::exception& error);

  const CompletionRequest request_;
  ServedModel& model_;
  const std::shared_ptr<void> held_;  // the model, loaded
  const std::chrono::steady_clock::time_point deadline_;
  Metrics& metrics_;
  const std::shared_ptr<Reply> reply_;
  std::mutex mutex_;  // of what follows
  const std::unique_ptr<Encoder> encoder_;
  std::vector<llm::Scheduler::Ticket> tickets_;
  std::vector<Writing> writing_;
  Usage usage_;
  size_t left_ = 0;
  bool over_ = false;  // answered, refused, or nobody listens
};

}  // namespace cairn::server
