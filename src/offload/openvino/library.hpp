// OpenVINO through its C API, opened at run time: cairn is built without it and starts without it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace cairn::offload::openvino {

// What the API calls ov_core_t, ov_model_t, … : never looked into.
struct Core;
struct Model;
struct CompiledModel;
struct InferRequest;
struct Tensor;

// As the API lays them out (OpenVINO 2025.1 and newer).
using Status = int;  // 0: done
struct VersionInfo {
  const char* build;
  const char* description;
};
struct DeviceNames {
  char** names;
  size_t count;
};
struct Shape {
  int64_t rank;
  int64_t* sizes;
};
enum class ElementType : unsigned { f32 = 4, i8 = 7, u8 = 16 };

// The functions used, each under the API's name less "ov_".
struct Functions {
  Status (*get_openvino_version)(VersionInfo*);
  void (*version_free)(VersionInfo*);
  const char* (*get_last_err_msg)();
  void (*free)(const char*);
  Status (*core_create)(Core**);
  void (*core_free)(Core*);
  Status (*core_get_available_devices)(const Core*, DeviceNames*);
  void (*available_devices_free)(DeviceNames*);
  Status (*core_get_property)(const Core*, const char* device, const char* key, char** value);
  Status (*core_set_property)(const Core*, const char* device, ...);  // key, value
  Status (*core_read_model_from_memory_buffer)(const Core*, const char* xml, size_t, const Tensor*, Model**);
  Status (*core_compile_model)(const Core*, const Model*, const char* device, size_t, CompiledModel**, ...);
  Status (*core_import_model)(const Core*, const char* blob, size_t, const char* device, CompiledModel**);
  Status (*compiled_model_export_model)(const CompiledModel*, const char* path);
  Status (*compiled_model_create_infer_request)(const CompiledModel*, InferRequest**);
  void (*compiled_model_free)(CompiledModel*);
  void (*model_free)(Model*);
  Status (*infer_request_set_input_tensor_by_index)(InferRequest*, size_t, const Tensor*);
  Status (*infer_request_set_output_tensor_by_index)(InferRequest*, size_t, const Tensor*);
  Status (*infer_request_infer)(InferRequest*);
  void (*infer_request_free)(InferRequest*);
  Status (*tensor_create_from_host_ptr)(ElementType, Shape, void*, Tensor**);
  Status (*tensor_get_byte_size)(const Tensor*, size_t*);
  void (*tensor_free)(Tensor*);
};

template <class T>
using Handle = std::unique_ptr<T, void (*)(T*)>;

// The library, checked; it stays open until the process ends (its threads do not like to be unloaded).
class Library {
 public:
  // From $CAIRN_OPENVINO (a folder or the file itself), else the folder that quickstart.sh --openvino fills,
  // else the system's. Errors: not_found (says how to install it), unsupported (too old, or another ABI).
  static std::shared_ptr<const Library> open();

  const Functions& api() const { return api_; }
  const std::string& path() const { return path_; }
  const std::string& version() const { return version_; }  // "2026.4.1-22982-…"

  // OpenVINO's message about the last failure, in one line.
  std::string last_error() const;
  Handle<Core> create_core() const;  // Error io
  std::vector<std::string> devices(const Core* core) const;
  // Empty where the device has no such property; why: OpenVINO's reason then.
  std::string property(const Core* core, const std::string& device, const char* key,
                       std::string* why = nullptr) const;
  // The caller's memory as a tensor; sizes: one or two. Error io.
  Handle<Tensor> tensor(ElementType type, std::vector<int64_t> sizes, const void* memory) const;

 private:
  Library(const std::string& path, void* handle);
  void check_version() const;
  void check_element_types() const;

  std::string path_;
  std::string version_;
  Functions api_ = {};
};

}  // namespace cairn::offload::openvino
