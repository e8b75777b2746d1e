#include "server/models.hpp"

#include <algorithm>
#include <filesystem>
#include <new>
#include <utility>

#include "base/error.hpp"
#include "base/log.hpp"
#include "server/api_error.hpp"

namespace cairn::server {
namespace {

uint64_t file_bytes(const std::string& path) {
  std::error_code missing;
  const uint64_t bytes = std::filesystem::file_size(path, missing);
  return missing ? 0 : bytes;
}

void add(llm::SchedulerStatus& sum, const llm::SchedulerStatus& one) {
  sum.slices += one.slices;
  sum.tokens += one.tokens;
  sum.guessed += one.guessed;
  sum.accepted += one.accepted;
  sum.prompt_tokens += one.prompt_tokens;
  sum.cached_tokens += one.cached_tokens;
}

}  // namespace

const char* name(Models::State state) {
  switch (state) {
    case Models::State::unloaded:
      return "unloaded";
    case Models::State::loading:
      return "loading";
    case Models::State::loaded:
      return "loaded";
    default:
      return "failed";
  }
}

Models::Models(std::vector<ModelSource> sources, ModelsOptions options) : options_(std::move(options)) {
  for (ModelSource& source : sources) {
    for (const Entry& other : entries_) {
      if (other.source.name == source.name)
        fail(ErrorCode::invalid_argument, "two models would be called '{}'", source.name);
    }
    entries_.emplace_back(std::move(source));
  }
  uint32_t loaded = 0;
  for (Entry& entry : entries_) {
    if (options_.most != 0 && loaded++ == options_.most) break;
    put(entry, entry.source.load());
    entry.loads = 1;
    entry.used = Clock::now();
  }
  worker_ = std::thread([this] { work(); });
}

void Models::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  if (worker_.joinable()) worker_.join();
}

Models::~Models() {
  stop();
  // Without the lock: schedulers end their requests, which give their leases back.
  for (Entry& entry : entries_) entry.model.reset();
}

// null: it could not be loaded.
void Models::put(Entry& entry, std::shared_ptr<ServedModel> model) {
  entry.state = model ? State::loaded : State::failed;
  entry.model = std::move(model);
  if (entry.model) entry.context = entry.model->engine->context();
}

Models::Lease Models::lease(Entry& entry) {
  ++entry.users;
  return {entry.model.get(), [this, &entry](ServedModel*) { released(entry); }};
}

// By any thread, a scheduler's too: which is why models are destroyed elsewhere.
void Models::released(Entry& entry) {
  const std::lock_guard lock(mutex_);
  entry.used = Clock::now();
  if (--entry.users == 0) changed();
}

uint64_t Models::use(const std::string& name, Use use) {
  Lease model;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) fail(ErrorCode::cancelled, "the server is shutting down");
    const auto at = std::find_if(entries_.begin(), entries_.end(),
                                 [&](const Entry& one) { return one.source.name == name; });
    if (at == entries_.end()) fail(ErrorCode::not_found, "there is no model '{}' here", name);
    ++requests_;
    if (at->model && !at->leaving && !at->model->broken) {
      model = lease(*at);
    } else {
      size_t all = 0;
      for (const Entry& one : entries_) all += one.waiting.size();
      if (all >= options_.waiting)
        fail(ErrorCode::busy, "{} requests wait for models to be loaded: ask again later", all);
      at->waiting.push_back({requests_, std::move(use)});
      changed();
      return requests_;
    }
  }
  use(std::move(model), nullptr);
  return 0;
}

void Models::forget(uint64_t waiting) {
  const std::lock_guard lock(mutex_);
  for (Entry& entry : entries_) {
    if (std::erase_if(entry.waiting, [&](const Waiting& one) { return one.number == waiting; }) > 0)
      changed();
  }
}

std::vector<Models::Info> Models::list() const {
  const std::lock_guard lock(mutex_);
  std::vector<Info> all;
  for (const Entry& one : entries_)
    all.push_back({one.source.name, one.source.path, one.source.created, one.state, one.error, one.context,
                   one.loads, one.past, one.model});
  return all;
}

void Models::when_loaded(std::function<void(ServedModel&)> action) {
  const std::lock_guard lock(mutex_);
  when_loaded_ = std::move(action);
}

void Models::work() {
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const uint64_t seen = changes_;
    if (Entry* next = wanted()) {
      if (make_place(lock, *next)) {
        load(lock, *next);
        continue;
      }
    } else {
      stay(lock);
    }
    const Clock::time_point until = unload_idle(lock);
    wake_.wait_until(lock, until, [&] { return stopping_ || changes_ != seen; });
  }
  std::vector<Use> rest;
  for (Entry& entry : entries_) {
    for (Waiting& one : entry.waiting) rest.push_back(std::move(one.use));
    entry.waiting.clear();
  }
  lock.unlock();
  const auto error = std::make_exception_ptr(Error(ErrorCode::cancelled, "the server is shutting down"));
  for (const Use& use : rest) use(nullptr, error);
}

