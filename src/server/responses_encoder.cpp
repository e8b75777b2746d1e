#include <utility>

#include "server/responses_request.hpp"
#include "server/token_logprobs.hpp"

namespace cairn::server {
namespace {

Json usage_json(const Usage& usage) {
  return {{"input_tokens", usage.prompt},
          {"input_tokens_details", {{"cached_tokens", usage.cached}, {"cache_write_tokens", 0}}},
          {"output_tokens", usage.written},
          {"output_tokens_details", {{"reasoning_tokens", usage.reasoning}}},
          {"total_tokens", usage.prompt + usage.written}};
}

// An item of the output; `written`: its text or arguments so far.
struct Item {
  Piece::Kind kind = Piece::Kind::text;
  std::string id{}, written{}, call_id{}, name{};
  Json logprobs = Json::array();

  Json part() const {
    if (kind == Piece::Kind::reasoning) return {{"type", "reasoning_text"}, {"text", written}};
    return {
        {"type", "output_text"}, {"annotations", Json::array()}, {"logprobs", logprobs}, {"text", written}};
  }
  Json json(const char* status) const {
    if (kind == Piece::Kind::call)
      return {{"id", id},     {"type", "function_call"}, {"status", status}, {"call_id", call_id},
              {"name", name}, {"arguments", written}};
    const Json content = written.empty() ? Json::array() : Json::array({part()});
    if (kind == Piece::Kind::reasoning)
      return {{"id", id}, {"type", "reasoning"}, {"summary", Json::array()}, {"content", content}};
    return {{"id", id}, {"type", "message"}, {"status", status}, {"role", "assistant"}, {"content", content}};
  }
};

Item item_of(Piece::Kind kind) {
  const char* id = kind == Piece::Kind::reasoning ? "rs" : kind == Piece::Kind::call ? "fc" : "msg";
  return {.kind = kind, .id = new_id(id, '_')};
}

// What the answer repeats of the request, with OpenAI's values where it does not say.
Json repeated(const Json& body) {
  Json all = {{"instructions", nullptr},
              {"max_output_tokens", nullptr},
              {"metadata", Json::object()},
              {"parallel_tool_calls", true},
              {"reasoning", Json::object()},
              {"temperature", 1.0},
              {"text", {{"format", {{"type", "text"}}}}},
              {"tool_choice", "auto"},
              {"tools", Json::array()},
              {"top_p", 1.0},
              {"truncation", "disabled"},
              {"user", nullptr}};
  for (auto& [name, value] : all.items()) {
    if (const Json* given = Fields(body).find(name)) value = *given;
  }
  return all;
}

class ResponsesEncoder : public Encoder {
 public:
  ResponsesEncoder(const CompletionRequest& request, const ServedModel& model, const Json& body)
      : model_(model.name),
        repeated_(repeated(body)),
        with_logprobs_(request.options.logprobs),
        writer_(model.tokenizer) {}

  std::string begin() override {
    return lifecycle("response.created", "in_progress") + lifecycle("response.in_progress", "in_progress");
  }

  std::string piece(size_t, const Piece& piece, std::span<const llm::TokenLogprobs> logprobs) override {
    if (piece.kind == Piece::Kind::call) {
      Item call = item_of(piece.kind);
      call.call_id = piece.id;
      call.name = piece.text;
      return close("completed") + open(std::move(call));
    }
    if (piece.kind == Piece::Kind::arguments) {
      items_.back().written += piece.text;
      return named("response.function_call_arguments.delta", {{"delta", piece.text}});
    }
    std::string all;
    if (!open_ || items_.back().kind != piece.kind) all = close("completed") + open(item_of(piece.kind));
    items_.back().written += piece.text;
    if (piece.kind == Piece::Kind::reasoning)
      return all + named("response.reasoning_text.delta", {{"content_index", 0}, {"delta", piece.text}});
    const Json likely = logprobs_json(logprobs);
    for (const Json& one : likely) items_.back().logprobs.push_back(one);
    return all + named("response.output_text.delta",
                       {{"content_index", 0}, {"delta", piece.text}, {"logprobs", likely}});
  }

  std::string finished(size_t, const Answer& answer, std::span<const llm::TokenLogprobs> logprobs) override {
    std::string all;
    if (items_.empty()) all = open(item_of(Piece::Kind::text));  // an answer of no text is one
    if (items_.back().kind == Piece::Kind::text) {
      for (Json& one : logprobs_json(logprobs)) items_.back().logprobs.push_back(std::move(one));
    }
    return all + close(status(answer));
  }

  std::string end(const std::vector<Answer>& answers, const Usage& usage) override {
    const char* how = status(answers.front());
    Json response = this->response(how, answers.front());
    response["usage"] = usage_json(usage);
    const std::string type = std::string("response.") + how;
    return event(type, {{"type", type}, {"sequence_number", sequence_++}, {"response", std::move(response)}});
  }

