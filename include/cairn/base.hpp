// Exceptions for errors, owners for handles and for what the library hands out.
#ifndef CAIRN_BASE_HPP
#define CAIRN_BASE_HPP

#include <cairn/base.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace cairn {
// Names of this header's version, so that it may meet another one in a program.
inline namespace v0 {

// A call that failed: its code, and one line that names the place and the reason.
class Error : public std::runtime_error {
 public:
  explicit Error(const cairn_error& error) : std::runtime_error(error.message), code_(error.code) {}
  cairn_status code() const noexcept { return code_; }

 private:
  cairn_status code_;
};

namespace detail {

// Calls with a cairn_error* as the last argument; throws Error where that fails.
template <class Function, class... Arguments>
void check(Function function, Arguments... arguments) {
  cairn_error error;
  if (function(arguments..., &error) != CAIRN_OK) throw Error(error);
}

template <class Handle, void (*kClose)(Handle*)>
struct Close {
  void operator()(Handle* handle) const noexcept { kClose(handle); }
};
template <class Handle, void (*kClose)(Handle*)>
using Owned = std::unique_ptr<Handle, Close<Handle, kClose>>;

// What functions with out-parameters hand out.
class Text {
 public:
  ~Text() { cairn_free(data); }
  Text() = default;
  Text(const Text&) = delete;
  Text& operator=(const Text&) = delete;
  std::string str() const { return size == kTerminated ? std::string(data) : std::string(data, size); }

  char* data = nullptr;
  std::size_t size = kTerminated;  // where the function does not tell it

 private:
  static constexpr std::size_t kTerminated = static_cast<std::size_t>(-1);
};

class Tokens {
 public:
  ~Tokens() { cairn_free(data); }
  Tokens() = default;
  Tokens(const Tokens&) = delete;
  Tokens& operator=(const Tokens&) = delete;
  std::vector<std::int32_t> vector() const {
    return count == 0 ? std::vector<std::int32_t>() : std::vector<std::int32_t>(data, data + count);
  }

  std::int32_t* data = nullptr;
  std::size_t count = 0;
};

}  // namespace detail

inline std::string version() {
  return cairn_version();
}

// As cairn_devices() has it.
inline std::string devices() {
  detail::Text json;
  detail::check(cairn_devices, &json.data);
  return json.str();
}

}  // namespace v0
}  // namespace cairn

#endif
