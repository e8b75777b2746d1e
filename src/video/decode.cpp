#include "video/decode.hpp"

#include <filesystem>

#include "base/atomic_file.hpp"
#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "video/lossless.hpp"
#include "video/picture.hpp"
#include "video/restored_reader.hpp"
#include "video/y4m.hpp"

namespace cairn::video {
namespace {

namespace fs = std::filesystem;

// Where frames go.
class Sink {
 public:
  virtual ~Sink() = default;
  virtual void write(const Frame& frame, const VideoInfo& info) = 0;
  virtual void finish() = 0;
  virtual std::vector<std::string> notes() const { return {}; }
};

class Y4mSink : public Sink {
 public:
  explicit Y4mSink(const std::string& path) : file_(path) {}
  void write(const Frame& frame, const VideoInfo& info) override {
    if (!began_) file_.write(y4m_header(info));
    began_ = true;
    bytes_.clear();
    append_y4m_frame(frame, bytes_);
    file_.write(bytes_);
  }
  void finish() override { file_.commit(); }

 private:
  AtomicFile file_;
  std::string bytes_;
  bool began_ = false;
};

class PngSink : public Sink {
 public:
  explicit PngSink(fs::path folder) : folder_(std::move(folder)) {
    std::error_code error;
    fs::create_directories(folder_, error);
    if (error) fail(ErrorCode::io, "{}: {}", folder_.string(), error.message());
  }
  void write(const Frame& frame, const VideoInfo& info) override {
    if (!converter_) converter_.emplace(frame.format, info.colour);
    converter_->convert(frame, picture_);
    const std::vector<uint8_t> png = encode_png(picture_);
    AtomicFile file((folder_ / fmt::format("{:08}.png", ++count_)).string());
    file.write(std::as_bytes(std::span(png)));
    file.commit();
  }
  void finish() override {}

 private:
  fs::path folder_;
  std::optional<RgbConverter> converter_;
  Picture picture_;
  uint64_t count_ = 0;
};

class LosslessSink : public Sink {
 public:
  LosslessSink(const std::string& path, const VideoInfo& info, const std::string& from, const Keep& keep)
      : file_(path, info, from, keep) {}
  void write(const Frame& frame, const VideoInfo&) override { file_.write(frame); }
  void finish() override { file_.finish(); }
  std::vector<std::string> notes() const override { return file_.notes(); }

 private:
  LosslessFile file_;
};

std::unique_ptr<Sink> open_sink(const std::string& from, const std::string& to, const VideoInfo& info,
                                const DecodeOptions& options) {
  if (to == "-") return std::make_unique<Y4mSink>("/dev/stdout");
  std::error_code ignored;
  if (to.ends_with('/') || fs::is_directory(to, ignored)) return std::make_unique<PngSink>(to);
  if (to.ends_with(".y4m") || (fs::exists(to, ignored) && !fs::is_regular_file(to, ignored)))
    return std::make_unique<Y4mSink>(to);
  if (to.ends_with(".mkv")) return std::make_unique<LosslessSink>(to, info, from, options.keep);
  fail(ErrorCode::invalid_argument,
       "{}: the output is - (y4m on stdout), a name ending in .y4m or .mkv, or a folder (ending in /)", to);
}

}  // namespace

DecodeReport decode(const std::string& from, const std::string& to, const DecodeOptions& options,
                    const std::function<void(uint64_t, uint64_t)>& progress) {
  const Stopwatch watch;
  RestoredReader reader(from, options.restore, {.keep_going = options.keep_going}, true);
  std::error_code ignored;
  if (fs::equivalent(from, to, ignored))
    fail(ErrorCode::invalid_argument, "{}: input and output are the same file", to);
  const std::unique_ptr<Sink> sink = open_sink(from, to, reader.info(), options);
  DecodeReport report;
  Frame frame;
  while ((options.frames == 0 || report.frames < options.frames) && reader.read(frame)) {
    throw_if_interrupted();
    sink->write(frame, reader.info());
    ++report.frames;
    if (progress) progress(report.frames, reader.info().frames);
  }
  sink->finish();
  report.notes = reader.notes();
  for (std::string& line : sink->notes()) report.notes.push_back(std::move(line));
  report.seconds = watch.seconds();
  return report;
}

}  // namespace cairn::video
