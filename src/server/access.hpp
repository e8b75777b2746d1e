#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "server/reply.hpp"

namespace cairn::server {

struct AccessOptions {
  std::vector<std::string> keys;     // one of them must come with a request; none: nobody is asked
  std::vector<std::string> origins;  // of web pages that may ask; "*": all
  // Names by which this server is reached, beside addresses, localhost, and this machine's own; "*": all.
  std::vector<std::string> hosts;
  bool local = true;  // listens at an address of this machine alone
};

// Who may ask what.
class Access {
 public:
  explicit Access(AccessOptions options);

  // Where no key is asked for, a web page could have its own name lead to this machine and ask as if it came
  // from here ("DNS rebinding"). ApiError 403: Host names another server.
  void check_host(const HttpRequest& request) const;
  // Web pages: this server's own, and those of AccessOptions::origins, whose headers are added. ApiError 403.
  // True: it was a preflight request, and is answered.
  bool check_origin(const HttpRequest& request, Reply& reply) const;
  void check_key(const HttpRequest& request) const;  // ApiError 401
  // What changes the server itself: with a key; where there is none, by this machine and by no other's page.
  // ApiError 403.
  void check_control(const HttpRequest& request) const;

 private:
  bool known_host(std::string_view host) const;
  const AccessOptions options_;
  std::string own_name_;  // this machine's
};

}  // namespace cairn::server
