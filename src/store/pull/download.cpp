#include "store/pull/download.hpp"

#include <curl/curl.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <charconv>
#include <chrono>
#include <exception>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string_view>
#include <thread>

#include "base/error.hpp"
#include "base/interrupt.hpp"
#include "base/progress.hpp"
#include "base/sha256.hpp"
#include "store/pull/partial_file.hpp"

namespace cairn {
namespace {

constexpr double kMebi = 1024.0 * 1024.0;

// One HTTP exchange and what it does to the partial file.
class Exchange {
 public:
  Exchange(const DownloadRequest& request, PartialFile& file, Progress& progress);
  Exchange(const Exchange&) = delete;
  Exchange& operator=(const Exchange&) = delete;

  enum class Outcome { complete, try_again, start_again };
  Outcome perform();

  const std::string& reason() const noexcept { return reason_; }
  uint64_t expected() const noexcept { return expected_; }
  const std::string& announced_sha256() const noexcept { return announced_; }

 private:
  static size_t on_header(char* data, size_t size, size_t count, void* self);
  static size_t on_body(char* data, size_t size, size_t count, void* self);
  static int on_tick(void*, curl_off_t, curl_off_t, curl_off_t, curl_off_t) { return interrupted() ? 1 : 0; }

  void read_header(std::string_view line);
  void begin_body();  // at the first byte of the final response's body
  long status() const;
  Outcome judge(CURLcode code);

