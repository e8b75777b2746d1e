// ONNX Runtime through its C API, opened at run time: cairn is built without it and starts without it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "base/error.hpp"
#include "formats/onnx_graph.hpp"

namespace cairn::offload::onnx {

// What the API calls OrtEnv, OrtSession, … : never looked into.
struct Env;
struct Session;
struct SessionOptions;
struct MemoryInfo;
struct Value;
struct Failure;  // OrtStatus: null where all went well
struct EpDevice;
struct HardwareDevice;

using ElementType = formats::OnnxType;  // the API's numbers are ONNX's

// The functions used, under the API's names. The API is one table that only grows: a function keeps its place
// (onnxruntime_c_api.h says which), so the table is asked for at the version that has the last one used.
struct Functions {
  int (*GetErrorCode)(const Failure*);
  const char* (*GetErrorMessage)(const Failure*);
  Failure* (*CreateEnv)(int severity, const char* name, Env**);
  Failure* (*CreateSession)(const Env*, const char* path, const SessionOptions*, Session**);
  Failure* (*CreateSessionFromArray)(const Env*, const void*, size_t, const SessionOptions*, Session**);
  Failure* (*Run)(Session*, const void* options, const char* const* input_names, const Value* const* inputs,
                  size_t, const char* const* output_names, size_t, Value** outputs);
  Failure* (*CreateSessionOptions)(SessionOptions**);
  Failure* (*SetSessionLogSeverityLevel)(SessionOptions*, int);
  Failure* (*SetIntraOpNumThreads)(SessionOptions*, int);
  Failure* (*CreateTensorWithDataAsOrtValue)(const MemoryInfo*, void*, size_t bytes, const int64_t* dims,
                                             size_t, int type, Value**);
  Failure* (*CreateCpuMemoryInfo)(int allocator, int memory, MemoryInfo**);
  void (*ReleaseStatus)(Failure*);
  void (*ReleaseSession)(Session*);
  void (*ReleaseValue)(Value*);
  void (*ReleaseSessionOptions)(SessionOptions*);
  Failure* (*AddSessionConfigEntry)(SessionOptions*, const char* key, const char* value);
  Failure* (*RegisterExecutionProviderLibrary)(Env*, const char* name, const char* path);
  Failure* (*GetEpDevices)(const Env*, const EpDevice* const**, size_t*);
  Failure* (*SessionOptionsAppendExecutionProvider_V2)(SessionOptions*, Env*, const EpDevice* const*, size_t,
                                                       const char* const* keys, const char* const* values,
                                                       size_t);
  int (*HardwareDevice_Type)(const HardwareDevice*);  // 0: CPU, 1: GPU, 2: NPU
  const char* (*HardwareDevice_Vendor)(const HardwareDevice*);
  const char* (*EpDevice_EpName)(const EpDevice*);
  const HardwareDevice* (*EpDevice_Device)(const EpDevice*);
};

template <class T>
using Handle = std::unique_ptr<T, void (*)(T*)>;

// An execution provider in a library of its own.
struct Plugin {
  std::string name;  // "QNN", as its provider is called; or as CAIRN_ONNX_PLUGINS names it
  std::string path;
  std::string why;  // why it cannot be used; empty: it was registered
};

// The library, checked; it stays open until the process ends.
class Library {
 public:
  // From $CAIRN_ONNXRUNTIME (a folder or the file itself), else the folder that quickstart.sh --npu fills,
  // else the system's. Registers the plug-ins beside it (libonnxruntime_providers_NAME.so, in the folder or
  // one below) and those of $CAIRN_ONNX_PLUGINS (NAME=FILE, by colons).
  // Errors: not_found (says how to install it), unsupported (too old).
  static std::shared_ptr<const Library> open();

  const Functions& api() const { return api_; }
  const std::string& path() const { return path_; }
  const std::string& version() const { return version_; }  // "1.32.0"
  const std::vector<Plugin>& plugins() const { return plugins_; }
  std::span<const EpDevice* const> devices() const { return devices_; }
  Env* env() const { return env_; }

  // The reason of a failure in one line, which is released; empty where there is none.
  std::string reason(Failure* failure) const;
  // Error `code`, "WHAT: reason".
  void check(Failure* failure, ErrorCode code, const std::string& what) const;
  // The caller's memory as a tensor. Error io.
  Handle<Value> tensor(ElementType type, const std::vector<int64_t>& dims, void* memory, size_t bytes) const;

 private:
  Library(const std::string& path, void* handle);
  void find_plugins();
  void add_plugin(const std::string& name, const std::string& file);

  std::string path_, version_;
  Functions api_ = {};
  Env* env_ = nullptr;  // as long-lived as the library: its plug-ins do not like to be unloaded
  MemoryInfo* memory_ = nullptr;
  std::vector<Plugin> plugins_;
  std::span<const EpDevice* const> devices_;
};

}  // namespace cairn::offload::onnx
