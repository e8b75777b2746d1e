#include "cairn/batch.h"

#include <thread>

#include "capi/call.hpp"
#include "capi/generate.hpp"
#include "capi/objects.hpp"
#include "capi/options.hpp"
#include "llm/draft_model.hpp"

using namespace cairn;
using namespace cairn::capi;

namespace cairn::capi {

Batch::Batch(std::shared_ptr<Engine> on, std::shared_ptr<Engine> drafts, const llm::SchedulerOptions& options)
    : engine(std::move(on)),
      draft(std::move(drafts)),
      scheduler(engine->engine, engine->model->model->tokenizer(), options) {}

}  // namespace cairn::capi

namespace {

thread_local const Batch* calling_back = nullptr;  // on a batch's thread, in a callback

class CallingBack {
 public:
  explicit CallingBack(const Batch* batch) { calling_back = batch; }
  ~CallingBack() { calling_back = nullptr; }
  CallingBack(const CallingBack&) = delete;
  CallingBack& operator=(const CallingBack&) = delete;
};

// A batch waits for its thread, which cannot wait for itself.
void destroy(Batch* batch) {
  if (calling_back != batch) {
    delete batch;
  } else {
    std::thread([batch] { delete batch; }).detach();
  }
}

cairn_batch_options usual() {
  const llm::SchedulerOptions options;
  cairn_batch_options own{};
  own.size = sizeof own;
  own.sequences = options.sequences;
  own.queue = options.queue;
  own.beside = options.beside;
  own.kv_bytes = options.kv_bytes;
  own.kept_bytes = options.kept_bytes;
  return own;
}

}  // namespace

void cairn_batch_options_init(cairn_batch_options* options, size_t size) {
  write_usual(options, size, usual());
}

cairn_status cairn_batch_open(cairn_engine* engine, const cairn_batch_options* options, cairn_batch** opened,
                              cairn_error* error) {
  return call(error, [&] {
    require(opened, "opened");
    *opened = nullptr;
    const auto on = object_of<Engine>(engine);
    const cairn_batch_options given = read_options(options, usual(), "cairn_batch_options");
    llm::SchedulerOptions scheduler;
    scheduler.sequences = given.sequences;
    scheduler.queue = given.queue;
    scheduler.beside = given.beside;
    scheduler.kv_bytes = given.kv_bytes;
    scheduler.kept_bytes = given.kept_bytes;
    std::shared_ptr<Engine> draft;
    if (given.draft != nullptr) {
      draft = object_of<Engine>(given.draft);
      llm::check_draft(*on->model->model, *draft->model->model);
      scheduler.draft = draft->engine;
    }
    std::shared_ptr<Batch> made(new Batch(on, draft, scheduler), destroy);
    *opened = static_cast<cairn_batch*>(open_handle(std::move(made)));
  });
}

void cairn_batch_close(cairn_batch* batch) {
  quietly([&] { close_handle(Kind::batch, batch); });
}

cairn_status cairn_batch_submit(cairn_batch* batch, const int32_t* prompt, size_t prompt_count,
                                const cairn_generate_options* options, int32_t priority,
                                cairn_finished_callback finished, cairn_request** request,
                                cairn_error* error) {
  return call(error, [&] {
    require(request, "request");
    *request = nullptr;
    const auto of = object_of<Batch>(batch);
    const auto wanted = std::make_shared<const Wanted>(options, *of->engine->model);
    const auto tokens = numbers_of(prompt, prompt_count, "prompt");
    const Batch* const in = of.get();
    auto own = wanted->options_for(tokens, *of->engine->model);
    llm::Request asked{{tokens.begin(), tokens.end()}, std::move(own), {}, {}, priority};
    if (wanted->given.is_cancelled != nullptr) {
      asked.options.cancelled = [wanted, in] {
        const CallingBack mark(in);
        return wanted->is_cancelled();
      };
    }
    if (asked.options.progress) {
      asked.options.progress = [report = asked.options.progress, in](uint32_t done, uint32_t total) {
        const CallingBack mark(in);
        report(done, total);
      };
    }
    if (asked.options.prompt_logprobs) {
      asked.options.prompt_logprobs = [tell = asked.options.prompt_logprobs, in](size_t first,
                                                                                 const auto& logprobs) {
        const CallingBack mark(in);
        tell(first, logprobs);
      };
    }
    if (wanted->given.on_token != nullptr) {
      asked.token = [tell = wanted->token(), in](const llm::TokenEvent& event) {
        const CallingBack mark(in);
        return tell(event);
      };
    }
    const auto ready = std::make_shared<std::atomic<bool>>(false);
    asked.finished = [finished, user = wanted->given.user, in, ready] {
      ready->store(true);
      if (finished == nullptr) return;
      const CallingBack mark(in);
      finished(user);
    };
    auto taken = std::make_shared<Request>(of->scheduler.submit(std::move(asked)), in, ready);
    *request = static_cast<cairn_request*>(open_handle(std::move(taken)));
  });
}

void cairn_request_cancel(cairn_request* request) {
  quietly([&] { object_of<Request>(request)->ticket.cancel(); });
}

int32_t cairn_request_ready(const cairn_request* request) {
  bool ready = true;
  quietly([&] { ready = object_of<Request>(request)->ready->load(); });
  return ready ? 1 : 0;
}

cairn_status cairn_request_wait(cairn_request* request, cairn_result* result, cairn_error* error) {
  return call(error, [&] {
    prepare(result);
    const auto of = object_of<Request>(request);
    if (calling_back == of->batch && !of->ready->load())
      fail(ErrorCode::invalid_argument, "a callback of the batch cannot wait for the batch");
    if (of->waited.exchange(true)) fail(ErrorCode::invalid_argument, "the request was waited for already");
    struct Ready {  // by now, though its `finished` may be yet to come
      std::atomic<bool>& ready;
      ~Ready() { ready.store(true); }
    } const over{*of->ready};
    write(result, of->ticket.wait());
  });
}

void cairn_request_close(cairn_request* request) {
  quietly([&] { close_handle(Kind::request, request); });
}

cairn_status cairn_batch_get_status(const cairn_batch* batch, cairn_batch_status* status,
                                    cairn_error* error) {
  return call(error, [&] {
    const llm::SchedulerStatus now = object_of<Batch>(batch)->scheduler.status();
    cairn_batch_status told{};
    told.waiting = now.waiting;
    told.running = now.running;
    told.tokens = now.tokens;
    told.guessed = now.guessed;
    told.accepted = now.accepted;
    told.prompt_tokens = now.prompt_tokens;
    told.cached_tokens = now.cached_tokens;
    write_struct(status, told, "cairn_batch_status");
  });
}
