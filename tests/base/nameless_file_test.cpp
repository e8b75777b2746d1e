#include "base/nameless_file.hpp"

#include <gtest/gtest.h>

#include <optional>

#include "base/expect_error.hpp"
#include "base/mapped_file.hpp"
#include "base/temporary_folder.hpp"

namespace cairn {
namespace {

TEST(NamelessFile, HoldsWhatIsWrittenAndIsGoneAfterwards) {
  const testing::TemporaryFolder folder;
  std::string all;
  std::optional<NamelessFile> file(folder.path());
  for (const size_t length : {size_t{1}, size_t{700'000}, size_t{700'000}, size_t{3'000'001}, size_t{0}}) {
    std::string piece(length, '\0');
    for (char& c : piece) c = static_cast<char>(all.size() + (&c - piece.data()) * 7);
    file->write(std::as_bytes(std::span(piece)));
    all += piece;
  }
  file->flush();
  EXPECT_EQ(folder.entries(), 0u);
  const MappedFile mapped(file->path());
  file.reset();  // a mapping keeps it
  ASSERT_EQ(mapped.bytes().size(), all.size());
  EXPECT_EQ(std::memcmp(mapped.bytes().data(), all.data(), all.size()), 0);
}

TEST(NamelessFile, NeedsAFolder) {
  testing::expect_error(ErrorCode::io, "/nowhere: cannot keep", [] { NamelessFile("/nowhere"); });
}

}  // namespace
}  // namespace cairn
