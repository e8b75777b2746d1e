// Inputs made by Debian's ffmpeg, and what encode and decode make of them.
#pragma once

#include "video/decode.hpp"
#include "video/probe.hpp"

namespace cairn::video {

// Sources of pictures and of sound.
#define PICTURES "-f lavfi -i testsrc=s=48x32:r=25:d=0.4"
#define SOUND "-f lavfi -i sine=d=0.4:r=48000"
#define X264 "-c:v libx264 -preset ultrafast -pix_fmt yuv420p"
class Files : public Encode {
 protected:
  std::string shell(std::string commands) const {
    for (size_t at; (at = commands.find("FF ")) != std::string::npos;)
      commands.replace(at, 3, "ffmpeg -nostdin -v error -y ");
    int status = 0;
    std::string text = output_of("cd '" + folder_.string() + "' && { " + commands + "; } 2>&1", status);
    EXPECT_EQ(status, 0) << commands << "\n" << text;
    return text;
  }
  // The input under its name; IN is it in the commands.
  std::string make(const std::string& name, std::string commands) const {
    for (size_t at; (at = commands.find("IN")) != std::string::npos;)
      commands.replace(at, 2, "'" + (commands[at - 1] == ':' ? path(name) : name) + "'");
    shell(commands);
    return path(name);
  }
  std::string reference(const std::string& input, const std::string& options,
                        const std::string& name = "ref.mkv") const {
    shell("FF -i 'file:" + input + "' " + options + " " + name);
    return path(name);
  }
  static EncodeOptions quick(Mode mode) {
    EncodeOptions o = options(mode);
    o.preset = "ultrafast";
    o.train_steps = 1;
    o.jstdo = false;
    o.start = Start::random;
    return o;
  }
  std::vector<std::string> encode_to(const std::string& name, const std::string& input,
                                     const EncodeOptions& o) {
    ThreadPool pool(2, ThreadPool::Idle::sleep);
    return encode(input, path(name), o, {}, pool).notes;
  }
  std::string encode_refusal(const std::string& input, const EncodeOptions& o,
                             const std::string& output = "out.mkv") {
    try {
      encode_to(output, input, o);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
  std::string decode_refusal(const std::string& input, const DecodeOptions& o = {}) {
    try {
      decode(input, path("decoded.mkv"), o);
    } catch (const Error& error) {
      return error.what();
    }
    return "";
  }
};

}  // namespace cairn::video
