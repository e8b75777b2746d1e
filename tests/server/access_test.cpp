// Who may ask: hosts, pages, keys; and the page itself.
#include "server/access.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "fake_model.hpp"
#include "served_api.hpp"
#include "server/page.hpp"

namespace cairn::server {
namespace {

using testing::HasSubstr;

struct Fixture {
  explicit Fixture(AccessOptions access = {}, std::vector<std::string> stacks = {"one"}) {
    std::vector<ModelSource> sources;
    for (const std::string& name : stacks) {
      ModelSource source;
      source.name = name;
      source.load = [name] {
        auto engine = std::make_shared<Engine>();
        engine->stack = name != "fixed";
        engine->status.stack = 600;
        engine->status.stack_all = 2000;
        engine->status.bits = 3.5;
        engine->status.device = 300;
        return fake_model(name, engine);
      };
      sources.push_back(source);
    }
    served = std::make_unique<ServedApi>(
        std::move(sources), ApiOptions{.access = std::move(access), .models = {}, .answer_time = {}});
  }
  Response ask(const std::string& method, const std::string& path, const std::string& headers = {},
               const std::string& body = {}) {
    return Client(served->port()).ask(method, path, body, headers);
  }
  std::string own() { return "localhost:" + std::to_string(served->port()); }

  std::unique_ptr<ServedApi> served;
};

TEST(Access, KnowsThisMachinesNamesAndNoOthers) {
  Fixture fixture({.keys = {}, .origins = {}, .hosts = {"models.example.org"}});
  for (const std::string host : {"localhost", "LOCALHOST:8080", "127.0.0.1:1", "[::1]:8080", "192.168.0.7",
                                 "cairn.localhost", "models.example.org", "Models.Example.org:443"})
    EXPECT_EQ(fixture.ask("GET", "/v1/models", "Host: " + host + "\r\n").status, 200) << host;
  // A page of evil.example whose name leads to 127.0.0.1 now.
  for (const std::string host : {"evil.example:8080", "localhost.evil.example", "127.0.0.1.evil.example"}) {
    const Response refused = fixture.ask("GET", "/v1/models", "Host: " + host + "\r\n");
    EXPECT_EQ(refused.status, 403) << host;
    EXPECT_THAT(refused.body, HasSubstr("--allow-host"));
    EXPECT_EQ(fixture.ask("GET", "/", "Host: " + host + "\r\n").status, 403) << host;
  }
  EXPECT_EQ(fixture.ask("GET", "/health", "Host: evil.example\r\n").status, 200);
}

TEST(Access, WhereOthersMayComeOnlyPagesNeedAKnownName) {
  Fixture fixture({.keys = {}, .origins = {}, .hosts = {}, .local = false});
  EXPECT_EQ(fixture.ask("GET", "/v1/models", "Host: cairn.lan\r\n").status, 200);
  EXPECT_EQ(fixture.ask("GET", "/v1/models", "Host: cairn.lan\r\nOrigin: http://cairn.lan\r\n").status, 403);
}

TEST(Access, ItsOwnPageMayAsk) {
  Fixture fixture;
  const std::string host = "Host: " + fixture.own() + "\r\n";
  EXPECT_EQ(fixture.ask("GET", "/v1/models", host + "Origin: http://" + fixture.own() + "\r\n").status, 200);
  for (const std::string origin : {"http://localhost:1", "http://localhost", "null", "http://evil.example"})
    EXPECT_EQ(fixture.ask("GET", "/v1/models", host + "Origin: " + origin + "\r\n").status, 403) << origin;
  // The name of another that leads here.
  EXPECT_EQ(fixture
                .ask("POST", "/tokenize", "Host: evil.example\r\nOrigin: http://evil.example\r\n",
                     R"({"prompt": "x"})")
                .status,
            403);
}

TEST(Access, BehindAProxyWithAKeyNamesDoNotMatter) {
  Fixture fixture({.keys = {"k"}, .origins = {}, .hosts = {}});
  const std::string key = "Authorization: Bearer k\r\n";
  EXPECT_EQ(
      fixture.ask("GET", "/v1/models", "Host: models.lan\r\nOrigin: https://models.lan\r\n" + key).status,
      200);
  EXPECT_EQ(fixture.ask("GET", "/v1/models", "Host: models.lan\r\n").status, 401);
}

TEST(Page, ComesWithoutAKeyAndRunsNothingElse) {
  Fixture fixture({.keys = {"k"}, .origins = {}, .hosts = {}});
  const Response page = fixture.ask("GET", "/");
  EXPECT_EQ(page.status, 200);
  EXPECT_EQ(page.headers.at("content-type"), "text/html; charset=utf-8");
  EXPECT_EQ(page.headers.at("x-content-type-options"), "nosniff");
  EXPECT_THAT(page.headers.at("content-security-policy"), HasSubstr("default-src 'self'; "));
  EXPECT_THAT(page.headers.at("content-security-policy"), HasSubstr("frame-ancestors 'none'"));
  // All that it names is here, and nothing in it would need a weaker policy.
  size_t named = 0;
  for (size_t at = 0; (at = page.body.find("\"/web/", at)) != std::string::npos; ++at, ++named) {
    const std::string path = page.body.substr(at + 1, page.body.find('"', at + 1) - at - 1);
    EXPECT_EQ(fixture.ask("GET", path).status, 200) << path;
  }
  EXPECT_GE(named, 4u);
  for (const PageFile& file : page_files()) {
    EXPECT_EQ(file.content.find("style="), std::string_view::npos) << file.path;
    EXPECT_EQ(file.content.find("innerHTML"), std::string_view::npos) << file.path;
    EXPECT_EQ(file.content.find("<script>"), std::string_view::npos) << file.path;
    for (size_t at = 0; (at = file.content.find("from \"./", at)) != std::string_view::npos; ++at) {
      const size_t begin = at + 8;
      const std::string path =
          "/web/" + std::string(file.content.substr(begin, file.content.find('"', begin) - begin));
      EXPECT_NE(find_page_file(path), nullptr) << file.path << " imports " << path;
    }
  }
  EXPECT_EQ(fixture.ask("GET", "/web/../api.cpp", "Authorization: Bearer k\r\n").status, 404);
  EXPECT_EQ(fixture.ask("POST", "/", "Authorization: Bearer k\r\n").status, 404);
}

TEST(Memory, IsToldAndSet) {
  Fixture fixture({}, {"one", "fixed"});
  const Json before = fixture.ask("GET", "/memory").json();
  EXPECT_EQ(before["elastic"], true);
  EXPECT_TRUE(before["budget_bytes"].is_null());
  EXPECT_EQ(before["models"][0]["stack"]["bytes"], 600);
  EXPECT_EQ(before["models"][0]["stack"]["bits"], 3.5);
  EXPECT_EQ(before["models"][0]["stack"]["device_bytes"], 300);
  EXPECT_TRUE(before["models"][1]["stack"].is_null());
  EXPECT_EQ(fixture.ask("PUT", "/memory", {}, R"({"memory": "4K"})").json()["budget_bytes"], 4096);
  EXPECT_EQ(fixture.ask("PUT", "/memory", {}, R"({"memory": 5000})").json()["budget_bytes"], 5000);
  EXPECT_EQ(fixture.ask("PUT", "/memory", {}, R"({"memory": 6e3})").json()["budget_bytes"], 6000);
  EXPECT_EQ(fixture.ask("PUT", "/memory", {}, R"({"memory": "auto"})").json()["automatic"], true);
  EXPECT_TRUE(fixture.ask("PUT", "/memory", {}, R"({"memory": "all"})").json()["budget_bytes"].is_null());
  EXPECT_THAT(fixture.ask("GET", "/metrics").body,
              ::testing::AllOf(HasSubstr("\ncairn_memory_stack_bytes{model=\"one\"} 600\n"),
                               HasSubstr("\ncairn_memory_device_bytes{model=\"one\"} 300\n")));
}

TEST(Memory, RefusesWhatCannotBe) {
  Fixture fixture;
  for (const std::string body :
       {R"({})", R"({"memory": "much"})", R"({"memory": 0})", R"({"memory": "0"})", R"({"memory": -5})",
        R"({"memory": 5.5})", R"({"memory": [1]})", R"({"memory": 999})"}) {
    const Response refused = fixture.ask("PUT", "/memory", {}, body);
    EXPECT_EQ(refused.status, 400) << body;
    EXPECT_EQ(refused.json()["error"]["param"], "memory") << body;
  }
  EXPECT_EQ(fixture.ask("POST", "/memory", {}, "{}").headers.at("allow"), "GET, PUT");
  Fixture fixed({}, {"fixed"});
  const Response refused = fixed.ask("PUT", "/memory", {}, R"({"memory": "1G"})");
  EXPECT_EQ(refused.status, 409);
  EXPECT_THAT(refused.body, HasSubstr("is a stack"));
  EXPECT_EQ(fixed.ask("GET", "/memory").json()["elastic"], false);
}

TEST(Memory, IsSetByWhoHasAKeyOrIsHere) {
  const std::string body = R"({"memory": 5000})";
  Fixture keyed({.keys = {"k"}, .origins = {}, .hosts = {}});
  EXPECT_EQ(keyed.ask("PUT", "/memory", {}, body).status, 401);
  EXPECT_EQ(keyed.ask("PUT", "/memory", "Authorization: Bearer k\r\n", body).status, 200);
  Fixture open({.keys = {}, .origins = {"*"}, .hosts = {}});
  const std::string host = "Host: " + open.own() + "\r\n";
  EXPECT_EQ(open.ask("PUT", "/memory", host + "Origin: http://evil.example\r\n", body).status, 403);
  EXPECT_EQ(open.ask("PUT", "/memory", host + "Origin: http://" + open.own() + "\r\n", body).status, 200);
  const Access access({});
  HttpRequest request;
  request.local = false;
  EXPECT_THROW(access.check_control(request), std::runtime_error);
  request.local = true;
  EXPECT_NO_THROW(access.check_control(request));
}

}  // namespace
}  // namespace cairn::server
