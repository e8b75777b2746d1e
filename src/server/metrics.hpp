#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "llm/session.hpp"
#include "server/models.hpp"

namespace cairn::server {

// What is counted beside the schedulers' own figures, and all of it in Prometheus' text format.
class Metrics {
 public:
  void refused(const std::string& path, int status);
  void finished(const std::string& model, const llm::Result& result);
  void gone();
  std::string text(const std::vector<Models::Info>& models) const;

 private:
  static constexpr std::array kBounds = {0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0};
  struct Answers {
    std::map<std::string, uint64_t> finished;  // by reason
    std::array<uint64_t, kBounds.size()> first_token{};
    uint64_t first_tokens = 0;
    double first_token_seconds = 0;
  };

  mutable std::mutex mutex_;
  std::map<std::pair<std::string, int>, uint64_t> refused_;
  std::map<std::string, Answers> answers_;
  uint64_t gone_ = 0;
};

}  // namespace cairn::server
