// `cairn video` under every condition of cli/conditions.hpp.
#include "cli/conditions.hpp"

#include <optional>

#include "base/temporary_folder.hpp"

namespace cairn::testing {
namespace {

class VideoConditions : public ::testing::TestWithParam<Case> {
 protected:
  static void SetUpTestSuite() {
    folder_.emplace();
    write_file(path("clip.y4m"), clip(96, 64, 6));
    std::vector<std::string> arguments = encode();
    arguments.insert(arguments.end(), {"-o", path("coded.mkv")});
    const Outcome made = run_under(arguments);
    ASSERT_EQ(made.status, 0) << made.err;
  }
  static void TearDownTestSuite() { folder_.reset(); }
  static std::string path(const std::string& name) { return *folder_ / name; }

  static std::string clip(int width, int height, int frames) {
    std::string bytes =
        "YUV4MPEG2 W" + std::to_string(width) + " H" + std::to_string(height) + " F25:1 C420jpeg\n";
    for (int frame = 0; frame < frames; ++frame) {
      bytes += "FRAME\n";
      for (int i = 0; i < width * height * 3 / 2; ++i)
        bytes += static_cast<char>(i < width * height ? (i % width + frame * 3) / 8 % 2 * 120 + 60 : 128);
    }
    return bytes;
  }
  static std::vector<std::string> encode() {
    return {"video", "encode",   path("clip.y4m"), "--mode",    "x2",   "--codec",       "x264", "--crf",
            "30",    "--preset", "veryfast",       "--network", "C8M2", "--train-steps", "30",   "--threads",
            "1",     "--quiet"};
  }
  static Command command(const std::string& name) {
    const std::string original = path("clip.y4m"), coded = path("coded.mkv");
    const auto make = [&](std::vector<std::string> arguments, std::vector<std::string> inputs,
                          const std::string& flag = "", const std::string& suffix = "") {
      arguments.insert(arguments.begin(), "video");
      std::vector<std::string> output;
      if (!flag.empty()) output = {flag, path(name + suffix)};
      return Command{name, std::move(arguments), std::move(inputs), std::move(output)};
    };
    if (name == "encode") {
      std::vector<std::string> arguments = encode();
      arguments.erase(arguments.begin());
      return make(arguments, {original}, "-o", ".mkv");
    }
    if (name == "decode_y4m") return make({"decode", coded, "--quiet"}, {coded}, "-o", ".y4m");
    if (name == "decode_mkv") return make({"decode", coded, "--quiet"}, {coded}, "-o", ".mkv");
    if (name == "compare_html")
      return make({"compare", original, coded}, {original, coded}, "--html", ".html");
    if (name == "attachment") return make({"inspect", coded}, {coded}, "--attachment", ".bin");
    if (name == "shader") return make({"export", coded, "--quiet"}, {coded}, "--mpv", ".glsl");
    if (name == "onnx") return make({"export", coded, "--quiet"}, {coded}, "--onnx", ".onnx");
    if (name == "decode") return make({"decode", coded, "-o", "-"}, {coded});
    if (name == "compare") return make({"compare", original, coded}, {original, coded});
    if (name == "inspect") return make({"inspect", coded}, {coded});
    if (name == "help") return make({"encode", "--help"}, {});
    ADD_FAILURE() << name << " is not in the table";
    return {};
  }

  static inline std::optional<TemporaryFolder> folder_;
};

constexpr const char* kWriters[] = {"encode",     "decode_y4m", "decode_mkv", "compare_html",
                                    "attachment", "shader",     "onnx"};
constexpr const char* kOthers[] = {"decode", "compare", "inspect", "help"};
INSTANTIATE_TEST_SUITE_P(Writers, VideoConditions,
                         ::testing::Combine(::testing::ValuesIn(kWriters),
                                            ::testing::ValuesIn(kConditionsOfWriters)),
                         name_of_case);
INSTANTIATE_TEST_SUITE_P(Others, VideoConditions,
                         ::testing::Combine(::testing::ValuesIn(kOthers),
                                            ::testing::ValuesIn(kConditionsOfOthers)),
                         name_of_case);

TEST_P(VideoConditions, Hold) {
  const auto& [name, condition] = GetParam();
  condition.expect(command(name));
}

class VideoFolders : public VideoConditions {};
TEST_F(VideoFolders, OfPicturesStay) {
  const std::string folder = path("pictures");
  const std::vector<std::string> decode = {"video", "decode",     path("coded.mkv"),
                                           "-o",    folder + "/", "--quiet"};
  EXPECT_EQ(run_under(decode).status, 0);
  write_file(folder + "/00000001.png", "kept");
  EXPECT_EQ(run_under(decode).status, 2);
  EXPECT_EQ(read_file(folder + "/00000001.png"), "kept");
}

}  // namespace
}  // namespace cairn::testing
