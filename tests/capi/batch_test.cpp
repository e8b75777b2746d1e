// Batches: many answers at a time, each the one that a session alone gives.
#include <atomic>
#include <thread>

#include "support.hpp"

namespace cairn::capi {
namespace {

class CapiBatch : public Capi {
 protected:
  explicit CapiBatch(uint32_t sequences = 3, uint32_t queue = 64) {
    cairn_batch_options options;
    cairn_batch_options_init(&options, sizeof options);
    options.sequences = sequences;
    options.queue = queue;
    EXPECT_OK(cairn_batch_open(engine_, &options, &batch_, error));
  }
  ~CapiBatch() override { cairn_batch_close(batch_); }

  cairn_request* submit(std::string_view text, const cairn_generate_options& options,
                        cairn_finished_callback finished = nullptr) {
    const auto prompt = tokens(text);
    cairn_request* request = nullptr;
    EXPECT_OK(
        cairn_batch_submit(batch_, prompt.data(), prompt.size(), &options, 0, finished, &request, error));
    return request;
  }

  cairn_batch* batch_ = nullptr;
};

TEST_F(CapiBatch, AnswersAreThoseOfSessions) {
  const GenerateOptions options;
  std::vector<std::string> texts;
  std::vector<cairn_request*> requests;
  for (int i = 0; i < 8; ++i) {
    texts.push_back(std::string(kText) + " and " + std::to_string(i));
    requests.push_back(submit(texts.back(), options));
  }
  for (size_t i = 0; i < requests.size(); ++i) {
    Result result;
    EXPECT_OK(cairn_request_wait(requests[i], &result, error));
    EXPECT_EQ(result.ids(), expected(tokens(texts[i]), greedy()).tokens);
    EXPECT_EQ(cairn_request_ready(requests[i]), 1);
    EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "waited for already",
                   cairn_request_wait(requests[i], nullptr, error));
    cairn_request_close(requests[i]);
  }
  cairn_batch_status status{};
  status.size = sizeof status;
  EXPECT_OK(cairn_batch_get_status(batch_, &status, error));
  EXPECT_EQ(status.tokens, 8u * 12);
  EXPECT_EQ(status.running, 0u);
}

TEST_F(CapiBatch, ManyThreadsSubmitCancelAndWait) {
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 5; ++i) {
        const std::string text = "thread " + std::to_string(t) + " request " + std::to_string(i);
        cairn_request* request = submit(text, GenerateOptions());
        const bool cancel = (t + i) % 3 == 0;
        if (cancel) cairn_request_cancel(request);
        Result result;
        EXPECT_OK(cairn_request_wait(request, &result, error));
        if (result.finish != CAIRN_FINISH_CANCELLED)
          EXPECT_EQ(result.ids(), expected(tokens(text), greedy()).tokens);
        else
          EXPECT_TRUE(cancel);
        cairn_request_close(request);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

struct InCallback {
  cairn_batch* batch = nullptr;
  std::atomic<cairn_request*> request{nullptr};
  std::atomic<int> finished{0};
  std::atomic<cairn_status> waited{CAIRN_OK}, submitted{CAIRN_INTERNAL};
  std::atomic<bool> close{false}, go{false};
};

TEST_F(CapiBatch, CallbacksMaySubmitButNotWait) {
  InCallback in;
  in.batch = batch_;
  GenerateOptions options(4);
  options.user = &in;
  options.on_token = [](void* user, const cairn_token_event*) {
    auto& s = *static_cast<InCallback*>(user);
    while (!s.go) std::this_thread::yield();
    s.waited = cairn_request_wait(s.request, nullptr, nullptr);
    const int32_t prompt[] = {1, 2, 3};
    cairn_generate_options few;
    cairn_generate_options_init(&few, sizeof few);
    few.max_tokens = 1;
    cairn_request* more = nullptr;
    s.submitted = cairn_batch_submit(s.batch, prompt, 3, &few, 0, nullptr, &more, nullptr);
    cairn_request_close(more);
    return 0;
  };
  in.request = submit(kText, options, [](void* user) { ++static_cast<InCallback*>(user)->finished; });
  in.go = true;
  Result result;
  EXPECT_OK(cairn_request_wait(in.request, &result, error));
  EXPECT_EQ(result.token_count, 4u);
  EXPECT_EQ(in.waited, CAIRN_INVALID_ARGUMENT);
  EXPECT_EQ(in.submitted, CAIRN_OK);
  cairn_request_close(in.request);
  cairn_batch_close(batch_);
  EXPECT_EQ(in.finished, 1);
}

TEST_F(CapiBatch, ACallbackMayCloseItsBatch) {
  InCallback in;
  in.batch = batch_;
  GenerateOptions options(100);
  options.ignore_end = 1;
  options.user = &in;
  options.on_token = [](void* user, const cairn_token_event*) {
    cairn_batch_close(static_cast<InCallback*>(user)->batch);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return 0;
  };
  cairn_request* const request =
      submit(kText, options, [](void* user) { ++static_cast<InCallback*>(user)->finished; });
  Result result;
  EXPECT_OK(cairn_request_wait(request, &result, error));
  EXPECT_EQ(result.finish, CAIRN_FINISH_CANCELLED);
  cairn_request_close(request);
  while (in.finished == 0) std::this_thread::yield();
  const int32_t token = 1;
  cairn_request* none = nullptr;
  EXPECT_REFUSED(CAIRN_INVALID_ARGUMENT, "the batch is closed",
                 cairn_batch_submit(batch_, &token, 1, nullptr, 0, nullptr, &none, error));
  EXPECT_EQ(none, nullptr);
}

class CapiSmallBatch : public CapiBatch {
 protected:
  CapiSmallBatch() : CapiBatch(1, 1) {}
};

TEST_F(CapiSmallBatch, AFullQueueIsBusyAndClosingCancels) {
  GenerateOptions options(1000);
  options.ignore_end = 1;
  std::atomic<bool> begun{false};
  options.user = &begun;
  options.on_token = [](void* user, const cairn_token_event*) {
    static_cast<std::atomic<bool>*>(user)->store(true);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
    return 0;
  };
  cairn_request* const runs = submit("a", options);
  while (!begun) std::this_thread::yield();
  cairn_request* const waits = submit("b", GenerateOptions());
  const int32_t token = 1;
  cairn_request* none = nullptr;
  EXPECT_REFUSED(CAIRN_BUSY, "", cairn_batch_submit(batch_, &token, 1, nullptr, 0, nullptr, &none, error));
  EXPECT_EQ(cairn_request_ready(runs), 0);
  cairn_batch_close(batch_);
  for (cairn_request* request : {runs, waits}) {
    Result result;
    EXPECT_OK(cairn_request_wait(request, &result, error));
    EXPECT_EQ(result.finish, CAIRN_FINISH_CANCELLED);
    cairn_request_close(request);
  }
}

}  // namespace
}  // namespace cairn::capi
