#include <fmt/format.h>

#include <string>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/standard_streams.hpp"
#include "cli/video/work.hpp"
#include "video/container.hpp"
#include "video/export/onnx.hpp"
#include "video/export/shader.hpp"
#include "video/reader.hpp"

namespace cairn::cli {
namespace {

void write(const std::string& path, const std::string& text) {
  AtomicFile out(path);
  out.write(text);
  out.commit();
}

// What of several networks goes along.
void tell_choice(const video::Restoration& r, const video::Still& still) {
  if (r.networks.size() < 2 || !logs(LogLevel::info)) return;
  const double percent = 100 * still.share;
  if (!still.labels.empty()) {
    tell(
        "{} networks, and for each patch the one that it has most often ({:.0f} % of all patches have it): a "
        "shader "
        "does not know a frame's number\n",
        still.networks.size(), percent);
  } else if (still.share < 1) {
    tell("network {} of 0 … {}, which restores {:.0f} % of the frames; --network takes another\n",
         still.networks[0], r.networks.size() - 1, percent);
  }
}

}  // namespace

void run_export(ExportFlags& flags) {
  flags.files.check({flags.shader, flags.onnx}, {flags.input});
  const video::CairnFile file = video::read_cairn_file(flags.input);
  if (!file.restoration) fail(ErrorCode::invalid_argument, "{}: it has no networks", flags.input);
  const video::Restoration& r = *file.restoration;
  if (flags.chroma && !r.chroma)
    fail(ErrorCode::invalid_argument, "{}: it has no network for chroma", flags.input);
  const video::VideoInfo info = video::Reader(flags.input).info();
  const video::Still still = video::stand_still(r, flags.network, info.frames);
  // Both are made before one is written: what cannot be exported leaves nothing.
  std::string shader, onnx;
  if (!flags.shader.empty()) shader = video::write_shader(r, still, info.format, info.colour.siting);
  const uint32_t number = video::most_used(still);
  if (!flags.onnx.empty()) {
    const size_t architecture = flags.chroma ? r.networks.size() : number;
    onnx = video::write_onnx(flags.chroma ? *r.chroma : r.networks[number],
                             {r.architectures[architecture].name(), r.width, r.height, info.format.bits});
  }
  if (!shader.empty()) {
    write(flags.shader, shader);
    tell_choice(r, still);
  }
  if (!onnx.empty()) {
    write(flags.onnx, onnx);
    if (r.networks.size() > 1 && !flags.network && !flags.chroma && logs(LogLevel::info))
      tell("{}: network {} of 0 … {}; --network takes another\n", flags.onnx, number, r.networks.size() - 1);
  }
}

}  // namespace cairn::cli
