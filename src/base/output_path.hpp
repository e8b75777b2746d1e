#pragma once

#include <span>
#include <string>
#include <string_view>

namespace cairn {

// Whether both name one file that exists: the same device and inode, however it is spelt or linked.
bool same_file(const std::string& a, const std::string& b);

// N of /dev/fd/N, /dev/stdout and /dev/stderr: a descriptor that is open already, to be written as it is and
// not opened anew; -1 for other paths.
int named_descriptor(std::string_view path);

// Whether `path` is there and neither a file nor a folder: a pipe, a device, a descriptor that is open already.
bool is_special(const std::string& path);

// Whether `path` is a regular file already: what writing it would lose. A pipe or a device is none.
bool would_replace(const std::string& path);

// Before work begins: that `path` can be written, and is none of `inputs` or `other_outputs` (of those, some
// need not exist yet). Empty names and "-" are passed over. Errors: invalid_argument, io; each names `path`.
void check_output(const std::string& path, std::span<const std::string> inputs,
                  std::span<const std::string> other_outputs = {});

}  // namespace cairn
