// What bench/instructions_peer.py compiles with llama.cpp's own kernels (ggml-cpu/arch/arm): one of them
// REPEATS times.
//   peer KERNEL REPEATS
// Prints the units of work of one repeat: weights of a matrix-vector product, multiply-adds of a matrix
// product. What the bytes are does not matter to the number of instructions.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

extern "C" {
void ggml_vec_dot_q4_0_q8_0(int, float*, size_t, const void*, size_t, const void*, size_t, int);
void ggml_vec_dot_q8_0_q8_0(int, float*, size_t, const void*, size_t, const void*, size_t, int);
void ggml_vec_dot_q4_K_q8_K(int, float*, size_t, const void*, size_t, const void*, size_t, int);
void ggml_vec_dot_q6_K_q8_K(int, float*, size_t, const void*, size_t, const void*, size_t, int);
void ggml_gemv_q4_0_4x4_q8_0(int, float*, size_t, const void*, const void*, int, int);
void ggml_gemv_q4_0_4x8_q8_0(int, float*, size_t, const void*, const void*, int, int);
void ggml_gemm_q4_0_4x4_q8_0(int, float*, size_t, const void*, const void*, int, int);
void ggml_gemm_q4_0_4x8_q8_0(int, float*, size_t, const void*, const void*, int, int);
}

namespace {
constexpr int kColumns = 2048, kRows = 48, kTokens = 16;

using Dot = void (*)(int, float*, size_t, const void*, size_t, const void*, size_t, int);
using Packed = void (*)(int, float*, size_t, const void*, const void*, int, int);

struct Kernel {
  const char* name;
  Dot dot;
  Packed packed;
  int tokens;  // of a call
  int block, bytes;
  int rows;  // of a call of `dot`; two (only with i8mm) are multiplied by as many tokens
};
constexpr Kernel kKernels[] = {
    {"dot_q4_0", ggml_vec_dot_q4_0_q8_0, nullptr, 1, 32, 18, 1},
    {"dot_q8_0", ggml_vec_dot_q8_0_q8_0, nullptr, 1, 32, 34, 1},
    {"dot_q4_k", ggml_vec_dot_q4_K_q8_K, nullptr, 1, 256, 144, 1},
    {"dot_q6_k", ggml_vec_dot_q6_K_q8_K, nullptr, 1, 256, 210, 1},
    {"dots_q4_0", ggml_vec_dot_q4_0_q8_0, nullptr, 2, 32, 18, 2},
    {"dots_q8_0", ggml_vec_dot_q8_0_q8_0, nullptr, 2, 32, 34, 2},
    {"dots_q4_k", ggml_vec_dot_q4_K_q8_K, nullptr, 2, 256, 144, 2},
    {"dots_q6_k", ggml_vec_dot_q6_K_q8_K, nullptr, 2, 256, 210, 2},
    {"gemv_q4_0_4x4", nullptr, ggml_gemv_q4_0_4x4_q8_0, 1, 32, 18, 1},
    {"gemv_q4_0_4x8", nullptr, ggml_gemv_q4_0_4x8_q8_0, 1, 32, 18, 1},
    {"gemm_q4_0_4x4", nullptr, ggml_gemm_q4_0_4x4_q8_0, kTokens, 32, 18, 1},
    {"gemm_q4_0_4x8", nullptr, ggml_gemm_q4_0_4x8_q8_0, kTokens, 32, 18, 1},
};
}  // namespace

int main(int argc, char** argv) {
  if (argc != 3) return 2;
  const std::vector<char> weights(kRows * kColumns * 2 + 64), x(kTokens * kColumns * 2 + 64);
  std::vector<float> y(kRows * kTokens);
  for (const Kernel& k : kKernels) {
    if (std::strcmp(k.name, argv[1]) != 0) continue;
    const size_t row = static_cast<size_t>(kColumns / k.block * k.bytes), input = kColumns * 2;
    for (long i = std::strtol(argv[2], nullptr, 10); i > 0; --i) {
      if (k.packed != nullptr) {
        k.packed(kColumns, y.data(), kRows, weights.data(), x.data(), k.tokens, kRows);
        continue;
      }
      for (int r = 0; r < kRows; r += k.rows)
        k.dot(kColumns, &y[static_cast<size_t>(r)], 16, &weights[static_cast<size_t>(r) * row], row, x.data(),
              input, k.rows);
    }
    std::printf("%d\n", kRows * kColumns * k.tokens);
    return 0;
  }
  return 2;
}
