// The event ids of produced batches: read and hashed on the core of the connection, where decompression does
// not hold up a group. Private to the broker.
//
// Threading: one core. Memory: a buffer for the largest compressed batch so far, at most 16 MiB.
#pragma once

#include <string_view>
#include <vector>

#include "esc/broker/broker.h"
#include "esc/wire/record_batch.h"
#include "produce_call.h"

namespace esc::broker {

class EventIds {
 public:
  explicit EventIds(Broker& broker) : broker_(broker) {}

  // Checks the records of all items whose topic drops duplicates (ProduceItem::dedup) and reads their ids. An
  // item whose records are not sound gets an error code. False: no memory.
  [[nodiscard]] bool read(Request& request, std::span<ProduceItem> items);
  // validate_produce_batch() for a topic whose records must have keys, compressed ones too.
  [[nodiscard]] wire::BatchVerdict validate_keyed(const wire::NullableBytes& records,
                                                  wire::ProduceBatchLimits limits);

 private:
  [[nodiscard]] wire::BatchVerdict read_item(ProduceItem& item, std::span<dedup::Id> ids);

  Broker& broker_;
  std::vector<std::byte> plain_;
};

}  // namespace esc::broker
