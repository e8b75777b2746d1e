#include "video/live/live.hpp"

#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <filesystem>
#include <mutex>
#include <thread>

#include "base/clock.hpp"
#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "video/encode/checks.hpp"
#include "video/encode/general_network.hpp"
#include "video/libav.hpp"
#include "video/live/live_folder.hpp"
#include "video/live/segment.hpp"
#include "video/memory_file.hpp"
#include "video/resample.hpp"
#include "video/source.hpp"

namespace cairn::video {
namespace {

constexpr uint64_t kKept = 20;         // frames of a segment that are trained on
constexpr size_t kWaitingFrames = 50;  // between capture and encoder
constexpr size_t kWaitingSegments = 3;
constexpr double kOfSegment = 0.8;      // of a segment's time, when the one before is to be published
constexpr double kFirstReserve = 0.15;  // of it, for what follows the training; then as measured
constexpr size_t kMostRecorded = 254;   // networks of an attachment
constexpr auto kLook = std::chrono::milliseconds(20);  // for an interrupt
constexpr int kNice = 10;                              // of training, beside the encoder

// A queue with an end that any side can call.
template <class T>
class Waiting {
 public:
  explicit Waiting(size_t most) : most_(most) {}
  // False: nobody takes it any more.
  bool push(T item) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return items_.size() < most_ || closed_; });
    if (closed_) return false;
    items_.push_back(std::move(item));
    changed_.notify_all();
    return true;
  }
  bool pop(T& item) {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return !items_.empty() || closed_; });
    if (items_.empty()) return false;
    item = std::move(items_.front());
    items_.pop_front();
    changed_.notify_all();
    return true;
  }
  // What is there can still be taken, unless `drop`.
  void close(bool drop = false) {
    const std::lock_guard lock(mutex_);
    closed_ = true;
    if (drop) items_.clear();
    changed_.notify_all();
  }

 private:
  const size_t most_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<T> items_;
  bool closed_ = false;
};

struct Captured {
  Frame frame;
  double at = 0;
};

uint64_t packet_bytes(const CodedVideo& video) {
  uint64_t bytes = 0;
  for (const CodedPacket& packet : video.packets) bytes += packet.data.size();
  return bytes;
}

// Header and packets as containers have them (avcC, lengths before units), which encoders give otherwise;
// times stay. read_packets() without its eye on interrupts: what was captured before one is published.
CodedVideo for_containers(CodedVideo coded) {
  const MemoryFile file;
  write_matroska(file.path(), coded, {}, true);
  Source source(file.path(), "a live segment");
  const Libav<AVPacket> packet(av_packet_alloc());
  size_t read = 0;
  for (; packet != nullptr && source.read(*packet) >= 0 && read < coded.packets.size(); ++read) {
    coded.packets[read].data.assign(packet->data, packet->data + packet->size);
    av_packet_unref(packet.get());
  }
  if (read != coded.packets.size() ||
      avcodec_parameters_copy(coded.parameters.get(), source.stream(source.video()).codecpar) < 0)
    fail(ErrorCode::format, "{} packets of a live segment became {}", coded.packets.size(), read);
  coded.parameters->codec_tag = 0;
  return coded;
}

std::string title_of(const std::string& input) {
  const std::string stem = std::filesystem::path(input).stem().string();
  return input == "-" || stem.empty() ? "live" : stem;
}

