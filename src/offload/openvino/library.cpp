#include "offload/openvino/library.hpp"

#include <dlfcn.h>

#include <charconv>
#include <map>
#include <mutex>
#include <utility>

#include "base/error.hpp"
#include "offload/runtime_library.hpp"

namespace cairn::offload::openvino {
namespace {

// The wheel's folders, the archive's, and the library's own.
constexpr const char* kSubfolders[] = {"", "openvino/libs", "libs", "runtime/lib/intel64",
                                       "runtime/lib/aarch64"};
constexpr RuntimeName kRuntime = {.name = "OpenVINO",
                                  .file = "libopenvino_c.so",
                                  .subfolders = kSubfolders,
                                  .variable = "CAIRN_OPENVINO",
                                  .cache = "openvino",
                                  .installed_by = "./quickstart.sh --openvino"};
constexpr int kOldestYear = 2025,
              kOldestRelease = 1;  // from here on element types have their present numbers

template <class Function>
void resolve(void* handle, const std::string& path, const char* name, Function& function) {
  function = reinterpret_cast<Function>(dlsym(handle, name));
  if (function == nullptr) {
    fail(ErrorCode::unsupported, "{}: no function {}: not a library of OpenVINO {}.{} or newer", path, name,
         kOldestYear, kOldestRelease);
  }
}

}  // namespace

Library::Library(const std::string& path, void* handle) : path_(path) {
  const auto get = [&](const char* name, auto& function) { resolve(handle, path, name, function); };
  get("ov_get_openvino_version", api_.get_openvino_version);
  get("ov_version_free", api_.version_free);
  get("ov_get_last_err_msg", api_.get_last_err_msg);
  get("ov_free", api_.free);
  get("ov_core_create", api_.core_create);
  get("ov_core_free", api_.core_free);
  get("ov_core_get_available_devices", api_.core_get_available_devices);
  get("ov_available_devices_free", api_.available_devices_free);
  get("ov_core_get_property", api_.core_get_property);
  get("ov_core_set_property", api_.core_set_property);
  get("ov_core_read_model_from_memory_buffer", api_.core_read_model_from_memory_buffer);
  get("ov_core_compile_model", api_.core_compile_model);
  get("ov_core_import_model", api_.core_import_model);
  get("ov_compiled_model_export_model", api_.compiled_model_export_model);
  get("ov_compiled_model_create_infer_request", api_.compiled_model_create_infer_request);
  get("ov_compiled_model_free", api_.compiled_model_free);
  get("ov_model_free", api_.model_free);
  get("ov_infer_request_set_input_tensor_by_index", api_.infer_request_set_input_tensor_by_index);
  get("ov_infer_request_set_output_tensor_by_index", api_.infer_request_set_output_tensor_by_index);
  get("ov_infer_request_infer", api_.infer_request_infer);
  get("ov_infer_request_free", api_.infer_request_free);
  get("ov_tensor_create_from_host_ptr", api_.tensor_create_from_host_ptr);
  get("ov_tensor_get_byte_size", api_.tensor_get_byte_size);
  get("ov_tensor_free", api_.tensor_free);

  VersionInfo version = {};
  if (api_.get_openvino_version(&version) != 0 || version.build == nullptr) {
    fail(ErrorCode::unsupported, "{}: does not tell its version", path_);
  }
  version_ = version.build;
  api_.version_free(&version);
  check_version();
  check_element_types();
}

void Library::check_version() const {
  int year = 0, release = 0;
  const char* end = version_.data() + version_.size();
  const auto after_year = std::from_chars(version_.data(), end, year);
  const bool dotted = after_year.ec == std::errc() && after_year.ptr != end && *after_year.ptr == '.';
  if (dotted) std::from_chars(after_year.ptr + 1, end, release);
  if (std::pair(year, release) < std::pair(kOldestYear, kOldestRelease)) {
    fail(ErrorCode::unsupported, "{}: is OpenVINO {}; cairn needs {}.{} or newer", path_, version_,
         kOldestYear, kOldestRelease);
  }
}

// The numbers of element types have changed between releases; a tensor's size in bytes shows whether they are
// still those used here.
void Library::check_element_types() const {
  alignas(64) std::byte memory[64] = {};
  for (const auto& [type, bytes] :
       {std::pair(ElementType::f32, 12), std::pair(ElementType::i8, 3), std::pair(ElementType::u8, 3)}) {
    size_t size = 0;
    const Handle<Tensor> three = tensor(type, {3}, memory);
    if (api_.tensor_get_byte_size(three.get(), &size) != 0 || size != static_cast<size_t>(bytes)) {
      fail(ErrorCode::unsupported, "{}: OpenVINO {} numbers its element types in another way", path_,
           version_);
    }
  }
}

std::shared_ptr<const Library> Library::open() {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<const Library>> opened;
  const auto [path, folder, handle] = open_runtime(kRuntime);
  const std::scoped_lock lock(mutex);
  std::shared_ptr<const Library>& library = opened[path];
  if (!library) library.reset(new Library(path, handle));
  return library;
}

std::string Library::last_error() const {
  const char* message = api_.get_last_err_msg();
  if (message == nullptr) return "no reason given";
  std::string line = one_line(message);
  api_.free(message);
  return line;
}

Handle<Core> Library::create_core() const {
  Core* core = nullptr;
  if (api_.core_create(&core) != 0) fail(ErrorCode::io, "{}: does not start: {}", path_, last_error());
  return {core, api_.core_free};
}

std::vector<std::string> Library::devices(const Core* core) const {
  DeviceNames list = {};
  if (api_.core_get_available_devices(core, &list) != 0) {
    fail(ErrorCode::io, "{}: cannot list its devices: {}", path_, last_error());
  }
  std::vector<std::string> names(list.names, list.names + list.count);
  api_.available_devices_free(&list);
  return names;
}

std::string Library::property(const Core* core, const std::string& device, const char* key,
                              std::string* why) const {
  char* value = nullptr;
  if (api_.core_get_property(core, device.c_str(), key, &value) != 0 || value == nullptr) {
    if (why != nullptr) *why = last_error();
    return "";
  }
  std::string text = value;
  api_.free(value);
  return text;
}

Handle<Tensor> Library::tensor(ElementType type, std::vector<int64_t> sizes, const void* memory) const {
  Tensor* tensor = nullptr;
  const Shape shape = {static_cast<int64_t>(sizes.size()), sizes.data()};
  // The API takes inputs, too, as memory that it might write.
  if (api_.tensor_create_from_host_ptr(type, shape, const_cast<void*>(memory), &tensor) != 0) {
    fail(ErrorCode::io, "{}: cannot use cairn's memory as a tensor: {}", path_, last_error());
  }
  return {tensor, api_.tensor_free};
}

}  // namespace cairn::offload::openvino
