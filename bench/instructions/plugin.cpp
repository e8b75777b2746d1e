// A plug-in for QEMU's user emulation that prints how many instructions a program has executed, on standard
// error. The declarations are those of QEMU 7.2's qemu-plugin.h, which Debian does not package.
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>

extern "C" {
struct qemu_plugin_tb;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*call)(uint64_t id, qemu_plugin_tb* block));
void qemu_plugin_register_vcpu_tb_exec_inline(qemu_plugin_tb* block, qemu_plugin_op op, void* to,
                                              uint64_t add);
void qemu_plugin_register_atexit_cb(uint64_t id, void (*call)(uint64_t id, void* data), void* data);
size_t qemu_plugin_tb_n_insns(const qemu_plugin_tb* block);

__attribute__((visibility("default"))) extern const int qemu_plugin_version;
const int qemu_plugin_version = 1;

static uint64_t executed;

__attribute__((visibility("default"))) int qemu_plugin_install(uint64_t id, const void*, int, char**) {
  qemu_plugin_register_vcpu_tb_trans_cb(id, [](uint64_t, qemu_plugin_tb* block) {
    qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &executed,
                                             qemu_plugin_tb_n_insns(block));
  });
  qemu_plugin_register_atexit_cb(
      id, [](uint64_t, void*) { std::fprintf(stderr, "instructions %" PRIu64 "\n", executed); }, nullptr);
  return 0;
}
}
