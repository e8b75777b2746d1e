#include "text/bpe.hpp"

#include <bit>

#include "base/error.hpp"

namespace cairn::text {
namespace {

constexpr uint64_t no_pair = ~uint64_t{0};

bool stands_for_itself(unsigned byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

}  // namespace

ByteAlphabet::ByteAlphabet() {
  bytes_.fill(-1);
  unsigned next = 0x100;
  for (unsigned byte = 0; byte < 256; ++byte) {
    const unsigned point = stands_for_itself(byte) ? byte : next++;
    bytes_[point] = static_cast<int16_t>(byte);
    auto& spelling = spellings_[byte];
    if (point < 0x80) {
      spelling = {static_cast<char>(point), 0, 0};
    } else {
      spelling = {static_cast<char>(0xC0 | point >> 6), static_cast<char>(0x80 | (point & 0x3F)), 0};
    }
  }
}

std::string ByteAlphabet::bytes(std::string_view token) const {
  std::string out;
  for (size_t i = 0; i < token.size();) {
    const auto lead = static_cast<unsigned char>(token[i]);
    unsigned point = lead;
    size_t length = 1;
    if (lead >= 0x80) {  // the alphabet ends at U+0143: two bytes are the most it takes
      if ((lead & 0xE0) != 0xC0 || i + 1 == token.size()) return std::string(token);
      point = (lead & 0x1Fu) << 6 | (static_cast<unsigned char>(token[i + 1]) & 0x3Fu);
      length = 2;
    }
    if (point >= bytes_.size() || bytes_[point] < 0) return std::string(token);
    out.push_back(static_cast<char>(bytes_[point]));
    i += length;
  }
  return out;
}

MergeTable::MergeTable(const Vocabulary& vocabulary) {
  constexpr std::string_view key_name = "tokenizer.ggml.merges";
  const std::string& path = vocabulary.file().path();
  const gguf::Value* value = vocabulary.file().find(key_name);
  const auto* merges = value ? std::get_if<std::vector<std::string_view>>(value) : nullptr;
  if (!merges) fail(ErrorCode::format, "{}: {} must be a list of texts", path, key_name);

  const size_t capacity = std::bit_ceil(merges->size() * 3 / 2 + 2);
  slots_.assign(capacity, {no_pair, 0, -1});
  shift_ = 64u - static_cast<unsigned>(std::countr_zero(capacity));
  std::string joined;
  Token token = -1;
  for (size_t rank = 0; rank < merges->size(); ++rank) {
    const std::string_view merge = (*merges)[rank];
    const size_t blank = merge.find(' ', 1);
    if (merge.empty() || blank == std::string_view::npos || blank + 1 == merge.size())
      fail(ErrorCode::format, "{}: {}: entry {} ('{}') is not two tokens", path, key_name, rank, merge);
    joined.assign(merge.substr(0, blank)).append(merge.substr(blank + 1));
    const Token left = vocabulary.find(merge.substr(0, blank));
    const Token right = vocabulary.find(merge.substr(blank + 1));
    // Trainers number tokens in the order of their merges, so the next one is worth a look before a search.
    const Token next = token + 1;
    token = vocabulary.contains(next) && vocabulary.text(next) == joined ? next : vocabulary.find(joined);
    if (left < 0 || right < 0 || token < 0)
      fail(ErrorCode::format, "{}: {}: entry {} ('{}') names a token that the vocabulary lacks", path,
           key_name, rank, merge);
    const uint64_t pair = key(left, right);
    size_t at = start(pair);
    while (slots_[at].pair != no_pair && slots_[at].pair != pair) at = (at + 1) & (capacity - 1);
    // Of a merge that is listed twice the last counts, as in Hugging Face tokenizers.
    slots_[at] = {pair, static_cast<uint32_t>(rank), token};
  }
}

MergeTable::Queue::Candidate MergeTable::find(Token left, Token right) const noexcept {
  const uint64_t pair = key(left, right);
  for (size_t at = start(pair);; at = (at + 1) & (slots_.size() - 1)) {
    if (slots_[at].pair == pair) return {slots_[at].rank, slots_[at].token};
    if (slots_[at].pair == no_pair) return {0, -1};
  }
}

}  // namespace cairn::text
