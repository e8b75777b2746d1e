#include "offload/onnx/accelerator.hpp"

#define XXH_INLINE_ALL
#include <fmt/ranges.h>
#include <xxhash.h>

#include <algorithm>
#include <filesystem>
#include <optional>
#include <utility>

#include "base/clock.hpp"
#include "base/interrupt.hpp"
#include "base/mapped_file.hpp"
#include "base/unfinished_file.hpp"
#include "offload/onnx/bundle.hpp"
#include "offload/onnx/bundle_writer.hpp"
#include "offload/onnx/device.hpp"
#include "offload/onnx/layer_model.hpp"
#include "offload/onnx/layer_program.hpp"
#include "offload/onnx/program.hpp"

namespace cairn::offload::onnx {
namespace {

namespace fs = std::filesystem;

using Entries = std::vector<std::pair<std::string, std::string>>;

struct RemovedFile {
  explicit RemovedFile(std::string name) : path(std::move(name)) {}
  ~RemovedFile() {
    std::error_code ignored;
    fs::remove(path, ignored);
  }
  RemovedFile(const RemovedFile&) = delete;
  RemovedFile& operator=(const RemovedFile&) = delete;
  const std::string path;
  const BeforeForcedEnd forced{[this] {
    std::error_code ignored;
    fs::remove(path, ignored);
  }};
};

class OnnxAccelerator;

class Graph final : public AcceleratorGraph {
 public:
  Graph(OnnxAccelerator& owner, Program program) : owner_(owner), program_(std::move(program)) {}
  void run(const void* values, std::span<float* const> outputs) override;

 private:
  OnnxAccelerator& owner_;
  Program program_;
};

class OnnxAccelerator final : public Accelerator {
 public:
  OnnxAccelerator(Device device, AcceleratorTraits traits, const AcceleratorOptions& options)
      : device_(std::move(device)), traits_(std::move(traits)), options_(options) {
    if (options_.weight_bits == 4 && device_.form != Form::steps)
      fail(ErrorCode::unsupported, "{}: 4-bit weights are for qnn", traits_.name);
    if (!options_.bundle.empty()) use_bundle();
    if (options_.cache_folder.empty()) return;
    std::error_code error;
    fs::create_directories(options_.cache_folder, error);
    if (!error) return;
    notice(fmt::format("{}: {}; nothing is cached", options_.cache_folder, error.message()));
    options_.cache_folder.clear();
  }

  const AcceleratorTraits& traits() const override { return traits_; }
  uint64_t weight_bytes() const override { return weight_bytes_; }
  double compile_seconds() const override { return seconds_; }
  uint32_t cached_graphs() const override { return cached_; }
  uint64_t recomputed_outputs() const override { return recomputed_; }

  std::unique_ptr<AcceleratorGraph> compile(const Int8Graph& graph) override {
    const Stopwatch watch;
    auto made = std::make_unique<Graph>(*this, bundle_ ? from_bundle(graph) : from_cache_or_compiled(graph));
    for (const Int8Linear& linear : graph.linears)
      weight_bytes_ += uint64_t{linear.rows} * linear.k * options_.weight_bits / 8;
    seconds_ += watch.seconds();
    return made;
  }

  std::unique_ptr<AcceleratorLayer> compile_layer(const LayerGraph& layer) override {
    const Stopwatch watch;
    if (device_.form != Form::steps) return Accelerator::compile_layer(layer);
    const Int8Graph graph = {.name = layer.name, .key = layer.key, .tokens = layer.tokens, .linears = {}};
    const std::string identity = layer_identity(layer, bundle_ ? bundle_->fingerprint : device_.fingerprint);
    Made made =
        bundle_
            ? bundled(graph, bundle_->find(layer_key(layer), layer.tokens), identity,
                      fmt::format("{} behind {} positions ({})", layer.name, layer.past, name(layer.form)))
            : cached_or_compiled(graph, identity, [&] {
                return WrittenModel{write_layer(layer), {}};
              });
    const uint64_t bytes = layer.form == NpuForm::layers_fp16 ? sizeof(uint16_t) : sizeof(int8_t);
    for (const cpu::BoundOp& bound : layer.ops) weight_bytes_ += bound.matrix.rows * bound.matrix.k * bytes;
    seconds_ += watch.seconds();
    return std::make_unique<LayerProgram>(device_, layer, std::move(made.session));
  }

