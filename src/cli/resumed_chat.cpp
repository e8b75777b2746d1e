#include "cli/resumed_chat.hpp"

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/standard_streams.hpp"
#include "cli/line_editor.hpp"
#include "cli/standard_io.hpp"

namespace cairn::cli {

namespace fs = std::filesystem;

ResumedChat::ResumedChat(const std::string& name) {
  const bool plain = !name.empty() && name.front() != '.' &&
                     std::none_of(name.begin(), name.end(),
                                  [](char c) { return c == '/' || static_cast<unsigned char>(c) < 0x20; });
  if (!plain) fail(ErrorCode::invalid_argument, "--resume {}: cannot be a chat's name", name);
  const std::string folder = state_file("chats");
  if (folder.empty())
    fail(ErrorCode::invalid_argument, "--resume {}: no place for it (HOME is not set)", name);
  path_ = folder + '/' + name + ".json";
}

size_t ResumedChat::take_up(llm::ChatSession& chat) const {
  std::error_code ignored;
  if (!fs::exists(path_, ignored)) return 0;
  const auto saved = nlohmann::ordered_json::parse(read_text(path_), nullptr, false);
  if (saved.is_discarded()) fail(ErrorCode::format, "{}: not JSON", path_);
  try {
    chat.restore(saved);
  } catch (const Error& error) {
    fail(error.code(), "{}: {}", path_, error.what());
  }
  return chat.conversation().messages.size();
}

void ResumedChat::keep(const llm::ChatSession& chat) {
  try {
    fs::create_directories(fs::path(path_).parent_path());
    AtomicFile file(path_);
    file.write(chat.saved().dump() + "\n");
    file.commit();
  } catch (const std::exception& error) {
    if (!told_) warn("{}; this chat is not kept", error.what());
    told_ = true;
  }
}

}  // namespace cairn::cli
