#include <utility>

#include "server/completion_encoder.hpp"
#include "server/token_logprobs.hpp"

namespace cairn::server {
namespace {

class ChatEncoder : public CompletionEncoder {
 public:
  ChatEncoder(const CompletionRequest& request, const ServedModel& model)
      : CompletionEncoder("chatcmpl", "chat.completion.chunk", request, model),
        answers_(request.prompts.size() * request.n),
        with_logprobs_(request.options.logprobs),
        writer_(model.tokenizer),
        calls_(answers_) {}

  std::string begin() override {
    std::string all;
    for (size_t index = 0; index < answers_; ++index)
      all += chunk(index, {{"role", "assistant"}, {"content", ""}}, {});
    return all;
  }

  std::string piece(size_t index, const Piece& piece, std::span<const llm::TokenLogprobs> logprobs) override {
    return chunk(index, delta(index, piece), logprobs);
  }

  std::string finished(size_t index, const Answer& answer,
                       std::span<const llm::TokenLogprobs> logprobs) override {
    return chunk(index, Json::object(), logprobs, finish_reason(answer));
  }

  Json whole(const std::vector<Answer>& answers, const Usage& usage) override {
    Json all = frame("chat.completion");
    all["choices"] = Json::array();
    for (size_t index = 0; index < answers.size(); ++index) {
      const Answer& answer = answers[index];
      all["choices"].push_back({{"index", index},
                                {"message", message(answer)},
                                {"logprobs", logprobs_json(answer.logprobs)},
                                {"finish_reason", finish_reason(answer)}});
    }
    all["usage"] = openai_usage(usage);
    return all;
  }

 private:
  static const char* finish_reason(const Answer& answer) {
    const bool calls = !answer.calls.empty() && answer.finish == llm::FinishReason::stop;
    return calls ? "tool_calls" : llm::name(answer.finish);
  }

  static Json message(const Answer& answer) {
    Json message = {{"role", "assistant"}, {"content", answer.text}, {"refusal", nullptr}};
    if (!answer.reasoning.empty()) message["reasoning_content"] = answer.reasoning;
    if (answer.calls.empty()) return message;
    if (answer.text.empty()) message["content"] = nullptr;
    for (const ToolCall& call : answer.calls)
      message["tool_calls"].push_back({{"id", call.id},
                                       {"type", "function"},
                                       {"function", {{"name", call.name}, {"arguments", call.arguments}}}});
    return message;
  }

  // A call's id and name come once, its arguments in pieces behind them.
  Json delta(size_t index, const Piece& piece) {
    switch (piece.kind) {
      case Piece::Kind::text:
        return {{"content", piece.text}};
      case Piece::Kind::reasoning:
        return {{"reasoning_content", piece.text}};
      case Piece::Kind::call: {
        const Json call = {{"index", calls_[index]++},
                           {"id", piece.id},
                           {"type", "function"},
                           {"function", {{"name", piece.text}, {"arguments", ""}}}};
        return {{"tool_calls", Json::array({call})}};
      }
      case Piece::Kind::arguments: {
        const Json call = {{"index", calls_[index] - 1}, {"function", {{"arguments", piece.text}}}};
        return {{"tool_calls", Json::array({call})}};
      }
    }
    return Json::object();
  }

  Json logprobs_json(std::span<const llm::TokenLogprobs> logprobs) const {
    if (!with_logprobs_) return nullptr;
    return {{"content", writer_.content(logprobs)}, {"refusal", nullptr}};
  }

  std::string chunk(size_t index, Json delta, std::span<const llm::TokenLogprobs> logprobs,
                    const char* finish = nullptr) const {
    return choice_event({{"index", index},
                         {"delta", std::move(delta)},
                         {"logprobs", logprobs.empty() ? Json(nullptr) : logprobs_json(logprobs)},
                         {"finish_reason", finish != nullptr ? Json(finish) : Json(nullptr)}});
  }

  const size_t answers_;
  const bool with_logprobs_;
  const TokenLogprobsWriter writer_;
  std::vector<size_t> calls_;  // that each answer has begun
};

}  // namespace

std::unique_ptr<Encoder> make_chat_encoder(const CompletionRequest& request, const ServedModel& model) {
  return std::make_unique<ChatEncoder>(request, model);
}

}  // namespace cairn::server
