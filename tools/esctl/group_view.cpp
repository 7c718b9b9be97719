// group list, group describe, group lag.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>

#include "commands.h"
#include "esc/wire/api/describe_groups.h"
#include "esc/wire/api/list_groups.h"
#include "esc/wire/api/metadata.h"
#include "group_client.h"
#include "json.h"
#include "outcome.h"
#include "table.h"

namespace esc::esctl {

namespace {

using wire::ErrorCode;
using Lag = wire::GroupLagResponse::Partition;

struct ListedGroup {
  std::string state;
  std::string type;
  std::int32_t coordinator = -1;
};

// "topic" to its partitions.
using Assignment = std::map<std::string, std::vector<std::int32_t>>;

// What consumers agree on (ConsumerProtocolAssignment); members of other kinds have an assignment of their
// own.
Assignment parse_assignment(ByteView bytes) {
  Assignment assignment;
  const auto take = [&bytes](std::size_t count) {
    const ByteView taken = bytes.first(std::min(count, bytes.size()));
    bytes = bytes.subspan(taken.size());
    return taken;
  };
  const auto number = [&take](std::size_t size) -> std::int64_t {
    const ByteView raw = take(size);
    if (raw.size() < size) return -1;
    return size == 2 ? load_be<std::int16_t>(raw.data()) : load_be<std::int32_t>(raw.data());
  };
  (void)number(2);  // version
  for (std::int64_t topics = number(4); topics > 0 && !bytes.empty(); --topics) {
    const auto length = static_cast<std::size_t>(std::max<std::int64_t>(number(2), 0));
    auto& partitions = assignment[std::string(as_text(take(length)))];
    for (std::int64_t count = number(4); count > 0 && bytes.size() >= 4; --count)
      partitions.push_back(static_cast<std::int32_t>(number(4)));
  }
  return assignment;
}

std::string text_of(const Assignment& assignment) {
  std::string text;
  for (const auto& [topic, partitions] : assignment)
    text += fmt::format("{}{}:{}", text.empty() ? "" : " ", topic, fmt::join(partitions, ","));
  return text.empty() ? "-" : text;
}

std::string seconds(std::int64_t milliseconds) {
  return milliseconds < 0 ? "?" : fmt::format("{:.1f}", static_cast<double>(milliseconds) / 1000);
}

std::string or_unknown(std::int64_t value) {
  return value < 0 ? "?" : fmt::format("{}", value);
}

Json json_or_null(std::int64_t value) {
  return value < 0 ? Json() : Json(value);
}

struct Totals {
  std::int64_t events = 0;
  std::int64_t milliseconds = 0;  // of the partition that is furthest behind
  bool unknown = false;
};

Totals total_of(wire::Array<Lag> partitions) {
  Totals totals;
  for (const Lag& lag : partitions) {
    totals.unknown = totals.unknown || lag.lag_events < 0 || lag.lag_ms < 0;
    totals.events += std::max<std::int64_t>(lag.lag_events, 0);
    totals.milliseconds = std::max(totals.milliseconds, lag.lag_ms);
  }
  return totals;
}

Json lag_json(const Lag& lag) {
  Json json = Json::object();
  json.set("topic", lag.topic).set("partition", lag.partition_index);
  json.set("committed_offset", lag.committed_offset).set("committed_ms", lag.committed_ms);
  json.set("log_start_offset", json_or_null(lag.log_start_offset));
  json.set("log_end_offset", json_or_null(lag.log_end_offset));
  json.set("lag_events", json_or_null(lag.lag_events)).set("lag_ms", json_or_null(lag.lag_ms));
  if (lag.error_code != ErrorCode::none) json.set("error", wire::to_string(lag.error_code));
  return json;
}

Status print_lag(const Options& options, const std::string& group, const wire::GroupLagResponse& lag) {
  const Totals totals = total_of(lag.partitions);
  if (options.output == Output::json) {
    Json partitions = Json::array();
    for (const Lag& each : lag.partitions) partitions.push(lag_json(each));
    Json json = Json::object();
    json.set("group", group).set("state", lag.group_state).set("generation", lag.generation_id);
    json.set("lag_events", totals.events).set("lag_ms", totals.milliseconds).set("complete", !totals.unknown);
    json.set("partitions", std::move(partitions));
    fmt::print("{}\n", json.text());
    return {};
  }
  using Align = Table::Align;
  Table table({{"TOPIC"},
               {"PARTITION", Align::right},
               {"COMMITTED", Align::right},
               {"END", Align::right},
               {"LAG", Align::right},
               {"SECONDS", Align::right}});
  for (const Lag& each : lag.partitions) {
    table.add({std::string(each.topic), std::to_string(each.partition_index),
               or_unknown(each.committed_offset), or_unknown(each.log_end_offset),
               or_unknown(each.lag_events), seconds(each.lag_ms)});
  }
  fmt::print("{}Group {}: {} events behind, the oldest written {} s ago.\n", table.text(), group,
             totals.events, seconds(totals.milliseconds));
  return {};
}

// Every node tells of the groups that it coordinates.
Status list_of_node(const wire::MetadataResponse::Broker& broker, Deadline deadline,
                    std::map<std::string, ListedGroup>& groups) {
  auto client = Client::connect(fmt::format("{}:{}", broker.host, broker.port), deadline);
  if (!client) return std::unexpected(client.error());
  const auto reply = client->call<wire::ListGroupsResponse>(wire::ListGroupsRequest{});
  if (!reply) return std::unexpected(reply.error());
  for (const auto& group : reply->message.groups) {
    groups[std::string(group.group_id)] = {std::string(group.group_state), std::string(group.protocol_type),
                                           broker.node_id};
  }
  return {};
}

}  // namespace

Status group_list(const Options& options) {
  const Deadline deadline = options.deadline();
  auto client = connect_any(options.addresses(), deadline);
  if (!client) return std::unexpected(client.error());
  wire::MetadataRequest request;
  request.topics = wire::Array<wire::MetadataRequest::Topic>();
  request.allow_auto_topic_creation = false;
  const auto metadata = client->call<wire::MetadataResponse>(request);
  if (!metadata) return std::unexpected(metadata.error());
  std::map<std::string, ListedGroup> groups;
  std::size_t answered = 0;
  Status trouble;
  for (const auto& broker : metadata->message.brokers) {
    // A node that is down coordinates nothing: its groups are told by who took over.
    Status status = list_of_node(broker, deadline, groups);
    answered += status ? 1 : 0;
    if (!status) trouble = std::move(status);
  }
  if (answered == 0) return trouble;
  if (options.output == Output::json) {
    Json list = Json::array();
    for (const auto& [id, group] : groups) {
      Json json = Json::object();
      json.set("group", id).set("state", group.state).set("protocol_type", group.type);
      list.push(json.set("coordinator", group.coordinator));
    }
    fmt::print("{}\n", list.text());
    return {};
  }
  Table table({{"GROUP"}, {"STATE"}, {"TYPE"}, {"COORDINATOR", Table::Align::right}});
  for (const auto& [id, group] : groups)
    table.add({id, group.state, group.type.empty() ? "-" : group.type, std::to_string(group.coordinator)});
  fmt::print("{}", groups.empty() ? "No consumer groups.\n" : table.text());
  return {};
}

Status group_lag(const Options& options, const std::string& group) {
  const auto lag = fetch_lag(options.addresses(), group, options.deadline());
  if (!lag) return std::unexpected(lag.error());
  return print_lag(options, group, lag->message);
}

Status group_describe(const Options& options, const std::string& group) {
  const Deadline deadline = options.deadline();
  const auto lag = fetch_lag(options.addresses(), group, deadline);
  if (!lag) return std::unexpected(lag.error());
  Reply<wire::DescribeGroupsResponse> described;
  std::string coordinator;
  const wire::String name = group;
  const auto code =
      ask_coordinator(options.addresses(), group, deadline, [&](Client& client) -> Result<ErrorCode> {
        wire::DescribeGroupsRequest request;
        request.groups = {&name, 1};
        auto reply = client.call<wire::DescribeGroupsResponse>(request);
        if (!reply) return std::unexpected(reply.error());
        if (reply->message.groups.size() != 1) return fail(Errc::corruption, "the answer names no group");
        described = std::move(*reply);
        coordinator = client.address();
        return described.message.groups[0].error_code;
      });
  if (!code) return std::unexpected(code.error());
  if (*code != ErrorCode::none) return std::unexpected(group_error(fmt::format("group {}", group), *code));
  const auto& found = described.message.groups[0];
  const Totals totals = total_of(lag->message.partitions);
  if (options.output == Output::json) {
    Json members = Json::array();
    for (const auto& member : found.members) {
      Json topics = Json::object();
      for (const auto& [topic, partitions] : parse_assignment(member.member_assignment)) {
        Json numbers = Json::array();
        for (const std::int32_t partition : partitions) numbers.push(partition);
        topics.set(topic, std::move(numbers));
      }
      Json json = Json::object();
      json.set("member", member.member_id);
      json.set("instance", member.group_instance_id ? Json(*member.group_instance_id) : Json());
      json.set("client_id", member.client_id).set("host", member.client_host);
      members.push(json.set("assignment", std::move(topics)));
    }
    Json json = Json::object();
    json.set("group", group).set("state", found.group_state).set("generation", lag->message.generation_id);
    json.set("protocol_type", found.protocol_type).set("protocol", found.protocol_data);
    json.set("coordinator", coordinator).set("lag_events", totals.events).set("lag_ms", totals.milliseconds);
    json.set("members", std::move(members));
    fmt::print("{}\n", json.text());
    return {};
  }
  fmt::print("Group        {}\nState        {}, generation {}\nProtocol     {}\nCoordinator  {}\n", group,
             found.group_state, lag->message.generation_id,
             found.protocol_data.empty() ? "-" : found.protocol_data, coordinator);
  fmt::print("Lag          {} events, the oldest written {} s ago\n\n", totals.events,
             seconds(totals.milliseconds));
  Table table({{"MEMBER"}, {"INSTANCE"}, {"CLIENT"}, {"HOST"}, {"ASSIGNMENT"}});
  for (const auto& member : found.members) {
    table.add({std::string(member.member_id), std::string(member.group_instance_id.value_or("-")),
               std::string(member.client_id), std::string(member.client_host),
               text_of(parse_assignment(member.member_assignment))});
  }
  fmt::print("{}", found.members.empty() ? "No members.\n" : table.text());
  return {};
}

}  // namespace esc::esctl
