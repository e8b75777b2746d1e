// Stands in for libcairn_video.so and libcairn_torch.so: of this build, of another, or with a longer struct
// (FAKE_BUILD and FAKE_SIZE tell by how much they are off). Does nothing.
#include "base/plugin.hpp"

extern "C" {
extern const cairn::VideoPlugin cairn_video;
const cairn::VideoPlugin cairn_video = {
    {sizeof(cairn::VideoPlugin) + FAKE_SIZE, cairn::kPluginBuild + FAKE_BUILD},
    [](int, const char* const*, char*, size_t) { return 0; },
    nullptr,
    nullptr,
    nullptr,
    nullptr};

extern const cairn::TorchPlugin cairn_torch;
const cairn::TorchPlugin cairn_torch = {
    {sizeof(cairn::TorchPlugin) + FAKE_SIZE, cairn::kPluginBuild + FAKE_BUILD},
    [](const void*, char*, size_t) -> void* { return nullptr; }};
}
