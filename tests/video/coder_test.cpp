// The encoders that libav has, as they are called.
#include "base/temporary_folder.hpp"
#include "video/encode_fixture.hpp"

namespace cairn::video {
namespace {

// Rows of eleven macroblocks: x264 with AVX-512 reads beyond them.
TEST_F(Encode, BytesDoNotDependOnWhatMemoryHeld) {
  make_clip({176, 96, 8, Chroma::c420}, 40);
  std::string first;
  for (int seed = 1; seed <= 6; ++seed) {
    int status = 0;
    output_of(fmt::format("ASAN_OPTIONS=verify_asan_link_order=0:detect_leaks=0 USED_MEMORY={} "
                          "LD_PRELOAD=" CAIRN_USED_MEMORY " " CAIRN_PROGRAM
                          " video encode {} -o {} --mode plain --codec x264 --crf 30 --preset veryfast "
                          "--threads 1 2>&1",
                          seed, path("clip.mkv"), path("out.mkv")),
              status);
    ASSERT_EQ(status, 0);
    const std::string bytes = cairn::testing::read_file(path("out.mkv"));
    if (seed == 1) first = bytes;
    EXPECT_TRUE(bytes == first) << seed;
    std::filesystem::remove(path("out.mkv"));
  }
}

}  // namespace
}  // namespace cairn::video
