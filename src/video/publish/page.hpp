// The page's files, part of the program (made from page/ by cmake/embed.cmake).
#pragma once

#include <string_view>
#include <vector>

namespace cairn::video {

struct PageFile {
  std::string_view path, type, content;
};
const std::vector<PageFile>& page_files();

}  // namespace cairn::video
