// DescribeLogDirs: what the partitions on this node take on disk. Every group has a directory of its own,
// which is named as it lies in the data directory.
#include "esc/wire/api/describe_log_dirs.h"

#include <algorithm>

#include "../every_core.h"
#include "../handlers.h"
#include "../respond.h"

namespace esc::broker {
namespace {

using Response = wire::DescribeLogDirsResponse;

struct Row {
  std::uint32_t group = 0;
  std::string topic;
  std::int32_t index = 0;
  std::int64_t bytes = 0;
};

// Cold: allocates as it needs.
struct LogDirs {
  Request* request = nullptr;
  bool all = false;
  std::vector<std::pair<std::string, std::int32_t>> wanted;
  std::vector<Row> rows;
};

std::vector<Row> collect(Broker& broker) {
  std::vector<Row> rows;
  for (std::uint32_t id = 0; id < broker.options().groups; ++id) {
    const replica::Group* group = broker.group(GroupId(id));
    if (group == nullptr) continue;
    for (const replica::Partition* partition : group->partitions()) {
      rows.push_back({id, partition->identity().topic, partition->identity().index,
                      static_cast<std::int64_t>(partition->log().bytes())});
    }
  }
  return rows;
}

void answer(Broker& broker, LogDirs& all) {
  if (!all.all) {
    std::erase_if(all.rows, [&](const Row& row) {
      return std::ranges::find(all.wanted, std::pair(row.topic, row.index)) == all.wanted.end();
    });
  }
  std::ranges::sort(all.rows, [](const Row& a, const Row& b) {
    return std::tie(a.group, a.topic, a.index) < std::tie(b.group, b.topic, b.index);
  });
  std::vector<std::string> names(broker.options().groups);
  std::vector<Response::Result> results(broker.options().groups);
  std::vector<std::vector<Response::Topic>> topics(results.size());
  std::vector<Response::Partition> partitions;
  partitions.reserve(all.rows.size());
  for (std::size_t id = 0; id < results.size(); ++id) names[id] = "group-" + std::to_string(id);
  for (const Row& row : all.rows) {
    std::vector<Response::Topic>& of_group = topics[row.group];
    partitions.push_back({.partition_index = row.index, .partition_size = row.bytes});
    if (of_group.empty() || of_group.back().name != row.topic) {
      of_group.push_back({row.topic, {&partitions.back(), 1}});
    } else {
      const auto& before = of_group.back().partitions;
      of_group.back().partitions = {before.data(), before.size() + 1};
    }
  }
  for (std::size_t id = 0; id < results.size(); ++id) {
    results[id].log_dir = names[id];
    results[id].topics = topics[id];
  }
  Response response;
  response.results = results;
  broker.respond(*all.request, response);
}

}  // namespace

void handle_describe_log_dirs(Broker& broker, Request& request) {
  const auto* asked = broker.decode<wire::DescribeLogDirsRequest>(request);
  if (asked == nullptr) return;
  LogDirs dirs;
  dirs.request = &request;
  dirs.all = !asked->topics.has_value();
  if (asked->topics) {
    for (const auto& topic : *asked->topics)
      for (const std::int32_t index : topic.partitions) dirs.wanted.emplace_back(topic.topic, index);
  }
  ask_every_core(broker, &collect, [dirs = std::move(dirs)](Broker& origin, auto& cores) mutable {
    for (auto& core : cores) std::ranges::move(core.answer, std::back_inserter(dirs.rows));
    answer(origin, dirs);
  });
}

}  // namespace esc::broker
