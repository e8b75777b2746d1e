#include "server/encoder.hpp"

#include <fmt/format.h>

#include <chrono>
#include <random>

namespace cairn::server {

std::string dumped(const Json& json) {
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string event(const Json& data) {
  return "data: " + dumped(data) + "\n\n";
}

std::string event(std::string_view name, const Json& data) {
  return fmt::format("event: {}\n{}", name, event(data));
}

std::string new_id(std::string_view kind, char separator) {
  std::random_device random;
  return fmt::format("{}{}{:08x}{:08x}{:08x}", kind, separator, random(), random(), random());
}

int64_t now() {
  return std::chrono::duration_cast<std::chrono::seconds>(std::chrono::system_clock::now().time_since_epoch())
      .count();
}

}  // namespace cairn::server
