#include "video/restored_reader.hpp"

#include <utility>

#include "video/libav.hpp"

namespace cairn::video {

namespace {

// Chroma that is sited left lies above or below when the picture is turned.
int turned_siting(int siting, int quarters) {
  constexpr std::array<int, 4> kSides = {AVCHROMA_LOC_LEFT, AVCHROMA_LOC_TOP, AVCHROMA_LOC_UNSPECIFIED,
                                         AVCHROMA_LOC_BOTTOM};
  return siting == AVCHROMA_LOC_LEFT ? kSides[static_cast<size_t>(quarters)] : siting;
}

void turn_info(VideoInfo& info, const Orientation& turn) {
  const int quarters = turn.quarters().value_or(0);
  info.format = turned(info.format, turn);
  if (quarters % 2 == 1) std::swap(info.sample_aspect.numerator, info.sample_aspect.denominator);
  info.colour.siting = turned_siting(info.colour.siting, quarters);
  info.fields = turn.upright() ? info.fields : Fields::progressive;
  if (turn.quarters()) info.orientation = {};
}

}  // namespace

RestoredReader::RestoredReader(const std::string& path, const RestoreOptions& restore,
                               const ReaderOptions& reader, bool upright)
    : file_(read_cairn_file(path)), reader_(path, reader), info_(reader_.info()) {
  if (upright) turn_ = info_.orientation;
  if (file_.restoration) {
    restorer_.emplace(*file_.restoration, info_.format, path, restore);
    info_.format = restorer_->format();
    if (file_.restoration->scale > 1) info_.fields = Fields::progressive;
  }
  stored_format_ = info_.format;
  if (upright) turn_info(info_, turn_);
}

void RestoredReader::stand_up(const Frame& stored, Frame& out) const {
  if (turn_.upright()) {
    out = stored;
  } else {
    turn(stored, turn_, out);
  }
}

bool RestoredReader::advance() {
  const bool looks_ahead = restorer_ && restorer_->needs_after();
  if (!began_) {
    began_ = true;
    there_ = {false, reader_.read(frames_[1]), false};
    if (there_[1] && looks_ahead) there_[2] = reader_.read(frames_[2]);
  } else {
    std::swap(frames_[0], frames_[1]);
    there_[0] = there_[1];
    if (looks_ahead) {
      std::swap(frames_[1], frames_[2]);
      there_[1] = there_[2];
      there_[2] = there_[1] && reader_.read(frames_[2]);
    } else {
      there_[1] = there_[0] && reader_.read(frames_[1]);
    }
  }
  return there_[1];
}

void RestoredReader::only(std::vector<TimedRange> ranges) {
  ranges_ = std::move(ranges);
  range_ = 0;
}

bool RestoredReader::arrive() {
  if (ranges_.empty()) return true;
  if (range_ < ranges_.size() && next_ == ranges_[range_].end) ++range_;
  if (range_ == ranges_.size()) return false;
  const TimedRange& range = ranges_[range_];
  if (next_ >= range.first && next_ < range.end) return true;
  if (!restorer_) {
    reader_.seek(range.first, range.pts);
    next_ = range.first;
    began_ = false;
    there_ = {};
    return true;
  }
  while (next_ < range.first) {  // networks may look at the frame before
    if (!advance()) return false;
    ++next_;
  }
  return true;
}

bool RestoredReader::read(Frame& restored, Frame* small) {
  if (!arrive() || !advance()) return false;
  const uint64_t index = next_++;
  if (small != nullptr) *small = frames_[1];
  if (!restorer_) {
    stand_up(frames_[1], restored);
    return true;
  }
  Frame& to = turn_.upright() ? restored : stored_;
  restorer_->restore(index, there_[0] ? &frames_[0] : nullptr, frames_[1], there_[2] ? &frames_[2] : nullptr,
                     to);
  if (!turn_.upright()) stand_up(stored_, restored);
  return true;
}

bool RestoredReader::skip() {
  if (!arrive() || !advance()) return false;
  ++next_;
  return true;
}

void RestoredReader::rewind() {
  reader_.rewind();
  next_ = 0;
  range_ = 0;
  began_ = false;
  there_ = {};
}

}  // namespace cairn::video