class Live {
 public:
  Live(const std::string& input, const std::string& folder, const LiveOptions& options,
       const EncodeProgress& progress)
      : options_(options), progress_(progress), capture_(input, options.capture) {
    const VideoInfo& info = capture_.info();
    const bool plain = options.mode == Mode::plain;
    shape_.original = info.format;
    shape_.scale = scale_of(options.mode);
    shape_.small = small_format(info.format, shape_.scale);
    shape_.network = options.network;
    shape_.weight_bits = options.weight_bits;
    threads_ = options.threads == 0 ? static_cast<uint32_t>(usable_processors()) : options.threads;
    coder_ = {options.codec, options.crf, options.preset, static_cast<int>(threads_)};
    if (coder_.preset.empty()) coder_.preset = options.codec == Codec::av1 ? "10" : "veryfast";
    coder_.loop_restoration = options.mode != Mode::x1;
    coder_.key_seconds = 2 * options.segment_seconds;  // a segment's own key frame is enough
    { const Coder refused(shape_.small, info, coder_); }
    if (!options.record.empty()) record_.emplace(options.record);
    folder_.emplace(folder, options.title.empty() ? title_of(input) : options.title, info, shape_.scale,
                    plain ? "" : options.network.name(), options.segment_seconds, capture_.sound(),
                    options.replace);
    forced_.emplace([this] { folder_->end_at_once(); });
    if (!plain) {
      if (const Network* general = general_network(options.network, shape_.scale)) last_ = *general;
      if (!last_ && !options.train)
        fail(ErrorCode::invalid_argument, "--no-train: there is no general network of {}",
             options.network.name());
    }
    // As many as fit the memory of a training; evenly spread.
    const double expected = options.segment_seconds * info.frame_rate.value();
    stride_ = std::max<uint64_t>(1, static_cast<uint64_t>(std::lround(expected / kKept)));
    if (progress_.line) {
      progress_.line(fmt::format("{}: {}×{} at {:.3g} frames a second", input, info.format.width,
                                 info.format.height, info.frame_rate.value()));
    }
  }

  LiveReport run() {
    std::thread capturing([this] { guard([this] { capture(); }); });
    std::thread training([this] { guard([this] { train(); }); });
    std::thread publishing([this] { guard([this] { publish(); }); });
    guard([this] { encode(); });
    frames_.close(true);
    segments_.close();
    publishing.join();
    trainings_.close(true);
    training.join();
    capturing.join();
    report_.interrupted = interrupted();
    report_.notes = capture_.notes();
    guard([this] { folder_->end(); });
    report_.sound = folder_->sound_bytes();
    for (const std::string& note : folder_->notes()) report_.notes.push_back(note);
    guard([this] { record(); });
    if (failure_) std::rethrow_exception(failure_);
    return std::move(report_);
  }

 private:
  // What is thrown ends all; the first is told. An interrupt is no failure.
  template <class Work>
  void guard(const Work& work) {
    try {
      work();
    } catch (const Error& error) {
      if (error.code() == ErrorCode::cancelled) return;
      end_all();
    } catch (...) {
      end_all();
    }
  }

  void end_all() {
    {
      const std::lock_guard lock(mutex_);
      if (!failure_) failure_ = std::current_exception();
    }
    frames_.close(true);
    segments_.close(true);
    trainings_.close(true);
  }

  void capture() {
    Captured captured;
    while (capture_.read(captured.frame)) {
      captured.at = clock_.seconds();
      if (!frames_.push(captured)) return;
    }
    frames_.close();
  }

  void encode() {
    const VideoInfo& info = capture_.info();
    const auto segment_ticks = static_cast<int64_t>(options_.segment_seconds / info.time_base.value());
    Captured captured;
    Frame small;
    std::optional<Coder> coder;
    LiveSegment segment;
    ThreadPool pool(1, ThreadPool::Idle::sleep);
    const auto finish = [&](int64_t end) {
      segment.coded = for_containers(coder->finish());
      segment.bytes = packet_bytes(segment.coded);
      segment.stamps.push_back(end);
      segment.captured = captured.at;
      coder.reset();
      const uint64_t next = segment.number + 1;
      const bool taken = segments_.push(std::exchange(segment, {}));
      segment.number = next;
      return taken;
    };
    segment.number = 1;
    int64_t end = 0;
    while (frames_.pop(captured) && !interrupted()) {
      const Frame& frame = captured.frame;
      // Pauses: the picture before goes on in segments of its own, so that none is longer than lists promise.
      while (coder && frame.pts - segment.stamps.front() > segment_ticks + frame.duration) {
        small.pts = segment.stamps.front() + segment_ticks;
        small.duration = std::min(frame.pts - small.pts, segment_ticks);
        if (!finish(small.pts)) return;
        coder.emplace(shape_.small, info, coder_);
        coder->write(small);
        segment.stamps.push_back(small.pts);
      }
      if (coder && frame.pts - segment.stamps.front() + frame.duration / 2 >= segment_ticks &&
          !finish(frame.pts))
        return;
      if (!coder) coder.emplace(shape_.small, info, coder_);
      downscale(frame, shape_.scale, Filter::lanczos, small, &pool);
      small.pts = frame.pts;
      small.duration = frame.duration;
      try {
        coder->write(small);
      } catch (const Error& error) {
        if (error.code() != ErrorCode::cancelled) throw;
        break;  // what was written becomes a segment
      }
      const uint64_t number = segment.stamps.size();
      segment.stamps.push_back(frame.pts);
      end = frame.pts + frame.duration;
      if (options_.mode != Mode::plain && number % stride_ == stride_ / 2) {
        segment.kept.push_back(number);
        segment.originals.push_back(frame.planes[0]);
      }
    }
    if (coder && !segment.stamps.empty()) finish(end);
  }

