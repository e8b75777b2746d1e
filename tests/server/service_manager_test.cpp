// What a service manager is told, over a socket as systemd has one.
#include "server/service_manager.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "base/temporary_folder.hpp"
#include "running_server.hpp"

namespace cairn::server {
namespace {

// $NOTIFY_SOCKET as long as it lives.
class Listener {
 public:
  explicit Listener(const std::string& name) : socket_(::socket(AF_UNIX, SOCK_DGRAM, 0)) {
    sockaddr_un at = {};
    at.sun_family = AF_UNIX;
    std::memcpy(at.sun_path, name.data(), name.size());
    if (name[0] == '@') at.sun_path[0] = '\0';
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    EXPECT_EQ(bind(socket_, reinterpret_cast<sockaddr*>(&at), size), 0) << std::strerror(errno);
    setenv("NOTIFY_SOCKET", name.c_str(), 1);
  }
  ~Listener() {
    unsetenv("NOTIFY_SOCKET");
    close(socket_);
  }
  std::string read() {
    char text[256] = {};
    const ssize_t size = recv(socket_, text, sizeof text, MSG_DONTWAIT);
    return size < 0 ? "" : std::string(text, static_cast<size_t>(size));
  }

 private:
  int socket_;
};

TEST(ServiceManager, IsToldOverItsSocket) {
  const cairn::testing::TemporaryFolder folder;
  for (const std::string& name : {folder / "notify", "@cairn-test-" + std::to_string(getpid())}) {
    Listener listener(name);
    notify_service_manager("READY=1");
    EXPECT_EQ(listener.read(), "READY=1") << name;
    EXPECT_EQ(listener.read(), "");
  }
}

TEST(ServiceManager, NobodyOrNonsenseIsNoError) {
  notify_service_manager("READY=1");
  for (const std::string& name : {std::string("relative"), std::string("/"), std::string("/nobody/here"),
                                  "/" + std::string(300, 'x'), std::string()}) {
    setenv("NOTIFY_SOCKET", name.c_str(), 1);
    notify_service_manager("READY=1");
  }
  unsetenv("NOTIFY_SOCKET");
}

TEST(ServiceManager, HearsWhenAServerIsReadyAndWhenItStops) {
  std::vector<std::string> told;
  HttpOptions options;
  options.listening = [&] { told.emplace_back("listening"); };
  options.stopping = [&] { told.emplace_back("stopping"); };
  RunningServer server(
      [](const HttpRequest&, const std::shared_ptr<Reply>& reply) { reply->send(200, "", ""); }, options);
  EXPECT_EQ(Client(server.port()).ask("GET", "/").status, 200);
  server.http.stop();
  server.join();
  EXPECT_EQ(told, (std::vector<std::string>{"listening", "stopping"}));
}

}  // namespace
}  // namespace cairn::server
