#include "video/restored_reader.hpp"

#include <utility>

namespace cairn::video {

RestoredReader::RestoredReader(const std::string& path, const RestoreOptions& restore,
                               const ReaderOptions& reader)
    : file_(read_cairn_file(path)), reader_(path, reader), info_(reader_.info()) {
  if (!file_.restoration) return;
  restorer_.emplace(*file_.restoration, info_.format, path, restore);
  info_.format = restorer_->format();
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
  // Decoders learn colours with the first frame.
  info_.colour = reader_.info().colour;
  return there_[1];
}

bool RestoredReader::read(Frame& restored, Frame* small) {
  if (!advance()) return false;
  const uint64_t index = next_++;
  if (!restorer_) {
    restored = frames_[1];
    if (small != nullptr) *small = frames_[1];
    return true;
  }
  restorer_->restore(index, there_[0] ? &frames_[0] : nullptr, frames_[1], there_[2] ? &frames_[2] : nullptr,
                     restored);
  if (small != nullptr) *small = frames_[1];
  return true;
}

bool RestoredReader::skip() {
  if (!advance()) return false;
  ++next_;
  return true;
}

void RestoredReader::rewind() {
  reader_.rewind();
  next_ = 0;
  began_ = false;
  there_ = {};
}

}  // namespace cairn::video
