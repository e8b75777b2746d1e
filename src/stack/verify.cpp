#include "stack/verify.hpp"

#include "base/error.hpp"
#include "formats/stack_checksums.hpp"

namespace cairn::stack {

Verification verify(const Reader& reader,
                    const std::function<void(uint64_t done, uint64_t total)>& progress) {
  const Layout& layout = reader.layout();
  Verification result{layout.blocks.size(),
                      reader.present(),
                      !has_checksums(reader.file()),
                      damaged_tensors(reader.file()),
                      {}};
  const uint64_t total = layout.end_of(result.present) - layout.blocks_begin;
  std::vector<std::byte> bytes;
  for (size_t i = 0; i < result.present; ++i) {
    const Block& block = layout.blocks[i];
    bytes.resize(block.bytes);
    try {
      reader.read(i, bytes);
      reader.check_padding(i);
    } catch (const Error& error) {
      BadBlock bad{i, error.what(), 0};
      for (size_t j = i + 1; j < result.present; ++j) {
        if (layout.blocks[j].matrix == block.matrix && layout.blocks[j].group == block.group) ++bad.without;
      }
      result.bad.push_back(std::move(bad));
    }
    if (progress) progress(layout.end_of(i + 1) - layout.blocks_begin, total);
  }
  return result;
}

void require_sound(const std::string& path) {
  const Reader reader(path);
  require_sound_tensors(reader.file());
  const Verification found = verify(reader);
  if (!found.bad.empty()) fail(ErrorCode::format, "{}", found.bad[0].reason);
}

}  // namespace cairn::stack
