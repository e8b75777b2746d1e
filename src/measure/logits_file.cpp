#include "measure/logits_file.hpp"

#include <array>
#include <bit>

namespace cairn::measure {

// Every machine that cairn is built for stores numbers so.
static_assert(std::endian::native == std::endian::little);

LogitsFile::LogitsFile(const std::string& path, uint32_t vocabulary,
                       std::span<const std::vector<text::Token>> windows)
    : file_(path), windows_(windows) {
  file_.write("cairnlog");
  const std::array<uint32_t, 3> header = {vocabulary,
                                          static_cast<uint32_t>(windows.empty() ? 0 : windows.front().size()),
                                          static_cast<uint32_t>(windows.size())};
  file_.write(std::as_bytes(std::span(header)));
}

void LogitsFile::add(size_t window, uint32_t position, std::span<const float> logits) {
  if (position == 0) file_.write(std::as_bytes(std::span(windows_[window])));
  file_.write(std::as_bytes(logits));
}

}  // namespace cairn::measure