  // The training that a segment's publication waits for, until its time is over.
  struct Training {
    std::shared_ptr<const LiveSegment> segment;
    std::optional<SegmentNetwork> done;
    bool given_up = false;
  };

  void train() {
    const auto self = static_cast<id_t>(syscall(SYS_gettid));
    setpriority(PRIO_PROCESS, self,
                std::min(19, getpriority(PRIO_PROCESS, self) + kNice));  // and of the pool's
    ThreadPool pool(threads_, ThreadPool::Idle::sleep);
    std::optional<Network> last = last_;
    double reserve = kFirstReserve;
    std::shared_ptr<Training> training;
    while (trainings_.pop(training)) {
      const LiveSegment& segment = *training->segment;
      const double begin = clock_.seconds(), length = options_.segment_seconds,
                   deadline = segment.captured + (kOfSegment - reserve) * length;
      double looked = begin;
      const auto passed = [&] {
        looked = clock_.seconds();
        const std::lock_guard lock(mutex_);
        return training->given_up || deadline <= begin ? 2.0 : (looked - begin) / (deadline - begin);
      };
      SegmentNetwork found = overfit_segment(segment, shape_, last ? &*last : nullptr, passed, pool);
      if (found.from == SegmentNetwork::From::fresh) last = found.network;
      if (found.plain > 0)
        reserve = std::clamp(0.5 * reserve + 0.5 * 1.3 * (clock_.seconds() - looked) / length, 0.05, 0.5);
      const std::lock_guard lock(mutex_);
      if (last) last_ = last;
      training->done = std::move(found);
      trained_.notify_all();
    }
  }

  void publish() {
    LiveSegment segment;
    while (segments_.pop(segment)) publish(std::make_shared<const LiveSegment>(std::move(segment)));
    trainings_.close(true);
  }

  void publish(const std::shared_ptr<const LiveSegment>& shared) {
    const LiveSegment& segment = *shared;
    LiveSegmentReport told;
    told.number = segment.number;
    told.frames = segment.stamps.size() - 1;
    told.video = segment.bytes;
    std::optional<Restoration> restoration;
    if (options_.mode != Mode::plain) {
      const SegmentNetwork found = network_for(shared);
      told.plain = found.plain;
      told.restored = found.restored;
      told.steps = found.steps;
      restoration = bicubic_restoration(shape_.original, shape_.small, shape_.scale);
      if (found.from != SegmentNetwork::From::none) {
        told.from = found.from == SegmentNetwork::From::last ? "last" : "fresh";
        if (published_ && can_differ(*published_, found.network))
          told.delta = encode_delta(found.network, *published_, 0).size();
        restoration->networks[0] = found.network;
        restoration->architectures[0] = shape_.network;
        published_ = found.network;
      }
    }
    told.network = folder_->add(segment, restoration ? &*restoration : nullptr);
    told.seconds_after = clock_.seconds() - segment.captured;
    if (told.seconds_after > options_.segment_seconds) ++report_.late;
    report_.video += told.video;
    report_.networks += told.network;
    report_.seconds = static_cast<double>(segment.stamps.back()) * capture_.info().time_base.value();
    keep(segment, restoration ? &*restoration : nullptr);
    report_.segments.push_back(told);
    tell(told);
  }

