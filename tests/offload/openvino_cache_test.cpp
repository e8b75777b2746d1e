#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "base/error.hpp"
#include "base/temporary_folder.hpp"
#include "offload/openvino/accelerator.hpp"
#include "offload/sealed_file.hpp"
#include "openvino_graphs.hpp"

namespace cairn::offload {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::read_file;
using testing::ScopedVariable;
using testing::TemporaryFolder;
using testing::write_file;

void seal(const std::string& path, const std::string& content, const std::string& identity) {
  write_sealed(path, identity, 3, [&](const auto& put) {
    put(std::as_bytes(std::span(content).first(content.size() / 2)));
    put(std::as_bytes(std::span(content).subspan(content.size() / 2)));
  });
}

TEST(SealedFile, GivesBackWhatWasWritten) {
  const TemporaryFolder folder;
  seal(folder / "a", "content of it", "for this");
  std::string why;
  const auto file = open_sealed(folder / "a", "for this", &why);
  ASSERT_TRUE(file) << why;
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(file->content().data()), file->content().size()),
            "content of it");
  EXPECT_EQ(file->tag, 3U);
  EXPECT_EQ(folder.entries(), 1U);
  EXPECT_FALSE(open_sealed(folder / "b", "for this", &why));
  EXPECT_EQ(why, "") << "a file that is not there is no fault";
}

TEST(SealedFile, IsRefusedWhenAnyByteIsAnotherOrMissing) {
  const TemporaryFolder folder;
  const std::string path = folder / "a";
  seal(path, "content of it", "for this");
  const std::string whole = read_file(path);
  std::string why;
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string changed = whole;
    changed[i] ^= 0x10;
    write_file(path, changed);
    EXPECT_FALSE(open_sealed(path, "for this", &why)) << "byte " << i;
    EXPECT_THAT(why, HasSubstr(path));
    write_file(path, whole.substr(0, i));
    EXPECT_FALSE(open_sealed(path, "for this", &why)) << "cut at " << i;
    EXPECT_NE(why, "");
  }
  write_file(path, whole + "x");
  EXPECT_FALSE(open_sealed(path, "for this", &why));
  write_file(path, whole);
  EXPECT_FALSE(open_sealed(path, "for that", &why));
  EXPECT_THAT(why, HasSubstr("another version, driver, device or model"));
  EXPECT_TRUE(open_sealed(path, "for this", &why));
}

// Both ways to hold weights, under the devices that use them.
class OpenvinoCache : public ::testing::TestWithParam<const char*> {
 protected:
  // Compiles both graphs and checks their results; how many came from the cache.
  uint32_t run_cached() {
    notices.clear();
    AcceleratorOptions options;
    options.cache_folder = folder.path() + "/made/for/it";
    options.notice = [this](const std::string& line) { notices.push_back(line); };
    const auto accelerator = make_openvino_accelerator(GetParam(), options);
    filled = 0;
    for (Int8Graph graph : {random_graph(1, 5, 24, {8, 3}), random_graph(2, 5, 24, {8, 3})}) {
      for (Int8Linear& linear : graph.linears) {
        linear.fill = [this, fill = linear.fill](auto... arguments) {
          ++filled;
          fill(arguments...);
        };
      }
      const auto compiled = accelerator->compile(graph);
      const int until_now = filled;
      EXPECT_LT(worst_error(*compiled, graph), 1e-6);
      filled = until_now;
    }
    return accelerator->cached_graphs();
  }
  std::vector<std::string> files(const std::string& ending) {
    std::vector<std::string> paths;
    for (const auto& entry : fs::directory_iterator(folder / "made/for/it")) {
      if (entry.path().string().ends_with(ending)) paths.push_back(entry.path().string());
    }
    return paths;
  }
  TemporaryFolder folder;
  std::vector<std::string> notices;
  int filled = 0;  // calls of fill() while compiling
  ScopedVariable library{"CAIRN_OPENVINO", CAIRN_FAKE_OPENVINO};
};

TEST_P(OpenvinoCache, TheSecondStartCompilesAndQuantisesNothing) {
  EXPECT_EQ(run_cached(), 0U);
  EXPECT_GT(filled, 0);
  {
    const ScopedVariable fails("FAKE_OPENVINO_FAIL", "compile");
    EXPECT_EQ(run_cached(), 2U);
  }
  EXPECT_EQ(filled, 0);
  EXPECT_THAT(notices, IsEmpty());
  EXPECT_THAT(files(".part"), IsEmpty());
}

