#include "graph/families/families.hpp"

#include <array>
#include <string>

#include "base/error.hpp"

namespace cairn::graph {

std::span<const Family> families() {
  static const std::array all = {llama_family(), qwen2_family(), gemma_family(), gemma3_family(),
                                 phi2_family()};
  return all;
}

const Family& find_family(std::string_view architecture, std::string_view where) {
  std::string known;
  for (const Family& family : families()) {
    if (family.architecture == architecture) return family;
    known += known.empty() ? "" : ", ";
    known += family.architecture;
  }
  fail(ErrorCode::unsupported, "{}{}model architecture '{}' is not supported (known: {})", where,
       where.empty() ? "" : ": ", architecture, known);
}

}  // namespace cairn::graph
