#pragma once

#include "convert/metadata.hpp"

namespace cairn::convert {

// How a checkpoint of sentence-transformers' makes one vector of a text's states (pooling_type): what the
// config.json of the folder that modules.json names says. Nothing where there is no modules.json. Errors:
// format (a folder that is none of the checkpoint's), not_found, unsupported (another way than by mean, [CLS]
// or last token).
void pooling_metadata(const Config& config, ModelMetadata& out);

}  // namespace cairn::convert
