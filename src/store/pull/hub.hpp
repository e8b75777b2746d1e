// Names of files on a hub, for what fetches them.
#pragma once

#include <string>
#include <string_view>

#include "store/pull/download.hpp"

namespace cairn {

constexpr std::string_view kHub = "hf:";

// hf:owner/repository/folder/file → a request for ENDPOINT/owner/repository/resolve/main/folder/file, with
// the user's token. Error invalid_argument: another form.
DownloadRequest hub_request(std::string_view source, const std::string& destination);

}  // namespace cairn
