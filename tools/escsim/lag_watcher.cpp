#include "lag_watcher.h"

#include <algorithm>

#include "esc/wire/api/offset_fetch.h"

namespace esc::escsim {
namespace {

constexpr std::uint32_t kUnansweredMax = 16;  // per node

}  // namespace

bool LagWatcher::quiet() const {
  return std::ranges::all_of(nodes_, [](const auto& entry) { return entry.second.unanswered == 0; });
}

Nanos LagWatcher::work(Nanos now) {
  if (stopping()) return INT64_MAX;
  Nanos next = INT64_MAX;
  for (std::int32_t number = 1; number <= static_cast<std::int32_t>(world_.scenario.nodes); ++number) {
    Node& node = nodes_[number];
    if (node.unanswered == kUnansweredMax) continue;
    if (now >= node.next) {
      node.next = now + prng_.between(5, 60) * kMillisecond;
      ask(number, node);
    }
    next = std::min(next, node.next);
  }
  return next;
}

void LagWatcher::ask(std::int32_t number, Node& node) {
  std::vector<std::int32_t> partitions;
  std::map<std::int32_t, std::int64_t> floors;
  for (std::int32_t p = 0; p < world_.scenario.partitions; ++p) {
    partitions.push_back(p);
    floors[p] = world_.model.committed_floor(p);
  }
  const wire::OffsetFetchRequest::Topic topic{kTopic, partitions};
  wire::OffsetFetchRequest request;
  request.group_id = kGroup;
  request.topics = wire::Array<wire::OffsetFetchRequest::Topic>(&topic, 1);
  ++node.unanswered;
  link_to(number)->call(request, 7, kCallTimeout, [this, floors, &node](const ByteView* body) {
    --node.unanswered;
    if (body == nullptr) return;
    const Decoded<wire::OffsetFetchResponse> answer(*body, 7);
    if (!answer) return world_.model.fail(name_ + ": malformed OffsetFetch answer");
    if (answer->error_code != wire::ErrorCode::none) return;
    for (const auto& topic_answer : answer->topics) {
      for (const auto& partition : topic_answer.partitions) {
        const auto floor = floors.find(partition.partition_index);
        if (floor == floors.end()) return world_.model.fail(name_ + ": offsets of another partition");
        world_.model.offset_read(partition.partition_index, partition.committed_offset, floor->second);
      }
    }
  });
}

}  // namespace esc::escsim
