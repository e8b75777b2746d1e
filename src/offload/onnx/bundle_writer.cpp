#include "offload/onnx/bundle_writer.hpp"

#define XXH_INLINE_ALL
#include <unistd.h>
#include <xxhash.h>

#include <filesystem>

#include "base/mapped_file.hpp"
#include "offload/onnx/layer_model.hpp"
#include "offload/onnx/layer_program.hpp"

namespace cairn::offload::onnx {
namespace {

namespace fs = std::filesystem;

constexpr const char* kGraphEnd = ".graph";

}  // namespace

std::vector<std::pair<std::string, std::string>> context_entries(const std::string& path) {
  return {{"ep.context_enable", "1"}, {"ep.context_file_path", path}, {"ep.context_embed_mode", "1"}};
}

std::string shared_model(const std::string& graph_file) {
  return fs::path(graph_file).replace_extension(".onnx").string();
}

BundleWriter::BundleWriter(const BundleOptions& options)
    : options_(options), device_(open_device("QNN:" + options.chip, 1)) {
  std::error_code error;
  if (fs::exists(options_.folder, error))
    fail(ErrorCode::invalid_argument, "{}: is there already", options_.folder);
  const fs::path folder = fs::absolute(options_.folder).lexically_normal();
  const fs::path named = folder.has_filename() ? folder : folder.parent_path();
  unfinished_ =
      (named.parent_path() / fmt::format(".{}.{}.part", named.filename().string(), getpid())).string();
  fs::create_directories(unfinished_, error);
  if (error) fail(ErrorCode::io, "{}: {}", options_.folder, error.message());
  forced_.emplace([path = unfinished_] {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  });
  bundle_ = {.folder = unfinished_,
             .model = options_.model,
             .scheme = options_.scheme,
             .chip = options_.chip,
             .fingerprint = device_.fingerprint,
             .bits = static_cast<uint32_t>(options_.bits)};
}

BundleWriter::~BundleWriter() {
  sessions_.clear();
  std::error_code ignored;
  if (!unfinished_.empty()) fs::remove_all(unfinished_, ignored);
}

void BundleWriter::add(const Int8Graph& graph, bool last) {
  uint64_t in = uint64_t{graph.tokens} * graph.linears.front().k, out = 0;
  for (const Int8Linear& linear : graph.linears)
    out += uint64_t{graph.tokens} * linear.rows * sizeof(uint16_t);
  add({.name = graph.name, .key = graph.key, .tokens = graph.tokens, .file = {}, .in = in, .out = out},
      graph_identity(graph, device_.fingerprint, options_.bits),
      write_model(graph, device_.form, options_.bits), last);
}

void BundleWriter::add(const LayerGraph& layer, bool last) {
  const auto [in, out] = layer_crossing(layer);
  add({.name = layer.name,
       .key = layer_key(layer),
       .tokens = layer.tokens,
       .file = {},
       .in = in,
       .out = out,
       .past = layer.past},
      layer_identity(layer, device_.fingerprint), {write_layer(layer), {}}, last);
}

void BundleWriter::add(BundleGraph entry, const std::string& identity, const WrittenModel& written,
                       bool last) {
  entry.file = fmt::format("{:04}{}", bundle_.graphs.size() + 1, kGraphEnd);
  const std::string path = (fs::path(unfinished_) / entry.file).string();
  const std::string model_path = shared_model(path);
  auto entries = context_entries(model_path);
  if (!options_.separate) {
    entries.back().second = "0";
    entries.emplace_back("ep.share_ep_contexts", "1");
    if (last) entries.emplace_back("ep.stop_share_ep_contexts", "1");
  }
  const std::string what =
      fmt::format("{} refuses graph {} of {} tokens", options_.chip, entry.name, entry.tokens);
  std::error_code error;
  try {
    Handle<Session> session = make_session(device_, std::as_bytes(std::span(written.bytes)), "", entries,
                                           ErrorCode::unsupported, what);
    if (!options_.separate) sessions_.push_back(std::move(session));
  } catch (const Error& refused) {
    if (fs::space(unfinished_, error).available == 0)
      fail(ErrorCode::io, "{}: no space left on the device", options_.folder);
    throw ProductRefused(refused.code(), refused.what());
  }
  if (options_.separate) {
    const MappedFile context(model_path);
    write_kept(path, identity, written.outputs, context.bytes());
    fs::remove(model_path, error);
  } else {
    write_kept(path, identity, written.outputs, {});
  }
  entry.bytes = fs::file_size(path);
  bundle_.graphs.push_back(std::move(entry));
}

const Bundle& BundleWriter::finish() {
  sessions_.clear();
  if (!options_.separate) {
    for (const auto& entry : fs::directory_iterator(unfinished_)) {
      if (entry.path().extension() == ".bin") bundle_.context = entry.path().filename().string();
    }
    if (bundle_.context.empty())
      fail(ErrorCode::io, "{}: the compiler wrote no shared context", options_.folder);
    const MappedFile context((fs::path(unfinished_) / bundle_.context).string());
    bundle_.context_bytes = context.bytes().size();
    bundle_.context_sum = XXH3_64bits(context.bytes().data(), context.bytes().size());
  }
  bundle_.write();
  std::error_code error;
  fs::rename(unfinished_, options_.folder, error);
  if (error) fail(ErrorCode::io, "{}: {}", options_.folder, error.message());
  unfinished_.clear();
  forced_.reset();
  bundle_.folder = options_.folder;
  return bundle_;
}

}  // namespace cairn::offload::onnx
