#include "offload/onnx/library.hpp"

#include <dlfcn.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <mutex>
#include <set>
#include <string_view>

#include "offload/runtime_library.hpp"

namespace cairn::offload::onnx {
namespace {

namespace fs = std::filesystem;

// The wheel's folder, an archive's, and the library's own.
constexpr const char* kSubfolders[] = {"", "onnxruntime/capi", "capi", "lib"};
constexpr RuntimeName kRuntime = {.name = "ONNX Runtime",
                                  .file = "libonnxruntime.so",
                                  .subfolders = kSubfolders,
                                  .variable = "CAIRN_ONNXRUNTIME",
                                  .cache = "onnx",
                                  .installed_by = "./quickstart.sh --npu"};
constexpr uint32_t kVersion = 22;  // 1.22 is the first whose providers are plug-ins
constexpr int kFatal = 4;          // of logging: the statuses say what went wrong
constexpr int kDeviceAllocator = 0, kDefaultMemory = 0;
constexpr std::string_view kPluginBegin = "libonnxruntime_providers_", kPluginEnd = ".so";

struct ApiBase {
  const void* const* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};

}  // namespace

Library::Library(const std::string& path, void* handle) : path_(path) {
  const auto get_base = reinterpret_cast<const ApiBase* (*)()>(dlsym(handle, "OrtGetApiBase"));
  if (get_base == nullptr) {
    fail(ErrorCode::unsupported, "{}: no function OrtGetApiBase: not a library of ONNX Runtime", path);
  }
  const ApiBase* base = get_base();
  version_ = base->GetVersionString();
  const void* const* table = base->GetApi(kVersion);
  if (table == nullptr) {
    fail(ErrorCode::unsupported, "{}: is ONNX Runtime {}; cairn needs 1.{} or newer", path, version_,
         kVersion);
  }
  const auto get = [&](size_t place, auto& function) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(const_cast<void*>(table[place]));
  };
  get(1, api_.GetErrorCode);
  get(2, api_.GetErrorMessage);
  get(3, api_.CreateEnv);
  get(7, api_.CreateSession);
  get(8, api_.CreateSessionFromArray);
  get(9, api_.Run);
  get(10, api_.CreateSessionOptions);
  get(22, api_.SetSessionLogSeverityLevel);
  get(24, api_.SetIntraOpNumThreads);
  get(49, api_.CreateTensorWithDataAsOrtValue);
  get(69, api_.CreateCpuMemoryInfo);
  get(93, api_.ReleaseStatus);
  get(95, api_.ReleaseSession);
  get(96, api_.ReleaseValue);
  get(100, api_.ReleaseSessionOptions);
  get(130, api_.AddSessionConfigEntry);
  get(301, api_.RegisterExecutionProviderLibrary);
  get(303, api_.GetEpDevices);
  get(304, api_.SessionOptionsAppendExecutionProvider_V2);
  get(307, api_.HardwareDevice_Type);
  get(309, api_.HardwareDevice_Vendor);
  get(312, api_.EpDevice_EpName);
  get(316, api_.EpDevice_Device);
  check(api_.CreateEnv(kFatal, "cairn", &env_), ErrorCode::io, path_ + " does not start");
  check(api_.CreateCpuMemoryInfo(kDeviceAllocator, kDefaultMemory, &memory_), ErrorCode::io,
        path_ + " does not start");
}

void Library::add_plugin(const std::string& name, const std::string& file) {
  const auto named = [&](const Plugin& other) { return other.name == name; };
  if (std::ranges::any_of(plugins_, named)) return;  // the environment's before those that were found
  std::string why;
  std::error_code ignored;
  if (!fs::exists(file, ignored))
    why = fmt::format("{}: no such file", file);
  else
    why = reason(api_.RegisterExecutionProviderLibrary(env_, name.c_str(), file.c_str()));
  plugins_.push_back({name, file, why});
}

void Library::find_plugins() {
  std::string chosen = environment("CAIRN_ONNX_PLUGINS");
  while (!chosen.empty()) {
    const std::string one = chosen.substr(0, chosen.find(':'));
    chosen.erase(0, one.size() + 1);
    const size_t equals = one.find('=');
    if (equals == std::string::npos || equals == 0) {
      fail(ErrorCode::invalid_argument, "CAIRN_ONNX_PLUGINS: {} is not NAME=FILE", one);
    }
    add_plugin(one.substr(0, equals), one.substr(equals + 1));
  }
  std::error_code ignored;
  const fs::path beside = fs::path(path_).parent_path();
  std::set<fs::path> folders = {beside};
  // A wheel's folder is a neighbour of onnxruntime/, whose capi/ holds the library.
  const fs::path site = beside.filename() == "capi" ? beside.parent_path().parent_path() : beside;
  for (const auto& entry : fs::directory_iterator(site, ignored)) {
    if (entry.is_directory(ignored)) folders.insert(entry.path());
  }
  for (const fs::path& folder : folders) {
    for (const auto& entry : fs::directory_iterator(folder, ignored)) {
      const std::string file = entry.path().filename().string();
      if (!file.starts_with(kPluginBegin) || !file.ends_with(kPluginEnd)) continue;
      std::string name =
          file.substr(kPluginBegin.size(), file.size() - kPluginBegin.size() - kPluginEnd.size());
      if (name == "shared") continue;  // what plug-ins of the old kind hang on
      if (name == "qnn") name = "QNN";
      if (name == "openvino_plugin" || name == "openvino") name = "OpenVINO";
      add_plugin(name, entry.path().string());
    }
  }
  const EpDevice* const* devices = nullptr;
  size_t count = 0;
  check(api_.GetEpDevices(env_, &devices, &count), ErrorCode::io, path_ + " cannot list its devices");
  devices_ = {devices, count};
}

std::shared_ptr<const Library> Library::open() {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<const Library>> opened;
  const RuntimeLibrary found = open_runtime(kRuntime);
  const std::scoped_lock lock(mutex);
  std::shared_ptr<const Library>& library = opened[found.path];
  if (!library) {
    std::shared_ptr<Library> made(new Library(found.path, found.handle));
    made->find_plugins();
    library = std::move(made);
  }
  return library;
}

std::string Library::reason(Failure* failure) const {
  if (failure == nullptr) return "";
  std::string line = one_line(api_.GetErrorMessage(failure));
  api_.ReleaseStatus(failure);
  return line;
}

void Library::check(Failure* failure, ErrorCode code, const std::string& what) const {
  if (failure != nullptr) fail(code, "{}: {}", what, reason(failure));
}

Handle<Value> Library::tensor(ElementType type, const std::vector<int64_t>& dims, void* memory,
                              size_t bytes) const {
  Value* value = nullptr;
  check(api_.CreateTensorWithDataAsOrtValue(memory_, memory, bytes, dims.data(), dims.size(),
                                            static_cast<int>(type), &value),
        ErrorCode::io, path_ + " cannot use cairn's memory as a tensor");
  return {value, api_.ReleaseValue};
}

}  // namespace cairn::offload::onnx
