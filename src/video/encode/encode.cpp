#include "video/encode/encode.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <map>
#include <tuple>

#include "base/error.hpp"
#include "base/names.hpp"
#include "video/encode/checks.hpp"
#include "video/encode/coded_input.hpp"
#include "video/encode/networks.hpp"
#include "video/encode/plan.hpp"
#include "video/encode/scene_networks.hpp"
#include "video/resample.hpp"

namespace cairn::video {
namespace {

constexpr std::array<const char*, 6> kModes = {"auto", "plain", "x1", "x2", "x3", "x4"};
constexpr double kFinestCrf = 0.5;  // steps of a search
// What a network adds to the bicubic at most, as measured; what lies further back is not tried.
constexpr double kMostGain = 2.5;
// dB for e times the bytes, where the plain codec's curve was not measured: between x265's and AV1's on the
// shared clips.
constexpr double kUsualSlope = 3.5;

// A way to send the clip, measured to the end.
struct Candidate {
  Choice choice;
  std::shared_ptr<const SmallVideo> small;
  Overfitted networks;  // empty attachment: none
};

class Encoder {
 public:
  Encoder(const std::string& input, const std::string& output, const EncodeOptions& options,
          const EncodeProgress& progress, ThreadPool& pool)
      : options_(options),
        progress_(progress),
        pool_(pool),
        clip_(input, pool, {.keep_going = options.keep_going, .grey_as_420 = grey_as_420(options)}) {
    check_outputs(input, output, options);
    check_coder(clip_.info(), options);
    file_.emplace(output, input, options.keep);
  }

  // For plan().
  Encoder(Clip clip, const EncodeOptions& options, const EncodeProgress& progress, ThreadPool& pool)
      : options_(options), progress_(progress), pool_(pool), clip_(std::move(clip)) {
    check_coder(clip_.info(), options);
  }

  EncodeReport run() {
    tell_changes();
    std::vector<Candidate> candidates = measure();
    for (Candidate& candidate : candidates) {
      if (candidate.choice.chosen) refine(candidate);
    }
    return write(candidates);
  }

  EncodingPlan plan() {
    clip_.survey();
    std::vector<Candidate> candidates = measure();
    const auto chosen = std::ranges::find_if(candidates, [](const Candidate& c) { return c.choice.chosen; });
    return {chosen->choice, std::move(chosen->networks), slope_};
  }

 private:
  std::vector<Candidate> measure() {
    std::vector<Candidate> candidates;
    if (!options_.coded.empty()) {
      candidates = given();
    } else if (options_.target_psnr || options_.size) {
      for (const Mode mode : modes()) {
        if (options_.mode == Mode::automatic && scale_of(mode) > 1 && !large_enough(scale_of(mode))) break;
        if (auto found = search(mode)) candidates.push_back(std::move(*found));
      }
      if (candidates.empty()) refuse();
      mark_best(candidates);
    } else {
      candidates = at_rate(options_.crf.value_or(usual_crf(options_.codec)));
    }
    return candidates;
  }

  std::vector<Mode> modes() const {
    if (options_.mode != Mode::automatic) return {options_.mode};
    return {Mode::plain, Mode::x1, Mode::x2, Mode::x3, Mode::x4};
  }

  [[noreturn]] void refuse() const {
    if (options_.size) {
      fail(ErrorCode::invalid_argument, "{}: cannot be made {} bytes small with {}", clip_.path(),
           *options_.size, name(options_.codec));
    }
    fail(ErrorCode::invalid_argument, "{}: {} dB cannot be reached with {}{}", clip_.path(),
         *options_.target_psnr, name(options_.codec),
         options_.mode == Mode::automatic ? "" : fmt::format(" and {}", name(options_.mode)));
  }

  // Before the work what the file tells, after one reading what its pictures tell.
  void tell_changes() {
    const std::string& path = clip_.path();
    if (clip_.restored()) note(path + ": a cairn video: its restored pictures are encoded");
    if (clip_.info().fields != Fields::progressive)
      note(path + ": interlaced: coded as whole frames; scaling down mixes its fields");
    for (const std::string& line : file_->notes()) note(line);
    clip_.survey();
    for (const std::string& line : clip_.notes()) note(line);
  }

  void note(const std::string& line) {
    notes_.push_back(line);
    say(line);
  }

  void say(const std::string& line) const {
    if (progress_.line) progress_.line(line);
  }

