// cairn's C++ interface (C++17), header-only over cairn.h: what is opened closes itself, errors are
// cairn::Error, callbacks are std::function. What cairn.h says of threads and lifetimes holds here too.
#ifndef CAIRN_HPP
#define CAIRN_HPP

#include <cairn/base.hpp>
#include <cairn/batch.hpp>
#include <cairn/embed.hpp>
#include <cairn/engine.hpp>
#include <cairn/model.hpp>
#include <cairn/session.hpp>
#include <cairn/video.hpp>

#endif