  void count_recomputed(uint64_t outputs) {
    if (outputs > 0 && recomputed_ == 0) {
      notice(fmt::format("{}: outputs beyond the device's range ({} in one product): the CPU computes those",
                         traits_.name, outputs));
    }
    recomputed_ += outputs;
  }

 private:
  void notice(const std::string& line) const {
    if (options_.notice) options_.notice(line);
  }
  WeightBits bits() const { return options_.weight_bits == 4 ? WeightBits::four : WeightBits::eight; }

  Program program(const Int8Graph& graph, std::vector<OutputScale> scales, Handle<Session> session) {
    return {device_, graph, std::move(scales), std::move(session), buffers_};
  }

  void use_bundle() {
    if (!device_.contexts)
      fail(ErrorCode::unsupported, "--bundle is for qnn: {} compiles its graphs when they are used",
           traits_.name);
    bundle_ = Bundle::read(options_.bundle);
    options_.weight_bits = bundle_->bits;
    if (!bundle_->graphs.empty()) traits_.usual_chunk = bundle_->chunk_lengths().back();
    if (bundle_->fingerprint == device_.fingerprint) return;
    // On the phone itself the chip has no name here: its driver says whether the context is for it.
    const std::string same_library = device_.fingerprint.substr(0, device_.fingerprint.find("chip "));
    if (!bundle_->fingerprint.starts_with(same_library)) {
      fail(ErrorCode::unsupported,
           "bundle {} was compiled by another library than the one here ({}; {}): compile it again",
           bundle_->folder, flat(bundle_->fingerprint), flat(device_.fingerprint));
    }
    if (device_.chip != nullptr) {
      fail(ErrorCode::unsupported, "bundle {} is for {}, {} is {}: choose qnn:{}", bundle_->folder,
           bundle_->chip, traits_.name, device_.chip->name, bundle_->chip);
    }
  }

  static std::string flat(std::string lines) {
    std::ranges::replace(lines, '\n', ' ');
    return lines.substr(0, lines.find_last_not_of(' ') + 1);
  }

  struct Made {
    std::vector<OutputScale> scales;
    Handle<Session> session;
  };

  Program from_bundle(const Int8Graph& graph) {
    Made made = bundled(graph, bundle_->find(graph.key, graph.tokens),
                        graph_identity(graph, bundle_->fingerprint, bits()), graph.name);
    return program(graph, std::move(made.scales), std::move(made.session));
  }

  Made bundled(const Int8Graph& graph, const BundleGraph* found, const std::string& identity,
               const std::string& wanted) {
    if (found == nullptr) {
      fail(ErrorCode::unsupported,
           "bundle {} has no {} of {} tokens for this model and quantisation: it was made of {} ({}) for "
           "chunks of {}",
           bundle_->folder, wanted, graph.tokens, bundle_->model, bundle_->scheme,
           fmt::join(bundle_->chunk_lengths(), ", "));
    }
    const std::string path = (fs::path(bundle_->folder) / found->file).string();
    std::string why = path + ": is gone";
    auto kept = read_kept(path, identity, graph, &why);
    if (!kept) fail(ErrorCode::format, "bundle {}: {}", bundle_->folder, why);
    const std::string what =
        fmt::format("bundle {}: {} cannot be loaded into {}", bundle_->folder, found->file, traits_.name);
    ++cached_;
    const bool own = bundle_->context.empty();
    return {std::move(kept->scales),
            own ? make_session(device_, kept->model, "", {}, ErrorCode::io, what)
                : make_session(device_, {}, shared_model(path), {{"ep.share_ep_contexts", "1"}},
                               ErrorCode::io, what)};
  }

