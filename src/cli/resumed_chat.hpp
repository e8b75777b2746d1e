#pragma once

#include <string>

#include "llm/chat.hpp"

namespace cairn::cli {

// `chat --resume NAME`: a conversation that outlasts the program, in the folder of cairn's state.
class ResumedChat {
 public:
  // Error invalid_argument: a name that is no file's, or no place for it.
  explicit ResumedChat(const std::string& name);
  // Takes up what is there; returns how many messages. Errors naming the file: io, format.
  size_t take_up(llm::ChatSession& chat) const;
  // Writes it anew; a file that cannot be written is told once, and the chat goes on.
  void keep(const llm::ChatSession& chat);

 private:
  std::string path_;
  bool told_ = false;
};

}  // namespace cairn::cli
