#include "offload/onnx/device.hpp"

#include <dlfcn.h>
#include <fcntl.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <filesystem>
#include <string_view>

namespace cairn::offload::onnx {
namespace {

constexpr std::string_view kSuffix = "ExecutionProvider";
constexpr std::array<std::string_view, 3> kHardware = {"CPU", "GPU", "NPU"};
constexpr std::string_view kEmulated = "qnn";  // the alias of onnx:QNN

// The provider's name as people say it: "QNNExecutionProvider" is QNN.
std::string short_name(const Library& library, const EpDevice* device) {
  std::string name = library.api().EpDevice_EpName(device);
  if (name.ends_with(kSuffix)) name.resize(name.size() - kSuffix.size());
  return name;
}

std::string_view hardware(const Library& library, const EpDevice* device) {
  const int type = library.api().HardwareDevice_Type(library.api().EpDevice_Device(device));
  return type >= 0 && static_cast<size_t>(type) < kHardware.size() ? kHardware[static_cast<size_t>(type)]
                                                                   : "?";
}

std::pair<std::string, std::string> split(const std::string& device) {
  const size_t colon = device.find(':');
  return {device.substr(0, colon), colon == std::string::npos ? "" : device.substr(colon + 1)};
}

const Plugin* plugin_of(const Library& library, std::string_view provider) {
  const auto found = std::ranges::find(library.plugins(), provider, &Plugin::name);
  return found == library.plugins().end() ? nullptr : &*found;
}

// Qualcomm's emulator greets on standard output when it is loaded, where an answer is about to be written.
class QuietOutput {
 public:
  QuietOutput() {
    std::fflush(stdout);
    kept_ = dup(STDOUT_FILENO);
    const int nowhere = open("/dev/null", O_WRONLY | O_CLOEXEC);
    if (nowhere < 0) return;
    dup2(nowhere, STDOUT_FILENO);
    close(nowhere);
  }
  ~QuietOutput() {
    if (kept_ < 0) return;
    std::fflush(stdout);
    dup2(kept_, STDOUT_FILENO);
    close(kept_);
  }
  QuietOutput(const QuietOutput&) = delete;
  QuietOutput& operator=(const QuietOutput&) = delete;

