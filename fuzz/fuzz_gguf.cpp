// Any bytes as a GGUF file: it reads or throws Error, and what it hands out lies inside the file.
#include "base/error.hpp"
#include "formats/describe.hpp"
#include "formats/gguf.hpp"
#include "memory_file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cairn;
  const fuzz::MemoryFile bytes(data, size);
  try {
    const gguf::File file(bytes.path());
    uint64_t sum = 0;
    for (const gguf::Tensor& tensor : file.tensors()) {
      if (tensor.data.size() != tensor.rows() * tensor.row_bytes()) std::abort();
      if (file.find_tensor(tensor.name) != &tensor) std::abort();
      for (const std::byte b : tensor.data) sum += std::to_integer<uint64_t>(b);
    }
    for (const auto& [key, value] : file.metadata())
      if (file.find(key) != &value) std::abort();
    sum += gguf::describe(file).size();
    sum += gguf::to_json(file, {.full = true})
               .dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
               .size();
    if (sum == 0) std::abort();  // keeps the loop above
  } catch (const Error&) {
  }
  return 0;
}
