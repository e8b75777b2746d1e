#include "server/openapi.hpp"

#include "server/routes.hpp"

namespace cairn::server {

Json openapi(const std::vector<std::string>& models) {
  Json all = Json::object();
  for (const std::string_view part : openapi_parts()) all.update(Json::parse(part), true);
  all["components"]["schemas"]["ModelName"]["enum"] = models;
  return all;
}

void answer_openapi(const Call& call) {
  std::vector<std::string> names;
  for (const Models::Info& one : call.models.list()) names.push_back(one.name);
  call.send(openapi(names));
}

}  // namespace cairn::server
