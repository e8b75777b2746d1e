#include <algorithm>
#include <cmath>
#include <filesystem>
#include <numeric>

#include "base/error.hpp"
#include "video/encode/clip.hpp"
#include "video/farm/part.hpp"
#include "video/libav.hpp"
#include "video/packets.hpp"

namespace cairn::video {
namespace {

constexpr size_t kMostNetworks = 255;  // of an attachment

std::vector<PartResult> all_results(const std::string& list_path, const JobList& list) {
  std::vector<PartResult> results;
  for (size_t p = 0; p < list.parts.size(); ++p) {
    auto result = read_part(list_path, list, p);
    if (!result)
      fail(ErrorCode::invalid_argument, "{}: job {} of 0 … {} is not done: cairn video work {} {}", list_path,
           p, list.parts.size() - 1, list_path, p);
    results.push_back(std::move(*result));
  }
  return results;
}

// Of the networks of parts, those that an attachment has room for: the ones that gain most.
void drop_least(std::vector<PartResult>& results) {
  std::vector<size_t> own;
  for (size_t p = 0; p < results.size(); ++p) {
    if (results[p].network) own.push_back(p);
  }
  const size_t room = kMostNetworks - 2;  // the shared one, and the bicubic
  if (own.size() <= room) return;
  std::ranges::stable_sort(own, std::greater{}, [&](size_t p) { return results[p].gained; });
  for (size_t i = room; i < own.size(); ++i) {
    PartResult& result = results[own[i]];
    result.network.reset();
    result.error += result.gained;
    // Which of the two it was before its own network is not kept: a little is lost where it was the bicubic.
    result.serving = PartResult::Serving::shared;
  }
}

Restoration joined(const JobList& list, const std::vector<PartResult>& results) {
  Restoration r = read_attachment(list.attachment, "the network of the list");
  if (list.options.mode == Mode::plain) return r;
  const Architecture shape = r.architectures[0];
  r.bases.assign(1, -1);
  const auto add = [&](Network network, const Architecture& architecture, int32_t base) {
    r.architectures.insert(r.architectures.begin() + static_cast<ptrdiff_t>(r.networks.size()), architecture);
    r.networks.push_back(std::move(network));
    r.bases.push_back(base);
    return static_cast<uint32_t>(r.networks.size() - 1);
  };
  std::optional<uint32_t> bicubic;
  for (size_t p = 0; p < results.size(); ++p) {
    uint32_t serving = 0;
    if (results[p].network) {
      serving = add(decode_delta(*results[p].network, {r.networks[0]}, fmt::format("job {}'s network", p)),
                    shape, 0);
    } else if (results[p].serving == PartResult::Serving::bicubic) {
      if (!bicubic) {
        Restoration plain = bicubic_restoration({r.width, r.height, 8, Chroma::c420},
                                                {r.small_width, r.small_height, 8, Chroma::c420}, r.scale);
        bicubic = add(std::move(plain.networks[0]), plain.architectures[0], -1);
      }
      serving = *bicubic;
    }
    if (r.segments.empty() || r.segments.back().network != serving)
      r.segments.push_back({list.parts[p].first, serving});
  }
  if (r.segments.size() == 1 && r.segments[0].network == 0) r.segments.clear();
  return r;
}

}  // namespace

EncodeReport join_parts(const std::string& list_path, const JobList& list, const EncodeProgress& progress) {
  std::vector<PartResult> results = all_results(list_path, list);
  drop_least(results);
  EncodeReport report;
  AttachmentSizes sizes;
  std::vector<std::byte> attachment;
  if (!list.attachment.empty()) {
    const Restoration restoration = joined(list, results);
    attachment = write_attachment(restoration, &sizes);
    report.scene_networks = restoration.networks.size() - 1;
  }
  MatroskaFile file(list.output, list.input, list.options.keep);
  const VideoInfo info = RestoredReader(list.input).info();
  CodedVideo head;
  const auto part = [&](size_t p) {
    CodedVideo video = read_packets(part_path(list_path, p) + ".mkv");
    const AVCodecParameters &a = *video.parameters, *first = head.parameters.get();
    if (first != nullptr && (a.extradata_size != first->extradata_size ||
                             !std::equal(a.extradata, a.extradata + a.extradata_size, first->extradata))) {
      fail(ErrorCode::format, "{}.mkv: its codec's header is not part 0's: the workers' encoders differ",
           part_path(list_path, p));
    }
    // Read alone it begins at zero.
    const AVRational ticks = {static_cast<int>(info.time_base.numerator),
                              static_cast<int>(info.time_base.denominator)},
                     own = {static_cast<int>(video.shown.time_base.numerator),
                            static_cast<int>(video.shown.time_base.denominator)};
    int64_t first_pts = INT64_MAX;
    for (const CodedPacket& packet : video.packets) first_pts = std::min(first_pts, packet.pts);
    const int64_t late = av_rescale_q(list.parts[p].pts, ticks, own) - first_pts;
    for (CodedPacket& packet : video.packets) {
      packet.pts += late;
      packet.dts += late;
    }
    return video;
  };
  head = part(0);
  Shown told = shown(info);
  told.time_base = head.shown.time_base;
  if (list.options.mode > Mode::x1) told.fields = Fields::progressive;
  head.shown = std::move(told);
  head.packets.clear();
  file.write(head, list.parts.size(), part, attachment);
  report.video = count_bytes(list.output).video;
  double error = 0;
  uint64_t frames = 0;
  for (const PartResult& result : results) {
    error += result.error;
    frames += result.frames;
    report.result.train_seconds += result.seconds;
  }
  const uint32_t peak = info.format.peak();
  report.networks = sizes.networks;
  report.labels = sizes.labels;
  report.header = sizes.header;
  report.scenes = list.parts.size();
  Choice& choice = report.result;
  choice.mode = list.options.mode;
  choice.crf = *list.options.crf;
  choice.downscale = *list.options.downscale;
  choice.bytes = report.video + attachment.size();
  choice.psnr = to_psnr(error / static_cast<double>(frames), peak);
  choice.chosen = true;
  report.choices = {choice};
  report.notes = file.notes();
  for (const std::string& note : report.notes) {
    if (progress.line) progress.line(note);
  }
  std::error_code ignored;
  for (size_t p = 0; p < list.parts.size(); ++p) {
    std::filesystem::remove(part_path(list_path, p) + ".mkv", ignored);
    std::filesystem::remove(part_path(list_path, p) + ".json", ignored);
  }
  std::filesystem::remove(list_path, ignored);
  return report;
}

}  // namespace cairn::video
