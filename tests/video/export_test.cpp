// Networks written for other programs. What mpv shows with such a shader: mpv_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <nlohmann/json.hpp>
#include <span>

#include "base/error.hpp"
#include "base/sha256.hpp"
#include "base/temporary_folder.hpp"
#include "video/export/onnx.hpp"
#include "video/export/shader.hpp"
#include "video/random_network.hpp"

namespace cairn::video {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

// A restoration of a small video of 40×22 by the named networks.
Restoration restoration(const std::vector<std::string>& names, uint32_t scale) {
  Restoration r;
  r.small_width = 40;
  r.small_height = 22;
  r.scale = scale;
  r.width = 40 * scale - 1;
  r.height = 22 * scale;
  for (const std::string& name : names) {
    r.architectures.push_back(parse_architecture(name));
    r.networks.push_back(random_network(name, scale, 5, static_cast<uint32_t>(r.networks.size())));
  }
  return r;
}
constexpr Format kSmall = {40, 22, 8, Chroma::c420};

std::string shader_of(const Restoration& r, std::optional<uint32_t> network = {}) {
  return write_shader(r, stand_still(r, network, 100), kSmall, 1);
}

size_t count(const std::string& text, const std::string& part) {
  size_t n = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++n;
  return n;
}

TEST(Shader, HasAPassForFourChannelsOfALayer) {
  const std::string text = shader_of(restoration({"C8M4"}, 2));
  // Two each of five layers, the last one and the filter, the samples' places; U, V and theirs.
  EXPECT_EQ(count(text, "//!HOOK LUMA\n"), 12u);
  EXPECT_EQ(count(text, "//!HOOK CHROMA\n"), 3u);
  EXPECT_EQ(count(text, "//!WHEN HOOKED.w 40 = HOOKED.h 22 = *\n"), 12u);
  EXPECT_EQ(count(text, "//!WHEN HOOKED.w 20 = HOOKED.h 11 = *\n"), 3u);
  EXPECT_EQ(count(text, "mat4("), 4u * 2 * 2 * 9 + 2 * 9);
  EXPECT_THAT(text, HasSubstr("//!WIDTH HOOKED.w 10 +\n"));     // five further layers of 3×3
  EXPECT_THAT(text, HasSubstr("//!WIDTH HOOKED.w 2 * 1 -\n"));  // 79 of 80 columns
  EXPECT_THAT(text, HasSubstr("//!OFFSET -0.5 0\n"));
}

TEST(Shader, LeavesChromaAloneWhereItIsNotRestored) {
  Restoration r = restoration({"C8M4"}, 1);
  EXPECT_THAT(shader_of(r), HasSubstr("CHROMA"));  // cut
  r.width = 40;
  const std::string text = shader_of(r);
  EXPECT_THAT(text, Not(HasSubstr("CHROMA")));
  EXPECT_EQ(count(text, "//!HOOK LUMA\n"), 11u);  // the last layer's pass is the plane
  Format grey = kSmall;
  grey.chroma = Chroma::none;
  EXPECT_THAT(write_shader(restoration({"C8M4"}, 2), {{0}, {}}, grey, 0), Not(HasSubstr("CHROMA")));
}

TEST(Shader, RefusesWhatAShaderCannotDo) {
  const auto refusal = [](const std::string& name) -> std::string {
    try {
      shader_of(restoration({name}, 2));
      return "no error";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::unsupported);
      return error.what();
    }
  };
  EXPECT_EQ(refusal("C8M1T3"),
            "network 0 (C8M1T3) looks at neighbouring frames, which a shader cannot do: cairn video decode "
            "and play can");
  EXPECT_THAT(refusal("VDSR:2"), HasSubstr("runs on the upscaled frame"));
  EXPECT_THAT(refusal("EDSR:1"), HasSubstr("adds earlier layers"));
  EXPECT_THAT(refusal("C64M1"), HasSubstr("has 64 channels, and a pass reads 15 textures of four at most"));
  EXPECT_EQ(refusal("C60M0"), "no error");
}

