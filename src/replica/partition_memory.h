// Parts of what a checkpoint says a partition remembers beside its records (docs/formats/checkpoint.md).
#pragma once

#include <optional>

#include "esc/base/bytes.h"

namespace esc::replica {

// The state of the partition's window of event ids; nothing when there is none, or the bytes make no sense.
[[nodiscard]] std::optional<ByteView> event_ids_section(ByteView memory);

}  // namespace esc::replica
