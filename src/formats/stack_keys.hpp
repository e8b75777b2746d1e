// What reading and writing a stack share.
#pragma once

#include <string_view>

#include "formats/stack_file.hpp"

namespace cairn::stack {

constexpr std::string_view kPrefix = "cairn.stack.";
constexpr std::string_view kVersion = "cairn.stack.version", kCodec = "cairn.stack.codec",
                           kTables = "cairn.stack.tables";
constexpr std::string_view kPlaneCount = "cairn.stack.planes";  // since version 4; without it kOldPlanes
constexpr uint64_t kPlanesVersion = 4;  // 3 is a bit away from 1, whose checksums nobody looks for
// xxh3-64, since version 2: of everything before the first tensor's data; of each other tensor's, in file
// order.
constexpr std::string_view kHeaderChecksum = "cairn.stack.header_checksum",
                           kTensorChecksums = "cairn.stack.tensor_checksums";
constexpr std::string_view kMatrixNames = "cairn.stack.matrix.names", kMatrixRows = "cairn.stack.matrix.rows",
                           kMatrixColumns = "cairn.stack.matrix.columns",
                           kMatrixGroupRows = "cairn.stack.matrix.group_rows",
                           kMatrixRotation = "cairn.stack.matrix.rotation",
                           kMatrixEncoding = "cairn.stack.matrix.encoding";
// Bits, least significant first: each row's group in group_bits() bits.
constexpr std::string_view kRowGroups = "cairn.stack.row_groups";
constexpr std::string_view kOrderMatrix = "cairn.stack.order.matrix", kOrderGroup = "cairn.stack.order.group",
                           kOrderLevel = "cairn.stack.order.level", kOrderLoss = "cairn.stack.order.loss",
                           kOrderChecksum = "cairn.stack.order.checksum";

unsigned group_bits(const Matrix& matrix);  // 0 where there is one group

}  // namespace cairn::stack
