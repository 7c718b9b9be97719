// Arbitrary bytes as what a checkpoint remembers of a partition's producers: decoding ends, reads nothing
// outside, and what it accepts survives a round trip and takes further batches.
#include <cstdlib>
#include <vector>

#include "../../src/replica/producer_table.h"

namespace esc::replica {
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const ByteView bytes(reinterpret_cast<const std::byte*>(data), size);
  const PartitionId partition(3);
  ProducerTable table(1024);
  if (!table.load(partition, bytes)) return 0;
  std::vector<std::byte> again;
  table.save(partition, again);
  ProducerTable copy(1024);
  if (!copy.load(partition, again) || copy.size() != table.size()) std::abort();
  table.finish_load();
  ProducerBatch next;
  next.key = {partition, 7};
  next.epoch = 1;
  next.batch.index = Index(1);
  if (judge(table.find(next.key), next).code == Errc::ok) table.apply(next);
  table.forget(partition);
  if (table.size() != 0) std::abort();
  return 0;
}

}  // namespace esc::replica
