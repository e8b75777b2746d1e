#include <utility>

#include "server/messages_request.hpp"

namespace cairn::server {
namespace {

const char* stop_reason(const Answer& answer) {
  if (answer.finish == llm::FinishReason::length) return "max_tokens";
  if (!answer.calls.empty()) return "tool_use";
  return answer.stop.empty() ? "end_turn" : "stop_sequence";
}

Json or_null(const std::string& text) {
  return text.empty() ? Json(nullptr) : Json(text);
}

// What was read before is told beside the rest, not in it.
Json usage_json(const Usage& usage) {
  return {{"input_tokens", usage.prompt - usage.cached},
          {"cache_creation_input_tokens", 0},
          {"cache_read_input_tokens", usage.cached},
          {"output_tokens", usage.written},
          {"output_tokens_details", {{"thinking_tokens", usage.reasoning}}}};
}

// Arguments as the object that they stand for; what is none comes as it is, under a name that says so.
Json input_of(const std::string& arguments) {
  Json input = Json::parse(arguments, nullptr, false);
  return input.is_object() ? input : Json{{"raw_arguments", arguments}};
}

// Blocks follow each other; a call's arguments are pieces of its block.
class MessagesEncoder : public Encoder {
 public:
  MessagesEncoder(const CompletionRequest& request, const ServedModel& model)
      : model_(model.name), prompt_(request.prompts.front().size()) {}

  std::string begin() override {
    Usage usage;
    usage.prompt = prompt_;  // what of it was read before is told at the end
    return named({{"type", "message_start"}, {"message", message(Json::array(), nullptr, nullptr, usage)}}) +
           named({{"type", "ping"}});
  }

  std::string piece(size_t, const Piece& piece, std::span<const llm::TokenLogprobs>) override {
    switch (piece.kind) {
      case Piece::Kind::text:
        return open(Open::text, {{"type", "text"}, {"text", ""}}) +
               delta({{"type", "text_delta"}, {"text", piece.text}});
      case Piece::Kind::reasoning:
        return open(Open::thinking, {{"type", "thinking"}, {"thinking", ""}, {"signature", ""}}) +
               delta({{"type", "thinking_delta"}, {"thinking", piece.text}});
      case Piece::Kind::call:
        return close() +
               open(
                   Open::call,
                   {{"type", "tool_use"}, {"id", piece.id}, {"name", piece.text}, {"input", Json::object()}});
      case Piece::Kind::arguments:
        return delta({{"type", "input_json_delta"}, {"partial_json", piece.text}});
    }
    return {};
  }

  std::string finished(size_t, const Answer&, std::span<const llm::TokenLogprobs>) override {
    return close();
  }

  std::string end(const std::vector<Answer>& answers, const Usage& usage) override {
    const Answer& answer = answers.front();
    return named({{"type", "message_delta"},
                  {"delta", {{"stop_reason", stop_reason(answer)}, {"stop_sequence", or_null(answer.stop)}}},
                  {"usage", usage_json(usage)}}) +
           named({{"type", "message_stop"}});
  }

  std::string failed(const ApiError& error) override { return named(error.json(ErrorForm::anthropic)); }

  Json whole(const std::vector<Answer>& answers, const Usage& usage) override {
    const Answer& answer = answers.front();
    Json content = Json::array();
    if (!answer.reasoning.empty())
      content.push_back({{"type", "thinking"}, {"thinking", answer.reasoning}, {"signature", ""}});
    if (!answer.text.empty()) content.push_back({{"type", "text"}, {"text", answer.text}});
    for (const ToolCall& call : answer.calls)
      content.push_back(
          {{"type", "tool_use"}, {"id", call.id}, {"name", call.name}, {"input", input_of(call.arguments)}});
    return message(std::move(content), stop_reason(answer), or_null(answer.stop), usage);
  }

 private:
  enum class Open : uint8_t { nothing, text, thinking, call };

  Json message(Json content, Json reason, Json stop, const Usage& usage) const {
    return {{"id", id_},
            {"type", "message"},
            {"role", "assistant"},
            {"model", model_},
            {"content", std::move(content)},
            {"stop_reason", std::move(reason)},
            {"stop_sequence", std::move(stop)},
            {"usage", usage_json(usage)}};
  }

  static std::string named(const Json& data) { return event(data["type"].get<std::string>(), data); }

  std::string open(Open wanted, Json block) {
    if (open_ == wanted) return {};
    std::string all = close();
    open_ = wanted;
    return all +
           named({{"type", "content_block_start"}, {"index", index_}, {"content_block", std::move(block)}});
  }

  std::string close() {
    if (open_ == Open::nothing) return {};
    std::string all;
    if (open_ == Open::thinking) all = delta({{"type", "signature_delta"}, {"signature", ""}});
    open_ = Open::nothing;
    return all + named({{"type", "content_block_stop"}, {"index", index_++}});
  }

  std::string delta(Json delta) const {
    return named({{"type", "content_block_delta"}, {"index", index_}, {"delta", std::move(delta)}});
  }

  const std::string id_ = new_id("msg", '_'), model_;
  const size_t prompt_;
  Open open_ = Open::nothing;
  size_t index_ = 0;  // of the open block, or of the next one
};

}  // namespace

std::unique_ptr<Encoder> make_messages_encoder(const CompletionRequest& request, const ServedModel& model) {
  return std::make_unique<MessagesEncoder>(request, model);
}

}  // namespace cairn::server
