#include <fmt/format.h>

#include <string>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "base/log.hpp"
#include "base/standard_streams.hpp"
#include "cli/video/work.hpp"
#include "video/container.hpp"
#include "video/export/shader.hpp"
#include "video/reader.hpp"

namespace cairn::cli {
namespace {

void write(const std::string& path, std::span<const std::byte> bytes) {
  AtomicFile out(path);
  out.write(bytes);
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
  const video::VideoInfo info = video::Reader(flags.input).info();
  if (!flags.shader.empty()) {
    const video::Still still = video::stand_still(r, flags.network, info.frames);
    const std::string text = video::write_shader(r, still, info.format, info.colour.siting);
    write(flags.shader, std::as_bytes(std::span(text)));
    tell_choice(r, still);
  }
}

}  // namespace cairn::cli
