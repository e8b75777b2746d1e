// A tiny clip, and encode() called on it: for the tests of encoding.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <string>

#include "base/error.hpp"
#include "video/container.hpp"
#include "video/encode/encode.hpp"
#include "video/lossless.hpp"
#include "video/restored_reader.hpp"

namespace cairn::video {

// Edges that move: what the bicubic blurs and a network can learn to sharpen.
inline Frame moving_edges(const Format& format, uint32_t number) {
  Frame frame;
  frame.allocate(format);
  for (size_t p = 0; p < format.planes(); ++p) {
    Plane& plane = frame.planes[p];
    for (uint32_t y = 0; y < plane.height; ++y) {
      for (uint32_t x = 0; x < plane.width; ++x) {
        const double at = std::sin(0.21 * x + 0.11 * y + 0.3 * number) + std::sin(0.13 * y - 0.2 * number);
        const double value = p == 0 ? (at > 0 ? 190 : 70) + 20 * at : 128 + 20 * at;
        plane.row(y)[x] = static_cast<uint16_t>(std::lround(value) * (format.peak() + 1) / 256);
      }
    }
  }
  return frame;
}

class Encode : public ::testing::Test {
 protected:
  Encode() : folder_(std::filesystem::temp_directory_path() / fmt::format("cairn-encode-{}", ::getpid())) {
    std::filesystem::create_directories(folder_);
  }
  ~Encode() override { std::filesystem::remove_all(folder_); }
  std::string path(const std::string& name) const { return (folder_ / name).string(); }

  std::string make_clip(const Format& format = {112, 80, 8, Chroma::c420}, uint32_t frames = 8,
                        const Colour& colour = {1, 1, 1, 1, 1}) {
    VideoInfo info;
    info.format = format;
    info.colour = colour;
    info.time_base = {1, 1000};
    info.frame_rate = {25, 1};
    LosslessFile file(path("clip.mkv"), info);
    for (uint32_t i = 0; i < frames; ++i) {
      Frame frame = moving_edges(format, i);
      frame.pts = 40 * i + (i > 3 ? 17 : 0);  // not quite steady
      frame.duration = 40;
      file.write(frame);
    }
    file.finish();
    return path("clip.mkv");
  }

  static EncodeOptions options(Mode mode) {
    EncodeOptions o;
    o.mode = mode;
    o.codec = Codec::x264;
    o.crf = 30;
    o.preset = "veryfast";
    o.network = parse_architecture("C4M1");
    o.train_steps = 150;
    return o;
  }
  EncodeReport run(const EncodeOptions& o, const std::string& input) {
    ThreadPool pool(2, ThreadPool::Idle::sleep);
    return encode(input, path("out.mkv"), o, {}, pool);
  }
  std::string refusal(const EncodeOptions& o, const std::string& input) {
    try {
      run(o, input);
    } catch (const Error& error) {
      EXPECT_FALSE(std::filesystem::exists(path("out.mkv")));
      for (const auto& entry :
           std::filesystem::directory_iterator(std::filesystem::path(path("out.mkv")).parent_path()))
        EXPECT_NE(entry.path().extension(), ".part") << entry.path();
      return error.what();
    }
    return "";
  }

  // PSNR of luma of what a player shows, counted here.
  double seen_psnr(const std::string& original) {
    Reader wanted(original);
    RestoredReader got(path("out.mkv"));
    Frame a, b;
    double sum = 0, count = 0;
    while (wanted.read(a)) {
      EXPECT_TRUE(got.read(b));
      EXPECT_EQ(a.format.width, b.format.width);
      EXPECT_EQ(a.format.height, b.format.height);
      EXPECT_NEAR(static_cast<double>(a.pts), static_cast<double>(b.pts), 1.0);  // both in milliseconds
      for (size_t i = 0; i < a.planes[0].samples.size(); ++i) {
        const double d = static_cast<double>(a.planes[0].samples[i]) - b.planes[0].samples[i];
        sum += d * d;
      }
      count += static_cast<double>(a.planes[0].samples.size());
    }
    return 10 * std::log10(static_cast<double>(a.format.peak()) * a.format.peak() * count / sum);
  }

  std::filesystem::path folder_;
};

// What a command prints.
inline std::string output_of(const std::string& command, int& status) {
  FILE* pipe = popen(command.c_str(), "r");
  std::string text;
  char buffer[4096];
  for (size_t n; (n = fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, n);
  status = pclose(pipe);
  return text;
}

}  // namespace cairn::video
