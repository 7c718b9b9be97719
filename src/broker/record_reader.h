// Looks into the records of produced batches where their topic asks for it: keys of compacted topics, event
// ids of topics that drop duplicates. One walk, on the core of the connection, where decompression does not
// hold up a group. Private to the broker.
//
// Threading: one core. Memory: that of wire::PlainRecords.
#pragma once

#include "esc/broker/broker.h"
#include "esc/wire/compression.h"
#include "produce_call.h"

namespace esc::broker {

class RecordReader {
 public:
  explicit RecordReader(Broker& broker) : broker_(broker) {}

  [[nodiscard]] static bool wanted(const TopicSettings& settings) {
    return settings.cleanup_compact || settings.dedup_window_ms > 0;
  }
  // Checks the records of all items that want it (ProduceItem::unread) and reads their ids. An item whose
  // records are not sound gets an error code. False: no memory.
  [[nodiscard]] bool read(Request& request, std::span<ProduceItem> items);

 private:
  [[nodiscard]] wire::BatchVerdict read_item(ProduceItem& item, std::span<dedup::Id> ids);
  [[nodiscard]] wire::BatchVerdict read_ids(ProduceItem& item, wire::BatchView batch, ByteView records,
                                            const wire::ProduceBatchLimits& limits, std::span<dedup::Id> ids);

  Broker& broker_;
  wire::PlainRecords plain_;
};

}  // namespace esc::broker
