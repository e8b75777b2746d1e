#pragma once

#include <string>

namespace cairn {

// What FILE.sha256 remembers of a file in the store, so that it need not be read again to know it: the note
// holds only as long as the file's size and time of change are those noted.
struct Verified {
  std::string sha256;
  std::string source;
};

// Both empty when there is no note or the file has changed since.
Verified verified(const std::string& path);
void note_verified(const std::string& path, const Verified& what);  // Error io

}  // namespace cairn
