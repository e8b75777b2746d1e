#include "video/farm/part.hpp"

#include <xxhash.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <sstream>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "video/encode/checks.hpp"
#include "video/encode/networks.hpp"
#include "video/encode/scene_networks.hpp"

namespace cairn::video {
namespace {

using Json = nlohmann::ordered_json;

constexpr uint64_t kPartMemory = 192u << 20;  // of a training set: several workers share a machine

double sum(const std::vector<double>& errors) {
  return std::accumulate(errors.begin(), errors.end(), 0.0);
}

std::string fingerprint(const JobList& list, size_t part) {
  const std::string text = fmt::format("{} {} {} {} {}", list.asked.dump(), to_hex(list.attachment), part,
                                       list.parts[part].first, list.parts[part].end);
  return fmt::format("{:016x}", XXH3_64bits(text.data(), text.size()));
}

void write_result(const std::string& path, const PartResult& result, const std::string& of) {
  Json json = {{"of", of},
               {"frames", result.frames},
               {"bytes", result.bytes},
               {"error", result.error},
               {"gained", result.gained},
               {"serving", static_cast<int>(result.serving)},
               {"network", result.network ? Json(to_hex(*result.network)) : Json()},
               {"seconds", result.seconds}};
  uint64_t bytes = 0;
  json["video_check"] = file_check(path + ".mkv", bytes);
  AtomicFile file(path + ".json");
  file.write(json.dump() + "\n");
  file.commit();
}

class Part {
 public:
  Part(const std::string& path, const JobList& list, size_t part, ThreadPool& pool)
      : path_(path),
        list_(list),
        options_(list.options),
        pool_(pool),
        clip_(list.input, pool, {.keep_going = options_.keep_going, .grey_as_420 = grey_as_420(options_)},
              {list.parts[part]}) {
    options_.checkpoint = path + ".training";
    options_.forgiving = true;
  }

  PartResult run() {
    small_ = clip_.encode(
        scale_of(options_.mode),
        {options_.codec, *options_.crf, options_.preset, 1, options_.key_seconds, options_.mode != Mode::x1},
        *options_.downscale);
    result_.frames = clip_.frames();
    result_.bytes = packet_bytes(small_.coded);
    result_.error =
        sum(clip_.errors(small_, bicubic_restoration(clip_.info().format, small_.format, small_.scale)));
    if (options_.mode != Mode::plain) restore();
    write_matroska(path_ + ".mkv", small_.coded, {});
    return result_;
  }

 private:
  void restore() {
    Restoration shared = read_attachment(list_.attachment, "the network of the list");
    const double bicubic = result_.error, with_shared = sum(clip_.errors(small_, shared));
    if (with_shared < bicubic) {
      result_.error = with_shared;
      result_.serving = PartResult::Serving::shared;
    }
    if (options_.scenes == 0) return;
    const Network start = shared.networks[0];
    const Trained trained = train(start);
    result_.seconds = trained.seconds;
    if (!can_differ(start, trained.network)) return;
    std::vector<std::byte> bytes = encode_delta(trained.network, start, 0);
    shared.networks[0] = trained.network;
    const double own = sum(clip_.errors(small_, shared));
    const double before = static_cast<double>(result_.bytes);
    const double price = list_.slope * std::log((before + static_cast<double>(bytes.size())) / before);
    if (10 * std::log10(result_.error / own) <= price) return;
    result_.gained = result_.error - own;
    result_.error = own;
    result_.serving = PartResult::Serving::own;
    result_.network = std::move(bytes);
  }

  Trained train(const Network& start) {
    TrainingSet set = clip_.training_set(small_, options_.network.frames, kPartMemory);
    TrainJob job;
    job.share = kSceneShare;
    job.start = &start;
    if (start.weight_bits != 0) job.reluctance = kSceneReluctance;
    if (options_.jstdo)
      job.sampling = harder_patches(set, score_patches(clip_, small_), small_, {0, clip_.frames()});
    return train_job(start, set, small_, job, options_, {}, pool_);
  }

  std::string path_;
  const JobList& list_;
  EncodeOptions options_;
  ThreadPool& pool_;
  Clip clip_;
  SmallVideo small_;
  PartResult result_;
};

}  // namespace

std::string part_path(const std::string& list_path, size_t part) {
  return fmt::format("{}.part-{}", list_path, part);
}

PartResult work_part(const std::string& list_path, const JobList& list, size_t part, ThreadPool& pool) {
  if (part >= list.parts.size())
    fail(ErrorCode::invalid_argument, "{}: no job {}: they are 0 … {}", list_path, part,
         list.parts.size() - 1);
  uint64_t bytes = 0;
  if (file_check(list.input, bytes) != list.input_check)
    fail(ErrorCode::invalid_argument, "{}: not the video any more that {} was made of", list.input,
         list_path);
  const std::string path = part_path(list_path, part);
  const PartResult result = Part(path, list, part, pool).run();
  write_result(path, result, fingerprint(list, part));
  remove_checkpoints(path + ".training");
  return result;
}

std::optional<PartResult> read_part(const std::string& list_path, const JobList& list, size_t part) {
  const std::string path = part_path(list_path, part);
  std::ifstream file(path + ".json", std::ios::binary);
  std::stringstream text;
  text << file.rdbuf();
  try {
    const Json json = Json::parse(text.str());
    uint64_t bytes = 0;
    if (json.at("of") != fingerprint(list, part) ||
        json.at("video_check") != file_check(path + ".mkv", bytes))
      return std::nullopt;
    PartResult result;
    result.frames = json.at("frames");
    result.bytes = json.at("bytes");
    result.error = json.at("error");
    result.gained = json.at("gained");
    result.serving = static_cast<PartResult::Serving>(json.at("serving").get<int>());
    if (!json.at("network").is_null()) result.network = from_hex(json.at("network").get<std::string>(), path);
    result.seconds = json.at("seconds");
    return result;
  } catch (const nlohmann::json::exception&) {
    return std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace cairn::video
