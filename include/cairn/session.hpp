#ifndef CAIRN_SESSION_HPP
#define CAIRN_SESSION_HPP

#include <cairn/session.h>

#include <cairn/engine.hpp>
#include <cairn/generate.hpp>

namespace cairn {
inline namespace v0 {

// A text with one engine; one call at a time (cairn/session.h).
class Session {
 public:
  explicit Session(const Engine& engine) {
    cairn_session* opened = nullptr;
    detail::check(cairn_session_open, engine.get(), &opened);
    session_.reset(opened);
  }

  Result generate(const std::vector<std::int32_t>& prompt, const GenerateOptions& options = {}) {
    detail::Calls calls(options);
    return calls.completed(
        detail::answer(cairn_session_generate, session_.get(), prompt.data(), prompt.size(), calls.c()));
  }

  void cancel() noexcept { cairn_session_cancel(session_.get()); }  // from any thread
  void clear() { detail::check(cairn_session_clear, session_.get()); }
  std::size_t cached() const {
    std::size_t count = 0;
    detail::check(cairn_session_cached, session_.get(), &count);
    return count;
  }
  void set_draft(const Engine& draft) { detail::check(cairn_session_set_draft, session_.get(), draft.get()); }

  cairn_session* get() const noexcept { return session_.get(); }

 private:
  detail::Owned<cairn_session, cairn_session_close> session_;
};

// A conversation over a session, which it keeps.
class Chat {
 public:
  explicit Chat(const Session& session, const std::string& system = {}, bool sanitize = false) {
    cairn_chat_options options;
    cairn_chat_options_init(&options, sizeof options);
    if (!system.empty()) options.system = system.c_str();
    options.sanitize = sanitize ? 1 : 0;
    cairn_chat* opened = nullptr;
    detail::check(cairn_chat_open, session.get(), &options, &opened);
    chat_.reset(opened);
  }

  Result send(const std::string& user, const GenerateOptions& options = {}) {
    detail::Calls calls(options);
    return calls.completed(detail::answer(cairn_chat_send, chat_.get(), user.c_str(), calls.c()));
  }
  // messages: a JSON array in place of the user's turn, of the results of tools for instance.
  Result send_messages(const std::string& messages, const GenerateOptions& options = {}) {
    detail::Calls calls(options);
    return calls.completed(
        detail::answer(cairn_chat_send_messages, chat_.get(), messages.c_str(), calls.c()));
  }
  Result regenerate(const GenerateOptions& options = {}) {
    detail::Calls calls(options);
    return calls.completed(detail::answer(cairn_chat_regenerate, chat_.get(), calls.c()));
  }

  // As JSON, with what the model has read.
  std::string save() const {
    detail::Text json;
    detail::check(cairn_chat_save, chat_.get(), &json.data);
    return json.str();
  }
  void restore(const std::string& json) { detail::check(cairn_chat_restore, chat_.get(), json.c_str()); }

  cairn_chat* get() const noexcept { return chat_.get(); }

 private:
  detail::Owned<cairn_chat, cairn_chat_close> chat_;
};

}  // namespace v0
}  // namespace cairn

#endif
