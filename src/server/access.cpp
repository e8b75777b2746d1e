#include "server/access.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>

#include "server/api_error.hpp"

namespace cairn::server {
namespace {

// Takes as long wherever the two differ.
bool equal_secret(std::string_view given, std::string_view key) {
  unsigned different = given.size() == key.size() ? 0 : 1;
  for (size_t i = 0; i < given.size(); ++i)
    different |= static_cast<unsigned>(given[i] ^ (key.empty() ? 0 : key[i % key.size()]));
  return different == 0;
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::transform(result.begin(), result.end(), result.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

bool has(const std::vector<std::string>& all, std::string_view one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

// "[::1]:8080" and "localhost:8080" without the port and brackets
std::string without_port(std::string_view host) {
  if (host.starts_with('[')) return lower(host.substr(1, host.find(']') - 1));
  return lower(host.substr(0, host.find(':')));
}

// Of an address, and of no name.
bool is_address(const std::string& host) {
  in6_addr any{};
  return inet_pton(AF_INET, host.c_str(), &any) == 1 || inet_pton(AF_INET6, host.c_str(), &any) == 1;
}

// A page that this server has sent: its origin is what the browser reached the server by.
bool own_page(const HttpRequest& request) {
  const std::string host = lower(request.host), origin = lower(request.origin);
  return !host.empty() && (origin == "http://" + host || origin == "https://" + host);
}

}  // namespace

Access::Access(AccessOptions options) : options_(std::move(options)) {
  char name[256] = {};
  if (gethostname(name, sizeof name - 1) == 0) own_name_ = lower(name);
}

bool Access::known_host(std::string_view host) const {
  const std::string name = without_port(host);
  return name == "localhost" || name.ends_with(".localhost") || is_address(name) ||
         has(options_.hosts, "*") ||
         (!own_name_.empty() && (name == own_name_ || name == own_name_ + ".local")) ||
         std::any_of(options_.hosts.begin(), options_.hosts.end(),
                     [&](const std::string& one) { return lower(one) == name; });
}

void Access::check_host(const HttpRequest& request) const {
  if (!options_.keys.empty() || request.host.empty()) return;
  // By which names others reach a server is not known here; but then only pages are a danger.
  if (!options_.local && request.origin.empty()) return;
  if (known_host(request.host)) return;
  throw ApiError(403, fmt::format("this server is not known as {}: --allow-host {} makes it so", request.host,
                                  without_port(request.host)));
}

bool Access::check_origin(const HttpRequest& request, Reply& reply) const {
  if (request.origin.empty() || own_page(request)) return false;
  // Without a word for it no page of any site reaches a local model.
  const bool all = has(options_.origins, "*");
  if (!all && !has(options_.origins, request.origin)) {
    throw ApiError(
        403, fmt::format("pages of {} may not ask: --cors {} allows it", request.origin, request.origin));
  }
  reply.add_headers({{"Access-Control-Allow-Origin", all ? "*" : request.origin}, {"Vary", "Origin"}});
  if (request.method != "OPTIONS") return false;
  reply.send(204, "", "",
             {{"Access-Control-Allow-Methods", "GET, POST, OPTIONS"},
              {"Access-Control-Allow-Headers", "Authorization, Content-Type, X-Api-Key, *"},
              {"Access-Control-Max-Age", "86400"}});
  return true;
}

void Access::check_key(const HttpRequest& request) const {
  if (options_.keys.empty()) return;
  std::string_view given = request.authorization;
  if (given.size() > 7 && (given.starts_with("Bearer ") || given.starts_with("bearer ")))
    given.remove_prefix(7);
  if (given.empty()) given = request.api_key;
  bool right = false;
  for (const std::string& key : options_.keys) right = equal_secret(given, key) || right;
  if (!right) throw ApiError(401, "a key is needed: Authorization: Bearer KEY", {}, "invalid_api_key");
}

void Access::check_control(const HttpRequest& request) const {
  if (!options_.keys.empty()) return;  // it has one: check_key
  if (!request.local)
    throw ApiError(403, "only this machine may change that as long as no --api-key is asked for");
  if (!request.origin.empty() && !own_page(request))
    throw ApiError(403, "only this server's own page may change that as long as no --api-key is asked for");
}

}  // namespace cairn::server
