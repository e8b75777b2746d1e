// What stands for store/pull/{download,package}.cpp in a static program: there is no libcurl, and no name of
// a host could be looked up, as glibc opens libraries for that.
#include "base/error.hpp"
#include "store/pull/download.hpp"
#include "store/pull/package.hpp"

namespace cairn {
namespace {

[[noreturn]] void refuse(const std::string& what) {
  fail(ErrorCode::unsupported,
       "{}: a static cairn downloads nothing: bring the file by other means and pull its path", what);
}

}  // namespace

Downloaded download(const DownloadRequest& request) {
  refuse(request.url);
}

void fetch_packaged_model(const KnownModel& model, const std::string&) {
  refuse(std::string(model.name));
}

void fetch_packaged_checkpoint(const KnownModel& model, const std::string&, const std::string&) {
  refuse(std::string(model.name));
}

}  // namespace cairn
