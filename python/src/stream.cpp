#include "stream.hpp"

#include <pybind11/stl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <chrono>
#include <system_error>

namespace py = pybind11;

namespace binding {
namespace {

class Waits {
 public:
  explicit Waits(int& count) : count_(count) { ++count_; }
  ~Waits() { --count_; }
  Waits(const Waits&) = delete;
  Waits& operator=(const Waits&) = delete;

 private:
  int& count_;
};

}  // namespace

Queue::~Queue() {
  if (event_ >= 0) close(event_);
}

void Queue::wake() {
  if (event_ >= 0) eventfd_write(event_, 1);
}

void Queue::push(const cairn::TokenEvent& event) {
  const std::lock_guard lock(mutex_);
  Event told{event.token, std::string(event.text), {}, {}};
  if (event.logprobs != nullptr) told.logprobs = *event.logprobs;
  for (const cairn::Piece& piece : event.pieces)
    told.pieces.push_back({piece.kind, std::string(piece.text), std::string(piece.id)});
  events_.push_back(std::move(told));
  if (event.prompt_logprobs != nullptr && !prompt_known_) {
    prompt_ = *event.prompt_logprobs;
    prompt_known_ = true;
  }
  wake();
  if (waiting_ > 0) changed_.notify_all();
}

void Queue::finish(std::function<cairn::Result()> result) {
  std::optional<cairn::Result> got;
  std::exception_ptr error;
  try {
    got = result();
  } catch (...) {
    error = std::current_exception();
  }
  const std::lock_guard lock(mutex_);
  if (got && !prompt_known_) {
    prompt_ = got->prompt_logprobs;
    prompt_known_ = true;
  }
  result_ = std::move(got);
  error_ = error;
  over_ = true;
  wake();
  changed_.notify_all();
}

// Without Python's lock; with it ten times a second, so that Ctrl-C is heard.
template <class Ready>
void Queue::wait_until(std::unique_lock<std::mutex>& lock, const Ready& ready) {
  while (!ready()) {
    lock.unlock();
    {
      const py::gil_scoped_release release;
      lock.lock();
      changed_.wait_for(lock, std::chrono::milliseconds(100), ready);
      lock.unlock();
    }
    const bool interrupted = PyErr_CheckSignals() != 0;
    lock.lock();
    if (interrupted) {
      cancel();
      throw py::error_already_set();
    }
  }
}

std::optional<Event> Queue::next(bool wait, bool& over) {
  std::unique_lock lock(mutex_);
  if (wait) {
    const Waits waits(waiting_);
    wait_until(lock, [this] { return over_ || !events_.empty(); });
  }
  over = over_ && events_.empty();
  if (events_.empty()) {
    if (over && error_) std::rethrow_exception(error_);
    return std::nullopt;
  }
  Event event = std::move(events_.front());
  events_.pop_front();
  return event;
}

const cairn::Result& Queue::result() {
  std::unique_lock lock(mutex_);
  wait_until(lock, [this] { return over_; });
  if (error_) std::rethrow_exception(error_);
  return *result_;
}

std::vector<cairn::TokenLogprobs> Queue::prompt_logprobs() {
  std::unique_lock lock(mutex_);
  const Waits waits(waiting_);
  wait_until(lock, [this] { return over_ || prompt_known_; });
  if (error_) std::rethrow_exception(error_);
  return prompt_;
}

int Queue::readable() {
  const std::lock_guard lock(mutex_);
  if (event_ < 0) {
    event_ = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (event_ < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
    if (over_ || !events_.empty()) wake();
  }
  return event_;
}

void Queue::drain() const {
  eventfd_t ignored = 0;
  if (event_ >= 0) eventfd_read(event_, &ignored);
}

Stream::Stream(cairn::GenerateOptions& options)
    : with_logprobs_(options.logprobs.has_value()), with_prompt_logprobs_(options.prompt_logprobs) {
  options.on_token = [queue = queue_](const cairn::TokenEvent& event) {
    queue->push(event);
    return !queue->cancelled();
  };
  options.is_cancelled = [queue = queue_] { return queue->cancelled(); };
}

std::unique_ptr<Stream> Stream::by_thread(Generate generate, cairn::GenerateOptions options) {
  std::unique_ptr<Stream> stream(new Stream(options));
  stream->thread_ =
      std::thread([queue = stream->queue_, generate = std::move(generate), options = std::move(options)] {
        queue->finish([&] { return generate(options); });
      });
  return stream;
}

std::unique_ptr<Stream> Stream::by_batch(std::shared_ptr<cairn::Batch> batch,
                                         const std::vector<std::int32_t>& prompt,
                                         cairn::GenerateOptions options, int priority) {
  std::unique_ptr<Stream> stream(
      new Stream(options));  // destroyed with Python's lock, whatever is thrown below
  stream->batch_ = std::move(batch);
  // The request is there before anybody asks for its answer, which the batch's thread may do at once.
  struct Slot {
    std::mutex mutex;
    std::optional<cairn::Request> request;
  };
  const auto slot = std::make_shared<Slot>();
  const py::gil_scoped_release release;
  const std::lock_guard lock(slot->mutex);
  slot->request = stream->batch_->submit(prompt, options, priority, [queue = stream->queue_, slot] {
    const std::lock_guard wait(slot->mutex);
    queue->finish([&] { return slot->request->wait(); });
  });
  return stream;
}

Stream::~Stream() {
  queue_->cancel();
  const py::gil_scoped_release release;
  if (thread_.joinable()) thread_.join();
  batch_.reset();
}

namespace {

py::object text_of(const std::string& text) {
  return py::reinterpret_steal<py::object>(
      PyUnicode_DecodeUTF8(text.data(), static_cast<Py_ssize_t>(text.size()), "replace"));
}

// (token, logprob, [(token, logprob), …])
py::object logprobs_of(const cairn::TokenLogprobs& one) {
  py::list top;
  for (const cairn_token_logprob& likely : one.top) top.append(py::make_tuple(likely.token, likely.logprob));
  return py::make_tuple(one.token, one.logprob, top);
}

py::object logprobs_of(const std::vector<cairn::TokenLogprobs>& all) {
  py::list told;
  for (const cairn::TokenLogprobs& one : all) told.append(logprobs_of(one));
  return told;
}

// [(kind, text, id), …]
py::object pieces_of(const std::vector<Event::Piece>& pieces) {
  static constexpr const char* kKinds[] = {"text", "reasoning", "call", "arguments"};
  py::list told;
  for (const Event::Piece& piece : pieces)
    told.append(py::make_tuple(kKinds[static_cast<int>(piece.kind)], text_of(piece.text), text_of(piece.id)));
  return told;
}

// (token, text, logprobs or None, pieces), or None at the end; without waiting: None, and at the end a
// StopIteration.
py::object next(Stream& stream, bool wait) {
  bool over = false;
  const std::optional<Event> event = stream.queue().next(wait, over);
  if (event) {
    return py::make_tuple(event->token, text_of(event->text),
                          event->logprobs ? logprobs_of(*event->logprobs) : py::none(),
                          pieces_of(event->pieces));
  }
  if (!wait && over) throw py::stop_iteration();
  return py::none();
}

py::dict result(Stream& stream) {
  static constexpr const char* kFinishes[] = {"stop", "length", "cancelled"};
  const cairn::Result& r = stream.queue().result();
  py::dict told;
  told["text"] = text_of(r.text);
  told["tokens"] = r.tokens;
  told["logprobs"] = stream.with_logprobs() ? logprobs_of(r.logprobs) : py::none();
  told["prompt_logprobs"] = stream.with_prompt_logprobs() ? logprobs_of(r.prompt_logprobs) : py::none();
  told["message"] = r.message.empty() ? py::object(py::none()) : text_of(r.message);
  told["finish"] = kFinishes[static_cast<int>(r.finish)];
  told["stop"] = r.stop.empty() ? py::object(py::none()) : text_of(r.stop);
  told["prompt_tokens"] = r.prompt_tokens;
  told["cached_tokens"] = r.cached_tokens;
  told["prefill_tokens"] = r.prefill_tokens;
  told["decode_tokens"] = r.decode_tokens;
  told["decode_steps"] = r.decode_steps;
  told["guessed_tokens"] = r.guessed_tokens;
  told["accepted_tokens"] = r.accepted_tokens;
  told["prefill_seconds"] = r.prefill_seconds;
  told["decode_seconds"] = r.decode_seconds;
  told["first_token_seconds"] = r.first_token_seconds;
  return told;
}

}  // namespace

void add_streams(py::module_& module) {
  py::class_<Stream>(module, "Stream")
      .def("next", [](Stream& s) { return next(s, true); })
      .def("poll", [](Stream& s) { return next(s, false); })
      .def("result", result)
      .def("prompt_logprobs", [](Stream& s) { return logprobs_of(s.queue().prompt_logprobs()); })
      .def("cancel", &Stream::cancel)
      .def("readable", [](Stream& s) { return s.queue().readable(); })
      .def("drain", [](Stream& s) { s.queue().drain(); });
}

}  // namespace binding