  // More networks for scenes, if the clip has several. Whoever wants a quality for the fewest bytes has it.
  void refine(Candidate& candidate) {
    if (candidate.choice.mode == Mode::plain || options_.scenes == 0 || options_.chunks > 1 ||
        options_.target_psnr || clip_.scenes().size() < 2)
      return;
    say(fmt::format("{} scenes", clip_.scenes().size()));
    const double psnr = candidate.choice.psnr;
    const uint64_t bytes = candidate.choice.bytes;
    Choice& choice = candidate.choice;
    add_scene_networks(clip_, *candidate.small, candidate.networks, {slope_, options_.size}, options_,
                       progress_, pool_);
    choice.psnr = candidate.networks.psnr;
    choice.bytes = candidate.small->bytes + candidate.networks.attachment.size();
    choice.train_seconds = candidate.networks.train_seconds;
    if (options_.mode == Mode::automatic && !options_.size) {
      choice.advantage += choice.psnr - psnr -
                          slope_ * std::log(static_cast<double>(choice.bytes) / static_cast<double>(bytes));
    }
  }

  std::shared_ptr<const SmallVideo> coded(uint32_t scale, double crf) {
    crf = std::clamp(std::round(crf / kFinestCrf) * kFinestCrf, 1.0, largest_crf(options_.codec));
    if (scale == 1) return coded(scale, crf, Filter::bicubic);
    auto& filter = filters_[scale];
    if (!filter) filter = options_.downscale ? *options_.downscale : best_filter(scale, crf);
    return coded(scale, crf, *filter);
  }

  // Of the two that measured best on the shared clips, by what the bicubic makes of them: networks keep their
  // order.
  Filter best_filter(uint32_t scale, double crf) {
    const auto worth = [&](const SmallVideo& small) {
      return small.psnr - slope_ * std::log(static_cast<double>(small.bytes));
    };
    const double lanczos = worth(*coded(scale, crf, Filter::lanczos)),
                 sharp = worth(*coded(scale, crf, Filter::sharp));
    return sharp > lanczos ? Filter::sharp : Filter::lanczos;
  }

  std::shared_ptr<const SmallVideo> coded(uint32_t scale, double crf, Filter filter) {
    auto& slot = coded_[{scale, crf, filter}];
    if (slot == nullptr) {
      CoderOptions coder{options_.codec, crf, options_.preset, options_.coder_threads, options_.key_seconds};
      coder.loop_restoration = scale > 1 || options_.mode == Mode::plain;
      slot = std::make_shared<SmallVideo>(clip_.encode(scale, coder, filter));
      say(fmt::format("x{} crf {:g}{}: {} bytes, {:.2f} dB {}", scale, crf,
                      scale == 1 ? "" : fmt::format(" {}", name(filter)), slot->bytes, slot->psnr,
                      scale == 1 ? "as it is" : "by the bicubic"));
    }
    return slot;
  }

  Candidate measured(Mode mode, std::shared_ptr<const SmallVideo> small) {
    Candidate candidate;
    candidate.small = small;
    Choice& choice = candidate.choice;
    choice.mode = mode;
    choice.crf = small->crf;
    choice.downscale = small->filter;
    choice.psnr = small->psnr;
    if (mode != Mode::plain) {
      candidate.networks = overfit(clip_, *small, options_, progress_, pool_);
      choice.psnr = candidate.networks.psnr;
      choice.train_seconds = candidate.networks.train_seconds;
    } else if (small->format.width != clip_.info().format.width ||
               small->format.height != clip_.info().format.height) {
      candidate.networks.restoration = bicubic_restoration(clip_.info().format, small->format, 1);
      candidate.networks.attachment =
          write_attachment(candidate.networks.restoration, &candidate.networks.sizes);
    }
    choice.bytes = small->bytes + candidate.networks.attachment.size();
    if (mode != Mode::plain) {
      say(fmt::format("{}{} with {}: {} bytes, {:.2f} dB ({:+.2f}), trained in {:.0f} s", name(mode),
                      choice.crf > 0 ? fmt::format(" crf {:g}", choice.crf) : "", options_.network.name(),
                      choice.bytes, choice.psnr, choice.psnr - small->psnr, choice.train_seconds));
    }
    return candidate;
  }

  bool large_enough(uint32_t scale) const {
    const Format small = small_format(clip_.info().format, scale);
    return std::min(small.width, small.height) >= std::max(16u, smallest_side(options_.codec));
  }

