// The description is of what is served, and all of it.
#include "server/openapi.hpp"

#include <gtest/gtest.h>

#include <set>

#include "api_fixture.hpp"
#include "server/routes.hpp"

namespace cairn::server {
namespace {

// "GET /v1/models/"; what is behind a path's last slash has no name among routes.
std::set<std::string> described() {
  std::set<std::string> all;
  const Json description = openapi({"tiny"});
  for (const auto& [path, operations] : description["paths"].items()) {
    for (const auto& [method, operation] : operations.items()) {
      std::string upper = method;
      std::transform(upper.begin(), upper.end(), upper.begin(), ::toupper);
      all.insert(upper + " " + path.substr(0, path.find('{')));
    }
  }
  return all;
}

std::set<std::string> served() {
  std::set<std::string> all;
  for (const auto& [path, route] : routes()) {
    const std::string methods = route.methods;
    for (size_t at = 0; at < methods.size();) {
      const size_t end = std::min(methods.find(", ", at), methods.size());
      all.insert(methods.substr(at, end - at) + " " + path);
      at = end + 2;
    }
  }
  return all;
}

TEST(OpenApi, DescribesAllPathsAndNoOthers) {
  EXPECT_EQ(described(), served());
}

// A name that is there twice would hide what it said first.
TEST(OpenApi, SaysNothingTwice) {
  for (const std::string_view part : openapi_parts()) {
    std::vector<std::set<std::string>> names;  // of the objects that are open
    const Json::parser_callback_t see = [&](int, Json::parse_event_t event, Json& value) {
      if (event == Json::parse_event_t::object_start) names.emplace_back();
      if (event == Json::parse_event_t::object_end) names.pop_back();
      if (event == Json::parse_event_t::key) {
        EXPECT_TRUE(names.back().insert(value.get<std::string>()).second) << value;
      }
      return true;
    };
    EXPECT_TRUE(Json::parse(part, see).is_object());
  }
}

// Every place that is referred to is there.
void check_references(const Json& all, const Json& node) {
  if (node.is_object() && node.contains("$ref")) {
    const std::string reference = node["$ref"];
    ASSERT_TRUE(reference.starts_with("#/")) << reference;
    EXPECT_TRUE(all.contains(Json::json_pointer(reference.substr(1)))) << reference;
  }
  if (node.is_structured()) {
    for (const Json& one : node) check_references(all, one);
  }
}

TEST(OpenApi, RefersToWhatIsThere) {
  const Json all = openapi({"tiny"});
  check_references(all, all);
  EXPECT_EQ(all["components"]["schemas"]["ModelName"]["enum"], Json({"tiny"}));
}

TEST(OpenApi, IsServed) {
  Fixture fixture;
  const Response response = Client(fixture.port()).ask("GET", "/openapi.json");
  ASSERT_EQ(response.status, 200);
  EXPECT_EQ(response.json(), openapi({"tiny"}));
}

TEST(Properties, AreThoseThatLlamaCppsClientsAskFor) {
  Fixture fixture;
  const Json props = Client(fixture.port()).ask("GET", "/props").json();
  EXPECT_EQ(props["n_ctx"], kContext);
  EXPECT_EQ(props["default_generation_settings"]["n_ctx"], kContext);
  EXPECT_EQ(props["default_generation_settings"]["params"]["temperature"], 0);
  EXPECT_EQ(props["total_slots"], 8);
  EXPECT_EQ(props["model_alias"], "tiny");
  EXPECT_EQ(props["chat_template"], kTemplate);
}

TEST(Templates, AreApplied) {
  Fixture fixture;
  const Response response = fixture.ask("/apply-template", chat());
  EXPECT_EQ(response.json(), Json({{"prompt", "<|user|>Hi<|assistant|>"}})) << response.body;
}

}  // namespace
}  // namespace cairn::server
