// File names that are not UTF-8: they are used as they are, and told with replacement characters.
#include <nlohmann/json.hpp>

#include "base/temporary_folder.hpp"
#include "base/utf8.hpp"
#include "video/encode_fixture.hpp"

namespace cairn::video {
namespace {

class Names : public Encode {
 protected:
  // What `cairn video` prints, which is to be JSON (whose strings are UTF-8).
  nlohmann::json told(const std::string& arguments) {
    int status = 0;
    const std::string text =
        output_of("cd '" + folder_.string() + "' && " CAIRN_PROGRAM " video " + arguments, status);
    EXPECT_EQ(status, 0) << arguments;
    const auto json = nlohmann::json::parse(text, nullptr, false);
    EXPECT_FALSE(json.is_discarded()) << arguments << "\n" << text;
    return json;
  }
  std::string text_of(const std::string& name) const { return cairn::testing::read_file(path(name)); }
};

const std::string kClip = "caf\xe9.mkv", kSmall = "klein \xe9.mkv";
constexpr const char* kQuick = " --codec x264 --preset ultrafast --crf 30 --train-steps 1 ";

TEST_F(Names, AreToldByAllCommands) {
  make_clip();
  std::filesystem::rename(path("clip.mkv"), path(kClip));
  told("encode '" + kClip + "' -o '" + kSmall + "' --json --mode x1" + kQuick);
  told("inspect '" + kSmall + "' --json");
  told("compare '" + kClip + "' '" + kSmall + "' --json");
  told("publish '" + kSmall + "' -o 'site \xe9' --json");
  const auto index = nlohmann::json::parse(text_of("site \xe9/video.json"));
  EXPECT_EQ(index["title"], "klein \xef\xbf\xbd");
  EXPECT_TRUE(is_utf8(text_of("site \xe9/manifest.mpd")));
  told("live '" + kClip + "' -o 'live \xe9' --json --preset ultrafast --no-train");
  EXPECT_EQ(nlohmann::json::parse(text_of("live \xe9/video.json"))["title"], "caf\xef\xbf\xbd");
  EXPECT_TRUE(is_utf8(text_of("live \xe9/manifest.mpd")));
}

TEST_F(Names, AreKeptByListsOfJobs) {
  make_clip();
  std::filesystem::rename(path("clip.mkv"), path(kClip));
  const auto list = told("encode '" + kClip + "' -o '" + kSmall +
                         "' --json --mode plain --job-list 'l \xe9.jobs'" + kQuick);
  EXPECT_EQ(list["list"], "l \xef\xbf\xbd.jobs");
  ASSERT_EQ(list["jobs"], 1);
  int status = 0;
  output_of("cd '" + folder_.string() + "' && " CAIRN_PROGRAM " video work 'l \xe9.jobs' 0", status);
  EXPECT_EQ(status, 0);
  told("join 'l \xe9.jobs' --json");
  EXPECT_TRUE(std::filesystem::exists(path(kSmall)));
}

}  // namespace
}  // namespace cairn::video
