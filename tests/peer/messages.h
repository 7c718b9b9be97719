// One message of every type, with every field set to something of its own.
#pragma once

#include <string>
#include <vector>

#include "esc/peer/codec.h"

namespace esc::peer::test {

inline constexpr Route kRoute{.from = NodeId(1), .to = NodeId(2), .group = GroupId(3)};

inline raft::Message message(raft::Payload payload, std::uint64_t term = 7) {
  return {.from = kRoute.from, .to = kRoute.to, .term = Term(term), .payload = payload};
}

inline raft::AppendEntries entries() {
  return {.prev_index = Index(0x1112),
          .prev_term = Term(0x2122),
          .entries_term = Term(0x3132),
          .count = 0x4142,
          .bytes = 0x5152,
          .commit = Index(0x6162),
          .round = 0x7172};
}

inline raft::AppendEntries configuration_entry() {
  raft::AppendEntries append = entries();
  append.count = 1;
  append.configuration.emplace();
  for (const std::uint32_t node : {1u, 2u, 5u}) append.configuration->voters.push_back(NodeId(node));
  append.configuration->learners.push_back(NodeId(4));
  return append;
}

struct Sample {
  std::string name;
  std::variant<raft::Message, Service> message;
  bool may_have_payload = false;
};

inline std::vector<Sample> every_message() {
  raft::AppendEntries probe = entries();
  probe.count = 0;
  return {
      {"append_entries", message(entries()), true},
      {"append_entries of a configuration", message(configuration_entry()), true},
      {"append_entries probe", message(probe)},
      {"append_reply", message(raft::AppendReply{.accepted = true,
                                                 .received = Index(0x1112),
                                                 .durable = Index(0x2122),
                                                 .rejected_prev = Index(0x3132),
                                                 .hint_index = Index(0x4142),
                                                 .hint_term = Term(0x5152),
                                                 .round = 0x6162})},
      {"heartbeat", message(raft::Heartbeat{.commit = Index(0x1112), .round = 0x2122})},
      {"heartbeat_reply",
       message(raft::HeartbeatReply{.received = Index(0x1112), .durable = Index(0x2122), .round = 0x3132})},
      {"vote_request",
       message(raft::VoteRequest{
           .pre_vote = true, .transfer = false, .last_index = Index(0x1112), .last_term = Term(0x2122)})},
      {"vote_reply", message(raft::VoteReply{.pre_vote = false, .granted = true})},
      {"timeout_now", message(raft::TimeoutNow{})},
      {"install_snapshot",
       message(raft::InstallSnapshot{.index = Index(0x1112), .index_term = Term(0x2122)})},
      {"snapshot_failed", message(raft::SnapshotFailed{})},
      {"service", Service{.kind = 0x0102, .tag = 0x1112131415161718}, true},
  };
}

// Messages have no operator==; their bytes do.
inline std::vector<std::byte> encoded(const Sample& sample, PayloadInfo payload = {},
                                      const Route& route = kRoute) {
  std::vector<std::byte> bytes(kHeaderBytes);
  const HeaderSpan into(bytes.data(), kHeaderBytes);
  std::visit([&](const auto& each) { encode(route, each, payload, into); }, sample.message);
  return bytes;
}

inline std::vector<std::byte> encoded_again(const Header& header) {
  return encoded(Sample{.name = {}, .message = header.message}, header.payload, header.route);
}

}  // namespace esc::peer::test