TEST_P(OpenvinoCache, ACorruptFileIsNoticedAndMadeAgain) {
  run_cached();
  for (const std::string ending : {".blob", ".int8"}) {
    for (const std::string& path : files(ending)) {
      const std::string whole = read_file(path);
      std::string changed = whole;
      changed[changed.size() / 2] ^= 1;
      for (const std::string& bad :
           {changed, whole.substr(0, whole.size() / 2), std::string(), std::string("x")}) {
        write_file(path, bad);
        EXPECT_LT(run_cached(), 2U);
        ASSERT_EQ(notices.size(), 1U) << path;
        EXPECT_THAT(notices[0], AllOf(HasSubstr(path), HasSubstr("anew")));
        EXPECT_EQ(read_file(path), whole);
        EXPECT_EQ(run_cached(), 2U);
      }
    }
  }
}

TEST_P(OpenvinoCache, AnotherLibrarysBlobIsMadeAgain) {
  run_cached();
  const ScopedVariable version("FAKE_OPENVINO_VERSION", "2027.1.0-2-fake");
  fs::create_symlink(CAIRN_FAKE_OPENVINO, folder / "libopenvino_c.so");  // a path not opened before
  const ScopedVariable chosen("CAIRN_OPENVINO", (folder / "libopenvino_c.so").c_str());
  EXPECT_EQ(run_cached(), 0U);
  ASSERT_FALSE(notices.empty());
  EXPECT_THAT(notices[0], HasSubstr("another version, driver, device or model"));
  EXPECT_EQ(run_cached(), 2U);
}

TEST_P(OpenvinoCache, ABlobThatOpenvinoRefusesIsMadeAgain) {
  run_cached();
  const ScopedVariable fails("FAKE_OPENVINO_FAIL", "import");
  EXPECT_EQ(run_cached(), 0U);
  ASSERT_FALSE(notices.empty());
  EXPECT_THAT(notices[0], HasSubstr("blob of another version; it is compiled anew"));
}

TEST_P(OpenvinoCache, ABlobThatCannotBeWrittenIsDoneWithout) {
  const ScopedVariable fails("FAKE_OPENVINO_FAIL", "export");
  EXPECT_EQ(run_cached(), 0U);
  ASSERT_FALSE(notices.empty());
  EXPECT_THAT(notices[0], HasSubstr("No space left on device; the next start will not be faster"));
  EXPECT_THAT(files(".part"), IsEmpty());
}

TEST_P(OpenvinoCache, AFolderThatCannotBeMadeIsDoneWithout) {
  write_file(folder / "made", "a file");
  EXPECT_EQ(run_cached(), 0U);
  EXPECT_THAT(notices, ElementsAre(HasSubstr("nothing is cached")));
}

INSTANTIATE_TEST_SUITE_P(Devices, OpenvinoCache, ::testing::Values("CPU", "NPU"),
                         [](const auto& device) { return std::string(device.param); });

TEST(OpenvinoDriver, AnotherDriversBlobIsMadeAgain) {
  const TemporaryFolder folder;
  const ScopedVariable library("CAIRN_OPENVINO", CAIRN_FAKE_OPENVINO);
  std::vector<std::string> notices;
  const auto compile = [&] {
    AcceleratorOptions options;
    options.cache_folder = folder.path();
    options.notice = [&](const std::string& line) { notices.push_back(line); };
    const auto accelerator = make_openvino_accelerator("NPU", options);
    accelerator->compile(random_graph(1, 5, 24, {8, 3}));
    return accelerator->cached_graphs();
  };
  EXPECT_EQ(compile(), 0U);
  EXPECT_EQ(compile(), 1U);
  const ScopedVariable driver("FAKE_OPENVINO_DRIVER", "8");
  EXPECT_EQ(compile(), 0U);
  EXPECT_THAT(notices,
              ElementsAre(HasSubstr("another version, driver, device or model; it is compiled anew")));
  EXPECT_EQ(compile(), 1U);
}

}  // namespace
}  // namespace cairn::offload
