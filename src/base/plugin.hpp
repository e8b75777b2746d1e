// The contracts between cairn and the shared libraries that are parts of it. Each of them exports one
// constant, a C struct that begins with its size and its build: of one of another build nothing else is
// looked at.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace cairn {

// Made from the headers that both sides are compiled with (src/CMakeLists.txt).
constexpr uint32_t kPluginBuild = CAIRN_PLUGIN_BUILD;

struct PluginHead {
  uint32_t size;  // of the whole struct
  uint32_t build;
};

// A video as libcairn_video.so restores it, frame by frame (video/restored_reader.hpp, video/reader.hpp).
struct VideoShape {
  uint32_t width, height, small_width, small_height;
  uint32_t bits;
  int32_t chroma;    // video::Chroma
  int32_t restored;  // 1: by networks
  uint64_t frames;   // 0: the file does not say
  double seconds_per_tick, frame_rate;
  int32_t matrix, primaries, transfer, range;
};

struct VideoPicture {
  uint32_t planes;             // 0: there is none left
  const uint16_t* samples[3];  // [height][width] each, until the next call
  uint32_t width[3], height[3];
  int64_t pts, duration;
};

// Networks without a decoder, as libcairn_video.so runs them (video/restore.hpp).
struct RestorerShape {
  uint32_t small_width, small_height, width, height, scale, bits;
  int32_t chroma;  // video::Chroma
  uint32_t networks;
  int32_t needs_before, needs_after;
};

// Planes of bytes, or of 16-bit samples where bits is 10.
struct PictureView {
  void* planes[3];
  size_t strides[3];  // in bytes
};

// libcairn_video.so's `cairn_video`. Functions return 0, an ErrorCode's number, or kOther; `message` is then
// the one line to tell. Nothing is thrown.
struct VideoPlugin {
  static constexpr const char* kLibrary = "libcairn_video.so";
  static constexpr const char* kName = "cairn_video";
  static constexpr int kOther = -2;  // a failure that is no cairn::Error

  PluginHead head;
  // argv: as main()'s, which has found it right.
  int (*run)(int argc, const char* const* argv, char* message, size_t size);
  // Upright frames of a video for who calls next(); *reader is for close(). threads: 0: as many as usable
  // processors. keep_going: as video::ReaderOptions has it.
  int (*open)(const char* path, uint32_t threads, int32_t keep_going, void** reader, VideoShape* shape,
              char* message, size_t size);
  int (*next)(void* reader, VideoPicture* picture, char* message, size_t size);
  int (*rewind)(void* reader, char* message, size_t size);
  void (*close)(void* reader);
  // Of a file, or (path null) of an attachment's bytes. bits 0, chroma −1: as the file says.
  int (*open_restorer)(const char* path, const void* bytes, size_t byte_count, uint32_t threads,
                       uint32_t bits, int32_t chroma, void** restorer, RestorerShape* shape, char* message,
                       size_t size);
  // before, after: may be null. All have the sizes of the shape.
  int (*restore)(void* restorer, uint64_t frame, const PictureView* before, const PictureView* small,
                 const PictureView* after, const PictureView* restored, char* message, size_t size);
  uint32_t (*network_at)(const void* restorer, uint64_t frame, uint32_t x, uint32_t y);
  void (*close_restorer)(void* restorer);
};

// libcairn_torch.so's `cairn_torch`.
struct TorchPlugin {
  static constexpr const char* kLibrary = "libcairn_torch.so";
  static constexpr const char* kName = "cairn_torch";

  PluginHead head;
  // job: a stack::TorchJob. Returns a stack::Distiller for the caller to delete; null when it fails, with the
  // one line to tell in `message`, or, with an empty one, when the device is chosen by itself and there is no
  // GPU. Nothing is thrown.
  void* (*make_distiller)(const void* job, char* message, size_t size);
};

// libcairn_grammar.so's `cairn_grammar`: what tokens may come next. Whoever makes something frees it. All but
// a matcher may be used by several threads at once. Nothing is thrown: what fails returns null or −1, with
// the one line to tell in `message`.
struct GrammarPlugin {
  static constexpr const char* kLibrary = "libcairn_grammar.so";
  static constexpr const char* kName = "cairn_grammar";

  PluginHead head;
  // pieces: [tokens] the bytes that each token writes; those that write nothing never come. ends: tokens that
  // end an answer. Nothing of it need outlive the call.
  void* (*make_compiler)(const std::string_view* pieces, size_t tokens, const int32_t* ends, size_t end_count,
                         char* message, size_t size);
  // kind: a grammar::Kind.
  void* (*compile)(void* compiler, int kind, const char* text, size_t bytes, char* message, size_t size);
  void* (*make_matcher)(void* grammar, char* message, size_t size);
  void (*free)(void* any);
  // As grammar::Matcher has them.
  int (*allowed)(void* matcher, uint32_t* bits, size_t words, char* message, size_t size);
  int (*accept)(void* matcher, int32_t token, char* message, size_t size);
  int (*rollback)(void* matcher, size_t tokens, char* message, size_t size);
  int (*can_end)(const void* matcher);
};

// A part of cairn that is a shared library of its own: from CAIRN_LIB (a folder), the folder of what this
// code is in (the program, or libcairn.so), cairn/ in that or beside it, or lib/cairn beside it. Empty when
// it is in none of them.
std::string find_own_library(const std::string& name);
// The same for who cannot go on without it. Errors: unsupported (a static program); not_found, which ends
// with `why` and that CAIRN_LIB may name a folder.
std::string own_library(const std::string& name, const std::string& why);

// What such a library exports by that name; it stays open unless it is refused. Errors: not_found (the
// loader's reason), unsupported (it is of another build than `expected`: both are told).
const PluginHead& open_plugin(const std::string& path, const char* name, const PluginHead& expected);

template <class Plugin>
const Plugin& open_plugin(const std::string& path) {
  return reinterpret_cast<const Plugin&>(open_plugin(path, Plugin::kName, {sizeof(Plugin), kPluginBuild}));
}

// The Error that a function of a plug-in answers with: an ErrorCode's number, or less than 0 for io.
void check_plugin_call(int status, const char* message);

// Calls such a function, whose last arguments are the message's place and size.
template <class Function, class... Arguments>
void call_plugin(const Function& function, Arguments... arguments) {
  std::array<char, 4096> message{};
  check_plugin_call(function(arguments..., message.data(), message.size()), message.data());
}

}  // namespace cairn
