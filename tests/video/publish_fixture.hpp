// Folders that publish() wrote, and what is in them.
#pragma once

#include <fstream>
#include <nlohmann/json.hpp>

#include "base/thread_pool.hpp"
#include "video/files_fixture.hpp"
#include "video/publish/publish.hpp"
#include "video/publish/segment_file.hpp"

namespace cairn::video {

class Publish : public Files {
 protected:
  // A cairn video of the tiny clip with key frames every 0.2 s.
  std::string encoded(const std::string& name, EncodeOptions o, const std::string& from) {
    o.key_seconds = 0.2;
    encode_to(name, from, o);
    return path(name);
  }
  static PublishOptions short_segments() {
    PublishOptions o;
    o.segment_seconds = 0.2;
    return o;
  }
  PublishReport publish_to(const std::string& folder, const std::vector<std::string>& inputs,
                           const PublishOptions& o = short_segments()) {
    ThreadPool pool(2, ThreadPool::Idle::sleep);
    return publish(inputs, path(folder), o, {}, pool);
  }
  std::string publish_refusal(const std::string& folder, const std::vector<std::string>& inputs,
                              const PublishOptions& o = short_segments()) {
    try {
      publish_to(folder, inputs, o);
    } catch (const Error& error) {
      for (const auto& entry : std::filesystem::directory_iterator(folder_))
        EXPECT_EQ(entry.path().filename().string().find(".cairn-"), std::string::npos) << entry.path();
      return error.what();
    }
    return "";
  }
  std::string read(const std::string& name) const {
    std::ifstream file(path(name), std::ios::binary);
    EXPECT_TRUE(file) << name;
    return {std::istreambuf_iterator<char>(file), {}};
  }
  nlohmann::json index(const std::string& folder) const {
    return nlohmann::json::parse(read(folder + "/video.json"));
  }
  static std::span<const std::byte> bytes(const std::string& text) { return std::as_bytes(std::span(text)); }
  // Hashes of decoded frames, a line each, without their times.
  std::string frames_of(const std::string& input, const std::string& select = "-map 0:v:0") const {
    const std::string kind =
        input.ends_with(".m3u8") || input.ends_with(".mpd") ? "-allowed_extensions ALL " : "";
    return shell("FF " + kind + "-i '" + path(input) + "' " + select +
                 " -fps_mode passthrough -f framehash - | grep -v '^#' | sed 's/.*,//'");
  }
};

}  // namespace cairn::video
