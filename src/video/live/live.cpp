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
#include "video/live/live_record.hpp"
#include "video/live/segment.hpp"
#include "video/live/waiting.hpp"
#include "video/memory_file.hpp"
#include "video/resample.hpp"
#include "video/source.hpp"

namespace cairn::video {
namespace {

constexpr uint64_t kKept = 20;         // frames of a segment that are trained on
constexpr size_t kWaitingFrames = 50;  // between capture and encoder
constexpr size_t kWaitingSegments = 3;
constexpr size_t kMostRates = 8;
constexpr double kOfSegment = 0.8;      // of a segment's time, when the one before is to be published
constexpr double kFirstReserve = 0.15;  // of it, for what follows the training; then as measured
constexpr auto kLook = std::chrono::milliseconds(20);  // for an interrupt
constexpr int kNice = 10;                              // of training, beside the encoder

struct Captured {
  Frame frame;
  double at = 0;
};

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
    threads_ = options.threads == 0 ? static_cast<uint32_t>(usable_processors()) : options.threads;
    std::vector<RateRequest> asked = options.rates;
    if (asked.empty()) asked = {{options.mode, options.crf}};
    if (asked.size() > kMostRates)
      fail(ErrorCode::invalid_argument, "--rates: {} of them, at most {}", asked.size(), kMostRates);
    // The page and players of HLS take them as growing.
    std::ranges::stable_sort(asked, std::less{}, [](const RateRequest& rate) {
      return std::pair(-static_cast<int>(scale_of(rate.mode)), -rate.crf);
    });
    if (asked.size() > 1 && !options.record.empty())
      fail(ErrorCode::invalid_argument, "--record: of one rate, {} are asked for", asked.size());
    std::vector<LiveRate> published;
    for (const RateRequest& rate : asked) published.push_back(add_rate(rate));
    if (!options.record.empty()) record_.emplace(options.record);
    folder_.emplace(folder, options.title.empty() ? title_of(input) : options.title, info, published,
                    options.segment_seconds, capture_.sound(), options.replace);
    forced_.emplace([this] { folder_->end_at_once(); });
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
    guard([this] {
      if (record_) record_->write();
    });
    if (failure_) std::rethrow_exception(failure_);
    return std::move(report_);
  }

 private:
  struct Rate {
    LiveShape shape;
    CoderOptions coder;
    bool plain = false;           // without networks
    std::optional<Network> last;  // that was trained; under mutex_
    std::optional<Network> published;
  };

