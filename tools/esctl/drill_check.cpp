#include "drill_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <thread>

#include "esc/wire/api/fetch.h"
#include "esc/wire/api/list_offsets.h"
#include "esc/wire/record_batch.h"

namespace esc::esctl {

namespace {

constexpr std::int64_t kLatest = -1;
constexpr std::uint64_t kWrong = ~std::uint64_t{0};

// The sequence in a value; kWrong when the value is not exactly what was sent.
std::uint64_t sequence_of(std::int32_t partition, ByteView value) {
  const std::string_view text(reinterpret_cast<const char*>(value.data()), value.size());
  const auto blank = text.find(' ');
  std::uint64_t sequence = 0;
  if (blank == std::string_view::npos) return kWrong;
  std::from_chars(text.data() + blank + 1, text.data() + text.size(), sequence);
  return text == drill_value(partition, sequence) ? sequence : kWrong;
}

class Reader {
 public:
  Reader(std::string_view topic, std::int32_t partition) : topic_(topic), partition_(partition) {}

  // Sequences by offset, up to what the leader says is committed.
  [[nodiscard]] Status read(const Bootstrap& bootstrap, Deadline deadline) {
    const auto leaders = find_leaders(bootstrap, topic_, deadline);
    if (!leaders) return std::unexpected(leaders.error());
    const auto index = static_cast<std::size_t>(partition_);
    if (index >= leaders->size() || (*leaders)[index].node < 0)
      return fail(Errc::not_leader, fmt::format("partition {} has no leader", partition_));
    auto client = Client::connect((*leaders)[index].address, deadline);
    if (!client) return std::unexpected(client.error());
    const auto end = end_offset(*client);
    if (!end) return std::unexpected(end.error());
    while (next() < *end) {
      const std::int64_t before = next();
      if (const auto fetched = fetch(*client); !fetched) return fetched;
      if (next() == before)
        return fail(Errc::corruption, fmt::format("nothing can be read at offset {} of {}", before, *end));
    }
    return {};
  }

  [[nodiscard]] std::int64_t next() const { return static_cast<std::int64_t>(sequences_.size()); }
  [[nodiscard]] const std::vector<std::uint64_t>& sequences() const { return sequences_; }

 private:
  [[nodiscard]] Result<std::int64_t> end_offset(Client& client) const {
    const wire::ListOffsetsRequest::Partition asked{.partition_index = partition_, .timestamp = kLatest};
    const wire::ListOffsetsRequest::Topic topic{.name = topic_, .partitions = {&asked, 1}};
    wire::ListOffsetsRequest request;
    request.topics = {&topic, 1};
    const auto reply = client.call<wire::ListOffsetsResponse>(request);
    if (!reply) return std::unexpected(reply.error());
    for (const auto& answered : reply->message.topics) {
      for (const auto& partition : answered.partitions) {
        if (partition.error_code == wire::ErrorCode::none) return partition.offset;
        return fail(Errc::not_leader, fmt::format("end of partition {}: {}", partition_,
                                                  wire::to_string(partition.error_code)));
      }
    }
    return fail(Errc::corruption, "the answer names no partition");
  }

  [[nodiscard]] Status fetch(Client& client) {
    wire::FetchRequest::Partition asked;
    asked.partition = partition_;
    asked.fetch_offset = next();
    asked.partition_max_bytes = 4 << 20;
    wire::FetchRequest::Topic topic;
    topic.topic = topic_;
    topic.partitions = {&asked, 1};
    wire::FetchRequest request;
    request.max_wait_ms = 500;
    request.min_bytes = 1;
    request.topics = {&topic, 1};
    constexpr std::int16_t kByName = 12;  // later versions know topics by their ids
    const auto reply = client.call_at<wire::FetchResponse>(request, kByName);
    if (!reply) return std::unexpected(reply.error());
    for (const auto& answered : reply->message.responses) {
      for (const auto& partition : answered.partitions) {
        if (partition.error_code != wire::ErrorCode::none)
          return fail(Errc::not_leader, fmt::format("fetch of partition {}: {}", partition_,
                                                    wire::to_string(partition.error_code)));
        take(partition.records.bytes);
      }
    }
    return {};
  }

  void take(ByteView bytes) {
    wire::BatchIterator batches(bytes);
    while (const auto batch = batches.next()) {
      const bool valid = batch->crc_valid();
      wire::RecordIterator records(batch->payload(), batch->record_count());
      while (const auto record = records.next()) {
        const std::int64_t offset = batch->base_offset() + record->offset_delta;
        if (offset < next()) continue;  // a batch is given whole, from its first record
        sequences_.resize(static_cast<std::size_t>(offset), kWrong);
        const auto value = record->value.value_or(ByteView{});
        sequences_.push_back(valid ? sequence_of(partition_, value) : kWrong);
      }
    }
  }

  std::string topic_;
  std::int32_t partition_;
  std::vector<std::uint64_t> sequences_;
};

void note(DrillVerdict& verdict, std::uint64_t& counter, std::string trouble) {
  if (verdict.clean()) verdict.first_trouble = std::move(trouble);
  ++counter;
}

}  // namespace

Status check_drill(const Bootstrap& bootstrap, std::string_view topic, std::int32_t partition,
                   const std::vector<DrillAck>& acks, Deadline deadline, DrillVerdict& verdict) {
  Reader reader(topic, partition);
  while (true) {
    const auto read = reader.read(bootstrap, deadline);
    if (read) break;
    if (read.error().code == Errc::corruption || std::chrono::steady_clock::now() > deadline) return read;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  const auto& sequences = reader.sequences();
  std::uint64_t expected = 0;  // the next sequence that has not been seen
  for (std::size_t offset = 0; offset < sequences.size(); ++offset) {
    const std::uint64_t sequence = sequences[offset];
    if (sequence == expected) {
      ++expected;
    } else if (sequence < expected) {
      ++verdict.duplicated;
    } else {
      note(verdict, verdict.misplaced,
           fmt::format("partition {} offset {}: {} where event {} was due", partition, offset,
                       sequence == kWrong ? "wrong bytes" : fmt::format("event {}", sequence), expected));
      if (sequence != kWrong) expected = sequence + 1;
    }
  }
  verdict.stored += sequences.size();
  for (const DrillAck& ack : acks) {
    for (std::uint32_t i = 0; i < DrillWriter::kEventsPerBatch; ++i) {
      const auto offset = static_cast<std::size_t>(ack.base_offset) + i;
      ++verdict.acknowledged;
      if (offset < sequences.size() && sequences[offset] == ack.first_sequence + i) continue;
      note(verdict, verdict.lost,
           fmt::format("partition {}: event {} was acknowledged at offset {}", partition,
                       ack.first_sequence + i, offset));
    }
  }
  return {};
}

}  // namespace esc::esctl