  // The trained one if it comes in time, otherwise the last that did.
  SegmentNetwork network_for(const std::shared_ptr<const LiveSegment>& segment) {
    const double until = segment->captured + kOfSegment * options_.segment_seconds;
    const auto training = std::make_shared<Training>();
    training->segment = segment;
    const bool asked =
        options_.train && !segment->kept.empty() && !interrupted() && trainings_.push(training);
    std::unique_lock lock(mutex_);
    while (asked && !training->done && !interrupted() && !failure_ && clock_.seconds() < until)
      trained_.wait_for(lock, kLook);
    if (training->done) return std::move(*training->done);
    training->given_up = true;
    SegmentNetwork last;
    if (last_) last.from = SegmentNetwork::From::last, last.network = *last_;
    return last;
  }

  void tell(const LiveSegmentReport& told) const {
    if (!progress_.line) return;
    std::string line = fmt::format("segment {}: {} frames, {} bytes", told.number, told.frames, told.video);
    if (options_.mode != Mode::plain) {
      line += fmt::format(", {} network, {} bytes", told.from, told.network);
      if (told.steps > 0) line += fmt::format(", {} steps", told.steps);
      if (told.plain > 0 && told.restored > 0)
        line += fmt::format(", {:+.2f} dB", 10 * std::log10(told.plain / told.restored));
    }
    progress_.line(line + fmt::format(", out after {:.2f} s", told.seconds_after));
  }

  void keep(const LiveSegment& segment, const Restoration* restoration) {
    if (!record_) return;
    if (recorded_.parameters == nullptr) {
      recorded_.parameters.reset(avcodec_parameters_alloc());
      if (recorded_.parameters == nullptr ||
          avcodec_parameters_copy(recorded_.parameters.get(), segment.coded.parameters.get()) < 0)
        fail(ErrorCode::out_of_memory, "{}: no memory for a track", options_.record);
      recorded_.shown = segment.coded.shown;
    }
    recorded_.packets.insert(recorded_.packets.end(), segment.coded.packets.begin(),
                             segment.coded.packets.end());
    const uint64_t first = recorded_frames_;
    recorded_frames_ += segment.stamps.size() - 1;
    if (restoration == nullptr) return;
    Restoration& r = restorations_;
    const std::vector<std::byte> own =
        encode_network(restoration->networks[0], restoration->architectures[0]);
    if (r.networks.empty() || own != last_recorded_) {
      if (r.networks.size() == kMostRecorded) return;
      const bool differs = !r.networks.empty() && can_differ(r.networks.back(), restoration->networks[0]);
      if (r.networks.empty())
        r = *restoration, r.bases = {-1};
      else {
        r.bases.push_back(differs ? static_cast<int32_t>(r.networks.size()) - 1 : -1);
        r.networks.push_back(restoration->networks[0]);
        r.architectures.push_back(restoration->architectures[0]);
      }
      last_recorded_ = own;
      r.segments.push_back({first, static_cast<uint32_t>(r.networks.size() - 1)});
    }
  }

  void record() {
    if (!record_ || recorded_.packets.empty()) return;
    record_->write(recorded_, restorations_.networks.empty() ? std::vector<std::byte>{}
                                                             : write_attachment(restorations_));
  }

  const LiveOptions& options_;
  const EncodeProgress& progress_;
  Capture capture_;
  LiveShape shape_;
  uint32_t threads_ = 1;
  CoderOptions coder_;
  std::optional<MatroskaFile> record_;
  std::optional<LiveFolder> folder_;
  std::optional<BeforeForcedEnd> forced_;
  std::optional<Network> last_;  // that was trained; under mutex_
  std::optional<Network> published_;
  uint64_t stride_ = 1;
  Stopwatch clock_;
  Waiting<Captured> frames_{kWaitingFrames};
  Waiting<LiveSegment> segments_{kWaitingSegments};
  Waiting<std::shared_ptr<Training>> trainings_{kWaitingSegments};
  std::mutex mutex_;
  std::condition_variable trained_;
  std::exception_ptr failure_;
  LiveReport report_;
  CodedVideo recorded_;
  uint64_t recorded_frames_ = 0;
  Restoration restorations_;
  std::vector<std::byte> last_recorded_;
};

}  // namespace

LiveReport live(const std::string& input, const std::string& folder, const LiveOptions& options,
                const EncodeProgress& progress) {
  return Live(input, folder, options, progress).run();
}

}  // namespace cairn::video
