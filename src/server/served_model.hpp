#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "grammar/compiler.hpp"
#include "llm/pooling.hpp"
#include "llm/scheduler.hpp"
#include "text/chat_template.hpp"
#include "text/tool_format.hpp"

namespace cairn::server {

// A model that is loaded.
struct ServedModel {
  std::string name, path;
  std::shared_ptr<const text::Tokenizer> tokenizer;
  std::function<std::shared_ptr<const text::ChatTemplate>()> chat_template;  // throws if there is none
  std::shared_ptr<engine::Engine> engine;
  llm::GenerateOptions defaults;  // what a request does not say
  std::unique_ptr<llm::Scheduler> scheduler;
  std::optional<llm::Pooling> pooling = llm::Pooling::mean;  // of embeddings; absent: neither
  // How its answers to chats look (chat_prompt.cpp); by the thread that reads requests, when first needed.
  mutable std::shared_ptr<const llm::AnswerFormat> format;
  mutable std::shared_ptr<grammar::Compiler> grammars;          // likewise (output_format.cpp)
  mutable std::shared_ptr<const text::ToolFormat> tool_format;  // likewise (tools.cpp)
  mutable bool looked_for_tools = false;
  std::atomic<bool> broken{false};  // its file cannot be read any more: it is to be loaded anew
};

}  // namespace cairn::server
