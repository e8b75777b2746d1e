#include <cstdio>
#include <exception>
#include <string>
#include <system_error>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/plugin.hpp"
#include "base/standard_streams.hpp"
#include "cli/parser/parse.hpp"
#include "cli/standard_io.hpp"
#include "cli/video/frames.hpp"
#include "cli/video/told.hpp"
#include "cli/video/work.hpp"

namespace {

using cairn::cli::tell_caller;

void run(int argc, const char* const* argv) {
  using namespace cairn::cli;
  CLI::App program{"", "cairn"};
  add_video_commands(program, {run_encode, run_inspect, run_decode, run_compare, run_play, run_work, run_join,
                               run_publish, run_live});
  parse_again_and_run(program, argc, argv);
}

int run_told(int argc, const char* const* argv, char* message, size_t size) {
  // This object has its own copy of the flag that a signal raises.
  cairn::open_standard_descriptors();
  cairn::catch_interrupts();
  try {
    run(argc, argv);
    return 0;
  } catch (const cairn::Error& error) {
    return tell_caller(error.what(), static_cast<int>(error.code()), message, size);
  } catch (const std::bad_alloc&) {
    return tell_caller("out of memory", static_cast<int>(cairn::ErrorCode::out_of_memory), message, size);
  } catch (const std::system_error& error) {
    if (cairn::interrupted())
      return tell_caller("interrupted", static_cast<int>(cairn::ErrorCode::cancelled), message, size);
    if (std::ferror(stdout) == 0) return tell_caller(error.what(), cairn::VideoPlugin::kOther, message, size);
    const std::string text = fmt::format("{}: {}", cairn::cli::kCannotWriteOut, error.code().message());
    return tell_caller(text, static_cast<int>(cairn::ErrorCode::io), message, size);
  } catch (const std::exception& error) {
    return tell_caller(error.what(), cairn::VideoPlugin::kOther, message, size);
  }
}

}  // namespace

extern "C" {
__attribute__((visibility("default"))) extern const cairn::VideoPlugin cairn_video;
const cairn::VideoPlugin cairn_video = {{sizeof(cairn::VideoPlugin), cairn::kPluginBuild},
                                        run_told,
                                        cairn::cli::open_frames,
                                        cairn::cli::next_frame,
                                        cairn::cli::rewind_frames,
                                        cairn::cli::close_frames};
}
