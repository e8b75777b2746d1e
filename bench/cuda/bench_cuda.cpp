// What a GPU's kernels reach: steps of a model of Qwen2.5-1.5B's shape, of each encoding and level, against
// what the same GPU reads in the same run (a copy's reading and writing). bench_cuda
// [decode|batch|prefill|ops]…
#include <algorithm>
#include <cstring>

#include "step.hpp"

namespace cairn::bench {
namespace {

struct Named {
  const char* name;
  uint32_t encoding;
};
constexpr Named kAll[] = {{"bf16", 30},      {"f16", 1},        {"q8_0", 8},       {"q4_0", 2},
                          {"q4_1", 3},       {"q5_0", 6},       {"q5_1", 7},       {"q2_k", 10},
                          {"q3_k", 11},      {"q4_k", 12},      {"q5_k", 13},      {"q6_k", 14},
                          {"iq4_nl", 20},    {"iq4_xs", 23},    {"planes 7", 107}, {"planes 6", 106},
                          {"planes 5", 105}, {"planes 4", 104}, {"planes 3", 103}, {"planes 2", 102},
                          {"planes 1", 101}, {"iq3_s", 21},     {"mxfp4", 39}};

double copy_peak() {
  constexpr uint64_t kBytes = uint64_t{2} << 30;
  void *a = reserve(kBytes), *b = reserve(kBytes);
  double best = 0;
  for (int i = 0; i < 4; ++i) {
    call(plugin->wait, device);
    const auto begin = std::chrono::steady_clock::now();
    for (int j = 0; j < 4; ++j) call(plugin->copy, device, a, static_cast<const void*>(b), kBytes);
    call(plugin->wait, device);
    best = std::max(
        best, 8.0 * kBytes / std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  give_back(a);
  give_back(b);
  return best;
}

bool wants(int argc, char** argv, const char* what, bool otherwise) {
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], what) == 0) return true;
  }
  return otherwise;
}

// Time of each kind of op in a step: lists of that op alone, of all layers; microseconds a launch.
void ops(Model& model) {
  const std::vector<CudaCommand> all = model.list_;
  const char* names[] = {"embed",    "take",    "scale",  "add",   "norm",      "layer",  "rope",  "gate",
                         "activate", "softcap", "rotate", "store", "attention", "linear", "planes"};
  const auto time = [&](const char* name, const auto& takes, int merged) {
    std::vector<CudaCommand> some;
    for (const CudaCommand& c : all) {
      if (takes(c)) some.push_back(c);
    }
    if (some.empty()) return;
    model.list_ = some;
    const double each =
        model.time(50, 1000 + reinterpret_cast<uintptr_t>(name) % 100000) * merged / some.size();
    std::printf(" %s %.2f", name, each * 1e6);
  };
  std::printf("    alone, us:");
  for (int op = 0; op < 13; ++op) {
    time(
        names[op], [&](const CudaCommand& c) { return static_cast<int>(c.op) == op; }, 1);
  }
  const auto linear = [&](const char* name, uint32_t n, uint32_t k, int merged) {
    time(
        name,
        [&](const CudaCommand& c) {
          return c.op >= CudaOp::linear &&
                 (c.n == n || (n == 1 && (c.n == 256 || (c.n == 1536 && c.in == model.normed())))) &&
                 c.width == k && (n != 1536 || c.in != model.normed());
        },
        merged);
  };
  linear("qkv", 1, 1536, 3);
  linear("o", 1536, 1536, 1);
  linear("gate-up", 8960, 1536, 2);
  linear("down", 1536, 8960, 1);
  linear("head", 151936, 1536, 1);
  std::printf("\n");
  model.list_ = all;
}

}  // namespace
}  // namespace cairn::bench

int main(int argc, char** argv) {
  using namespace cairn;
  using namespace cairn::bench;
  const char* path = std::getenv("CAIRN_CUDA_LIBRARY");
  plugin =
      &open_plugin<CudaPlugin>(path != nullptr ? path : own_library(CudaPlugin::kLibrary, "it is measured"));
  call(plugin->open, 0, &device);
  CudaDeviceInfo about{};
  call(plugin->describe, 0, &about);
  const double peak = copy_peak();
  std::printf("%s, %d processors, driver %d; copies read and write %.0f GB/s\n", about.name, about.processors,
              about.driver, peak / 1e9);
  const bool every = argc < 2 || wants(argc, argv, "all", false);
  for (const Named& n : kAll) {
    bool chosen = wants(argc, argv, "every", false), named = false;
    for (const Named& other : kAll) named = named || wants(argc, argv, other.name, false);
    chosen = chosen || (named ? wants(argc, argv, n.name, false) : true);
    if (!chosen) continue;
    Model model({}, n.encoding);
    if (wants(argc, argv, "decode", every)) {
      model.prepare(1, 1, 500);
      const double one = model.time(100, 1);
      std::printf("%-9s decode %7.0f tokens/s  %5.0f us, %4.2f GB, %4.0f GB/s (%.2f of copies)\n", n.name,
                  1 / one, one * 1e6, static_cast<double>(model.bytes()) / 1e9,
                  static_cast<double>(model.bytes()) / one / 1e9,
                  static_cast<double>(model.bytes()) / one / peak);
      if (wants(argc, argv, "ops", false)) ops(model);
      model.release();
    }
    if (wants(argc, argv, "batch", every)) {
      for (const uint32_t rows : {2u, 4u, 8u, 16u, 32u, 64u}) {
        model.prepare(rows, rows, 500);
        const double all = model.time(30, 1);
        std::printf("%-9s %2u sequences %7.0f tokens/s\n", n.name, rows, rows / all);
        model.release();
      }
    }
    if (wants(argc, argv, "prefill", every)) {
      for (const uint32_t rows : {512u, 2048u}) {
        model.prepare(rows, 1, 0);
        const double all = model.time(5, 0);
        std::printf("%-9s prefill %4u %8.0f tokens/s  %6.0f us, %4.0f TFLOP/s\n", n.name, rows, rows / all,
                    all * 1e6, rows * 2.0 * 1.31e9 / all / 1e12);
        if (wants(argc, argv, "ops", false)) ops(model);
        model.release();
      }
    }
    std::fflush(stdout);
  }
  plugin->close(device);
}
