#include "cli/video/entry.hpp"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <exception>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/standard_streams.hpp"
#include "cli/standard_io.hpp"
#include "cli/video/commands.hpp"

namespace {

int tell(std::string_view text, int status, char* message, size_t size) {
  const size_t length = std::min(text.size(), size - 1);
  std::memcpy(message, text.data(), length);
  message[length] = '\0';
  return status;
}

int run(int argc, const char* const* argv, char* message, size_t size) {
  CLI::App video{"Sends video small, with networks that know it, and restores it where it is watched.",
                 "cairn video"};
  video.require_subcommand(1);
  video.get_formatter()->label("REQUIRED", "(required)");
  video.get_formatter()->label("UINT", "N");
  video.get_formatter()->label("FLOAT", "X");
  video.get_formatter()->label("SUBCOMMAND", "COMMAND");
  video.footer("cairn video COMMAND --help tells what a command takes, with an example.");
  cairn::cli::add_video_encode(video);
  cairn::cli::add_video_inspect(video);
  cairn::cli::add_video_decode(video);
  cairn::cli::add_video_compare(video);
  cairn::cli::add_video_play(video);
  try {
    video.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    if (error.get_exit_code() == 0) {  // --help
      std::ostringstream text;
      video.exit(error, text, text);
      cairn::cli::write_out(text.str());
      return 0;
    }
    return tell(fmt::format("{} (see cairn video --help)", error.what()), cairn::cli::kVideoUsage, message,
                size);
  }
  return 0;
}

}  // namespace

extern "C" __attribute__((visibility("default"))) int cairn_video_v1(int argc, const char* const* argv,
                                                                     char* message, size_t size) {
  // This object has its own copy of the flag that a signal raises.
  cairn::open_standard_descriptors();
  cairn::catch_interrupts();
  try {
    return run(argc, argv, message, size);
  } catch (const cairn::Error& error) {
    return tell(error.what(), static_cast<int>(error.code()), message, size);
  } catch (const std::bad_alloc&) {
    return tell("out of memory", static_cast<int>(cairn::ErrorCode::out_of_memory), message, size);
  } catch (const std::system_error& error) {
    if (cairn::interrupted())
      return tell("interrupted", static_cast<int>(cairn::ErrorCode::cancelled), message, size);
    if (std::ferror(stdout) == 0) return tell(error.what(), cairn::cli::kVideoOther, message, size);
    const std::string text = fmt::format("{}: {}", cairn::cli::kCannotWriteOut, error.code().message());
    return tell(text, static_cast<int>(cairn::ErrorCode::io), message, size);
  } catch (const std::exception& error) {
    return tell(error.what(), cairn::cli::kVideoOther, message, size);
  }
}
