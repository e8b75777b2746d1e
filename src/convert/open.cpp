#include "convert/open.hpp"

#include <algorithm>
#include <utility>
#include <vector>

#include "base/nameless_file.hpp"
#include "convert/conversion.hpp"

namespace cairn::convert {

gguf::File open(const std::string& folder, Type type, const std::string& beside, const Progress& progress) {
  const Conversion conversion(folder, type);
  const auto& outputs = conversion.tensors();
  gguf::Writer head;
  for (const auto& [key, value] : conversion.metadata().all()) head.set(key, value);
  std::vector<size_t> converted;
  std::vector<gguf::File::Outside> tensors;
  for (size_t i = 0; i < outputs.size(); ++i) {
    const Conversion::Output& t = outputs[i];
    tensors.push_back({t.name, t.encoding, t.shape, t.unchanged});
    if (!t.unchanged.empty()) continue;
    head.add_tensor(t.name, t.encoding, t.shape);
    converted.push_back(i);
  }
  const uint64_t all = head.data_bytes();
  uint64_t done = 0;
  progress(done, all);
  NamelessFile file(beside);
  head.write([&](std::span<const std::byte> bytes) { file.write(bytes); },
             [&](size_t i, const gguf::Writer::Sink& sink) {
               conversion.write(converted[i], [&](std::span<const std::byte> piece) {
                 sink(piece);
                 done += piece.size();
                 progress(std::min(done, all), all);
               });
             });
  file.flush();
  conversion.checkpoint().require_whole();
  return gguf::File::assemble(conversion.checkpoint().folder(), gguf::File(file.path()), std::move(tensors),
                              conversion.checkpoint().files(), conversion.writer().bytes());
}

}  // namespace cairn::convert