  // The small video that another encoder made; at the original's size with a network where that pays, unless
  // told.
  std::vector<Candidate> given() {
    const auto small = std::make_shared<const SmallVideo>(read_coded_input(clip_, options_.coded));
    const Mode own = static_cast<Mode>(static_cast<uint32_t>(Mode::x1) + small->scale - 1);
    say(fmt::format("{}: {} bytes, {:.2f} dB {}", options_.coded, small->bytes, small->psnr,
                    small->scale == 1 ? "as it is" : "by the bicubic"));
    const bool alone = options_.mode == Mode::plain && small->scale == 1;
    if (options_.mode != Mode::automatic && options_.mode != own && !alone)
      fail(ErrorCode::invalid_argument, "{}: its size is {}'s, not {}'s", options_.coded, name(own),
           name(options_.mode));
    std::vector<Candidate> candidates;
    if (alone || (small->scale == 1 && options_.mode == Mode::automatic))
      candidates.push_back(measured(Mode::plain, small));
    if (!alone) {
      candidates.push_back(measured(own, small));
      Choice& choice = candidates.back().choice;
      if (small->scale == 1)
        choice.advantage =
            choice.psnr - small->psnr -
            slope_ * std::log(static_cast<double>(choice.bytes) / static_cast<double>(small->bytes));
    }
    mark_most_advantage(candidates);
    return candidates;
  }

  // A mode told with its rate, or the best at about the plain codec's bytes.
  std::vector<Candidate> at_rate(double crf) {
    std::vector<Candidate> candidates;
    if (options_.mode != Mode::automatic) {
      candidates.push_back(measured(options_.mode, coded(scale_of(options_.mode), crf)));
      candidates.back().choice.chosen = true;
      return candidates;
    }
    const auto plain = coded(1, crf), cheaper = coded(1, std::min(crf + 4, largest_crf(options_.codec)));
    // The plain codec's curve hereabouts: dB by the logarithm of bytes.
    const double ratio = std::log(static_cast<double>(plain->bytes) / static_cast<double>(cheaper->bytes));
    slope_ = ratio > 0.01 ? std::max(0.0, (plain->psnr - cheaper->psnr) / ratio) : 0;
    const auto advantage = [&](double psnr, uint64_t bytes) {
      return psnr - plain->psnr -
             slope_ * std::log(static_cast<double>(bytes) / static_cast<double>(plain->bytes));
    };
    const auto add = [&](Candidate candidate) {
      candidate.choice.advantage = advantage(candidate.choice.psnr, candidate.choice.bytes);
      candidates.push_back(std::move(candidate));
    };
    add(measured(Mode::plain, plain));
    add(measured(Mode::x1, plain));
    for (const Mode mode : {Mode::x2, Mode::x3, Mode::x4}) {
      const uint32_t scale = scale_of(mode);
      if (!large_enough(scale)) break;
      const auto small = with_bytes(scale, crf, static_cast<double>(plain->bytes));
      double best = 0;
      for (const Candidate& candidate : candidates) best = std::max(best, candidate.choice.advantage);
      const double behind = best - advantage(small->psnr, small->bytes);
      if (behind > kMostGain) {
        say(fmt::format("{}: {:.1f} dB behind without a network, not tried", name(mode), behind));
        break;
      }
      add(measured(mode, small));
    }
    mark_most_advantage(candidates);
    return candidates;
  }

  static void mark_most_advantage(std::vector<Candidate>& candidates) {
    std::ranges::max_element(candidates, {}, [](const Candidate& c) {
      return c.choice.advantage;
    })->choice.chosen = true;
  }

  // The small video nearest to so many bytes.
  std::shared_ptr<const SmallVideo> with_bytes(uint32_t scale, double crf, double bytes) {
    double low = 1, high = largest_crf(options_.codec), at = std::max(low, crf - 4 * (scale - 1));
    auto best = coded(scale, at);
    for (int i = 0; i < 5; ++i) {
      const double off = std::log(static_cast<double>(best->bytes) / bytes);
      if (std::abs(off) < 0.04) break;
      (off > 0 ? low : high) = best->crf;
      const double next = std::round(std::clamp(best->crf + off / 0.13, low, high) / kFinestCrf) * kFinestCrf;
      if (next <= low && off <= 0) break;
      const auto other = coded(scale, next);
      if (std::abs(std::log(static_cast<double>(other->bytes) / bytes)) >= std::abs(off)) break;
      best = other;
    }
    return best;
  }

