#pragma once

#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "server/api_error.hpp"
#include "server/call.hpp"

namespace cairn::server {

// What one request has the scheduler do, until its client is answered, or has left, or waited long enough.
// Kept alive by what it has submitted.
class Work : public std::enable_shared_from_this<Work> {
 public:
  virtual ~Work() = default;
  // Errors: as Scheduler::submit; nothing is under way then.
  void start();

 protected:
  explicit Work(const Call& call);

  // All of these with mutex_ held.
  virtual void begin() = 0;                                            // submits what there is to begin with
  virtual void begun() {}                                              // and all of that was taken
  virtual void count(const llm::Result&) {}                            // each, also when nobody listens
  virtual void finished(size_t index, const llm::Result& result) = 0;  // what was submitted index-th
  virtual void end() = 0;                                              // all of it
  virtual void tell(const ApiError& error);                            // in place of what would follow
  void submit(llm::Request request);  // as soon as begin(), or from finished()

  const std::string path_;
  const Models::Lease model_;
  Metrics& metrics_;
  const std::shared_ptr<Reply> reply_;
  std::mutex mutex_;   // of what follows, and of what callbacks change
  bool over_ = false;  // answered, refused, or nobody listens

 private:
  void settled(size_t index);
  void client_left();
  void fail(const std::exception& error);
  void cancel();

  const Deadline deadline_;
  std::vector<llm::Scheduler::Ticket> tickets_;
  size_t left_ = 0;  // of them
};

}  // namespace cairn::server
