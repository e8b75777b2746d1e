#include "video/reader_notes.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace cairn::video {
namespace {

constexpr std::array<std::pair<AVFrameSideDataType, const char*>, 3> kDynamic = {
    {{AV_FRAME_DATA_DYNAMIC_HDR_PLUS, "HDR10+'s values of each picture"},
     {AV_FRAME_DATA_DOVI_METADATA, "Dolby Vision's layer"},
     {AV_FRAME_DATA_A53_CC, "closed captions inside the pictures"}}};

const char* few(uint64_t count) {
  return count == 1 ? "" : "s";
}

}  // namespace

void ReaderNotes::pixels(AVPixelFormat own, AVPixelFormat read) {
  if (own == read || own == AV_PIX_FMT_NONE) return;
  pixels_ =
      fmt::format("its pictures are {}, taken as {}", av_get_pix_fmt_name(own), av_get_pix_fmt_name(read));
  const AVPixFmtDescriptor* d = av_pix_fmt_desc_get(own);
  if (d != nullptr && (d->flags & AV_PIX_FMT_FLAG_ALPHA) != 0) pixels_ += " without their transparency";
}

void ReaderNotes::left_out(const std::string& what) {
  if (std::ranges::find(left_out_, what) == left_out_.end()) left_out_.push_back(what);
}

void ReaderNotes::damage(uint64_t& count, uint64_t frame) {
  ++count;
  if (!first_damage_) first_damage_ = frame;
}

void ReaderNotes::picture(const AVFrame& frame, const Format& format, uint64_t number) {
  if ((frame.flags & AV_FRAME_FLAG_CORRUPT) != 0 || frame.decode_error_flags != 0) damage(concealed_, number);
  if (frame.width != static_cast<int>(format.width) || frame.height != static_cast<int>(format.height)) {
    if (resizings_++ == 0) resized_ = fmt::format("frame {} on, {}×{}", number, frame.width, frame.height);
  }
  for (const auto& [type, what] : kDynamic) {
    if (av_frame_get_side_data(&frame, type) != nullptr) left_out(what);
  }
}

std::vector<std::string> ReaderNotes::lines(const std::string& name, const std::vector<Jump>& jumps) const {
  std::vector<std::string> lines;
  const auto add = [&](const std::string& what) { lines.push_back(fmt::format("{}: {}", name, what)); };
  if (!pixels_.empty()) add(pixels_);
  for (const std::string& what : left_out_) add(what + ": left out");
  if (!jumps.empty()) {
    add(fmt::format("its time stamps jump {} time{}, first at {:.2f} s by {:+.2f} s: joined", jumps.size(),
                    few(jumps.size()), jumps[0].at, jumps[0].by));
  }
  if (resizings_ > 0)
    add(fmt::format("{} frame{} of another size (from {}): scaled", resizings_, few(resizings_), resized_));
  if (damaged_ + lost_ + concealed_ > 0) {
    add(fmt::format(
        "damaged: {} packet{} lost, {} packet{} and {} picture{} mended by the decoder, first after "
        "frame {}",
        lost_, few(lost_), damaged_, few(damaged_), concealed_, few(concealed_), *first_damage_));
  }
  if (!early_.empty()) add(early_);
  return lines;
}

}  // namespace cairn::video
