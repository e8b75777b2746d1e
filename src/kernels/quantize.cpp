#include "kernels/quantize.hpp"

#include "base/error.hpp"
#include "kernels/target_list.hpp"

namespace cairn::kernels {

#define CAIRN_DECLARE_TARGET(target)      \
  namespace target {                      \
  Quantize find_quantizer(Encoding);      \
  Quantize find_grid_quantizer(Encoding); \
  }
CAIRN_FOR_EACH_TARGET(CAIRN_DECLARE_TARGET)
#undef CAIRN_DECLARE_TARGET

Quantize find_quantizer(Encoding encoding, Target target) {
#define CAIRN_FIND(name)                                                   \
  if (target == Target::name) {                                            \
    const Quantize found = name::find_quantizer(encoding);                 \
    return found != nullptr ? found : name::find_grid_quantizer(encoding); \
  }
  CAIRN_FOR_EACH_TARGET(CAIRN_FIND)
#undef CAIRN_FIND
  fail(ErrorCode::unsupported, "this build has no kernels for instruction set {}", name(target));
}

}  // namespace cairn::kernels
