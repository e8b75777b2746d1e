// What is behind the handles.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include "base/error.hpp"
#include "base/thread_pool.hpp"
#include "capi/handles.hpp"
#include "grammar/compiler.hpp"
#include "llm/chat.hpp"
#include "llm/model.hpp"
#include "llm/scheduler.hpp"
#include "llm/tool_use.hpp"

namespace cairn::capi {

struct Model {
  static constexpr Kind kKind = Kind::model;
  explicit Model(std::shared_ptr<const llm::Model> opened);
  ~Model();
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  // Error io where the file was cut or could not be read meanwhile: what was read of it may be zeros.
  void check() const { model->file().require_read(); }
  // Of its tokens, which are there only after a while when it was just opened.
  grammar::Compiler& grammars();
  // How it calls tools, by its template for those. Errors: as llm::Model::chat_template.
  std::shared_ptr<const llm::AnswerForms> forms();

  const std::shared_ptr<const llm::Model> model;
  const std::string path, name, architecture;

 private:
  std::once_flag begun_;
  std::optional<grammar::Compiler> grammars_;
  std::mutex mutex_;  // of what follows
  std::shared_ptr<const llm::AnswerForms> forms_;
};

struct Engine {
  static constexpr Kind kKind = Kind::engine;
  std::shared_ptr<Model> model;
  std::shared_ptr<ThreadPool> pool;
  std::shared_ptr<engine::Engine> engine;
};

// One call at a time: the second one fails, from the callbacks of the first as well.
class Turn {
 public:
  // Error busy. what: "the session".
  Turn(std::atomic<bool>& taken, const char* what) : taken_(taken) {
    if (taken_.exchange(true))
      fail(ErrorCode::busy, "{} is in use by another call, or by the one that calls back", what);
  }
  ~Turn() { taken_.store(false); }
  Turn(const Turn&) = delete;
  Turn& operator=(const Turn&) = delete;

 private:
  std::atomic<bool>& taken_;
};

struct Session {
  static constexpr Kind kKind = Kind::session;
  explicit Session(std::shared_ptr<Engine> on);

  Turn turn() { return {taken, "the session"}; }

  const std::shared_ptr<Engine> engine;
  llm::Session session;
  std::shared_ptr<Engine> draft{};
  std::atomic<bool> taken{false};
  std::atomic<bool> cancelled{false};
};

struct Chat {
  static constexpr Kind kKind = Kind::chat;
  Chat(std::shared_ptr<Session> over, const std::string& system, bool sanitize);

  const std::shared_ptr<Session> session;
  llm::ChatSession chat;
};

struct Batch {
  static constexpr Kind kKind = Kind::batch;
  Batch(std::shared_ptr<Engine> on, std::shared_ptr<Engine> drafts, const llm::SchedulerOptions& options);

  const std::shared_ptr<Engine> engine, draft;
  llm::Scheduler scheduler;
};

struct Request {
  static constexpr Kind kKind = Kind::request;
  Request(llm::Scheduler::Ticket of, const Batch* in, std::shared_ptr<std::atomic<bool>> ended)
      : ticket(std::move(of)), batch(in), ready(std::move(ended)) {}
  ~Request() { ticket.cancel(); }
  Request(const Request&) = delete;
  Request& operator=(const Request&) = delete;

  llm::Scheduler::Ticket ticket;
  const Batch* const batch;                        // to compare with; it may be gone
  const std::shared_ptr<std::atomic<bool>> ready;  // Ticket::ready() is not for two threads
  std::atomic<bool> waited{false};
};

}  // namespace cairn::capi
