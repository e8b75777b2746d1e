#pragma once

#include <string_view>
#include <vector>

#include "server/reply.hpp"

namespace cairn::server {

// A file of the page (web/), compiled into the program.
struct PageFile {
  std::string_view path;  // of requests: "/", "/web/chat.js"
  std::string_view type, content;
};
const std::vector<PageFile>& page_files();

const PageFile* find_page_file(std::string_view path);  // null: there is none
// With headers that keep the page from loading, running and being shown in anything but itself.
void send(const PageFile& file, Reply& reply);

}  // namespace cairn::server