  LiveRate add_rate(const RateRequest& asked) {
    const VideoInfo& info = capture_.info();
    Rate& rate = rates_.emplace_back();
    rate.plain = asked.mode == Mode::plain;
    LiveShape& shape = rate.shape;
    shape.rate = rates_.size() - 1;
    shape.original = info.format;
    shape.scale = scale_of(asked.mode);
    shape.small = small_format(info.format, shape.scale);
    shape.network = options_.network;
    shape.weight_bits = options_.weight_bits;
    rate.coder = {options_.codec, asked.crf, options_.preset, static_cast<int>(threads_)};
    if (rate.coder.preset.empty()) rate.coder.preset = options_.codec == Codec::av1 ? "10" : "veryfast";
    rate.coder.loop_restoration = asked.mode != Mode::x1;
    rate.coder.key_seconds = 2 * options_.segment_seconds;  // a segment's own key frame is enough
    { const Coder refused(shape.small, info, rate.coder); }
    if (rate.plain) return {shape.scale, ""};
    if (const Network* general = general_network(shape.network, shape.scale)) rate.last = *general;
    if (!rate.last && !options_.train)
      fail(ErrorCode::invalid_argument, "--no-train: there is no general network of {}",
           shape.network.name());
    return {shape.scale, shape.network.name()};
  }

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
    std::vector<Frame> small(rates_.size());
    std::deque<Coder> coders;  // none between two segments
    LiveSegment segment;
    const bool trained = std::ranges::any_of(rates_, [](const Rate& rate) { return !rate.plain; });
    ThreadPool pool(1, ThreadPool::Idle::sleep);
    const auto finish = [&](int64_t end) {
      for (Coder& coder : coders) {
        LiveCoded& coded = segment.rates.emplace_back();
        coded.video = for_containers(coder.finish());
        coded.bytes = packet_bytes(coded.video);
      }
      segment.stamps.push_back(end);
      segment.captured = captured.at;
      coders.clear();
      const uint64_t next = segment.number + 1;
      const bool taken = segments_.push(std::exchange(segment, {}));
      segment.number = next;
      return taken;
    };
    // What is small; false: an interrupt, and what was written becomes a segment.
    const auto write = [&](int64_t pts, int64_t duration) {
      for (size_t r = coders.size(); r < rates_.size(); ++r)
        coders.emplace_back(rates_[r].shape.small, info, rates_[r].coder);
      try {
        throw_if_interrupted();
        for (size_t r = 0; r < rates_.size(); ++r) {
          small[r].pts = pts;
          small[r].duration = duration;
          coders[r].write(small[r]);
        }
      } catch (const Error& error) {
        if (error.code() != ErrorCode::cancelled) throw;
        return false;
      }
      segment.stamps.push_back(pts);
      return true;
    };
    segment.number = 1;
    int64_t end = 0;
    while (frames_.pop(captured) && !interrupted()) {
      const Frame& frame = captured.frame;
      // Pauses: the picture before goes on in segments of its own, so that none is longer than lists promise.
      while (!coders.empty() && frame.pts - segment.stamps.front() > segment_ticks + frame.duration) {
        const int64_t from = segment.stamps.front() + segment_ticks;
        if (!finish(from)) return;
        end = std::min(frame.pts, from + segment_ticks);
        if (!write(from, end - from)) return;
      }
      if (!coders.empty() && frame.pts - segment.stamps.front() + frame.duration / 2 >= segment_ticks &&
          !finish(frame.pts))
        return;
      for (size_t r = 0; r < rates_.size(); ++r)
        downscale(frame, rates_[r].shape.scale, Filter::lanczos, small[r], &pool);
      const uint64_t number = segment.stamps.size();
      if (!write(frame.pts, frame.duration)) break;
      end = frame.pts + frame.duration;
      if (trained && number % stride_ == stride_ / 2) {
        segment.kept.push_back(number);
        segment.originals.push_back(frame.planes[0]);
      }
    }
    if (!coders.empty() && !segment.stamps.empty()) finish(end);
  }

  // The training that a segment's publication waits for, until its time is over.
  struct Training {
    std::shared_ptr<const LiveSegment> segment;
    size_t rate = 0;
    double share = 1;  // of the segment's time, when it is over: rates are trained one after the other
    std::optional<SegmentNetwork> done;
    bool given_up = false;
  };

  void train() {
    const auto self = static_cast<id_t>(syscall(SYS_gettid));
    setpriority(PRIO_PROCESS, self,
                std::min(19, getpriority(PRIO_PROCESS, self) + kNice));  // and of the pool's
    ThreadPool pool(threads_, ThreadPool::Idle::sleep);
    std::vector<double> reserves(rates_.size(), kFirstReserve);
    std::shared_ptr<Training> training;
    while (trainings_.pop(training)) {
      const LiveSegment& segment = *training->segment;
      Rate& rate = rates_[training->rate];
      double& reserve = reserves[training->rate];
      const std::optional<Network> last = last_of(rate);
      const double begin = clock_.seconds(), length = options_.segment_seconds,
                   deadline = segment.captured + (kOfSegment * training->share - reserve) * length;
      double looked = begin;
      const auto passed = [&] {
        looked = clock_.seconds();
        const std::lock_guard lock(mutex_);
        return training->given_up || deadline <= begin ? 2.0 : (looked - begin) / (deadline - begin);
      };
      SegmentNetwork found = overfit_segment(segment, rate.shape, last ? &*last : nullptr, passed, pool);
      if (found.plain > 0)
        reserve = std::clamp(0.5 * reserve + 0.5 * 1.3 * (clock_.seconds() - looked) / length, 0.05, 0.5);
      const std::lock_guard lock(mutex_);
      if (found.from == SegmentNetwork::From::fresh) rate.last = found.network;
      training->done = std::move(found);
      trained_.notify_all();
    }
  }

  std::optional<Network> last_of(const Rate& rate) {
    const std::lock_guard lock(mutex_);
    return rate.last;
  }

  void publish() {
    LiveSegment segment;
    while (segments_.pop(segment)) publish(std::make_shared<const LiveSegment>(std::move(segment)));
    trainings_.close(true);
  }

  void publish(const std::shared_ptr<const LiveSegment>& shared) {
    const LiveSegment& segment = *shared;
    std::vector<LiveSegmentReport> all(rates_.size());
    std::vector<std::optional<Restoration>> restorations(rates_.size());
    const auto trainings = begin_trainings(shared);
    for (size_t r = 0; r < rates_.size(); ++r) {
      LiveSegmentReport& told = all[r];
      told.rate = r;
      told.number = segment.number;
      told.frames = segment.stamps.size() - 1;
      told.video = segment.rates[r].bytes;
      if (!rates_[r].plain) restorations[r] = restoration_of(rates_[r], network_of(*trainings[r]), told);
    }
    const std::vector<uint64_t> beside = folder_->add(segment, restorations);
    const double seconds_after = clock_.seconds() - segment.captured;
    if (seconds_after > options_.segment_seconds) ++report_.late;
    report_.seconds = static_cast<double>(segment.stamps.back()) * capture_.info().time_base.value();
    for (size_t r = 0; r < rates_.size(); ++r) {
      LiveSegmentReport& told = all[r];
      told.network = beside[r];
      told.seconds_after = seconds_after;
      report_.video += told.video;
      report_.networks += told.network;
      report_.segments.push_back(told);
      tell(told);
    }
    if (record_) record_->add(segment, restorations[0] ? &*restorations[0] : nullptr);
  }

  Restoration restoration_of(Rate& rate, const SegmentNetwork& found, LiveSegmentReport& told) {
    told.plain = found.plain;
    told.restored = found.restored;
    told.steps = found.steps;
    Restoration r = bicubic_restoration(rate.shape.original, rate.shape.small, rate.shape.scale);
    if (found.from == SegmentNetwork::From::none) return r;
    told.from = found.from == SegmentNetwork::From::last ? "last" : "fresh";
    if (rate.published && can_differ(*rate.published, found.network))
      told.delta = encode_delta(found.network, *rate.published, 0).size();
    r.networks[0] = found.network;
    r.architectures[0] = rate.shape.network;
    rate.published = found.network;
    return r;
  }

  // One for each rate; those that nobody does are given up.
  std::vector<std::shared_ptr<Training>> begin_trainings(const std::shared_ptr<const LiveSegment>& segment) {
    std::vector<std::shared_ptr<Training>> all;
    const auto trained = std::ranges::count(rates_, false, &Rate::plain);
    double done = 0;
    for (size_t r = 0; r < rates_.size(); ++r) {
      auto& training = all.emplace_back(std::make_shared<Training>());
      training->segment = segment;
      training->rate = r;
      training->given_up = true;
      if (rates_[r].plain || !options_.train || segment->kept.empty() || interrupted()) continue;
      training->share = ++done / static_cast<double>(trained);
      training->given_up = false;
      if (!trainings_.push(training)) training->given_up = true;
    }
    return all;
  }

  // The trained one if it comes in time, otherwise the last that did.
  SegmentNetwork network_of(Training& training) {
    const double until = training.segment->captured + kOfSegment * options_.segment_seconds;
    std::unique_lock lock(mutex_);
    while (!training.given_up && !training.done && !interrupted() && !failure_ && clock_.seconds() < until)
      trained_.wait_for(lock, kLook);
    if (training.done) return std::move(*training.done);
    training.given_up = true;
    SegmentNetwork last;
    const std::optional<Network>& network = rates_[training.rate].last;
    if (network) last.from = SegmentNetwork::From::last, last.network = *network;
    return last;
  }

  void tell(const LiveSegmentReport& told) const {
    if (!progress_.line) return;
    std::string line = fmt::format("segment {}: ", told.number);
    if (rates_.size() > 1) line += fmt::format("rate {}, ", told.rate);
    line += fmt::format("{} frames, {} bytes", told.frames, told.video);
    if (!rates_[told.rate].plain) {
      line += fmt::format(", {} network, {} bytes", told.from, told.network);
      if (told.steps > 0) line += fmt::format(", {} steps", told.steps);
      if (told.plain > 0 && told.restored > 0)
        line += fmt::format(", {:+.2f} dB", 10 * std::log10(told.plain / told.restored));
    }
    progress_.line(line + fmt::format(", out after {:.2f} s", told.seconds_after));
  }

  const LiveOptions& options_;
  const EncodeProgress& progress_;
  Capture capture_;
  std::deque<Rate> rates_;  // the smallest first
  uint32_t threads_ = 1;
  std::optional<LiveRecord> record_;
  std::optional<LiveFolder> folder_;
  std::optional<BeforeForcedEnd> forced_;
  uint64_t stride_ = 1;
  Stopwatch clock_;
  Waiting<Captured> frames_{kWaitingFrames};
  Waiting<LiveSegment> segments_{kWaitingSegments};
  Waiting<std::shared_ptr<Training>> trainings_{kMostRates * kWaitingSegments};
  std::mutex mutex_;
  std::condition_variable trained_;
  std::exception_ptr failure_;
  LiveReport report_;
};

}  // namespace

LiveReport live(const std::string& input, const std::string& folder, const LiveOptions& options,
                const EncodeProgress& progress) {
  return Live(input, folder, options, progress).run();
}

}  // namespace cairn::video
