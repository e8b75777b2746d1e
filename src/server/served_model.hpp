#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "llm/scheduler.hpp"
#include "text/chat_template.hpp"

namespace cairn::server {

// A model that is loaded.
struct ServedModel {
  std::string name, path;
  int64_t created = 0;  // seconds since 1970
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::function<std::shared_ptr<const text::ChatTemplate>()> chat_template;  // throws if there is none
  std::shared_ptr<engine::Engine> engine;
  llm::GenerateOptions defaults;  // what a request does not say
  std::unique_ptr<llm::Scheduler> scheduler;
  std::atomic<bool> broken{false};  // its file cannot be read any more: it is to be loaded anew
};

}  // namespace cairn::server
