#include <utility>

#include "server/openai_encoders.hpp"
#include "server/token_logprobs.hpp"

namespace cairn::server {
namespace {

class TextEncoder : public Encoder {
 public:
  TextEncoder(const CompletionRequest& request, const ServedModel& model)
      : model_(model.name),
        include_usage_(request.include_usage),
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

  std::string end(const std::vector<Answer>&, const Usage& usage) override {
    std::string last;
    if (include_usage_) {
      Json chunk = frame();
      chunk["choices"] = Json::array();
      chunk["usage"] = openai_usage(usage);
      last = event(chunk);
    }
    return last + "data: [DONE]\n\n";
  }

  std::string failed(const ApiError& error) override { return event(error.json()); }

  Json whole(const std::vector<Answer>& answers, const Usage& usage) override {
    Json all = frame();
    all["choices"] = Json::array();
    for (size_t index = 0; index < answers.size(); ++index) {
      const Answer& answer = answers[index];
      all["choices"].push_back(choice(index, answer.text, answer.logprobs, llm::name(answer.finish)));
    }
    all["usage"] = openai_usage(usage);
    return all;
  }

 private:
  Json frame() const {
    return {{"id", id_}, {"object", "text_completion"}, {"created", created_}, {"model", model_}};
  }

  Json choice(size_t index, const std::string& text, std::span<const llm::TokenLogprobs> logprobs,
              const char* finish) {
    return {{"index", index},
            {"text", text},
            {"logprobs", with_logprobs_ ? writer_.texts(logprobs, offsets_[index]) : Json(nullptr)},
            {"finish_reason", finish != nullptr ? Json(finish) : Json(nullptr)}};
  }

  std::string chunk(size_t index, const std::string& text, std::span<const llm::TokenLogprobs> logprobs,
                    const char* finish = nullptr) {
    Json chunk = frame();
    chunk["choices"].push_back(choice(index, text, logprobs, finish));
    if (include_usage_) chunk["usage"] = nullptr;
    return event(chunk);
  }

  const std::string id_ = new_id("cmpl"), model_;
  const int64_t created_ = now();
  const bool include_usage_, with_logprobs_;
  const TokenLogprobsWriter writer_;
  std::vector<size_t> offsets_;  // in each answer's text, of the next token
};

}  // namespace

std::unique_ptr<Encoder> make_text_encoder(const CompletionRequest& request, const ServedModel& model) {
  return std::make_unique<TextEncoder>(request, model);
}

}  // namespace cairn::server
