#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <string>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "cli/json_text.hpp"
#include "cli/video/work.hpp"
#include "video/container.hpp"
#include "video/contents.hpp"
#include "video/reader.hpp"

namespace cairn::cli {
namespace {

using video::CairnFile;
using video::FileBytes;
using video::Network;

double gmacs(const Network& network, const video::Restoration& restoration) {
  return video::macs_per_small_pixel(network) * restoration.small_width * restoration.small_height / 1e9;
}

nlohmann::ordered_json to_json(const CairnFile& file, const FileBytes& bytes, const video::VideoInfo& info,
                               const std::vector<video::Holding>& holdings) {
  nlohmann::ordered_json json;
  json["codec"] = file.video_codec;
  json["small"] = {{"width", info.format.width}, {"height", info.format.height}, {"bits", info.format.bits}};
  json["bytes"] = {{"video", bytes.video},   {"networks", bytes.networks},     {"labels", bytes.labels},
                   {"header", bytes.header}, {"total", bytes.picture()},       {"audio", bytes.audio},
                   {"other", bytes.other},   {"container", bytes.container()}, {"file", bytes.file}};
  json["holds"] = nlohmann::ordered_json::array();
  for (const video::Holding& holding : holdings)
    json["holds"].push_back({{"kind", holding.kind}, {"text", holding.text}});
  if (!file.restoration) return json;
  const video::Restoration& r = *file.restoration;
  json["version"] = file.sizes.version;
  json["restored"] = {{"width", r.width}, {"height", r.height}, {"scale", r.scale}};
  const auto add = [&](const Network& network, size_t i) {
    json["networks"].push_back({{"name", r.architectures[i].name()},
                                {"plane", network.plane == Network::Plane::luma ? "luma" : "chroma"},
                                {"weight_bits", network.weight_bits},
                                {"parameters", video::parameters(network)},
                                {"bytes", file.sizes.each[i]},
                                {"gmac_per_frame", gmacs(network, r)}});
    if (i < r.bases.size() && r.bases[i] >= 0) json["networks"].back()["differs_from"] = r.bases[i];
  };
  for (size_t i = 0; i < r.networks.size(); ++i) add(r.networks[i], i);
  if (r.chroma) add(*r.chroma, r.networks.size());
  if (r.labels) {
    json["labels"] = {{"patch_width", r.labels->patch_width},
                      {"patch_height", r.labels->patch_height},
                      {"columns", r.labels->columns},
                      {"rows", r.labels->rows},
                      {"frames", r.labels->frames.size()}};
  }
  for (const video::Segment& segment : r.segments)
    json["segments"].push_back({{"first_frame", segment.first_frame}, {"network", segment.network}});
  return json;
}

void print(const std::vector<video::Holding>& holdings) {
  if (holdings.empty()) return;
  fmt::print("\nBeside the pictures' samples:\n");
  for (const video::Holding& holding : holdings) fmt::print("  {:<12}{}\n", holding.kind, holding.text);
}

void print(const CairnFile& file, const FileBytes& bytes, const video::VideoInfo& info) {
  const auto part = [&](const char* what, uint64_t count) {
    if (count > 0)
      fmt::print("  {:<34}{:>12}  {:5.2f} %\n", what, count,
                 100.0 * static_cast<double>(count) / static_cast<double>(bytes.file));
  };
  fmt::print("{} {}×{}, {} bits", file.video_codec, info.format.width, info.format.height, info.format.bits);
  if (file.restoration) {
    fmt::print(", restored to {}×{} (x{})", file.restoration->width, file.restoration->height,
               file.restoration->scale);
  } else {
    fmt::print("; no networks: an ordinary video");
  }
  fmt::print("\n\n  {:<34}{:>12}\n", "part", "bytes");
  part("small video", bytes.video);
  if (file.restoration) {
    const video::Restoration& r = *file.restoration;
    for (size_t i = 0; i < file.sizes.each.size(); ++i) {
      const Network& network = i < r.networks.size() ? r.networks[i] : *r.chroma;
      const bool delta = i < r.bases.size() && r.bases[i] >= 0;
      const std::string what = fmt::format(
          "{} {} ({})", network.plane == Network::Plane::luma ? "network" : "chroma",
          r.architectures[i].name(),
          delta ? fmt::format("what differs from network {}", r.bases[i])
                : fmt::format("{} weights, {} bits", video::parameters(network), network.weight_bits));
      part(what.c_str(), file.sizes.each[i]);
    }
  }
  part(file.restoration && !file.restoration->segments.empty() ? "segments" : "labels", bytes.labels);
  part("attachment's header", bytes.header);
  part("audio", bytes.audio);
  part("other tracks, attachments", bytes.other);
  part("container", bytes.container());
  fmt::print("  {:<34}{:>12}\n", "file", bytes.file);
  if (!file.restoration) return;
  double most = 0;
  for (const Network& network : file.restoration->networks)
    most = std::max(most, gmacs(network, *file.restoration));
  fmt::print("\nRestoring costs {:.2f} GMAC a frame", most);
  if (file.restoration->labels) {
    fmt::print(" (each network for its patches: {} × {} patches, {} frames)",
               file.restoration->labels->columns, file.restoration->labels->rows,
               file.restoration->labels->frames.size());
  }
  fmt::print(".\n");
  for (size_t i = 0; i < file.restoration->segments.size(); ++i) {
    const video::Segment& segment = file.restoration->segments[i];
    fmt::print("From frame {} on: network {}\n", segment.first_frame, segment.network);
  }
}

}  // namespace

void run_inspect(InspectFlags& flags) {
  flags.files.check({flags.attachment}, {flags.path});
  const CairnFile file = video::read_cairn_file(flags.path);
  if (!flags.attachment.empty()) {
    if (!file.restoration) fail(ErrorCode::invalid_argument, "{}: it has no networks", flags.path);
    AtomicFile out(flags.attachment);
    out.write(video::write_attachment(*file.restoration));
    out.commit();
    return;
  }
  const FileBytes bytes = video::count_bytes(flags.path);
  const video::VideoInfo info = video::Reader(flags.path).info();
  const std::vector<video::Holding> holdings = video::read_contents(flags.path);
  if (flags.json) {
    fmt::print("{}", json_text(to_json(file, bytes, info, holdings)));
  } else {
    print(file, bytes, info);
    print(holdings);
  }
}

}  // namespace cairn::cli
