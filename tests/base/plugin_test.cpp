#include "base/plugin.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <type_traits>

#include "base/expect_error.hpp"
#include "base/temporary_folder.hpp"

namespace cairn {
namespace {

using testing::expect_error;

static_assert(std::is_standard_layout_v<VideoPlugin> && std::is_trivial_v<VideoPlugin>);
static_assert(std::is_standard_layout_v<TorchPlugin> && std::is_trivial_v<TorchPlugin>);
static_assert(std::is_standard_layout_v<GrammarPlugin> && std::is_trivial_v<GrammarPlugin>);

std::string fake(const char* which) {
  return fmt::format("{}/libfake_plugin_{}.so", CAIRN_FAKE_PLUGINS, which);
}

TEST(Plugin, OneOfThisBuildIsOpened) {
  const VideoPlugin& video = open_plugin<VideoPlugin>(fake("same"));
  EXPECT_EQ(video.head.size, sizeof(VideoPlugin));
  EXPECT_EQ(video.run(0, nullptr, nullptr, 0), 0);
  EXPECT_EQ(open_plugin<TorchPlugin>(fake("same")).make_distiller(nullptr, nullptr, 0), nullptr);
}

TEST(Plugin, OneOfAnotherSizeIsRefused) {
  const std::string line =
      fmt::format("{}: its cairn_video has {} bytes, this cairn's {}: build both from the same source",
                  fake("size"), sizeof(VideoPlugin) + 8, sizeof(VideoPlugin));
  expect_error(ErrorCode::unsupported, line, [] { open_plugin<VideoPlugin>(fake("size")); });
  expect_error(ErrorCode::unsupported, "its cairn_torch has", [] { open_plugin<TorchPlugin>(fake("size")); });
}

TEST(Plugin, OneOfAnotherBuildIsRefused) {
  const std::string line =
      fmt::format("{}: it is of build {:08x}, this cairn of {:08x}: build both from the same source",
                  fake("build"), kPluginBuild + 1, kPluginBuild);
  expect_error(ErrorCode::unsupported, line, [] { open_plugin<VideoPlugin>(fake("build")); });
  expect_error(ErrorCode::unsupported, line, [] { open_plugin<TorchPlugin>(fake("build")); });
}

TEST(Plugin, WhatIsNoneIsNamed) {
  expect_error(ErrorCode::unsupported, "there is no cairn_other in it: it is not of this version of cairn",
               [] {
                 open_plugin(fake("same"), "cairn_other", {16, 0});
               });
  const testing::TemporaryFolder folder;
  testing::write_file(folder / "libcairn_video.so", "no library");
  expect_error(ErrorCode::not_found, "libcairn_video.so cannot be opened: ", [&] {
    open_plugin<VideoPlugin>(folder / "libcairn_video.so");
  });
}

}  // namespace
}  // namespace cairn
