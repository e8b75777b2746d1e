#include "video/live/live_record.hpp"

#include "base/error.hpp"
#include "video/libav.hpp"

namespace cairn::video {
namespace {

constexpr size_t kMostNetworks = 254;  // of an attachment

}  // namespace

void LiveRecord::add(const LiveSegment& segment, const Restoration* restoration) {
  const CodedVideo& video = segment.rates[0].video;
  if (video_.parameters == nullptr) {
    video_.parameters.reset(avcodec_parameters_alloc());
    if (video_.parameters == nullptr ||
        avcodec_parameters_copy(video_.parameters.get(), video.parameters.get()) < 0)
      fail(ErrorCode::out_of_memory, "{}: no memory for a track", path_);
    video_.shown = video.shown;
  }
  video_.packets.insert(video_.packets.end(), video.packets.begin(), video.packets.end());
  const uint64_t first = frames_;
  frames_ += segment.stamps.size() - 1;
  if (restoration == nullptr) return;
  Restoration& r = restorations_;
  std::vector<std::byte> own = encode_network(restoration->networks[0], restoration->architectures[0]);
  if (!r.networks.empty() && (own == last_ || r.networks.size() == kMostNetworks)) return;
  if (r.networks.empty()) {
    r = *restoration;
    r.bases = {-1};
  } else {
    const bool differs = can_differ(r.networks.back(), restoration->networks[0]);
    r.bases.push_back(differs ? static_cast<int32_t>(r.networks.size()) - 1 : -1);
    r.networks.push_back(restoration->networks[0]);
    r.architectures.push_back(restoration->architectures[0]);
  }
  last_ = std::move(own);
  r.segments.push_back({first, static_cast<uint32_t>(r.networks.size() - 1)});
}

void LiveRecord::write() {
  if (video_.packets.empty()) return;
  file_.write(video_,
              restorations_.networks.empty() ? std::vector<std::byte>{} : write_attachment(restorations_));
}

}  // namespace cairn::video
