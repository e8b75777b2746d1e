#include "cairn/session.h"

#include "capi/call.hpp"
#include "capi/generate.hpp"
#include "capi/objects.hpp"
#include "llm/draft_model.hpp"

using namespace cairn;
using namespace cairn::capi;

namespace cairn::capi {

Session::Session(std::shared_ptr<Engine> on)
    : engine(std::move(on)), session(engine->model->model->make_session(engine->engine)) {}

}  // namespace cairn::capi

cairn_status cairn_session_open(cairn_engine* engine, cairn_session** opened, cairn_error* error) {
  return call(error, [&] {
    require(opened, "opened");
    *opened = nullptr;
    *opened = static_cast<cairn_session*>(open_handle(std::make_shared<Session>(object_of<Engine>(engine))));
  });
}

void cairn_session_close(cairn_session* session) {
  quietly([&] { close_handle(Kind::session, session); });
}

cairn_status cairn_session_generate(cairn_session* session, const int32_t* prompt, size_t prompt_count,
                                    const cairn_generate_options* options, cairn_result* result,
                                    cairn_error* error) {
  return call(error, [&] {
    prepare(result);
    const auto of = object_of<Session>(session);
    const Wanted wanted(options, *of->engine->model);
    const auto tokens = numbers_of(prompt, prompt_count, "prompt");
    auto asked = wanted.options_for(tokens, *of->engine->model);
    const Turn turn = of->turn();
    write(result, of->session.generate(tokens, cancellable(*of, wanted, std::move(asked)), wanted.token()));
  });
}

void cairn_session_cancel(cairn_session* session) {
  quietly([&] { object_of<Session>(session)->cancelled.store(true); });
}

cairn_status cairn_session_clear(cairn_session* session, cairn_error* error) {
  return call(error, [&] {
    const auto of = object_of<Session>(session);
    const Turn turn = of->turn();
    of->session.clear();
  });
}

cairn_status cairn_session_cached(const cairn_session* session, size_t* token_count, cairn_error* error) {
  return call(error, [&] {
    require(token_count, "token_count");
    *token_count = 0;
    const auto of = object_of<Session>(session);
    const Turn turn = of->turn();
    *token_count = of->session.cached().size();
  });
}

cairn_status cairn_session_set_draft(cairn_session* session, cairn_engine* draft, cairn_error* error) {
  return call(error, [&] {
    const auto of = object_of<Session>(session);
    const auto drafts = object_of<Engine>(draft);
    const Turn turn = of->turn();
    llm::check_draft(*of->engine->model->model, *drafts->model->model);
    of->session.set_draft(drafts->engine);
    of->draft = drafts;
  });
}
