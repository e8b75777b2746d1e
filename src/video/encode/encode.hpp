#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/thread_pool.hpp"
#include "video/coder.hpp"
#include "video/encode/clip.hpp"
#include "video/network.hpp"

namespace cairn::video {

enum class Mode : uint8_t { automatic, plain, x1, x2, x3, x4 };
const char* name(Mode mode);
Mode parse_mode(std::string_view text);  // Error invalid_argument lists them

// What training begins from: random weights, or a general network of the same architecture where one is
// shipped.
// automatic: the latter for fewer than 1,000 steps.
enum class Start : uint8_t { automatic, random, general };

struct EncodeOptions {
  Mode mode = Mode::automatic;
  // A file with the small video, made by another encoder: it is taken as it is, and what follows up to
  // `downscale` is not used. The mode is told by its size; `plain` keeps it without networks.
  std::string coded;
  Codec codec = Codec::x265;
  // At most one of the three; none: the codec's usual rate (x264 24, x265 28, AV1 35).
  std::optional<double> crf;
  std::optional<double> target_psnr;  // dB of luma, at least
  std::optional<uint64_t> size;       // bytes of the picture (video, networks, labels), at most
  std::optional<Filter> downscale;    // none: Lanczos or sharp, as measured
  Architecture network;               // C8M4
  uint32_t weight_bits = 5;
  uint32_t chunks = 1;       // STDO: so many networks, by the difficulty of patches
  bool jstdo = true;         // one network is trained on the harder patches (chunks have their own)
  uint32_t scenes = 8;       // further networks for scenes, at most, where they pay
  bool chroma = false;       // a network for chroma too (C4M2)
  double train_minutes = 0;  // of each network; 0: train_steps
  uint32_t train_steps = 3000;
  uint64_t seed = 1;
  Start start = Start::automatic;
  std::string preset;
  double key_seconds = 0;   // a key frame at least so often: where players can begin; 0: as the encoder does
  std::string checkpoint;   // what the files for interrupted trainings begin with; empty: none
  bool forgiving = false;   // those of other trainings are written over
  Keep keep;                // of what the input holds beside its pictures
  int coder_threads = 0;    // of the encoder; 0: as many as processors. Its bytes may depend on them
  bool keep_going = false;  // what is broken is passed over and counted
};

struct Choice {
  Mode mode = Mode::plain;
  double crf = 0;                      // 0: not known, another encoder's
  Filter downscale = Filter::bicubic;  // at x2 to x4, where crf is known
  uint64_t bytes = 0;                  // of the picture
  double psnr = 0;                     // luma, dB
  double advantage = 0;  // over the plain codec at equal bytes, dB; only when choosing automatically
  double train_seconds = 0;
  bool chosen = false;
};

struct EncodeReport {
  std::vector<Choice> choices;  // all that were measured to the end
  Choice result;
  uint64_t video = 0, networks = 0, labels = 0, header = 0;
  uint64_t scenes = 1;             // found in the clip
  uint64_t scene_networks = 0;     // further networks that serve some of them
  double bicubic_psnr = 0;         // of the chosen small video without its network
  std::vector<std::string> notes;  // what of the input is changed or left out, a line each
};

// Says what it does, one line a call; and how far it is, often.
struct EncodeProgress {
  std::function<void(const std::string&)> line;
  std::function<void(const std::string& what, double share, double seconds_left)> share;
};

// Encodes a video into Matroska ("-": on standard output), with what else the input holds. Whatever can be
// refused is refused before the first frame is read. Errors: those of Reader, Coder, MatroskaFile and
// train(); invalid_argument: an output that is an input.
EncodeReport encode(const std::string& input, const std::string& output, const EncodeOptions& options,
                    const EncodeProgress& progress, ThreadPool& pool);

}  // namespace cairn::video
