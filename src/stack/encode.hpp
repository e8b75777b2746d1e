// stack: a model becomes a file that can be cut anywhere: calibrate, fit nested codes, predict what each
// block is worth, order by that for each byte, write.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

#include "llm/model.hpp"
#include "stack/avd.hpp"
#include "stack/fit.hpp"
#include "stack/tune.hpp"

namespace cairn::stack {

// Whether the token embedding and the output head are stored as the source has them or as planes. automatic:
// as planes where they would otherwise take more than all other matrices at 3 bits, or where the stack would
// otherwise be larger than its source. Unless `exact`, the last blocks are then left out as far as it still
// is: those that gain least for each byte, of the vocabulary or of the layers.
enum class Embeddings : uint8_t { automatic, keep, planes };

struct EncodeEstimate {
  double seconds = 0;  // of what is still to be done
  uint64_t file_bytes = 0;
};

struct EncodeOptions {
  Codec codec = Codec::planes;
  uint32_t threads = 0;    // 0: usable_processors()
  uint32_t windows = 128;  // most windows of text for second moments; 0: none, codes are rounded plainly
  uint32_t window = 512;   // tokens, a multiple of 64
  uint32_t importance_windows = 16;  // of them, for what an error of each row costs; 0: all rows alike
  uint64_t moment_bytes = uint64_t{1280} << 20;  // for the moments of the layers of one pass over the text
  // The windows' statistics are made by so many shares, each summed alone and kept beside the stack, and
  // added in their order: the same bytes whoever makes them; a token's weight in the moments is what its own
  // share's importance windows say, of which each needs one. 1: in one go.
  uint32_t shares = 1;
  bool exact = false;                             // planes: a last level that restores the source
  Embeddings embeddings = Embeddings::automatic;  // planes
  std::function<void(double)> overall{};          // before each step: how much of everything is done, 0 to 1
  std::function<void(const EncodeEstimate&)> estimate{};  // once, before the work, by a short forward pass
  FitOptions fit;
  AvdOptions avd;
  TuneOptions tune;  // planes only
};

// Called between steps; what it throws (Error cancelled) ends the work, which can be resumed.
using EncodeProgress = std::function<void(std::string_view stage, uint64_t done, uint64_t total)>;

struct EncodeReport {
  uint64_t matrices = 0, blocks = 0, linear_bytes = 0, file_bytes = 0;
  uint64_t resumed = 0;  // matrices that an earlier run had finished
  double loss_before = 0,
         loss_after = 0;  // KL from the source in the first and last turn of the budgets tuned
};

// Makes one share of the statistics (EncodeOptions::shares) that encode_stack() with the same arguments then
// finds beside `path`; what is done of it already stays. Returns its file. Errors: as encode_stack;
// invalid_argument: no such share.
std::string gather_share(const llm::Model& model, std::string_view text, const EncodeOptions& options,
                         const std::string& path, uint32_t share, const EncodeProgress& progress = {});

// Writes the model as a stack to `path`; what is done so far stays in `path`.stack.partial until the end,
// and the same call goes on from there to the same file. Memory: a layer's matrices in float and their
// moments. Errors: invalid_argument (a stack as source, a text of less than one window, a model without
// matrices), numeric, io.
EncodeReport encode_stack(const llm::Model& model, std::string_view text, const EncodeOptions& options,
                          const std::string& path, const EncodeProgress& progress = {});

}  // namespace cairn::stack
