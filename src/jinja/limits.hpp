#pragma once

#include <cstddef>
#include <cstdint>

// What a template may use up before rendering ends in an Error. The largest real prompts stay two orders of
// magnitude below; a hostile template is stopped within seconds and within the memory given here.
namespace cairn::jinja::limits {

inline constexpr size_t steps = 20'000'000;  // evaluated nodes, items visited, 64-byte pieces of text made
inline constexpr size_t bytes = size_t{256} << 20;  // text and containers made in one rendering ...
inline constexpr size_t bytes_per_input = 256;      // ... plus this much for each byte of the variables,
inline constexpr size_t bytes_at_most = size_t{1} << 30;  // never more than this
inline constexpr size_t text = size_t{64} << 20;          // one string, the output included
inline constexpr uint32_t weight = 1 << 24;               // parts of one value, see Extent
inline constexpr uint32_t depth = 200;                    // nesting of one value
inline constexpr size_t recursion = 1000;                 // nested evaluations: macros, loops, expressions
inline constexpr size_t expression_height = 300;          // operators and calls inside each other
inline constexpr size_t block_nesting = 100;              // statements inside each other
inline constexpr size_t source = size_t{4} << 20;         // bytes of template
inline constexpr int64_t range = 100'000;                 // jinja2.sandbox.MAX_RANGE

}  // namespace cairn::jinja::limits
