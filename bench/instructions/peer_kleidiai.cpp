// What bench/instructions_peer.py compiles with KleidiAI's micro-kernels of 4-bit weights in groups of 32:
// one of them REPEATS times.
//   peer KERNEL REPEATS
// Prints the units of work of one repeat: weights of a matrix-vector product, multiply-adds of a matrix
// product. What the bytes are does not matter to the number of instructions; the operands are packed
// beforehand, by others.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#define KAI_KERNELS(X)                                        \
  X(gemv_4x4, 1, qsi8d32p1x4_qsi4c32p4x4_1x4_neon_dotprod)    \
  X(gemv_4x8, 1, qsi8d32p1x8_qsi4c32p4x8_1x4x32_neon_dotprod) \
  X(gemm_4x4, 16, qsi8d32p4x4_qsi4c32p4x4_16x4_neon_dotprod)  \
  X(gemm_4x8, 16, qsi8d32p4x8_qsi4c32p4x8_16x4_neon_i8mm)     \
  X(gemm_8x4x32, 16, qsi8d32p4x8_qsi4c32p4x8_8x4x32_neon_i8mm)

extern "C" {
#define KAI_DECLARE(name, tokens, kernel)                                                          \
  void kai_run_matmul_clamp_f32_##kernel(size_t m, size_t n, size_t k, size_t bl, const void* lhs, \
                                         const void* rhs, float* dst, size_t row_stride,           \
                                         size_t column_stride, float least, float most);
KAI_KERNELS(KAI_DECLARE)
}

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  constexpr size_t kColumns = 2048, kRows = 48, kTokens = 16;
  const std::vector<char> weights(kRows * kColumns * 2), x(kTokens * kColumns * 4);
  std::vector<float> y(kRows * kTokens);
#define KAI_RUN(name, tokens, kernel)                                                                    \
  if (std::strcmp(argv[1], #name) == 0) {                                                                \
    for (long i = std::strtol(argv[2], nullptr, 10); i > 0; --i)                                         \
      kai_run_matmul_clamp_f32_##kernel(tokens, kRows, kColumns, 32, x.data(), weights.data(), y.data(), \
                                        kRows * sizeof(float), sizeof(float), -1e30F, 1e30F);            \
    std::printf("%zu\n", kRows* kColumns* tokens);                                                       \
    return 0;                                                                                            \
  }
  KAI_KERNELS(KAI_RUN)
  return 2;
}
