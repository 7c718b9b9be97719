// group reset: where an empty group goes on.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>

#include "commands.h"
#include "esc/wire/api/list_offsets.h"
#include "esc/wire/api/offset_commit.h"
#include "group_client.h"
#include "json.h"
#include "outcome.h"
#include "table.h"

namespace esc::esctl {

namespace {

using wire::ErrorCode;

struct Target {
  std::int32_t partition = 0;
  std::int64_t offset = -1;
};

// A timestamp of ListOffsets, or an offset.
struct Wish {
  bool by_time = false;
  std::int64_t value = 0;
};

// The command line has been checked.
Wish parse_wish(std::string_view text) {
  if (text == "earliest") return {true, wire::kEarliestTimestamp};
  if (text == "latest") return {true, wire::kLatestTimestamp};
  const bool by_time = text.starts_with("ms:");
  if (by_time) text.remove_prefix(3);
  Wish wish{by_time, 0};
  std::from_chars(text.data(), text.data() + text.size(), wish.value);
  return wish;
}

Result<std::int64_t> ask_offset(Client& client, const std::string& topic, std::int32_t partition,
                                std::int64_t timestamp) {
  const wire::ListOffsetsRequest::Partition wanted{.partition_index = partition, .timestamp = timestamp};
  const wire::ListOffsetsRequest::Topic of{.name = topic, .partitions = {&wanted, 1}};
  wire::ListOffsetsRequest request;
  request.topics = {&of, 1};
  const auto reply = client.call<wire::ListOffsetsResponse>(request);
  if (!reply) return std::unexpected(reply.error());
  const auto& topics = reply->message.topics;
  if (topics.size() != 1 || topics[0].partitions.size() != 1)
    return fail(Errc::corruption, fmt::format("{} did not answer for the partition", client.address()));
  const auto& answer = topics[0].partitions[0];
  if (answer.error_code != ErrorCode::none) {
    return std::unexpected(
        server_error(fmt::format("offsets of {}-{}", topic, partition), answer.error_code, ""));
  }
  return answer.offset;
}

// Behind the newest record when none is as young as wished.
Result<std::int64_t> locate(Client& client, const std::string& topic, std::int32_t partition,
                            const Wish& wish) {
  const auto first =
      ask_offset(client, topic, partition, wish.by_time ? wish.value : wire::kEarliestTimestamp);
  if (!first || (wish.by_time && *first >= 0)) return first;
  const auto end = ask_offset(client, topic, partition, wire::kLatestTimestamp);
  if (!end || wish.by_time) return end;
  return std::clamp(wish.value, *first, *end);
}

Result<std::vector<Target>> find_targets(const Options& options, const GroupResetOptions& reset,
                                         Deadline deadline) {
  const auto leaders = find_leaders(options.addresses(), reset.topic, deadline);
  if (!leaders) return std::unexpected(leaders.error());
  const Wish wish = parse_wish(reset.to);
  std::vector<Target> targets;
  for (std::size_t i = 0; i < leaders->size(); ++i) {
    const auto partition = static_cast<std::int32_t>(i);
    if (!reset.partitions.empty() && std::ranges::find(reset.partitions, partition) == reset.partitions.end())
      continue;
    if ((*leaders)[i].node < 0)
      return fail(Errc::timeout, fmt::format("partition {}-{} has no leader", reset.topic, i));
    auto client = Client::connect((*leaders)[i].address, deadline);
    if (!client) return std::unexpected(client.error());
    const auto offset = locate(*client, reset.topic, partition, wish);
    if (!offset) return std::unexpected(offset.error());
    targets.push_back({partition, *offset});
  }
  if (targets.empty() || (!reset.partitions.empty() && targets.size() != reset.partitions.size())) {
    return fail(Errc::not_found,
                fmt::format("topic {} has {} partitions, from 0 on", reset.topic, leaders->size()));
  }
  return targets;
}

Status commit_targets(const Options& options, const GroupResetOptions& reset,
                      const std::vector<Target>& targets, Deadline deadline) {
  std::vector<wire::OffsetCommitRequest::Partition> partitions;
  for (const Target& target : targets)
    partitions.push_back({.partition_index = target.partition, .committed_offset = target.offset});
  const wire::OffsetCommitRequest::Topic topic{.name = reset.topic, .partitions = partitions};
  wire::OffsetCommitRequest request;
  request.group_id = reset.group;
  request.topics = {&topic, 1};
  const auto code =
      ask_coordinator(options.addresses(), reset.group, deadline, [&](Client& client) -> Result<ErrorCode> {
        const auto reply = client.call<wire::OffsetCommitResponse>(request);
        if (!reply) return std::unexpected(reply.error());
        for (const auto& answered : reply->message.topics) {
          for (const auto& partition : answered.partitions) {
            if (partition.error_code != ErrorCode::none) return partition.error_code;
          }
        }
        return ErrorCode::none;
      });
  if (!code) return std::unexpected(code.error());
  if (*code == ErrorCode::none) return {};
  return std::unexpected(group_error(fmt::format("cannot reset group {}", reset.group), *code));
}

}  // namespace

Status group_reset(const Options& options, const GroupResetOptions& reset) {
  const Deadline deadline = options.deadline();
  const auto lag = fetch_lag(options.addresses(), reset.group, deadline);
  if (!lag && lag.error().code != Errc::not_found) return std::unexpected(lag.error());
  if (!lag && !reset.create) return std::unexpected(lag.error());
  std::map<std::int32_t, std::int64_t> before;
  if (lag) {
    for (const auto& each : lag->message.partitions) {
      if (each.topic == reset.topic) before[each.partition_index] = each.committed_offset;
    }
  }
  const auto targets = find_targets(options, reset, deadline);
  if (!targets) return std::unexpected(targets.error());
  if (reset.execute) {
    if (Status status = commit_targets(options, reset, *targets, deadline); !status) return status;
  }
  Json list = Json::array();
  Table table({{"TOPIC"},
               {"PARTITION", Table::Align::right},
               {"FROM", Table::Align::right},
               {"TO", Table::Align::right}});
  for (const Target& target : *targets) {
    const auto old = before.find(target.partition);
    table.add({reset.topic, std::to_string(target.partition),
               old == before.end() ? "-" : std::to_string(old->second), std::to_string(target.offset)});
    Json json = Json::object();
    json.set("partition", target.partition).set("from", old == before.end() ? Json() : Json(old->second));
    list.push(json.set("to", target.offset));
  }
  if (options.output == Output::json) {
    Json json = Json::object();
    json.set("group", reset.group).set("topic", reset.topic).set("executed", reset.execute);
    fmt::print("{}\n", json.set("partitions", std::move(list)).text());
  } else {
    fmt::print("{}{}\n", table.text(),
               reset.execute ? "Done." : "Nothing was changed: add --execute to do it.");
  }
  return {};
}

}  // namespace esc::esctl
