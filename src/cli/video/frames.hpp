// A video's restored frames for libcairn.so, as base/plugin.hpp's VideoPlugin has them.
#pragma once

#include "base/plugin.hpp"

namespace cairn::cli {

int open_frames(const char* path, uint32_t threads, int32_t keep_going, void** reader, VideoShape* shape,
                char* message, size_t size);
int next_frame(void* reader, VideoPicture* picture, char* message, size_t size);
int rewind_frames(void* reader, char* message, size_t size);
void close_frames(void* reader);

}  // namespace cairn::cli
