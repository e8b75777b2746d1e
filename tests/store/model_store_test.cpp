#include "store/model_store.hpp"

#include <gtest/gtest.h>

#include <filesystem>

#include "base/expect_error.hpp"
#include "base/temporary_folder.hpp"

namespace cairn {
namespace {

using testing::expect_error;
using testing::ScopedVariable;
using testing::TemporaryFolder;
using testing::write_file;

TEST(ModelStore, FollowsTheEnvironment) {
  const ScopedVariable home("HOME", "/home");
  const ScopedVariable own("CAIRN_MODELS", nullptr);
  const ScopedVariable cache("XDG_CACHE_HOME", nullptr);
  EXPECT_EQ(model_folder(), "/home/.cache/cairn/models");
  const ScopedVariable with_cache("XDG_CACHE_HOME", "/cache");
  EXPECT_EQ(model_folder(), "/cache/cairn/models");
  const ScopedVariable with_own("CAIRN_MODELS", "/models");
  EXPECT_EQ(model_folder(), "/models");
}

TEST(ModelStore, NeedsSomePlace) {
  const ScopedVariable home("HOME", nullptr), own("CAIRN_MODELS", nullptr), cache("XDG_CACHE_HOME", nullptr);
  expect_error(ErrorCode::not_found, "set CAIRN_MODELS", [] { model_folder(); });
}

TEST(ModelStore, ResolvesPathsAndNames) {
  const TemporaryFolder folder;
  const ScopedVariable own("CAIRN_MODELS", folder.path().c_str());
  write_file(folder / "mine.gguf", "GGUF");
  EXPECT_EQ(resolve_model(folder / "mine.gguf"), folder / "mine.gguf");
  EXPECT_EQ(resolve_model("mine"), folder / "mine.gguf");
  EXPECT_EQ(resolve_model("mine.gguf"), folder / "mine.gguf");
}

TEST(ModelStore, SaysWhatToPull) {
  const TemporaryFolder folder;
  const ScopedVariable own("CAIRN_MODELS", folder.path().c_str());
  expect_error(ErrorCode::not_found, "run: cairn pull smollm2-135m", [] { resolve_model("smollm2-135m"); });
  expect_error(ErrorCode::not_found, "nothing: no such file", [] { resolve_model("nothing"); });
  expect_error(ErrorCode::not_found, "a/b.gguf: no such file", [] { resolve_model("a/b.gguf"); });
  expect_error(ErrorCode::not_found, "'': no such file", [] { resolve_model(""); });
  expect_error(ErrorCode::io, "is a directory", [&] { resolve_model(folder.path()); });
}

TEST(ModelStore, RefusesNamesThatLeaveIt) {
  for (const char* name : {"", "../x", "a/b", ".hidden", ".gguf"}) {
    expect_error(ErrorCode::invalid_argument, "cannot be a model's name", [&] { stored_model_path(name); });
  }
  EXPECT_THROW(stored_model_path("a\nb"), Error);
}

}  // namespace
}  // namespace cairn
