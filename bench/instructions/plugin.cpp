// A plug-in for QEMU's user emulation that prints how many instructions an ARM64 program has executed, on
// standard error: all, those of vectors' arithmetic, loads (a pair of vectors is two) and matrix products
// (SMMLA), for which processors have fewer units (bench/cores.py). The declarations are those of QEMU 7.2's
// qemu-plugin.h, which Debian does not package.
#include <cinttypes>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>

extern "C" {
struct qemu_plugin_tb;
struct qemu_plugin_insn;
enum qemu_plugin_op { QEMU_PLUGIN_INLINE_ADD_U64 };
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, void (*call)(uint64_t id, qemu_plugin_tb* block));
void qemu_plugin_register_vcpu_tb_exec_inline(qemu_plugin_tb* block, qemu_plugin_op op, void* to,
                                              uint64_t add);
void qemu_plugin_register_atexit_cb(uint64_t id, void (*call)(uint64_t id, void* data), void* data);
size_t qemu_plugin_tb_n_insns(const qemu_plugin_tb* block);
qemu_plugin_insn* qemu_plugin_tb_get_insn(const qemu_plugin_tb* block, size_t index);
const void* qemu_plugin_insn_data(const qemu_plugin_insn* instruction);

__attribute__((visibility("default"))) extern const int qemu_plugin_version;
const int qemu_plugin_version = 1;

enum Class { kAll, kVector, kLoads, kMatrix, kClasses };
constexpr const char* kNames[kClasses] = {"instructions", "vector", "loads", "matrix"};
static uint64_t executed[kClasses];

// Adds an instruction to the counts: Arm ARM, "A64 instruction set encoding".
static void classify(uint32_t word, uint64_t* counts) {
  ++counts[kAll];
  const uint32_t group = word >> 25 & 15;
  if ((group & 7) == 7) ++counts[kVector];
  if ((word & 0x9FE0FC00u) == 0x0E80A400u) ++counts[kMatrix];
  constexpr uint32_t kPair = 0x28000000u, kLoad = 1u << 22;
  if ((group & 5) == 4 && (word & kLoad) != 0) {
    const bool pair_of_vectors = (word & 0x3A000000u) == kPair && (word >> 26 & 1) != 0 && word >> 30 == 2;
    counts[kLoads] += pair_of_vectors ? 2 : 1;
  }
}

__attribute__((visibility("default"))) int qemu_plugin_install(uint64_t id, const void*, int, char**) {
  qemu_plugin_register_vcpu_tb_trans_cb(id, [](uint64_t, qemu_plugin_tb* block) {
    uint64_t counts[kClasses] = {};
    for (size_t i = 0; i < qemu_plugin_tb_n_insns(block); ++i) {
      uint32_t word = 0;
      std::memcpy(&word, qemu_plugin_insn_data(qemu_plugin_tb_get_insn(block, i)), sizeof word);
      classify(word, counts);
    }
    for (size_t of = 0; of < kClasses; ++of) {
      if (counts[of] != 0)
        qemu_plugin_register_vcpu_tb_exec_inline(block, QEMU_PLUGIN_INLINE_ADD_U64, &executed[of],
                                                 counts[of]);
    }
  });
  qemu_plugin_register_atexit_cb(
      id,
      [](uint64_t, void*) {
        for (size_t of = 0; of < kClasses; ++of)
          std::fprintf(stderr, "%s %" PRIu64 "\n", kNames[of], executed[of]);
      },
      nullptr);
  return 0;
}
}
