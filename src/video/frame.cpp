#include "video/frame.hpp"

namespace cairn::video {

std::string Format::pixel_format() const {
  std::string name;
  switch (chroma) {
    case Chroma::none:
      name = "gray";
      break;
    case Chroma::c420:
      name = "yuv420p";
      break;
    case Chroma::c422:
      name = "yuv422p";
      break;
    case Chroma::c444:
      name = "yuv444p";
      break;
  }
  return bits == 8 ? name : name + "10le";
}

void Frame::allocate(const Format& wanted) {
  format = wanted;
  for (size_t p = 0; p < planes.size(); ++p) {
    if (p < wanted.planes()) {
      planes[p].resize(wanted.plane_width(p), wanted.plane_height(p));
    } else {
      planes[p] = {};
    }
  }
}

}  // namespace cairn::video
