// What a consumer asks before it reads: where the log begins and ends, and where a time is.
#include <fmt/format.h>

#include <algorithm>

#include "client.h"

namespace esc::escsim {
namespace {

constexpr std::int16_t kVersion = 5;
constexpr Nanos kErrorPause = 20 * kMillisecond;
using Result = wire::ListOffsetsResponse::Partition;

}  // namespace

void Consumer::ask_offsets(KafkaLink& link, std::int32_t first) {
  std::vector<Wanted> asked;
  std::vector<wire::ListOffsetsRequest::Partition> partitions;
  const WallMs now = loop_->wall_ms();
  for (std::int32_t partition = 0; partition < world_.scenario.partitions; ++partition) {
    if (!led_together(first, partition)) continue;
    const std::int64_t times[] = {wire::kEarliestTimestamp, wire::kLatestTimestamp,
                                  now - prng_.between(0, loop_->now() / kMillisecond)};
    asked.push_back({partition, times[prng_.below(3)], epoch_of(partition)});
    partitions.push_back({.partition_index = partition,
                          .current_leader_epoch = asked.back().epoch,
                          .timestamp = asked.back().offset});
  }
  const wire::ListOffsetsRequest::Topic topics[] = {{.name = kTopic, .partitions = partitions}};
  wire::ListOffsetsRequest request;
  request.topics = topics;
  asking_ = true;
  link.call(request, kVersion, kCallTimeout, [this, asked](const ByteView* body) {
    asking_ = false;
    if (body != nullptr) on_offsets(asked, body);
  });
}

void Consumer::on_offsets(const std::vector<Wanted>& asked, const ByteView* body) {
  const Decoded<wire::ListOffsetsResponse> answer(*body, kVersion);
  if (!answer || answer->topics.size() != 1 ||
      !std::ranges::equal(asked, answer->topics[0].partitions, {}, &Wanted::partition,
                          &Result::partition_index))
    return world_.model.fail(name_ + ": malformed ListOffsets answer");
  for (std::size_t i = 0; i < asked.size(); ++i) {
    const Result& result = answer->topics[0].partitions[i];
    if (result.error_code == wire::ErrorCode::none) {
      judge_offset(asked[i], result);
      continue;
    }
    forget_leaders();
    next_ = loop_->now() + kErrorPause;
  }
}

// A leader that was deposed without knowing it has at least what was read from it and those before.
void Consumer::judge_offset(const Wanted& asked, const Result& result) {
  const std::int64_t reached = reached_[static_cast<std::size_t>(asked.partition)];
  const std::int64_t end = world_.model.end(asked.partition);
  const std::int64_t first = world_.model.first_at(asked.partition, asked.offset);
  world_.trace.note(name_, "partition {}: time {} is at offset {}", asked.partition, asked.offset,
                    result.offset);
  bool right = asked.epoch < 0;
  if (asked.offset == wire::kEarliestTimestamp) {
    right = right || result.offset == 0;
  } else if (asked.offset == wire::kLatestTimestamp) {
    right = right || (result.offset >= reached && result.offset <= end);
  } else {
    right = right || result.offset == first || (result.offset == -1 && first >= reached);
  }
  if (!right)
    world_.model.fail(
        fmt::format("{}: partition {}: time {} is said to be at offset {}; read up to {}, first {}, end {}",
                    name_, asked.partition, asked.offset, result.offset, reached, first, end));
}

}  // namespace esc::escsim
