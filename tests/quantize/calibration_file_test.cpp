#include "quantize/calibration_file.hpp"

#include <gtest/gtest.h>

#include <cstring>
#include <functional>

#include "base/expect_error.hpp"
#include "support.hpp"

namespace cairn::quantize {
namespace {

using testing::expect_error;
using testing::read_file;
using testing::write_file;

class CalibrationFile : public ::testing::Test {
 protected:
  void write(const Calibration& c) { c.write(path_); }
  void refused(ErrorCode code, const std::string& part) {
    expect_error(code, part, [&] { Calibration::read(path_, model_.file); });
  }
  // Replaces the bytes once; both of one length.
  void patch(const std::string& from, const std::string& to) {
    std::string content = read_file(path_);
    const size_t at = content.find(from);
    ASSERT_NE(at, std::string::npos);
    content.replace(at, from.size(), to);
    write_file(path_, content);
  }

  TinyFile model_;
  const std::string path_ = model_.folder / "tiny.cal";
};

TEST_F(CalibrationFile, IsReadAsItWasWritten) {
  Calibration c = made_up(model_.file);
  c.layers[1][2].costs[3] = std::numeric_limits<float>::quiet_NaN();  // not measured
  write(c);
  const Calibration read = Calibration::read(path_, model_.file);
  EXPECT_EQ(checksum(read), checksum(c));
  EXPECT_EQ(read.at(1, Input::down).ranges[1][2].clip, c.at(1, Input::down).ranges[1][2].clip);
  EXPECT_EQ(read.at(0, Input::qkv).outliers[0][3].counts, c.at(0, Input::qkv).outliers[0][3].counts);
  EXPECT_EQ(read.at(1, Input::down).weight_maxima, c.at(1, Input::down).weight_maxima);
  EXPECT_TRUE(std::isnan(read.layers[1][2].costs[3]));
  EXPECT_EQ(read.whole.size(), 2 * kForms);
  EXPECT_EQ(read.find_whole(Form::rotated_token, 1)->kl, 0.001f);
  EXPECT_EQ(read.find_whole(Form::rotated_token, 7), nullptr);
  ASSERT_EQ(read.times.size(), 1U);
  EXPECT_EQ(read.times[0].kinds[1], "ffn");
  EXPECT_EQ(read.times[0].seconds[3], 4e-3f);
}

TEST_F(CalibrationFile, WithoutCostsAndTimes) {
  Calibration c = made_up(model_.file);
  c.whole.clear();
  c.times.clear();
  write(c);
  EXPECT_EQ(checksum(Calibration::read(path_, model_.file)), checksum(c));
}

TEST_F(CalibrationFile, OfAnotherModel) {
  const TinyFile other({.context = 512});
  write(made_up(other.file));
  refused(ErrorCode::invalid_argument, "made for another model (tiny)");
}

TEST_F(CalibrationFile, OfAnotherVersion) {
  write(made_up(model_.file));
  std::string content = read_file(path_);
  const size_t at = content.find("calibration.version") + std::strlen("calibration.version") + 4;
  content[at] = 9;
  write_file(path_, content);
  refused(ErrorCode::format, "a calibration of version 9, this program reads version 1");
}

TEST_F(CalibrationFile, NotOneAtAll) {
  refused(ErrorCode::not_found, "tiny.cal");
  write_file(path_, "not GGUF");
  refused(ErrorCode::format, "tiny.cal");
  write_file(path_, read_file(model_.path));
  refused(ErrorCode::format, "this is no calibration");
}

TEST_F(CalibrationFile, CutAnywhere) {
  write(made_up(model_.file));
  const std::string content = read_file(path_);
  for (size_t i = 0; i < 60; ++i) {
    write_file(path_, content.substr(0, content.size() * i / 60));
    refused(ErrorCode::format, "tiny.cal");
  }
}

TEST_F(CalibrationFile, WithAByteChanged) {
  write(made_up(model_.file));
  const std::string content = read_file(path_);
  const std::string before = checksum(Calibration::read(path_, model_.file));
  size_t refusals = 0;
  constexpr size_t kChanges = 150;
  for (size_t i = 0; i < kChanges; ++i) {
    std::string damaged = content;
    damaged[content.size() * i / kChanges] ^= static_cast<char>(1 << (i % 7));
    write_file(path_, damaged);
    try {
      // What is read in spite of it is what was written: the byte was padding.
      EXPECT_EQ(checksum(Calibration::read(path_, model_.file)), before) << i;
    } catch (const Error& error) {
      ++refusals;
      EXPECT_NE(std::string(error.what()).find("tiny.cal"), std::string::npos) << error.what();
    }
  }
  EXPECT_GT(refusals, kChanges * 9 / 10);
}

TEST_F(CalibrationFile, WithSizesThatDisagree) {
  const Calibration good = made_up(model_.file);
  const auto written = [&](const std::function<void(Calibration&)>& change, const std::string& part) {
    Calibration c = good;
    change(c);
    write(c);
    refused(ErrorCode::format, part);
  };
  written([](Calibration& c) { c.layers.pop_back(); }, "it has 1 layers, the model 2");
  written([](Calibration& c) { c.outputs[2] = 7; },
          "calibration.outputs of gate_up is 7, the model's is 256");
  written(
      [](Calibration& c) {
        c.widths[0] = 32;
        for (auto& layer : c.layers) {
          for (auto& basis : layer[0].outliers)
            for (auto& o : basis) o.counts.resize(32);
          for (auto& maxima : layer[0].channel_maxima) maxima.resize(32);
          layer[0].weight_maxima.resize(32);
        }
      },
      "calibration.widths of qkv is 32, the model's is 64");
  written([](Calibration& c) { c.times[0].seconds.pop_back(); }, "times.0.seconds has 3 entries, not 4");
  written([](Calibration& c) { c.layers[0][0].ranges[0][0].maximum = -1; }, "tensor plain.ranges holds -1");
  written([](Calibration& c) { c.whole[0].kl = std::numeric_limits<float>::infinity(); },
          "calibration.whole.kl");

  write(good);
  patch("shadow", "shabow");
  refused(ErrorCode::format, "calibration.forms is not what version 1 has there");
  write(good);
  patch("down.weight_maxima", "down.weight_minima");
  refused(ErrorCode::not_found, "down.weight_maxima");
}

}  // namespace
}  // namespace cairn::quantize
