// A config.json (up to the first zero byte) and a safetensors file behind it, with a small tokenizer: they
// convert or throw Error, and each tensor has the bytes that its shape says.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <string>
#include <string_view>

#include "base/error.hpp"
#include "convert/conversion.hpp"

namespace {

constexpr const char* kTokenizer =
    R"({"added_tokens": [], "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false},
  "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})";

std::string new_folder() {
  struct stat shared {};
  std::string name =
      (stat("/dev/shm", &shared) == 0 ? "/dev/shm" : "/tmp") + std::string("/cairn-fuzz-XXXXXX");
  if (!mkdtemp(name.data())) std::abort();
  std::ofstream(name + "/tokenizer.json") << kTokenizer;
  return name;
}

// In memory where the system has such a folder. Never destroyed: clear() needs it at the end.
const std::string& folder() {
  static const std::string& path = *new std::string(new_folder());
  return path;
}

void put(const char* name, std::string_view bytes) {
  std::ofstream file(folder() + "/" + name, std::ios::binary | std::ios::trunc);
  if (!file.write(bytes.data(), static_cast<std::streamsize>(bytes.size())).flush()) std::abort();
}

void clear() {
  for (const char* name : {"/config.json", "/model.safetensors", "/tokenizer.json"})
    unlink((folder() + name).c_str());
  rmdir(folder().c_str());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cairn;
  [[maybe_unused]] static const int kAtEnd = std::atexit(clear);
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t end = std::min(input.find('\0'), input.size());
  put("config.json", input.substr(0, end));
  put("model.safetensors", input.substr(std::min(end + 1, size)));
  try {
    const convert::Conversion conversion(folder(), convert::Type::automatic);
    uint64_t all = 0;
    for (size_t i = 0; i < conversion.tensors().size(); ++i) {
      const auto& tensor = conversion.tensors()[i];
      uint64_t written = 0, elements = 1;
      for (const uint64_t length : tensor.shape) elements *= length;
      conversion.write(i, [&](std::span<const std::byte> piece) {
        written += piece.size();
        for (const std::byte b : piece) all += std::to_integer<uint64_t>(b);
      });
      const EncodingInfo& e = info(tensor.encoding);
      if (written != elements / e.block_elements * e.block_bytes) std::abort();
      if (!tensor.unchanged.empty() && tensor.unchanged.size() != written) std::abort();
    }
    if (conversion.writer().bytes() <= conversion.report().bytes) std::abort();
    if (all == ~uint64_t{0}) std::abort();  // keeps the loop above
  } catch (const Error&) {
  }
  return 0;
}