  // The largest crf whose result reaches the PSNR, or the smallest that keeps the size; none: not to be had.
  std::optional<Candidate> search(Mode mode) {
    const uint32_t scale = scale_of(mode);
    double gain = mode == Mode::plain ? 0 : 0.1;
    uint64_t extra = mode == Mode::plain ? 0 : 1500;
    std::optional<Candidate> found;
    for (int attempt = 0; attempt < 4; ++attempt) {
      const auto fits = [&](const SmallVideo& small) {
        return options_.size ? small.bytes + extra <= *options_.size
                             : small.psnr + gain >= *options_.target_psnr;
      };
      double low = 1, high = largest_crf(options_.codec);
      if (options_.size ? !fits(*coded(scale, high)) : !fits(*coded(scale, low)) && attempt > 0) break;
      while (high - low > kFinestCrf) {
        const double middle = std::round((low + high) / 2 / kFinestCrf) * kFinestCrf;
        if (middle <= low || middle >= high) break;
        const bool fit = fits(*coded(scale, middle));
        (options_.size ? (fit ? high : low) : (fit ? low : high)) = middle;
      }
      const auto small = coded(scale, options_.size ? high : low);
      if (found && found->small->crf == small->crf) break;
      Candidate candidate = measured(mode, small);
      const bool reached = options_.size ? candidate.choice.bytes <= *options_.size
                                         : candidate.choice.psnr >= *options_.target_psnr;
      if (reached && (!found || better(candidate.choice, found->choice))) found = std::move(candidate);
      if (mode == Mode::plain || (options_.size && reached)) break;
      // What the network gave this time is what it will give nearby; a little less, where it fell short.
      gain = candidate_gain(found && reached ? *found : candidate) - (reached ? 0 : 0.02 * (attempt + 1));
      extra = (reached ? found->networks : candidate.networks).attachment.size() + 32;
    }
    return found;
  }

  static double candidate_gain(const Candidate& candidate) {
    return candidate.choice.psnr - candidate.small->psnr;
  }
  bool better(const Choice& a, const Choice& b) const {
    return options_.size ? a.psnr > b.psnr : a.bytes < b.bytes;
  }
  void mark_best(std::vector<Candidate>& candidates) const {
    auto best = candidates.begin();
    for (auto it = candidates.begin(); it != candidates.end(); ++it) {
      if (better(it->choice, best->choice)) best = it;
    }
    best->choice.chosen = true;
  }

  EncodeReport write(const std::vector<Candidate>& candidates) {
    EncodeReport report;
    for (const Candidate& candidate : candidates) {
      report.choices.push_back(candidate.choice);
      if (!candidate.choice.chosen) continue;
      const size_t told = file_->notes().size();
      file_->write(candidate.small->coded, candidate.networks.attachment);
      for (size_t i = told; i < file_->notes().size(); ++i) note(file_->notes()[i]);
      report.result = candidate.choice;
      report.video = candidate.small->bytes;
      report.networks = candidate.networks.sizes.networks;
      report.labels = candidate.networks.sizes.labels;
      report.header = candidate.networks.sizes.header;
      report.bicubic_psnr = candidate.small->psnr;
      report.scenes = clip_.scenes().size();
      if (!candidate.networks.restoration.segments.empty())
        report.scene_networks = candidate.networks.restoration.networks.size() - 1;
    }
    report.notes = notes_;
    return report;
  }

  const EncodeOptions& options_;
  const EncodeProgress& progress_;
  ThreadPool& pool_;
  Clip clip_;
  std::optional<MatroskaFile> file_;
  std::vector<std::string> notes_;
  double slope_ = kUsualSlope;
  std::map<std::tuple<uint32_t, double, Filter>, std::shared_ptr<const SmallVideo>> coded_;
  std::map<uint32_t, std::optional<Filter>> filters_;  // by scale, as soon as it is chosen
};

}  // namespace

void remove_checkpoints(const std::string& checkpoint) {
  namespace fs = std::filesystem;
  if (checkpoint.empty()) return;
  const fs::path path = checkpoint;
  std::error_code ignored;
  for (const auto& entry :
       fs::directory_iterator(path.has_parent_path() ? path.parent_path() : ".", ignored)) {
    if (entry.path().filename().string().starts_with(path.filename().string() + ".x"))
      fs::remove(entry.path(), ignored);
  }
}

const char* name(Mode mode) {
  return kModes[static_cast<size_t>(mode)];
}

Mode parse_mode(std::string_view text) {
  return parse_name<Mode>(kModes, text, "a mode");
}

EncodingPlan plan_encoding(Clip sample, const EncodeOptions& options, const EncodeProgress& progress,
                           ThreadPool& pool) {
  return Encoder(std::move(sample), options, progress, pool).plan();
}

EncodeReport encode(const std::string& input, const std::string& output, const EncodeOptions& options,
                    const EncodeProgress& progress, ThreadPool& pool) {
  EncodeReport report = Encoder(input, output, options, progress, pool).run();
  remove_checkpoints(options.checkpoint);
  return report;
}

}  // namespace cairn::video