TEST(StandStill, TakesWhatMostFramesHave) {
  Restoration r = restoration({"C4M0", "C4M0", "C4M0"}, 2);
  EXPECT_EQ(stand_still(r, {}, 100).networks, std::vector<uint32_t>{0});
  r.segments = {{0, 2}, {10, 1}, {50, 2}, {70, 0}};
  const Still still = stand_still(r, {}, 100);
  EXPECT_EQ(still.networks, std::vector<uint32_t>{1});
  EXPECT_DOUBLE_EQ(still.share, 0.4);
  EXPECT_EQ(stand_still(r, {}, 0).networks, std::vector<uint32_t>{1});
  EXPECT_EQ(stand_still(r, {}, 200).networks, std::vector<uint32_t>{0});
  EXPECT_EQ(stand_still(r, 2, 100).networks, std::vector<uint32_t>{2});
  try {
    stand_still(r, 3, 100);
    FAIL();
  } catch (const Error& error) {
    EXPECT_STREQ(error.what(), "there is no luma network 3: they are 0 … 2");
  }
}

TEST(StandStill, GivesEachPatchTheLabelThatItMostOftenHas) {
  Restoration r = restoration({"C4M0", "C4M0"}, 2);
  r.labels = Labels{20, 22, 2, 1, {{0, 1}, {1, 1}, {1, 0}, {1, 1}}};
  const Still still = stand_still(r, {}, 4);
  EXPECT_EQ(still.networks, (std::vector<uint32_t>{0, 1}));
  EXPECT_EQ(still.labels, (std::vector<uint8_t>{1, 1}));
  EXPECT_DOUBLE_EQ(still.share, 0.75);
  EXPECT_EQ(most_used(still), 1u);
  const std::string text = shader_of(r);
  EXPECT_THAT(text,
              HasSubstr("//!TEXTURE CAIRN_LABELS\n//!SIZE 2 1\n//!FORMAT r8\n//!FILTER NEAREST\n0101\n"));
  EXPECT_THAT(shader_of(r, 1), Not(HasSubstr("CAIRN_LABELS")));
}

// What onnxruntime made of these models: tools/make_onnx_golden.py, which runs this test with a folder in
// CAIRN_ONNX_MODELS to have them.
struct Model {
  const char* name;
  uint32_t scale, bits;
  friend void PrintTo(const Model& model, std::ostream* out) { *out << model.name << " x" << model.scale; }
};
class Onnx : public ::testing::TestWithParam<Model> {};

TEST_P(Onnx, IsTheNetworkInOnnxruntime) {
  const Model& model = GetParam();
  const Network network = random_network(model.name, model.scale, model.bits, 7);
  const std::string key = fmt::format("{} x{}", model.name, model.scale);
  const std::string bytes = write_onnx(network, {key, 8 * model.scale, 6 * model.scale, 8});
  const Format format = {8, 6, 8, Chroma::none};
  std::vector<Frame> frames;
  std::vector<PlaneView> views;
  for (uint32_t f = 0; f < network.frames; ++f) frames.push_back(random_frame(format, f));
  for (const Frame& frame : frames) views.push_back(frame.planes[0].view());
  if (const char* folder = std::getenv("CAIRN_ONNX_MODELS")) {
    std::string input;
    for (const Frame& frame : frames) {
      for (const uint16_t sample : frame.planes[0].samples) input += fmt::format("{} ", sample);
    }
    cairn::testing::write_file(fmt::format("{}/{}.onnx", folder, key), bytes);
    cairn::testing::write_file(fmt::format("{}/{}.txt", folder, key), input);
    return;
  }
  const auto golden =
      nlohmann::json::parse(cairn::testing::read_file(CAIRN_TEST_DATA "/video_onnx.json")).at(key);
  Sha256 hash;
  hash.update(std::as_bytes(std::span(bytes)));
  EXPECT_EQ(hash.hex(), golden.at("sha256").get<std::string>()) << "another model than onnxruntime ran";
  const auto wanted = golden.at("restored").get<std::vector<float>>();
  const std::vector<float> got = run_reference(network, views, 255);
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(std::clamp(got[i], 0.0f, 1.0f), wanted[i], 1e-5) << i;
}
INSTANTIATE_TEST_SUITE_P(Networks, Onnx,
                         ::testing::Values(Model{"C8M4", 2, 5}, Model{"C4M1T3", 1, 8}, Model{"C6M0", 3, 0},
                                           Model{"linear", 4, 5}, Model{"VDSR:2", 2, 0},
                                           Model{"EDSR:1", 2, 0}, Model{"C4M2T2", 2, 4}));

}  // namespace
}  // namespace cairn::video