  std::string failed(const ApiError& error) override {
    Json response = this->response("failed", {});
    response["error"] = {{"code", "server_error"}, {"message", error.what()}};
    return event(
        "response.failed",
        {{"type", "response.failed"}, {"sequence_number", sequence_++}, {"response", std::move(response)}});
  }

  Json whole(const std::vector<Answer>& answers, const Usage& usage) override {
    const Answer& answer = answers.front();
    if (!answer.reasoning.empty()) {
      items_.push_back(item_of(Piece::Kind::reasoning));
      items_.back().written = answer.reasoning;
    }
    if (!answer.text.empty() || (answer.reasoning.empty() && answer.calls.empty())) {
      items_.push_back(item_of(Piece::Kind::text));
      items_.back().written = answer.text;
      items_.back().logprobs =
          logprobs_json(std::span<const llm::TokenLogprobs>(answer.logprobs).subspan(answer.reasoned));
    }
    for (const ToolCall& call : answer.calls) {
      items_.push_back(item_of(Piece::Kind::call));
      items_.back().call_id = call.id;
      items_.back().name = call.name;
      items_.back().written = call.arguments;
    }
    Json response = this->response(status(answer), answer);
    response["usage"] = usage_json(usage);
    return response;
  }

 private:
  static const char* status(const Answer& answer) {
    return answer.finish == llm::FinishReason::length ? "incomplete" : "completed";
  }

  Json response(const char* how, const Answer& answer) const {
    Json output = Json::array();
    for (const Item& item : items_) output.push_back(item.json(&item == &items_.back() ? how : "completed"));
    Json all = {{"id", id_},       {"object", "response"},        {"created_at", created_},
                {"status", how},   {"background", false},         {"error", nullptr},
                {"model", model_}, {"output", std::move(output)}, {"previous_response_id", nullptr},
                {"store", false}};
    const bool cut = std::string_view(how) == "incomplete" && answer.finish == llm::FinishReason::length;
    all["incomplete_details"] = cut ? Json{{"reason", "max_output_tokens"}} : Json(nullptr);
    all.update(repeated_);
    return all;
  }

  std::string lifecycle(const char* type, const char* how) {
    return event(type, {{"type", type}, {"sequence_number", sequence_++}, {"response", response(how, {})}});
  }

  // An event of the open item.
  std::string named(const char* type, Json more) {
    Json data = {{"type", type},
                 {"sequence_number", sequence_++},
                 {"output_index", items_.size() - 1},
                 {"item_id", items_.back().id}};
    data.update(more);
    return event(type, data);
  }
  std::string of_item(const char* type, const char* how) {
    return event(type, {{"type", type},
                        {"sequence_number", sequence_++},
                        {"output_index", items_.size() - 1},
                        {"item", items_.back().json(how)}});
  }

  std::string open(Item item) {
    open_ = true;
    items_.push_back(std::move(item));
    std::string all = of_item("response.output_item.added", "in_progress");
    if (items_.back().kind != Piece::Kind::call)
      all += named("response.content_part.added", {{"content_index", 0}, {"part", items_.back().part()}});
    return all;
  }

  std::string close(const char* how) {
    if (!std::exchange(open_, false)) return {};
    const Item& item = items_.back();
    std::string all;
    if (item.kind == Piece::Kind::call) {
      all =
          named("response.function_call_arguments.done", {{"name", item.name}, {"arguments", item.written}});
    } else {
      Json text = {{"content_index", 0}, {"text", item.written}};
      if (item.kind == Piece::Kind::text) text["logprobs"] = item.logprobs;
      all =
          named(item.kind == Piece::Kind::text ? "response.output_text.done" : "response.reasoning_text.done",
                std::move(text)) +
          named("response.content_part.done", {{"content_index", 0}, {"part", item.part()}});
    }
    return all + of_item("response.output_item.done", how);
  }

  Json logprobs_json(std::span<const llm::TokenLogprobs> logprobs) const {
    return with_logprobs_ ? writer_.content(logprobs) : Json::array();
  }

  const std::string id_ = new_id("resp", '_'), model_;
  const int64_t created_ = now();
  const Json repeated_;
  const bool with_logprobs_;
  const TokenLogprobsWriter writer_;
  std::vector<Item> items_;
  bool open_ = false;  // the last of them
  uint64_t sequence_ = 0;
};

}  // namespace

std::unique_ptr<Encoder> make_responses_encoder(const CompletionRequest& request, const ServedModel& model,
                                                const Json& body) {
  return std::make_unique<ResponsesEncoder>(request, model, body);
}

}  // namespace cairn::server
