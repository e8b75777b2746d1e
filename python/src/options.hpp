#pragma once

#include <pybind11/pybind11.h>

#include <cairn/cairn.hpp>

namespace binding {

// The options of an answer from keyword arguments. TypeError for one that there is not.
cairn::GenerateOptions options_of(const pybind11::dict& given);

}  // namespace binding
