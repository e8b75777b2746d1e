#include "store/pull/hub.hpp"

#include <cstdlib>

#include "base/error.hpp"

namespace cairn {
namespace {

std::string variable(const char* name, const char* otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? otherwise : value;
}

// hf:owner/repository/folder/file.gguf → ENDPOINT/owner/repository/resolve/main/folder/file.gguf
std::string hub_url(std::string_view source) {
  const std::string_view rest = source.substr(kHub.size());
  const size_t owner = rest.find('/');
  const size_t repository = owner == std::string_view::npos ? owner : rest.find('/', owner + 1);
  if (repository == std::string_view::npos || owner == 0 || repository == owner + 1 ||
      repository + 1 == rest.size()) {
    fail(ErrorCode::invalid_argument, "{}: a hub's file is written hf:owner/repository/file.gguf", source);
  }
  return fmt::format("{}/{}/resolve/main/{}", variable("HF_ENDPOINT", "https://huggingface.co"),
                     rest.substr(0, repository), rest.substr(repository + 1));
}

}  // namespace

DownloadRequest hub_request(std::string_view source, const std::string& destination) {
  DownloadRequest request;
  request.url = hub_url(source);
  request.token = variable("HF_TOKEN", "");
  request.destination = destination;
  return request;
}

}  // namespace cairn
