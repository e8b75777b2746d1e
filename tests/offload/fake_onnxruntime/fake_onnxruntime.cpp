// A stand-in for ONNX Runtime that is too old, or that stands before the real one and fails.
//   CAIRN_FAKE_ONNXRUNTIME=old            knows no API of our version
//   CAIRN_FAKE_ONNXRUNTIME=N:LIBRARY      LIBRARY, whose Run() fails after N of them
//   CAIRN_FAKE_ONNXRUNTIME=NAME:LIBRARY   … that refuses models in which NAME stands
#include <dlfcn.h>

#include <atomic>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

namespace {

struct ApiBase {
  const void* const* (*GetApi)(uint32_t version);
  const char* (*GetVersionString)();
};
using Run = void* (*)(void*, const void*, const char* const*, const void* const*, size_t, const char* const*,
                      size_t, void**);
using CreateSession = void* (*)(const void*, const void*, size_t, const void*, void**);
using CreateStatus = void* (*)(int code, const char* message);

constexpr size_t kCreateStatus = 0, kCreateSession = 8, kRun = 9,
                 kFunctions = 340;  // as many as 1.22 has, and some
constexpr int kFail = 1;

std::vector<const void*> table;
Run real_run = nullptr;
CreateSession real_create = nullptr;
std::string refused;
std::atomic<int> left = 0;

std::string setting() {
  const char* value = std::getenv("CAIRN_FAKE_ONNXRUNTIME");
  return value == nullptr ? "old" : value;
}

void* failure(const char* reason) {
  return reinterpret_cast<CreateStatus>(const_cast<void*>(table[kCreateStatus]))(kFail, reason);
}

void* run(void* session, const void* options, const char* const* names, const void* const* inputs,
          size_t count, const char* const* output_names, size_t output_count, void** outputs) {
  if (left.fetch_sub(1) > 0)
    return real_run(session, options, names, inputs, count, output_names, output_count, outputs);
  return failure("the device is gone");
}

void* create(const void* env, const void* model, size_t size, const void* options, void** session) {
  if (std::string_view(static_cast<const char*>(model), size).find(refused) != std::string_view::npos)
    return failure("no such operation");
  return real_create(env, model, size, options, session);
}

const void* const* get_api(uint32_t version) {
  const std::string chosen = setting();
  if (chosen == "old") return nullptr;
  const size_t colon = chosen.find(':');
  const std::string what = chosen.substr(0, colon);
  const bool counts = what.find_first_not_of("0123456789") == std::string::npos;
  void* library = dlopen(chosen.substr(colon + 1).c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return nullptr;
  const auto base = reinterpret_cast<const ApiBase* (*)()>(dlsym(library, "OrtGetApiBase"))();
  const void* const* real = base->GetApi(version);
  table.assign(real, real + kFunctions);
  real_run = reinterpret_cast<Run>(const_cast<void*>(table[kRun]));
  real_create = reinterpret_cast<CreateSession>(const_cast<void*>(table[kCreateSession]));
  if (counts) {
    left = std::atoi(what.c_str());
    table[kRun] = reinterpret_cast<const void*>(run);
  } else {
    refused = what;
    table[kCreateSession] = reinterpret_cast<const void*>(create);
  }
  return table.data();
}

}  // namespace

extern "C" __attribute__((visibility("default"))) const ApiBase* OrtGetApiBase() {
  static const ApiBase base = {get_api, [] { return "1.15.1"; }};
  return &base;
}