  const DownloadRequest& request_;
  PartialFile& file_;
  Progress& progress_;
  std::unique_ptr<CURL, decltype(&curl_easy_cleanup)> curl_;
  std::unique_ptr<curl_slist, decltype(&curl_slist_free_all)> headers_{nullptr, curl_slist_free_all};
  std::array<char, CURL_ERROR_SIZE> error_text_ = {};
  uint64_t asked_from_ = 0;
  uint64_t expected_ = 0;  // bytes of the whole file, 0 = not told
  uint64_t range_begin_ = 0, range_total_ = 0;
  std::string etag_, date_, announced_, reason_;
  bool body_begun_ = false;
  std::exception_ptr failure_;  // thrown in a callback, where C code lies between
};

template <class Value>
void set(CURL* curl, CURLoption option, Value value) {
  if (const CURLcode code = curl_easy_setopt(curl, option, value); code != CURLE_OK) {
    fail(ErrorCode::network, "libcurl: {}", curl_easy_strerror(code));
  }
}

Exchange::Exchange(const DownloadRequest& request, PartialFile& file, Progress& progress)
    : request_(request), file_(file), progress_(progress), curl_(curl_easy_init(), curl_easy_cleanup) {
  if (!curl_) fail(ErrorCode::out_of_memory, "libcurl cannot start");
  CURL* curl = curl_.get();
  set(curl, CURLOPT_URL, request.url.c_str());
  set(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  set(curl, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
  set(curl, CURLOPT_FOLLOWLOCATION, 1L);
  set(curl, CURLOPT_MAXREDIRS, 10L);
  set(curl, CURLOPT_USERAGENT, "cairn");
  set(curl, CURLOPT_NOSIGNAL, 1L);
  set(curl, CURLOPT_CONNECTTIMEOUT, request.connect_seconds);
  set(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(curl, CURLOPT_LOW_SPEED_TIME, request.stall_seconds);
  set(curl, CURLOPT_ERRORBUFFER, error_text_.data());
  set(curl, CURLOPT_HEADERFUNCTION, &Exchange::on_header);
  set(curl, CURLOPT_HEADERDATA, this);
  set(curl, CURLOPT_WRITEFUNCTION, &Exchange::on_body);
  set(curl, CURLOPT_WRITEDATA, this);
  set(curl, CURLOPT_NOPROGRESS, 0L);
  set(curl, CURLOPT_XFERINFOFUNCTION, &Exchange::on_tick);
  if (!request.token.empty()) {
    // libcurl drops it when a redirect leads to another host.
    set(curl, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
    set(curl, CURLOPT_XOAUTH2_BEARER, request.token.c_str());
  }

  const std::string validator = file.validator(request.url);
  // Without a validator only a hash can tell whether two halves belong together.
  if (file.size() > 0 && (!validator.empty() || !request.sha256.empty())) {
    asked_from_ = file.size();
    set(curl, CURLOPT_RANGE, fmt::format("{}-", asked_from_).c_str());
    if (!validator.empty()) {
      headers_.reset(curl_slist_append(nullptr, ("If-Range: " + validator).c_str()));
      set(curl, CURLOPT_HTTPHEADER, headers_.get());
    }
  }
}

size_t Exchange::on_header(char* data, size_t size, size_t count, void* self) {
  auto& exchange = *static_cast<Exchange*>(self);
  try {
    exchange.read_header({data, size * count});
    return size * count;
  } catch (...) {
    exchange.failure_ = std::current_exception();
    return 0;
  }
}

size_t Exchange::on_body(char* data, size_t size, size_t count, void* self) {
  auto& exchange = *static_cast<Exchange*>(self);
  const size_t bytes = size * count;
  try {
    if (const long status = exchange.status(); status != 200 && status != 206) return bytes;  // an error page
    if (!exchange.body_begun_) exchange.begin_body();
    exchange.file_.append(std::as_bytes(std::span(data, bytes)));
    exchange.progress_.update(exchange.file_.size());
    return bytes;
  } catch (...) {
    exchange.failure_ = std::current_exception();
    return 0;
  }
}

void Exchange::read_header(std::string_view line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
  if (line.starts_with("HTTP/")) {  // a new response: what a redirect said of itself is void
    etag_.clear();
    date_.clear();
    range_begin_ = range_total_ = 0;
    return;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return;
  std::string name(line.substr(0, colon));
  std::ranges::transform(name, name.begin(), [](unsigned char c) { return std::tolower(c); });
  std::string_view value = line.substr(colon + 1);
  while (!value.empty() && value.front() == ' ') value.remove_prefix(1);

  if (name == "etag" && !value.starts_with("W/")) etag_ = value;
  if (name == "last-modified") date_ = value;
  if (name == "content-range" && value.starts_with("bytes ")) {  // "bytes 5-9/10", "bytes */10"
    value.remove_prefix(6);
    std::from_chars(value.data(), value.data() + value.size(), range_begin_);
    if (const size_t slash = value.find('/'); slash != std::string_view::npos) {
      std::from_chars(value.data() + slash + 1, value.data() + value.size(), range_total_);
    }
  }
  // A model hub tells the sha256 of a large file in the redirect that leads to it.
  const auto is_hex = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (name == "x-linked-etag" && value.size() == 66 && std::ranges::all_of(value.substr(1, 64), is_hex)) {
    announced_ = value.substr(1, 64);
  }
}

void Exchange::begin_body() {
  body_begun_ = true;
  curl_off_t length = -1;
  curl_easy_getinfo(curl_.get(), CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
  const uint64_t coming = length > 0 ? static_cast<uint64_t>(length) : 0;
  if (status() == 206 && range_begin_ != asked_from_) {
    fail(ErrorCode::network, "cannot fetch {}: the server sent a part from byte {}, not from {}",
         request_.url, range_begin_, asked_from_);
  }
  if (status() == 200) file_.restart();
  expected_ = coming == 0 ? 0 : file_.size() + coming;
  progress_.restart(file_.size(), expected_);
  file_.remember(request_.url, etag_.empty() ? date_ : etag_);

  std::error_code unknown;
  const auto space = std::filesystem::space(std::filesystem::path(file_.path()).parent_path(), unknown);
  if (!unknown && coming > space.available) {
    fail(ErrorCode::io, "cannot write {}: {:.1f} MiB are to come, the disk has {:.1f} MiB free", file_.path(),
         static_cast<double>(coming) / kMebi, static_cast<double>(space.available) / kMebi);
  }
}

long Exchange::status() const {
  long status = 0;
  curl_easy_getinfo(curl_.get(), CURLINFO_RESPONSE_CODE, &status);
  return status;
}

Exchange::Outcome Exchange::perform() {
  const CURLcode code = curl_easy_perform(curl_.get());
  if (failure_) std::rethrow_exception(failure_);
  throw_if_interrupted();
  return judge(code);
}

Exchange::Outcome Exchange::judge(CURLcode code) {
  if (code != CURLE_OK) {
    reason_ = error_text_[0] != 0 ? error_text_.data() : curl_easy_strerror(code);
    constexpr std::array kPassing = {CURLE_COULDNT_RESOLVE_PROXY,
                                     CURLE_COULDNT_RESOLVE_HOST,
                                     CURLE_COULDNT_CONNECT,
                                     CURLE_PARTIAL_FILE,
                                     CURLE_OPERATION_TIMEDOUT,
                                     CURLE_SSL_CONNECT_ERROR,
                                     CURLE_GOT_NOTHING,
                                     CURLE_SEND_ERROR,
                                     CURLE_RECV_ERROR,
                                     CURLE_HTTP2,
                                     CURLE_HTTP2_STREAM};
    if (std::ranges::find(kPassing, code) != kPassing.end()) return Outcome::try_again;
    const bool bad_url = code == CURLE_URL_MALFORMAT || code == CURLE_UNSUPPORTED_PROTOCOL;
    fail(bad_url ? ErrorCode::invalid_argument : ErrorCode::network, "cannot fetch {}: {}", request_.url,
         reason_);
  }
  const long code_of_http = status();
  reason_ = fmt::format("the server answered with status {}", code_of_http);
  switch (code_of_http) {
    case 200:
    case 206:
      if (!body_begun_) file_.restart();  // an empty file
      return Outcome::complete;
    case 408:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
      return Outcome::try_again;
    case 416:  // nothing after what is here: either all is here or the file has become shorter
      return range_total_ == asked_from_ && asked_from_ > 0 ? Outcome::complete : Outcome::start_again;
    case 401:
    case 403:
      fail(ErrorCode::network, "cannot fetch {}: {}; it may need a token", request_.url, reason_);
    case 404:
    case 410:
      fail(ErrorCode::not_found, "cannot fetch {}: {}", request_.url, reason_);
    default:
      fail(ErrorCode::network, "cannot fetch {}: {}", request_.url, reason_);
  }
}

void pause(double seconds) {
  const Stopwatch watch;
  while (watch.seconds() < seconds && !interrupted()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
}

// For the error line: how much an interrupted download has left, and whether it can go on from there.
std::string what_is_here(const DownloadRequest& request, const PartialFile& file, uint64_t expected) {
  if (file.size() == 0) return "";
  const auto mebi = [](uint64_t bytes) { return static_cast<double>(bytes) / kMebi; };
  const bool resumable = !request.sha256.empty() || !file.validator(request.url).empty();
  return fmt::format("; {:.1f}{} MiB are here, the same command {}", mebi(file.size()),
                     expected == 0 ? "" : fmt::format(" of {:.1f}", mebi(expected)),
                     resumable ? "goes on from there" : "starts again");
}

// Throws unless the file begins with `magic`: most often a server's page of explanations instead of a file.
void check_magic(const DownloadRequest& request, const PartialFile& file) {
  std::string begin(request.magic.size(), '\0');
  std::ifstream(file.path(), std::ios::binary).read(begin.data(), static_cast<std::streamsize>(begin.size()));
  if (begin != request.magic) {
    fail(ErrorCode::format, "{}: the server sent something else than a {} file", request.url, request.magic);
  }
}

// Gets the whole file into `file`; the sha256 that the server announced, if any.
std::string fetch(const DownloadRequest& request, PartialFile& file) {
  Progress progress(request.destination.substr(request.destination.rfind('/') + 1), 0);
  uint64_t most = file.size(), whole = 0;
  double wait = request.first_pause;
  for (uint32_t failures = 0;;) {
    Exchange exchange(request, file, progress);
    const Exchange::Outcome outcome = exchange.perform();
    if (outcome == Exchange::Outcome::complete) return exchange.announced_sha256();
    if (outcome == Exchange::Outcome::start_again) file.restart();
    whole = std::max(whole, exchange.expected());
    if (file.size() > most) {
      failures = 0;
      wait = request.first_pause;
      most = file.size();
    }
    if (failures++ == request.retries) {
      fail(ErrorCode::network, "cannot fetch {}: {}{}", request.url, exchange.reason(),
           what_is_here(request, file, whole));
    }
    pause(wait);
    throw_if_interrupted();
    wait *= 2;
  }
}

}  // namespace

Downloaded download(const DownloadRequest& request) {
  static const CURLcode started = curl_global_init(CURL_GLOBAL_DEFAULT);
  if (started != CURLE_OK) fail(ErrorCode::network, "libcurl: {}", curl_easy_strerror(started));

  PartialFile file(request.destination);
  Downloaded result;
  result.resumed_from = file.size();
  const std::string announced = fetch(request, file);
  try {
    if (file.size() == 0) fail(ErrorCode::format, "{}: the server sent an empty file", request.url);
    check_magic(request, file);
    result.sha256 = sha256_of_file(file.path());
    const std::string& expected = request.sha256.empty() ? announced : request.sha256;
    if (!expected.empty() && result.sha256 != expected) {
      fail(ErrorCode::format, "{}: its sha256 is {}, not {}", request.url, result.sha256, expected);
    }
    if (request.check) request.check(file.path());
  } catch (const Error& error) {
    if (error.code() == ErrorCode::format) file.discard();  // no use in going on from it
    throw;
  }
  file.finish();
  return result;
}

}  // namespace cairn
