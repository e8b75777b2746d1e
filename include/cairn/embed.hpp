#ifndef CAIRN_EMBED_HPP
#define CAIRN_EMBED_HPP

#include <cairn/embed.h>

#include <cairn/engine.hpp>

namespace cairn {
inline namespace v0 {

struct EmbedOptions : cairn_embed_options {
  EmbedOptions() { cairn_embed_options_init(this, sizeof(cairn_embed_options)); }
};

// A text's tokens as one vector (cairn/embed.h).
inline std::vector<float> embed(const Engine& engine, const std::vector<std::int32_t>& tokens,
                                const EmbedOptions& options = {}) {
  struct Owner {
    ~Owner() { cairn_free(data); }
    float* data = nullptr;
    std::size_t size = 0;
  } vector;
  detail::check(cairn_embed, engine.get(), tokens.data(), tokens.size(),
                static_cast<const cairn_embed_options*>(&options), &vector.data, &vector.size);
  return {vector.data, vector.data + vector.size};
}

}  // namespace v0
}  // namespace cairn

#endif
