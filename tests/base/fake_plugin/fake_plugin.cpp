// Stands in for libcairn_video.so, libcairn_torch.so and libcairn_grammar.so: of this build, of another, or
// with a longer struct (FAKE_BUILD and FAKE_SIZE tell by how much they are off). Does nothing.
#include <cstdio>

#include "base/plugin.hpp"

extern "C" {
extern const cairn::VideoPlugin cairn_video;
const cairn::VideoPlugin cairn_video = {
    {sizeof(cairn::VideoPlugin) + FAKE_SIZE, cairn::kPluginBuild + FAKE_BUILD},
    [](int, const char* const*, char*, size_t) { return 0; },
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr,
    nullptr};

extern const cairn::TorchPlugin cairn_torch;
const cairn::TorchPlugin cairn_torch = {
    {sizeof(cairn::TorchPlugin) + FAKE_SIZE, cairn::kPluginBuild + FAKE_BUILD},
    [](const void*, char*, size_t) -> void* { return nullptr; }};

extern const cairn::GrammarPlugin cairn_grammar;
const cairn::GrammarPlugin cairn_grammar = {
    .head = {sizeof(cairn::GrammarPlugin) + FAKE_SIZE, cairn::kPluginBuild + FAKE_BUILD},
    .make_compiler = [](const std::string_view*, size_t, const int32_t*, size_t, char* message,
                        size_t size) -> void* {
      std::snprintf(message, size, "the fake has no grammars");
      return nullptr;
    },
    .compile = nullptr,
    .make_matcher = nullptr,
    .free = [](void*) {},
    .allowed = nullptr,
    .accept = nullptr,
    .rollback = nullptr,
    .can_end = nullptr};
}
