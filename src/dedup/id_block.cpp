#include "esc/dedup/id_block.h"

#include "esc/base/assert.h"

namespace esc::dedup {

void IdBlock::write(ByteSpan body, std::size_t batch_bytes, std::span<const Id> ids, const Limits& limits) {
  ESC_ASSERT(body.size() == body_bytes_with_ids(batch_bytes, ids.size()));
  const auto start = static_cast<std::size_t>(align_up(batch_bytes, kIdBlockAlignment));
  std::memset(body.data() + batch_bytes, 0, start - batch_bytes);
  std::byte* at = body.data() + start;
  if (!ids.empty()) std::memcpy(at, ids.data(), ids.size_bytes());
  at += ids.size_bytes();
  store_le(at, limits.window_ms);
  store_le(at + sizeof(std::int64_t), limits.bytes_max);
}

std::optional<IdBlock> IdBlock::read(ByteView body, std::size_t batch_bytes, std::size_t records) {
  if (body.size() != body_bytes_with_ids(batch_bytes, records)) return std::nullopt;
  const ByteView block = body.last(id_block_bytes(records));
  IdBlock result;
  result.ids_ = block.first(records * sizeof(Id));
  const std::byte* const limits = block.data() + result.ids_.size();
  result.limits_.window_ms = load_le<std::int64_t>(limits);
  result.limits_.bytes_max = load_le<std::uint64_t>(limits + sizeof(std::int64_t));
  return result;
}

}  // namespace esc::dedup
