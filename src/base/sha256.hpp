#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

struct evp_md_ctx_st;

namespace cairn {

class Sha256 {
 public:
  Sha256();
  void update(std::span<const std::byte> bytes);
  std::string hex();  // 64 lower-case digits; call once

 private:
  struct Deleter {
    void operator()(evp_md_ctx_st*) const noexcept;
  };
  std::unique_ptr<evp_md_ctx_st, Deleter> state_;
};

// Reads the file from end to end. Errors: not_found, io, cancelled (an interrupt).
std::string sha256_of_file(const std::string& path);

}  // namespace cairn