void Models::changed() {
  ++changes_;
  wake_.notify_all();
}

// Whose first request has waited longest, of those that are not there.
Models::Entry* Models::wanted() {
  Entry* first = nullptr;
  for (Entry& one : entries_) {
    if (one.waiting.empty() || one.model) continue;
    if (first == nullptr || one.waiting.front().number < first->waiting.front().number) first = &one;
  }
  return first;
}

// Whose last use is longest ago, of those that are loaded.
Models::Entry* Models::oldest(bool idle_alone) {
  Entry* found = nullptr;
  for (Entry& one : entries_) {
    if (!one.model || (idle_alone && !idle(one))) continue;
    if (found == nullptr || one.used < found->used) found = &one;
  }
  return found;
}

// False: all are busy. One of them takes no more requests then, so that whoever waits has his turn.
bool Models::make_place(std::unique_lock<std::mutex>& lock, const Entry& wanted) {
  const auto loaded = [&] {
    return static_cast<size_t>(std::count_if(entries_.begin(), entries_.end(),
                                             [](const Entry& one) { return one.model != nullptr; }));
  };
  while (!stopping_ && options_.most != 0 && loaded() >= options_.most) {
    if (Entry* out = oldest(true)) {
      unload(lock, *out);
      continue;
    }
    const bool leaving =
        std::any_of(entries_.begin(), entries_.end(), [](const Entry& one) { return one.leaving; });
    if (!leaving) oldest(false)->leaving = true;
    return false;
  }
  const uint64_t bytes = file_bytes(wanted.source.path);
  while (!stopping_ && options_.available && options_.available() < bytes) {
    Entry* out = oldest(true);
    if (out == nullptr) break;  // its loading will tell
    unload(lock, *out);
  }
  return !stopping_;
}

void Models::load(std::unique_lock<std::mutex>& lock, Entry& entry) {
  entry.state = State::loading;
  ++entry.loads;
  const auto tell = when_loaded_;
  std::shared_ptr<ServedModel> model;
  std::string why;
  for (bool again = true; std::exchange(again, false);) {
    lock.unlock();
    bool no_room = false;
    try {
      model = entry.source.load();
      if (tell) tell(*model);
    } catch (const std::exception& error) {
      model.reset();
      why = error.what();
      const auto* known = dynamic_cast<const Error*>(&error);
      no_room = dynamic_cast<const std::bad_alloc*>(&error) != nullptr ||
                (known != nullptr && known->code() == ErrorCode::out_of_memory);
    }
    lock.lock();
    Entry* out = no_room && !stopping_ ? oldest(true) : nullptr;
    if (out == nullptr) continue;
    unload(lock, *out);
    why.clear();
    again = true;
  }
  put(entry, std::move(model));
  entry.error = why;
  if (!why.empty()) warn("{} cannot be loaded: {}", entry.source.name, why);
  serve(lock, entry);
}

// Those who wait for it have it now, or are told why not.
void Models::serve(std::unique_lock<std::mutex>& lock, Entry& entry) {
  entry.used = Clock::now();
  std::exception_ptr error;
  if (!entry.model) {
    error = std::make_exception_ptr(
        ApiError(503, fmt::format("{} cannot be loaded: {}", entry.source.name, entry.error), "model",
                 "model_unavailable"));
  }
  std::vector<std::pair<Use, Lease>> ready;
  for (Waiting& one : entry.waiting)
    ready.emplace_back(std::move(one.use), entry.model ? lease(entry) : nullptr);
  entry.waiting.clear();
  lock.unlock();
  for (auto& [use, model] : ready) use(std::move(model), error);
  ready.clear();
  lock.lock();
}

// Nobody waits for a place: those that were to leave do not.
void Models::stay(std::unique_lock<std::mutex>& lock) {
  for (Entry& entry : entries_) {
    if (!std::exchange(entry.leaving, false)) continue;
    changed();  // the lock is given up meanwhile
    serve(lock, entry);
  }
}

void Models::unload(std::unique_lock<std::mutex>& lock, Entry& entry) {
  std::shared_ptr<ServedModel> model = std::move(entry.model);
  entry.state = State::unloaded;
  entry.leaving = false;
  add(entry.past, model->scheduler->status());
  changed();
  lock.unlock();
  debug("{} is unloaded", entry.source.name);
  model.reset();
  lock.lock();
}

// Returns when the next one will have been idle for long enough, at most an hour from now.
Models::Clock::time_point Models::unload_idle(std::unique_lock<std::mutex>& lock) {
  auto next = Clock::now() + std::chrono::hours(1);
  for (Entry& one : entries_) {
    if (!idle(one)) continue;
    const bool timed = options_.idle.count() > 0;
    if ((timed && Clock::now() - one.used >= options_.idle) || one.model->broken) {
      unload(lock, one);
    } else if (timed) {
      next = std::min(next, one.used + options_.idle);
    }
  }
  return next;
}

}  // namespace cairn::server