 private:
  int kept_ = -1;
};

// The version of Qualcomm's library for the HTP, "2.40.0, 5.51.0"; empty: it cannot be opened (`why`).
// As QnnInterface.h begins.
std::string htp_version(const std::string& path, std::string* why) {
  struct Version {
    uint32_t major, minor, patch;
  };
  struct Interface {
    uint32_t backend;
    const char* name;
    Version core, own;
  };
  const QuietOutput quiet;
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);  // stays: the provider opens it, too
  if (handle == nullptr) {
    const char* reason = dlerror();
    *why = reason == nullptr ? path : reason;
    return "";
  }
  const auto get = reinterpret_cast<uint64_t (*)(const Interface* const**, uint32_t*)>(
      dlsym(handle, "QnnInterface_getProviders"));
  const Interface* const* providers = nullptr;
  uint32_t count = 0;
  if (get == nullptr || get(&providers, &count) != 0 || count == 0) {
    *why = path + ": does not tell its version";
    return "";
  }
  const Interface& it = **providers;
  return fmt::format("{}.{}.{}, {}.{}.{}", it.core.major, it.core.minor, it.core.patch, it.own.major,
                     it.own.minor, it.own.patch);
}

std::string drives_nothing(const Plugin& plugin) {
  return fmt::format("the plug-in {} finds nothing here that it drives", plugin.path);
}

[[noreturn]] void missing(const Library& library, const std::string& provider, const std::string& variant) {
  const std::string name = fmt::format("onnx:{}{}{}", provider, variant.empty() ? "" : ":", variant);
  if (const Plugin* plugin = plugin_of(library, provider); plugin != nullptr && !plugin->why.empty()) {
    fail(ErrorCode::unsupported, "{}: ONNX Runtime {} does not take the plug-in {}: {}", name,
         library.version(), plugin->path, plugin->why);
  } else if (plugin != nullptr && variant.empty()) {
    fail(ErrorCode::not_found, "{}: {}", name, drives_nothing(*plugin));
  }
  std::vector<std::string> here;
  for (const EpDevice* device : library.devices())
    here.push_back(fmt::format("{}:{}", short_name(library, device), hardware(library, device)));
  fail(ErrorCode::not_found,
       "{} is not here: ONNX Runtime {} ({}) has {}; plug-ins lie beside it or are named by "
       "CAIRN_ONNX_PLUGINS",
       name, library.version(), library.path(), fmt::join(here, ", "));
}

// What the HTP's provider wants to be told.
void choose_qnn(Device& device, const std::string& variant) {
  const Plugin* plugin = plugin_of(*device.library, "QNN");
  const std::string folder =
      plugin == nullptr ? "" : std::filesystem::path(plugin->path).parent_path().string() + "/";
  const std::string backend = folder + "libQnnHtp.so";
  std::string why;
  const std::string version = htp_version(backend, &why);
  if (version.empty())
    fail(ErrorCode::not_found, "{}: Qualcomm's library cannot be opened: {}", device.name, why);
  device.form = Form::steps;
  device.contexts = true;
  device.processors = hardware(*device.library, device.provider) == "CPU";
  if (!variant.empty() || device.processors)
    device.chip = variant.empty() ? &usual_chip() : &chip_of(variant);
  device.options = {{"backend_path", backend},
                    {"htp_graph_finalization_optimization_mode", "3"},
                    {"offload_graph_io_quantization", "0"}};
  if (device.chip != nullptr) {
    device.options.emplace_back("htp_arch", std::to_string(device.chip->architecture));
    device.options.emplace_back("soc_model", std::to_string(device.chip->model));
  }
  device.fingerprint = fmt::format("onnxruntime {}\nqnn {}\nchip {}\n", device.library->version(), version,
                                   device.chip == nullptr ? "this" : device.chip->name);
}

std::string detail(const Library& library, const EpDevice* provider) {
  const std::string name = short_name(library, provider);
  const std::string version = "ONNX Runtime " + library.version();
  if (name != "QNN") {
    const char* vendor = library.api().HardwareDevice_Vendor(library.api().EpDevice_Device(provider));
    return fmt::format("{} {}, {}", vendor == nullptr ? "" : vendor, hardware(library, provider), version);
  }
  if (hardware(library, provider) != "CPU") return "Qualcomm Hexagon, " + version;
  return fmt::format("{}, emulated bit by bit on this CPU (slow: for compiling and for testing), {}",
                     usual_chip().product, version);
}

}  // namespace

AcceleratorTraits traits_of(const std::string& kind, const std::string& device) {
  const auto [provider, variant] = kind == kEmulated ? std::pair(std::string("QNN"), device) : split(device);
  if (provider.empty())
    fail(ErrorCode::invalid_argument, "onnx: a provider's name follows: onnx:CPU, onnx:QNN");
  if (provider == "QNN" && !variant.empty()) chip_of(variant);
  const std::string name = device.empty() ? kind : kind + ":" + device;
#ifdef __x86_64__
  const bool emulated = provider == "QNN";
#else
  const bool emulated = false;
#endif
  return {.name = name,
          .label = name,
          .layout = ActivationLayout::rows,
          .shares_processors = emulated || provider == "CPU" || variant == "CPU",
          // The paper's length for Hexagon, which has been measured; an emulator's times say nothing.
          .usual_chunk = provider == "QNN" ? 256u : 0u,
          .rounds_weights = provider == "QNN"};
}

