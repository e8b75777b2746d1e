// The one function between the program and libcairn_video.so.
#pragma once

#include <cstddef>

namespace cairn::cli {

// argv: as main()'s, which has found it right. Returns 0, an ErrorCode's number, or kVideoOther;
// `message` is then the one line to tell. Nothing is thrown.
using VideoEntry = int (*)(int argc, const char* const* argv, char* message, size_t size);
constexpr const char* kVideoEntryName = "cairn_video_v2";
constexpr int kVideoOther = -2;  // a failure that is no cairn::Error

}  // namespace cairn::cli
