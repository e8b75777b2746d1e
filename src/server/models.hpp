#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <exception>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "server/served_model.hpp"

namespace cairn::server {

// A model that requests can name, loaded or not.
struct ModelSource {
  std::string name, path;
  int64_t created = 0;  // seconds since 1970
  // Called by Models' thread whenever the model is wanted and not there.
  std::function<std::shared_ptr<ServedModel>()> load;
};

struct ModelsOptions {
  uint32_t most = 0;                  // loaded at a time; 0: no limit
  std::chrono::milliseconds idle{0};  // without a request, after which a model is unloaded; 0: it stays
  uint32_t waiting = 1024;            // most requests that wait for models
  // Bytes that the system can spare now; before a file larger than that is loaded, idle models go.
  std::function<uint64_t()> available{};
};

// The models of a server by name. Loads and unloads them in a thread of its own, one after the other; a model
// that somebody uses is never unloaded.
class Models {
 public:
  // Keeps the model from being unloaded for as long as it lives, which must not be longer than Models does.
  using Lease = std::shared_ptr<ServedModel>;
  using Use = std::function<void(Lease model, std::exception_ptr error)>;

  enum class State : uint8_t { unloaded, loading, loaded, failed };
  struct Info {
    std::string name, path;
    int64_t created = 0;
    State state = State::unloaded;
    std::string error;                     // of the last loading, if it failed
    uint32_t context = 0;                  // 0: not known before it is first loaded
    uint64_t loads = 0;                    // since the server began
    llm::SchedulerStatus past;             // sums of the schedulers that it had before
    std::shared_ptr<ServedModel> model{};  // null: not loaded
  };

  // Loads the first ones, as many as ModelsOptions::most allows. Errors: what their loading throws,
  // invalid_argument (two of one name).
  Models(std::vector<ModelSource> sources, ModelsOptions options = {});
  ~Models();  // stops
  Models(const Models&) = delete;
  Models& operator=(const Models&) = delete;

  // Calls `use` with the model: before it returns if the model is there, else by Models' thread once it is,
  // or with ApiError 503 if it cannot be loaded. Returns the number of who waits, 0: nobody does. Errors:
  // busy (too many wait), not_found (no such name).
  uint64_t use(const std::string& name, Use use);
  // Whoever has that number waits no more, unless he has been told already.
  void forget(uint64_t waiting);

  // Those who wait, and who come from now on, are told `cancelled`; no Use is called after it returns. By one
  // thread, once or more.
  void stop();

  // In the order of their sources. To hold Info::model is no use of it: it lives, but may be loaded anew.
  std::vector<Info> list() const;
  // Called by Models' thread after each loading.
  void when_loaded(std::function<void(ServedModel&)> action);

 private:
  using Clock = std::chrono::steady_clock;
  struct Waiting {
    uint64_t number;  // less than those of who came later
    Use use;
  };
  struct Entry {
    explicit Entry(ModelSource from) : source(std::move(from)) {}
    const ModelSource source;
    State state = State::unloaded;
    std::string error;
    std::shared_ptr<ServedModel> model;
    uint32_t context = 0, users = 0;
    uint64_t loads = 0;
    bool leaving = false;  // another model waits for its place: new requests wait as well
    Clock::time_point used{};
    llm::SchedulerStatus past;
    std::vector<Waiting> waiting;
  };

  Lease lease(Entry& entry);
  void put(Entry& entry, std::shared_ptr<ServedModel> model);
  void released(Entry& entry);
  bool idle(const Entry& entry) const { return entry.model && entry.users == 0; }
  void work();
  Entry* wanted();
  Entry* oldest(bool idle_alone);
  bool make_place(std::unique_lock<std::mutex>& lock, const Entry& wanted);
  void load(std::unique_lock<std::mutex>& lock, Entry& entry);
  void serve(std::unique_lock<std::mutex>& lock, Entry& entry);
  void stay(std::unique_lock<std::mutex>& lock);
  void changed();  // with mutex_ held
  void unload(std::unique_lock<std::mutex>& lock, Entry& entry);
  Clock::time_point unload_idle(std::unique_lock<std::mutex>& lock);

  const ModelsOptions options_;
  mutable std::mutex mutex_;  // of what follows
  std::condition_variable wake_;
  std::list<Entry> entries_;
  std::function<void(ServedModel&)> when_loaded_;
  uint64_t requests_ = 0, changes_ = 0;
  bool stopping_ = false;
  std::thread worker_;  // last: it uses all of the above
};

const char* name(Models::State state);

}  // namespace cairn::server