  Program from_cache_or_compiled(const Int8Graph& graph) {
    Made made = cached_or_compiled(graph, graph_identity(graph, device_.fingerprint, bits()),
                                   [&] { return write_model(graph, device_.form, bits()); });
    return program(graph, std::move(made.scales), std::move(made.session));
  }

  Made cached_or_compiled(const Int8Graph& graph, const std::string& identity,
                          const std::function<WrittenModel()>& write) {
    const bool caching = device_.contexts && !options_.cache_folder.empty();
    const std::string path = caching
                                 ? fmt::format("{}/{:016x}-{}.onnx", options_.cache_folder,
                                               XXH3_64bits(identity.data(), identity.size()), graph.tokens)
                                 : "";
    if (caching) {
      std::string why;
      try {
        if (auto kept = read_kept(path, identity, graph, &why)) {
          auto session = make_session(device_, kept->model, "", {}, ErrorCode::io, path);
          ++cached_;
          return {std::move(kept->scales), std::move(session)};
        }
      } catch (const Error& error) {
        why = error.what();
      }
      if (!why.empty()) notice(why + "; it is compiled anew");
    }
    WrittenModel written = write();
    std::string not_kept;
    if (caching) {
      try {
        // ONNX Runtime writes by path alone, and where nothing is; what it wrote is gone when it has been
        // sealed.
        const UnfinishedFile place(path, path);
        const RemovedFile context(place.path() + ".onnx");
        Handle<Session> session = compiled(graph, written.bytes, context_entries(context.path));
        write_kept(path, identity, written.outputs, MappedFile(context.path).bytes());
        return {std::move(written.outputs), std::move(session)};
      } catch (const Error& error) {  // a folder that is read-only, a disk that is full, or the graph itself
        not_kept = error.what();
      }
    }
    Handle<Session> session = compiled(graph, written.bytes, {});
    if (!not_kept.empty()) notice(not_kept + "; the next start will not be faster");
    return {std::move(written.outputs), std::move(session)};
  }

  Handle<Session> compiled(const Int8Graph& graph, const std::string& model, const Entries& entries) {
    const std::string what =
        fmt::format("{} refuses graph {} of {} tokens", traits_.name, graph.name, graph.tokens);
    try {
      return make_session(device_, std::as_bytes(std::span(model)), "", entries, ErrorCode::unsupported,
                          what);
    } catch (const Error& error) {
      throw ProductRefused(error.code(), error.what());
    }
  }

  Device device_;
  AcceleratorTraits traits_;
  AcceleratorOptions options_;
  std::optional<Bundle> bundle_;
  std::shared_ptr<Buffers> buffers_ = std::make_shared<Buffers>();
  uint64_t weight_bytes_ = 0, recomputed_ = 0;
  double seconds_ = 0;
  uint32_t cached_ = 0;
};

void Graph::run(const void* values, std::span<float* const> outputs) {
  owner_.count_recomputed(program_.run(values, outputs));
}

}  // namespace

std::unique_ptr<Accelerator> make_accelerator(const std::string& device, const AcceleratorTraits& traits,
                                              const AcceleratorOptions& options) {
  return std::make_unique<OnnxAccelerator>(open_device(device, options.threads), traits, options);
}

AcceleratorKind kind() {
  return {.name = "onnx",
          .names = {"onnx:CPU", "onnx:QNN"},
          .list = list_devices,
          .traits = [](const std::string& device) { return traits_of("onnx", device); },
          .make =
              [](const std::string& device, const AcceleratorOptions& options) {
                return make_accelerator(device, traits_of("onnx", device), options);
              }};
}

AcceleratorKind qnn_kind() {
  return {.name = "qnn",
          .names = {"qnn"},
          .list = [] { return std::vector<AcceleratorInfo>(); },  // onnx's list has it
          .traits = [](const std::string& device) { return traits_of("qnn", device); },
          .make =
              [](const std::string& device, const AcceleratorOptions& options) {
                return make_accelerator(device.empty() ? "QNN" : "QNN:" + device, traits_of("qnn", device),
                                        options);
              }};
}

}  // namespace cairn::offload::onnx
