#include "kernels/recurrent.hpp"

#include <utility>

#include "base/error.hpp"
#include "kernels/target_list.hpp"

namespace cairn::kernels {

#define CAIRN_DECLARE_TABLE(target)          \
  namespace target {                         \
  const RecurrentKernels& recurrent_table(); \
  }
CAIRN_FOR_EACH_TARGET(CAIRN_DECLARE_TABLE)
#undef CAIRN_DECLARE_TABLE

const RecurrentKernels& recurrent_kernels(Target target) {
  switch (target) {
#define CAIRN_TABLE(name) \
  case Target::name:      \
    return name::recurrent_table();
    CAIRN_FOR_EACH_TARGET(CAIRN_TABLE)
#undef CAIRN_TABLE
    default:
      fail(ErrorCode::unsupported, "this build has no kernels for instruction set {}", name(target));
  }
}

}  // namespace cairn::kernels
