#include <nlohmann/json.hpp>
#include <string>

#include "cairn/session.h"
#include "capi/call.hpp"
#include "capi/generate.hpp"
#include "capi/objects.hpp"
#include "capi/options.hpp"
#include "capi/template.hpp"

using namespace cairn;
using namespace cairn::capi;

namespace cairn::capi {

Chat::Chat(std::shared_ptr<Session> over, const std::string& system, bool sanitize)
    : session(std::move(over)),
      chat(session->session, session->engine->model->model->chat_template(), system) {
  chat.set_sanitize(sanitize);
}

}  // namespace cairn::capi

namespace {

constexpr cairn_chat_options kUsual = {sizeof(cairn_chat_options), nullptr, 0};

}  // namespace

void cairn_chat_options_init(cairn_chat_options* options, size_t size) {
  write_usual(options, size, kUsual);
}

cairn_status cairn_chat_open(cairn_session* session, const cairn_chat_options* options, cairn_chat** opened,
                             cairn_error* error) {
  return call(error, [&] {
    require(opened, "opened");
    *opened = nullptr;
    const cairn_chat_options given = read_options(options, kUsual, "cairn_chat_options");
    *opened = static_cast<cairn_chat*>(open_handle(std::make_shared<Chat>(
        object_of<Session>(session), given.system == nullptr ? "" : given.system, given.sanitize != 0)));
  });
}

void cairn_chat_close(cairn_chat* chat) {
  quietly([&] { close_handle(Kind::chat, chat); });
}

cairn_status cairn_chat_send(cairn_chat* chat, const char* user, const cairn_generate_options* options,
                             cairn_result* result, cairn_error* error) {
  return call(error, [&] {
    prepare(result);
    const auto of = object_of<Chat>(chat);
    const Wanted wanted(options, *of->session->engine->model);
    const std::string_view text = text_of(user, "user");
    const Turn turn = of->session->turn();
    write(result, of->chat.send(text, cancellable(*of->session, wanted, wanted.options), wanted.token(),
                                wanted.tool_use()));
  });
}

cairn_status cairn_chat_send_messages(cairn_chat* chat, const char* messages,
                                      const cairn_generate_options* options, cairn_result* result,
                                      cairn_error* error) {
  return call(error, [&] {
    prepare(result);
    const auto of = object_of<Chat>(chat);
    const Wanted wanted(options, *of->session->engine->model);
    const auto more = parse_json(messages, "messages");
    const Turn turn = of->session->turn();
    write(result, of->chat.send_messages(more, cancellable(*of->session, wanted, wanted.options),
                                         wanted.token(), wanted.tool_use()));
  });
}

cairn_status cairn_chat_regenerate(cairn_chat* chat, const cairn_generate_options* options,
                                   cairn_result* result, cairn_error* error) {
  return call(error, [&] {
    prepare(result);
    const auto of = object_of<Chat>(chat);
    const Wanted wanted(options, *of->session->engine->model);
    const Turn turn = of->session->turn();
    write(result, of->chat.regenerate(cancellable(*of->session, wanted, wanted.options), wanted.token(),
                                      wanted.tool_use()));
  });
}

cairn_status cairn_chat_save(const cairn_chat* chat, char** json, cairn_error* error) {
  return call(error, [&] {
    require(json, "json");
    *json = nullptr;
    const auto of = object_of<Chat>(chat);
    const Turn turn = of->session->turn();
    *json =
        handed_out(of->chat.saved().dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace));
  });
}

cairn_status cairn_chat_restore(cairn_chat* chat, const char* json, cairn_error* error) {
  return call(error, [&] {
    const auto of = object_of<Chat>(chat);
    const auto saved = parse_json(json, "json");
    const Turn turn = of->session->turn();
    if (saved.is_array()) {
      of->chat.restore({{"messages", saved}});
    } else {
      of->chat.restore(saved);
    }
  });
}
