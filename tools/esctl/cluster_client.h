// What commands need of a cluster of several nodes: any node that answers, the controller, leaders, one
// produced batch. Blocking, by deadline.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "client.h"
#include "esc/wire/error_code.h"

namespace esc::esctl {

// Addresses of which at least one should answer.
using Bootstrap = std::vector<std::string>;

// The first that answers. Each gets an equal part of the time, so that a mute one does not use it up.
[[nodiscard]] Result<Client> connect_any(const Bootstrap& bootstrap, Deadline deadline);
// The node that creates and deletes topics.
[[nodiscard]] Result<Client> connect_controller(const Bootstrap& bootstrap, Deadline deadline);

struct PartitionLeader {
  std::int32_t node = -1;  // -1: none right now
  std::int32_t epoch = -1;
  std::string address;
};
// Leaders of all partitions, in order, as one node sees them. Errc::not_found: no such topic.
[[nodiscard]] Result<std::vector<PartitionLeader>> find_leaders(const Bootstrap& bootstrap,
                                                                std::string_view topic, Deadline deadline);

// Creates the topic unless it exists, and waits until every partition has a leader; retries what time heals.
struct TopicWish {
  std::string_view name;
  std::int32_t partitions = 1;
  std::vector<std::pair<std::string, std::string>> configs;
};
[[nodiscard]] Result<std::vector<PartitionLeader>> ensure_topic(const Bootstrap& bootstrap,
                                                                const TopicWish& wish, Deadline deadline);

// Cleaning up: what fails is left.
void delete_topic(const Bootstrap& bootstrap, std::string_view topic, Deadline deadline);

struct Produced {
  wire::ErrorCode error = wire::ErrorCode::none;
  std::int64_t base_offset = -1;
};
struct ProduceTarget {
  std::string_view topic;
  std::int32_t partition = 0;
  std::int32_t timeout_ms = 1000;
};
// One batch, acks=all. A failure means that nobody knows whether it was appended.
[[nodiscard]] Result<Produced> produce(Client& client, const ProduceTarget& target, ByteView batch);

}  // namespace esc::esctl