Device open_device(const std::string& name, uint32_t threads) {
  const auto [provider, variant] = split(name);
  traits_of("onnx", name);
  Device device;
  device.library = Library::open();
  device.name = "onnx:" + name;
  device.threads = threads;
  const Library& library = *device.library;
  for (const EpDevice* each : library.devices()) {
    if (short_name(library, each) != provider) continue;
    if (provider != "QNN" && !variant.empty() && variant != hardware(library, each)) continue;
    device.provider = each;
    break;
  }
  if (device.provider == nullptr) missing(library, provider, variant);
  if (provider == "QNN") {
    choose_qnn(device, variant);
  } else {
    device.form = provider == "CPU" ? Form::integers : Form::floats;
    device.processors = hardware(library, device.provider) == "CPU";
    device.fingerprint = fmt::format("onnxruntime {}\n{}\n", library.version(), name);
  }
  return device;
}

std::vector<AcceleratorInfo> list_devices() {
  std::vector<AcceleratorInfo> list;
  try {
    const std::shared_ptr<const Library> library = Library::open();
    std::vector<std::string> names;
    for (const EpDevice* device : library->devices()) {
      std::string name = short_name(*library, device);
      if (name == "QNN") list.push_back({"qnn", true, detail(*library, device)});
      name = "onnx:" + name;
      if (std::ranges::find(names, name) != names.end())
        name += fmt::format(":{}", hardware(*library, device));
      names.push_back(name);
      list.push_back({name, true, detail(*library, device)});
    }
    for (const Plugin& plugin : library->plugins()) {
      const std::string name = "onnx:" + plugin.name;
      if (std::ranges::find(names, name) != names.end()) continue;
      list.push_back({name, false, plugin.why.empty() ? drives_nothing(plugin) : plugin.why});
    }
    if (std::ranges::find(names, "onnx:QNN") == names.end() && plugin_of(*library, "QNN") == nullptr)
      list.push_back({"qnn", false, "no plug-in libonnxruntime_providers_qnn.so beside " + library->path()});
  } catch (const Error& error) {
    list = {{"qnn", false, error.what()}, {"onnx:CPU", false, error.what()}};
  }
  return list;
}

Handle<Session> make_session(const Device& device, std::span<const std::byte> model, const std::string& path,
                             const std::vector<std::pair<std::string, std::string>>& entries, ErrorCode code,
                             const std::string& what) {
  const Library& library = *device.library;
  const Functions& api = library.api();
  SessionOptions* made = nullptr;
  library.check(api.CreateSessionOptions(&made), code, what);
  const Handle<SessionOptions> options(made, api.ReleaseSessionOptions);
  constexpr int kFatal = 4;
  library.check(api.SetSessionLogSeverityLevel(made, kFatal), code, what);
  const bool own_cpu = device.form == Form::integers;
  // Providers have threads of their own: a pool for each session would only be made and thrown away.
  library.check(api.SetIntraOpNumThreads(made, own_cpu ? static_cast<int>(device.threads) : 1), code, what);
  if (own_cpu) {
    library.check(api.AddSessionConfigEntry(made, "session.intra_op.allow_spinning", "0"), code, what);
  } else {
    // What a provider refuses would go to the CPU's without a word.
    library.check(api.AddSessionConfigEntry(made, "session.disable_cpu_ep_fallback", "1"), code, what);
    std::vector<const char*> keys, values;
    for (const auto& [key, value] : device.options) {
      keys.push_back(key.c_str());
      values.push_back(value.c_str());
    }
    library.check(api.SessionOptionsAppendExecutionProvider_V2(made, library.env(), &device.provider, 1,
                                                               keys.data(), values.data(), keys.size()),
                  code, what);
  }
  for (const auto& [key, value] : entries)
    library.check(api.AddSessionConfigEntry(made, key.c_str(), value.c_str()), code, what);
  Session* session = nullptr;
  library.check(path.empty()
                    ? api.CreateSessionFromArray(library.env(), model.data(), model.size(), made, &session)
                    : api.CreateSession(library.env(), path.c_str(), made, &session),
                code, what);
  return {session, api.ReleaseSession};
}

}  // namespace cairn::offload::onnx
