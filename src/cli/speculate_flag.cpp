#include "cli/speculate_flag.hpp"

#include "base/error.hpp"
#include "formats/stack_file.hpp"
#include "llm/draft_model.hpp"
#include "store/model_store.hpp"

namespace cairn::cli {
namespace {

void parse(const std::string& text, SpeculateFlag& flag) {
  const size_t colon = text.find(':');
  const std::string kind = text.substr(0, colon);
  flag.draft = colon == std::string::npos ? "" : text.substr(colon + 1);
  for (const auto& [name, value] : {std::pair{"none", llm::Speculation::none},
                                    {"lookup", llm::Speculation::lookup},
                                    {"self", llm::Speculation::self},
                                    {"draft", llm::Speculation::draft},
                                    {"auto", llm::Speculation::automatic}}) {
    if (kind != name) continue;
    flag.kind = value;
    const bool takes_model = value == llm::Speculation::draft || value == llm::Speculation::automatic;
    if (colon == std::string::npos ? value != llm::Speculation::draft : takes_model && !flag.draft.empty())
      return;
  }
  fail(ErrorCode::invalid_argument,
       "--speculate {}: not one of none, lookup, self, draft:MODEL, auto and auto:MODEL", text);
}

}  // namespace

void add_speculate_flag(CLI::App& command, SpeculateFlag& flag) {
  command
      .add_option_function<std::string>(
          "--speculate", [&flag](const std::string& text) { parse(text, flag); },
          "guess the next tokens and check them in one step, for the same text sooner: what followed the "
          "same words before (lookup), what a small model of the same vocabulary would write (draft:MODEL), "
          "what the model itself would, a stack with fewer bits or a layer made for it (self), whichever "
          "pays at the moment (auto, auto:MODEL), or "
          "nothing (none, if not given)")
      ->type_name("KIND");
}

void share_threads(const SpeculateFlag& flag, engine::Options& options, bool several) {
  if ((flag.draft.empty() && !several) || options.pool) return;
  options.pool =
      std::make_shared<ThreadPool>(options.threads == 0 ? usable_processors() : size_t{options.threads});
}

std::shared_ptr<engine::Engine> make_draft(const SpeculateFlag& flag, const llm::Model& model,
                                           const engine::Options& options) {
  if (flag.kind == llm::Speculation::self && !stack::is_stack(model.file()) &&
      model.parameters().draft_layers != 1) {
    fail(ErrorCode::invalid_argument,
         "--speculate self: {} is no stack, whose first bits are a model too (see `cairn stack`), and has no "
         "layer that predicts further tokens",
         model.file().path());
  }
  if (flag.draft.empty()) return nullptr;
  return llm::make_draft(model, *llm::Model::load(resolve_model(flag.draft)), options);
}

}  // namespace cairn::cli
