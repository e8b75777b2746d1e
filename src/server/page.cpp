#include "server/page.hpp"

#include <algorithm>
#include <string>

namespace cairn::server {

const PageFile* find_page_file(std::string_view path) {
  const auto at = std::find_if(page_files().begin(), page_files().end(),
                               [&](const PageFile& one) { return one.path == path; });
  return at == page_files().end() ? nullptr : &*at;
}

void send(const PageFile& file, Reply& reply) {
  reply.send(200, file.type, std::string(file.content),
             {{"Content-Security-Policy",
               "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
               "object-src 'none'"},
              {"X-Content-Type-Options", "nosniff"},
              {"Referrer-Policy", "no-referrer"},
              {"Cross-Origin-Opener-Policy", "same-origin"},
              {"Cache-Control", "no-cache"}});
}

}  // namespace cairn::server
