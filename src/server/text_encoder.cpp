#include <utility>

#include "server/completion_encoder.hpp"
#include "server/token_logprobs.hpp"

namespace cairn::server {
namespace {

class TextEncoder : public CompletionEncoder {
 public:
  TextEncoder(const CompletionRequest& request, const ServedModel& model)
      : CompletionEncoder("cmpl", "text_completion", request, model),
        with_logprobs_(request.options.logprobs),
        writer_(model.tokenizer),
        offsets_(request.prompts.size() * request.n) {}

  std::string begin() override { return {}; }

  std::string piece(size_t index, const Piece& piece, std::span<const llm::TokenLogprobs> logprobs) override {
    return chunk(index, piece.text, logprobs);
  }

  std::string finished(size_t index, const Answer& answer,
                       std::span<const llm::TokenLogprobs> logprobs) override {
    return chunk(index, "", logprobs, llm::name(answer.finish));
  }

  Json whole(const std::vector<Answer>& answers, const Usage& usage) override {
    Json all = frame("text_completion");
    all["choices"] = Json::array();
    for (size_t index = 0; index < answers.size(); ++index) {
      const Answer& answer = answers[index];
      all["choices"].push_back(choice(index, answer.text, answer.logprobs, llm::name(answer.finish)));
    }
    all["usage"] = openai_usage(usage);
    return all;
  }

 private:
  Json choice(size_t index, const std::string& text, std::span<const llm::TokenLogprobs> logprobs,
              const char* finish) {
    return {{"index", index},
            {"text", text},
            {"logprobs", with_logprobs_ ? writer_.texts(logprobs, offsets_[index]) : Json(nullptr)},
            {"finish_reason", finish != nullptr ? Json(finish) : Json(nullptr)}};
  }

  std::string chunk(size_t index, const std::string& text, std::span<const llm::TokenLogprobs> logprobs,
                    const char* finish = nullptr) {
    return choice_event(choice(index, text, logprobs, finish));
  }

  const bool with_logprobs_;
  const TokenLogprobsWriter writer_;
  std::vector<size_t> offsets_;  // in each answer's text, of the next token
};

}  // namespace

std::unique_ptr<Encoder> make_text_encoder(const CompletionRequest& request, const ServedModel& model) {
  return std::make_unique<TextEncoder>(request, model);
}

}  // namespace cairn::server
