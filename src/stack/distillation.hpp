#pragma once

#include <memory>
#include <span>
#include <vector>

#include "formats/gguf.hpp"
#include "formats/stack_file.hpp"
#include "graph/graph.hpp"
#include "stack/distiller.hpp"
#include "text/tokenizer.hpp"

namespace cairn::stack {

// What distillers work on; all that it refers to must outlive them.
struct Distillation {
  const gguf::File& source;
  const graph::Model& model;
  const Layout& layout;
  const std::vector<CodedMatrix>& matrices;           // the layout's
  std::span<const std::vector<text::Token>> windows;  // of equal length, a multiple of 64 tokens
};

// On the op lists (Differentiator), a window a thread; the result does not depend on their number. The
// vocabulary's matrices get no slopes, and both models predict with the same output head. batch: windows of a
// call, usually.
std::unique_ptr<Distiller> make_cpu_distiller(const Distillation& of, uint32_t threads, uint32_t batch);

// By libtorch, if libcairn_torch.so is there (built where libtorch was found), on the CPU or a GPU. The
// vocabulary's matrices are tuned too. Null: automatic, and there is none. Errors: not_found, unsupported (a
// library of another build, an op that the tuner does not know).
std::unique_ptr<Distiller> make_torch_distiller(const Distillation& of, TuneOn on, uint32_t threads);

// What make_torch_distiller would say of a library that is not there, or not of this build. Errors:
// not_found, unsupported.
void check_tuning(TuneOn on);

}  // namespace cairn::stack
