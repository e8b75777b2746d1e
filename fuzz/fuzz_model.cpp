// A GGUF file whose structure is sound but whose content may lie: hyper-parameters and vocabulary build a
// graph and a tokenizer or throw Error, and the tokenizer gives back the text that it was given. A stack's
// layout is read, or refused, too.
#include "base/error.hpp"
#include "formats/gguf.hpp"
#include "formats/stack_file.hpp"
#include "graph/describe.hpp"
#include "memory_file.hpp"
#include "text/tokenizer.hpp"

namespace {

template <class Action>
void allow_error(const Action& action) {
  try {
    action();
  } catch (const cairn::Error&) {
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace cairn;
  const fuzz::MemoryFile bytes(data, size);
  allow_error([&] {
    const gguf::File file(bytes.path());
    allow_error([&] { graph::describe(graph::load(file)); });
    allow_error([&] {
      if (stack::is_stack(file)) stack::read_layout(file);
    });
    allow_error([&] {
      const auto tokenizer = text::make_tokenizer(file);
      for (const char* text : {"the interim  them\n", "<|im_start|>ß石🪨 12345", "\xff\xc0 t"}) {
        const auto tokens = tokenizer->encode(text, {.parse_special = true});
        for (const auto token : tokens)
          if (token < 0 || static_cast<size_t>(token) >= tokenizer->vocabulary()) std::abort();
        (void)tokenizer->decode(tokens, true);
      }
    });
  });
  return 0;
}
