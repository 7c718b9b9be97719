// The messages of a link that is up: a header of fixed size, then payload bytes that the codec does not
// interpret. Byte by byte in docs/PROTOCOL.md, "Between nodes".
//
// The header carries all fields of a Raft message, or kind and tag of a service message, under a CRC of its
// own; the payload has a second one. Little-endian. Reserved bytes are zero and checked, so that a later
// version can use them.
//
// Pure; no allocation. Bytes to decode come from a socket and are never trusted: a bad one is an error text,
// never an assertion.
#pragma once

#include <cstdint>
#include <expected>
#include <span>
#include <string_view>
#include <variant>

#include "esc/base/bytes.h"
#include "esc/base/ids.h"
#include "esc/raft/messages.h"

namespace esc::peer {

inline constexpr std::uint16_t kProtocolVersion = 1;
inline constexpr std::uint32_t kHeaderBytes = 192;          // three cache lines
inline constexpr std::uint32_t kMessageMagic = 0x4d435345;  // "ESCM"

// Values are the protocol; never reuse one.
enum class MessageType : std::uint8_t {
  append_entries = 1,
  append_reply = 2,
  heartbeat = 3,
  heartbeat_reply = 4,
  vote_request = 5,
  vote_reply = 6,
  timeout_now = 7,
  install_snapshot = 8,
  snapshot_failed = 9,
  service = 32,
};

// A message of the floors above (snapshots, forwarding), opaque here: `kind` says whose and what, `tag` is
// the sender's.
struct Service {
  std::uint16_t kind = 0;
  std::uint64_t tag = 0;
  bool operator==(const Service&) const = default;
};

// Who says it to whom, about which group. Constant on a link.
struct Route {
  NodeId from{};
  NodeId to{};
  GroupId group{};
  bool operator==(const Route&) const = default;
};

struct PayloadInfo {
  std::uint32_t bytes = 0;
  std::uint32_t crc = 0;  // CRC-32C of the bytes; 0 without any
};

struct Header {
  Route route;
  PayloadInfo payload;
  std::variant<raft::Message, Service> message;  // a raft::Message with from and to of the route
};

using HeaderSpan = std::span<std::byte, kHeaderBytes>;
using HeaderView = std::span<const std::byte, kHeaderBytes>;

// from and to of a raft::Message are taken from the route, whatever it says. Only AppendEntries with entries
// and service messages have a payload (asserted).
void encode(const Route& route, const raft::Message& message, PayloadInfo payload, HeaderSpan into);
void encode(const Route& route, const Service& service, PayloadInfo payload, HeaderSpan into);

// The text of an error is a literal: what is wrong with the header.
[[nodiscard]] std::expected<Header, std::string_view> decode(HeaderView bytes,
                                                             std::uint32_t payload_bytes_max);

}  // namespace esc::peer
