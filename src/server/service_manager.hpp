#pragma once

#include <string_view>

namespace cairn::server {

// Tells whoever started this service how it does, as systemd's sd_notify(3) describes: "READY=1",
// "STOPPING=1", lines of them. Nothing happens where $NOTIFY_SOCKET names nobody; what cannot be told is not
// worth an error.
void notify_service_manager(std::string_view state) noexcept;

}  // namespace cairn::server
