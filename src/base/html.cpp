#include "base/html.hpp"

#include <fmt/format.h>

namespace cairn {
namespace {

constexpr std::string_view kStyle = R"(
:root { color-scheme: light dark; --ink: #1c2430; --dim: #5d6877; --rule: #dfe4ea; --page: #ffffff;
  --c0: #2a6fdb; --c1: #d9611e; --c2: #1b8a5a; --c3: #a03fa8; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --dim: #9aa5b4; --rule: #303844; --page: #14181e;
  --c0: #6ea3f5; --c1: #f08b50; --c2: #4cc38d; --c3: #cf7fd6; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); max-width: 60rem;
  margin: 2rem auto; padding: 0 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2rem; }
figure { margin: 2rem 0; } figcaption { font-weight: 600; } svg { width: 100%; height: auto; }
svg text { font-size: 12px; fill: var(--dim); } .grid { stroke: var(--rule); } .axis { stroke: var(--dim); }
polyline { fill: none; stroke-width: 1.6; } circle { stroke: none; }
.legend { margin: .2rem 0; color: var(--dim); } .legend span { margin-right: 1.2rem; white-space: nowrap; }
.legend i { display: inline-block; width: .8rem; height: .8rem; margin-right: .35rem; border-radius: 2px;
  vertical-align: -1px; }
g.s0 { stroke: var(--c0); fill: var(--c0); } g.s1 { stroke: var(--c1); fill: var(--c1); }
g.s2 { stroke: var(--c2); fill: var(--c2); } g.s3 { stroke: var(--c3); fill: var(--c3); }
i.s0 { background: var(--c0); } i.s1 { background: var(--c1); } i.s2 { background: var(--c2); }
i.s3 { background: var(--c3); }
.wide { overflow-x: auto; } table { border-collapse: collapse; margin: 0 0 1rem; }
th, td { padding: .2rem .8rem .2rem 0; text-align: right; border-bottom: 1px solid var(--rule);
  font-variant-numeric: tabular-nums; overflow-wrap: normal; }
th { font-weight: 600; vertical-align: bottom; } th:first-child, td:first-child { text-align: left; }
@media (max-width: 600px) { body { margin: 1rem auto; } svg text { font-size: 19px; } polyline { stroke-width: 3; } }
)";

}  // namespace

std::string escape_html(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&quot;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
    }
  }
  return out;
}

std::string html_page(std::string_view title, std::string_view body) {
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>{0}</title>\n"
      "<style>{1}</style></head>\n<body><h1>{0}</h1>\n{2}\n</body></html>\n",
      escape_html(title), kStyle, body);
}

}  // namespace cairn
