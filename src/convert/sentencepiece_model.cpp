#include "convert/sentencepiece_model.hpp"

#include <array>
#include <bit>

#include "base/error.hpp"
#include "base/mapped_file.hpp"
#include "base/utf8.hpp"
#include "formats/byte_reader.hpp"

namespace cairn::convert {
namespace {

// Protocol buffers, as far as they are needed: a message is fields, each a number with the kind of its value.
// Source: "Encoding" in protocol buffers' documentation.
class Message {
 public:
  Message(std::span<const std::byte> bytes, const std::string& path, uint64_t offset)
      : in_(bytes, path), path_(path), offset_(offset) {}

  uint64_t field = 0, number = 0;    // the value of kinds varint, fixed32, fixed64
  std::span<const std::byte> bytes;  // of kind bytes
  uint64_t bytes_offset = 0;         // in the file

  bool next() {
    if (in_.remaining() == 0) return false;
    const uint64_t tag = varint();
    field = tag >> 3;
    bytes = {};
    switch (tag & 7) {
      case 0:
        number = varint();
        break;
      case 1:
        if (in_.remaining() < 8) broken();
        number = in_.read<uint64_t>("a number");
        break;
      case 2: {
        const uint64_t length = varint();
        bytes_offset = offset_ + in_.offset();
        if (length > in_.remaining()) broken();
        bytes = in_.take(length, "a field");
        break;
      }
      case 5:
        if (in_.remaining() < 4) broken();
        number = in_.read<uint32_t>("a number");
        break;
      default:
        broken();
    }
    return true;
  }

  [[noreturn]] void broken() const {
    fail(ErrorCode::format, "{}: byte {}: is no SentencePiece model", path_, offset_ + in_.offset());
  }

 private:
  uint64_t varint() {
    uint64_t value = 0;
    for (unsigned shift = 0; shift < 64; shift += 7) {
      if (in_.remaining() == 0) broken();
      const auto byte = in_.read<uint8_t>("a number");
      value |= uint64_t{byte & 127U} << shift;
      if (byte < 128) return value;
    }
    broken();
  }

  ByteReader in_;
  const std::string& path_;
  uint64_t offset_;
};

// ModelProto.SentencePiece
SentencePiece read_piece(Message message) {
  constexpr std::array kTypes = {text::TokenType::normal,  text::TokenType::normal, text::TokenType::unknown,
                                 text::TokenType::control, text::TokenType::normal, text::TokenType::unused,
                                 text::TokenType::byte};
  SentencePiece piece;
  while (message.next()) {
    if (message.field == 1) {
      piece.text.assign(reinterpret_cast<const char*>(message.bytes.data()), message.bytes.size());
      if (!is_utf8(piece.text)) message.broken();
    } else if (message.field == 2) {
      piece.score = std::bit_cast<float>(static_cast<uint32_t>(message.number));
    } else if (message.field == 3) {
      if (message.number >= kTypes.size()) message.broken();
      piece.type = kTypes[message.number];
    }
  }
  return piece;
}

// TrainerSpec.model_type
uint64_t read_model_type(Message message) {
  uint64_t type = 1;
  while (message.next()) {
    if (message.field == 3) type = message.number;
  }
  return type;
}

}  // namespace

std::vector<SentencePiece> read_sentencepiece_model(const std::string& path) {
  constexpr std::array<const char*, 5> kNames = {"?", "unigram", "BPE", "word", "char"};
  constexpr uint64_t kBpe = 2;
  const MappedFile file(path);
  std::vector<SentencePiece> pieces;
  uint64_t type = 1;  // where nothing is said
  Message model(file.bytes(), path, 0);
  while (model.next()) {
    if (model.field == 1) pieces.push_back(read_piece({model.bytes, path, model.bytes_offset}));
    if (model.field == 2) type = read_model_type({model.bytes, path, model.bytes_offset});
  }
  if (pieces.empty()) fail(ErrorCode::format, "{}: holds no pieces: is no SentencePiece model", path);
  if (type != kBpe)
    fail(ErrorCode::unsupported, "{}: SentencePiece models of kind '{}' are not supported (BPE is)", path,
         type < kNames.size() ? kNames[type] : std::to_string(type).c_str());
  return pieces;
}

}  // namespace cairn::convert
