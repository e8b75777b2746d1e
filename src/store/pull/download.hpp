#pragma once

#include <cstdint>
#include <functional>
#include <string>

namespace cairn {

struct DownloadRequest {
  std::string url;          // http or https
  std::string destination;  // the file; while it is partial, DESTINATION.pull.partial
  std::string token;        // sent as a bearer token to the URL's own host only, or empty
  std::string sha256;       // expected, or empty
  std::string magic;        // what the file must begin with, or empty
  // Looks at the whole file before it takes its name, and throws Error format when it is not to be kept.
  std::function<void(const std::string& path)> check{};
  uint32_t retries = 4;    // failures in a row without a new byte
  double first_pause = 1;  // seconds before the first retry; doubles with each
  long connect_seconds = 20;
  long stall_seconds = 30;  // without a byte until the connection counts as lost
};

struct Downloaded {
  std::string sha256;         // of the file
  uint64_t resumed_from = 0;  // bytes that an earlier run had left
};

// Fetches a file, going on from what an earlier run left when the server can (RFC 9110: Range with If-Range)
// and the file there is still the same. Errors: network (the partial file stays, the text says how to go on),
// io (a full disk, an unwritable folder), format (wrong hash, a page instead of a model; the partial file is
// removed), not_found (HTTP 404 and 410), invalid_argument (URL), cancelled.
Downloaded download(const DownloadRequest& request);

}  // namespace cairn
