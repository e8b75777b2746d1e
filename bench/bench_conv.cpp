// Restoring 1080p frames: frames a second, multiply-adds a second and their share of this machine's int8
// peak, for each instruction set that the processor has.
//   bench_conv [--threads 2]
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "base/clock.hpp"
#include "base/machine.hpp"
#include "measure/peaks.hpp"
#include "video/restore.hpp"

namespace {

using namespace cairn;
using namespace cairn::video;

constexpr uint32_t kWidth = 1920, kHeight = 1080;
constexpr int kRounds = 5, kFrames = 8;

// Codes of the whole range, as trained weights have them.
Network random_network(const char* name, uint32_t scale, uint32_t bits) {
  std::mt19937 random(1);
  Network network = make_network(parse_architecture(name), scale);
  network.weight_bits = bits;
  const int most = (1 << (bits - 1)) - 1;
  for (Layer& layer : network.layers) {
    layer.scales.assign(layer.out, 1.0f / (256.0f * static_cast<float>(most)));
    layer.activation_max = layer.relu ? 1.0f : 0.0f;
    for (size_t i = 0; i < layer.weights.size(); ++i) {
      layer.codes.push_back(
          static_cast<int8_t>(static_cast<int>(random() % (2u * static_cast<unsigned>(most) + 1)) - most));
      layer.weights[i] = layer.codes.back() * layer.scales[0];
    }
  }
  network.skip_codes.assign(network.skip.size(), 0);
  network.skip_scales.assign(static_cast<size_t>(scale) * scale, 1.0f);
  validate(network, name);
  return network;
}

struct Result {
  std::string what;
  double gmac, rate;  // of a frame; frames a second
};

// peak: raised to the highest seen; what disturbs so short a run makes it slower, never faster.
Result measure_one(const char* name, uint32_t scale, uint32_t bits, kernels::Target target, size_t threads,
                   double& peak) {
  Restoration restoration;
  const Format small{kWidth / scale, (kHeight / scale + 1) / 2 * 2, 8, Chroma::c420};
  restoration.width = kWidth;
  restoration.height = kHeight;
  restoration.small_width = small.width;
  restoration.small_height = small.height;
  restoration.scale = scale;
  restoration.networks.push_back(random_network(name, scale, bits));
  restoration.architectures.push_back(parse_architecture(name));
  Frame frame, out;
  frame.allocate(small);
  std::mt19937 random(2);
  for (Plane& plane : frame.planes) {
    for (uint16_t& sample : plane.samples) sample = static_cast<uint16_t>(random() & 255);
  }
  Restorer restorer(restoration, small, name, {threads, target, false});
  ThreadPool pool(threads, ThreadPool::Idle::sleep);
  restorer.restore(0, nullptr, frame, nullptr, out);
  const double gmac = macs_per_small_pixel(restoration.networks[0]) * small.width * small.height * 1e-9;
  std::vector<double> rates;
  for (int round = 0; round < kRounds; ++round) {
    peak = std::max(peak, measure::int8_gops(pool, target, false, 0.03));
    const Stopwatch watch;
    for (int i = 0; i < kFrames; ++i) restorer.restore(0, nullptr, frame, nullptr, out);
    rates.push_back(kFrames / watch.seconds());
  }
  std::sort(rates.begin(), rates.end());
  return {fmt::format("{:10} {:6} x{} {} bits", kernels::name(target), name, scale, bits), gmac,
          rates[kRounds / 2]};
}

}  // namespace

int main(int count, char** arguments) {
  size_t threads = 2;
  if (count == 3 && std::string(arguments[1]) == "--threads") threads = std::stoul(arguments[2]);
  fmt::print("{}, {} threads, 1920×1080 in 4:2:0, chroma included\n", processor_name(), threads);
  for (const kernels::Target target : kernels::available_targets()) {
    if (target == kernels::Target::portable && kernels::available_targets().size() > 1) continue;
    double peak = 0;
    std::vector<Result> results;
    results.push_back(measure_one("C8M4", 1, 5, target, threads, peak));
    results.push_back(measure_one("C8M4", 2, 5, target, threads, peak));
    results.push_back(measure_one("C16M4", 2, 5, target, threads, peak));
    results.push_back(measure_one("C16M4", 2, 8, target, threads, peak));
    results.push_back(measure_one("C32M8", 2, 6, target, threads, peak));
    for (const Result& r : results) {
      const double gops = 2 * r.gmac * r.rate;
      fmt::print("{}: {:5.2f} GMAC a frame, {:6.1f} frames/s, {:6.0f} GOP/s, {:4.1f} % of the peak\n", r.what,
                 r.gmac, r.rate, gops, 100 * gops / peak);
    }
  }
}
