#pragma once

#include <fmt/format.h>

#include <chrono>

#include "server/api_error.hpp"

namespace cairn::server {

// When a request's answer is to be whole.
class Deadline {
 public:
  Deadline() = default;                           // at any time
  explicit Deadline(std::chrono::seconds time) {  // from now; 0: at any time
    if (time.count() == 0) return;
    time_ = time;
    at_ = std::chrono::steady_clock::now() + time;
  }
  bool set() const { return time_.count() > 0; }
  std::chrono::steady_clock::time_point at() const { return at_; }
  bool over() const { return set() && std::chrono::steady_clock::now() >= at_; }
  ApiError error() const {
    return {504,
            fmt::format("the answer was not whole after {} seconds (--request-timeout)", time_.count()),
            {},
            "timeout"};
  }

 private:
  std::chrono::seconds time_{0};
  std::chrono::steady_clock::time_point at_ = std::chrono::steady_clock::time_point::max();
};

}  // namespace cairn::server
