// ICU's data, 31 MB of locales and rules: a table without entries. What cairn asks of ICU (properties of
// characters, cases without a locale) is in its code.
#include <unicode/udata.h>
#include <unicode/utypes.h>

namespace {

// As ICU's "Data file formats" has it: a header, and what a package of kind ToCP holds.
struct alignas(16) Empty {
  uint16_t header_bytes;
  uint8_t magic[2];
  UDataInfo info;
  uint8_t padding[8];
  uint32_t entries, reserved;
};

}  // namespace

extern "C" {
extern const Empty U_ICUDATA_ENTRY_POINT;
const Empty U_ICUDATA_ENTRY_POINT = {32,
                                     {0xDA, 0x27},
                                     {sizeof(UDataInfo),
                                      0,
                                      U_IS_BIG_ENDIAN,
                                      U_CHARSET_FAMILY,
                                      U_SIZEOF_UCHAR,
                                      0,
                                      {'T', 'o', 'C', 'P'},
                                      {1, 0, 0, 0},
                                      {0, 0, 0, 0}},
                                     {},
                                     0,
                                     0};
}
static_assert(sizeof(UDataInfo) == 20 && sizeof(Empty) == 48);
