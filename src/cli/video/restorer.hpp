// A video's networks for libcairn.so, without a decoder, as base/plugin.hpp's VideoPlugin has them.
#pragma once

#include "base/plugin.hpp"

namespace cairn::cli {

int open_restorer(const char* path, const void* bytes, size_t byte_count, uint32_t threads, uint32_t bits,
                  int32_t chroma, void** restorer, RestorerShape* shape, char* message, size_t size);
int restore_picture(void* restorer, uint64_t frame, const PictureView* before, const PictureView* small,
                    const PictureView* after, const PictureView* restored, char* message, size_t size);
uint32_t network_at(const void* restorer, uint64_t frame, uint32_t x, uint32_t y);
void close_restorer(void* restorer);

}  // namespace cairn::cli
