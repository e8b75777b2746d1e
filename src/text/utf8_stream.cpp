#include "base/utf8.hpp"
#include "text/tokenizer.hpp"

namespace cairn::text {

std::string Utf8Stream::push(std::string_view bytes) {
  pending_.append(bytes);
  std::string out;
  std::string_view rest = pending_;
  while (!rest.empty()) {
    const size_t good = valid_prefix(rest);
    out.append(rest.substr(0, good));
    rest.remove_prefix(good);
    if (rest.empty()) break;
    const Utf8Character character = first_character(rest);
    if (character.kind == Utf8Character::incomplete) break;
    out.append(kReplacement);
    rest.remove_prefix(character.bytes);
  }
  pending_.erase(0, pending_.size() - rest.size());
  return out;
}

std::string Utf8Stream::finish() {
  std::string out;
  if (!pending_.empty()) out = kReplacement;  // an incomplete character is one maximal subpart
  pending_.clear();
  return out;
}

}  // namespace cairn::text
