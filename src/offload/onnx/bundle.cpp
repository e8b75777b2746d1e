#include "offload/onnx/bundle.hpp"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "base/atomic_file.hpp"
#include "base/error.hpp"
#include "base/mapped_file.hpp"

namespace cairn::offload::onnx {
namespace {

namespace fs = std::filesystem;

constexpr int kVersion = 2;  // 1: its outputs' steps were wider
constexpr const char* kManifest = "manifest.json";

std::string hex(uint64_t value) {
  return fmt::format("{:016x}", value);
}

uint64_t number(const nlohmann::json& text) {
  return std::stoull(text.get<std::string>(), nullptr, 16);
}

// A name that cannot lead out of the folder.
std::string plain_name(const nlohmann::json& text) {
  std::string name = text.get<std::string>();
  if (name.empty() || name.front() == '.' || name.find('/') != std::string::npos)
    throw std::invalid_argument(fmt::format("{:?} is no name of a file", name));
  return name;
}

void check_file(const std::string& folder, const std::string& name, uint64_t bytes) {
  std::error_code error;
  const uint64_t size = fs::file_size(fs::path(folder) / name, error);
  if (error) fail(ErrorCode::format, "bundle {}: {}: {}", folder, name, error.message());
  if (size != bytes)
    fail(ErrorCode::format, "bundle {}: {} has {} bytes where {} were written: it was cut or changed", folder,
         name, size, bytes);
}

}  // namespace

std::vector<uint32_t> Bundle::chunk_lengths() const {
  std::set<uint32_t> lengths;
  for (const BundleGraph& graph : graphs) lengths.insert(graph.tokens);
  return {lengths.begin(), lengths.end()};
}

uint64_t Bundle::bytes() const {
  uint64_t total = context_bytes;
  for (const BundleGraph& graph : graphs) total += graph.bytes;
  return total;
}

Bundle::Chunk Bundle::chunk(uint32_t tokens) const {
  Chunk chunk;
  uint32_t past = 0;
  for (const BundleGraph& graph : graphs) past = std::max(past, graph.past);
  for (const BundleGraph& graph : graphs) {
    if (graph.tokens != tokens || graph.past != past) continue;
    ++chunk.graphs;
    chunk.in += graph.in;
    chunk.out += graph.out;
  }
  return chunk;
}

Bundle Bundle::read(const std::string& folder) {
  const std::string path = (fs::path(folder) / kManifest).string();
  std::error_code ignored;
  if (!fs::exists(path, ignored))
    fail(ErrorCode::not_found, "{}: no bundle (it has no {})", folder, kManifest);
  const MappedFile file(path);
  Bundle bundle;
  bundle.folder = folder;
  try {
    const auto* text = reinterpret_cast<const char*>(file.bytes().data());
    const nlohmann::json json = nlohmann::json::parse(text, text + file.bytes().size());
    if (const int version = json.at("cairn_bundle").get<int>(); version != kVersion) {
      fail(ErrorCode::unsupported, "{}: is of version {}, this cairn reads {}: compile it again", path,
           version, kVersion);
    }
    bundle.model = json.at("model").get<std::string>();
    bundle.scheme = json.at("scheme").get<std::string>();
    bundle.chip = json.at("chip").get<std::string>();
    bundle.fingerprint = json.at("fingerprint").get<std::string>();
    bundle.bits = json.at("bits").get<uint32_t>();
    if (json.contains("context")) {
      bundle.context = plain_name(json.at("context").at("file"));
      bundle.context_bytes = json.at("context").at("bytes").get<uint64_t>();
      bundle.context_sum = number(json.at("context").at("xxh3"));
    }
    for (const nlohmann::json& each : json.at("graphs")) {
      bundle.graphs.push_back({each.at("name").get<std::string>(), number(each.at("key")),
                               each.at("tokens").get<uint32_t>(), plain_name(each.at("file")),
                               each.at("bytes").get<uint64_t>(), each.at("in").get<uint64_t>(),
                               each.at("out").get<uint64_t>(), each.value("past", 0U)});
    }
  } catch (const nlohmann::json::exception& error) {
    fail(ErrorCode::format, "{}: is not a bundle's manifest: {}", path, error.what());
  } catch (const std::logic_error& error) {
    fail(ErrorCode::format, "{}: is not a bundle's manifest: {}", path, error.what());
  }
  for (const BundleGraph& graph : bundle.graphs) check_file(folder, graph.file, graph.bytes);
  if (!bundle.context.empty()) {
    check_file(folder, bundle.context, bundle.context_bytes);
    const MappedFile context((fs::path(folder) / bundle.context).string());
    if (XXH3_64bits(context.bytes().data(), context.bytes().size()) != bundle.context_sum)
      fail(ErrorCode::format, "bundle {}: {} was changed (its checksum is wrong)", folder, bundle.context);
  }
  return bundle;
}

void Bundle::write() const {
  nlohmann::ordered_json json = {{"cairn_bundle", kVersion},   {"model", model},
                                 {"scheme", scheme},           {"chip", chip},
                                 {"fingerprint", fingerprint}, {"bits", bits}};
  if (!context.empty())
    json["context"] = {{"file", context}, {"bytes", context_bytes}, {"xxh3", hex(context_sum)}};
  for (const BundleGraph& graph : graphs) {
    json["graphs"].push_back({{"name", graph.name},
                              {"key", hex(graph.key)},
                              {"tokens", graph.tokens},
                              {"file", graph.file},
                              {"bytes", graph.bytes},
                              {"in", graph.in},
                              {"out", graph.out}});
    if (graph.past > 0) json["graphs"].back()["past"] = graph.past;
  }
  AtomicFile file((fs::path(folder) / kManifest).string());
  file.write(json.dump(1) + "\n");
  file.commit();
}

const BundleGraph* Bundle::find(uint64_t key, uint32_t tokens) const {
  const auto found = std::ranges::find_if(
      graphs, [&](const BundleGraph& graph) { return graph.key == key && graph.tokens == tokens; });
  return found == graphs.end() ? nullptr : &*found;
}

}  // namespace cairn::offload::onnx
