#include "esc/peer/codec.h"

#include <algorithm>
#include <limits>

#include "esc/base/assert.h"
#include "esc/base/crc32c.h"

namespace esc::peer {

namespace {

// Offsets of the fields all messages have; the rest of the header belongs to the type.
constexpr std::size_t kMagicAt = 0;
constexpr std::size_t kHeaderCrcAt = 4;  // of all bytes behind it
constexpr std::size_t kVersionAt = 8;
constexpr std::size_t kTypeAt = 9;
constexpr std::size_t kKindAt = 10;  // service
constexpr std::size_t kPayloadBytesAt = 12;
constexpr std::size_t kPayloadCrcAt = 16;
constexpr std::size_t kFromAt = 20;
constexpr std::size_t kToAt = 24;
constexpr std::size_t kGroupAt = 28;
constexpr std::size_t kTermAt = 32;  // service: the tag
constexpr std::size_t kFieldsAt = 40;
constexpr std::size_t kMembersMax = raft::kVotersMax + raft::kLearnersMax;
static_assert(kFieldsAt + 52 + 4 * kMembersMax <= kHeaderBytes, "the largest message fits");
static_assert(raft::kVotersMax <= 255 && raft::kLearnersMax <= 255);
static_assert(std::variant_size_v<raft::Payload> == 9,
              "a new message needs a type, a layout and a test here");

// Writes the fields of a type, in order; the gaps stay zero.
class FieldWriter {
 public:
  explicit FieldWriter(HeaderSpan bytes) : bytes_(bytes) {}
  void u64(std::uint64_t value) { put(value); }
  void u32(std::uint32_t value) { put(value); }
  void u8(std::uint8_t value) { put(value); }
  void flag(bool value) { put(static_cast<std::uint8_t>(value)); }

 private:
  template <class T>
  void put(T value) {
    ESC_ASSERT(at_ + sizeof value <= kHeaderBytes);
    store_le(bytes_.data() + at_, value);
    at_ += sizeof value;
  }
  HeaderSpan bytes_;
  std::size_t at_ = kFieldsAt;
};

class FieldReader {
 public:
  explicit FieldReader(HeaderView bytes) : bytes_(bytes) {}
  Index index() { return Index(get<std::uint64_t>()); }
  Term term() { return Term(get<std::uint64_t>()); }
  std::uint64_t u64() { return get<std::uint64_t>(); }
  std::uint32_t u32() { return get<std::uint32_t>(); }
  std::uint8_t u8() { return get<std::uint8_t>(); }
  bool flag() {
    const auto value = get<std::uint8_t>();
    if (value > 1) fail("a flag that is neither 0 nor 1");
    return value == 1;
  }
  void fail(std::string_view what) {
    if (error_.empty()) error_ = what;
  }
  // The first error, or that bytes behind the last field are not zero.
  [[nodiscard]] std::string_view finish() {
    const auto rest = bytes_.subspan(at_);
    if (std::ranges::any_of(rest, [](std::byte b) { return b != std::byte{0}; }))
      fail("reserved bytes that are not zero");
    return error_;
  }

 private:
  template <class T>
  T get() {
    ESC_ASSERT(at_ + sizeof(T) <= kHeaderBytes);
    const T value = load_le<T>(bytes_.data() + at_);
    at_ += sizeof(T);
    return value;
  }
  HeaderView bytes_;
  std::size_t at_ = kFieldsAt;
  std::string_view error_;
};

// --- one put and one get per type ---

void put(FieldWriter& out, const raft::AppendEntries& m) {
  out.u64(m.prev_index.value());
  out.u64(m.prev_term.value());
  out.u64(m.entries_term.value());
  out.u64(m.bytes);
  out.u64(m.commit.value());
  out.u64(m.round);
  out.u32(m.count);
  out.flag(m.configuration.has_value());
  if (!m.configuration) return;
  out.u8(static_cast<std::uint8_t>(m.configuration->voters.size()));
  out.u8(static_cast<std::uint8_t>(m.configuration->learners.size()));
  out.u8(0);
  for (const NodeId node : m.configuration->voters) out.u32(node.value());
  for (const NodeId node : m.configuration->learners) out.u32(node.value());
}
void put(FieldWriter& out, const raft::AppendReply& m) {
  out.u64(m.received.value());
  out.u64(m.durable.value());
  out.u64(m.rejected_prev.value());
  out.u64(m.hint_index.value());
  out.u64(m.hint_term.value());
  out.u64(m.round);
  out.flag(m.accepted);
}
void put(FieldWriter& out, const raft::Heartbeat& m) {
  out.u64(m.commit.value());
  out.u64(m.round);
}
void put(FieldWriter& out, const raft::HeartbeatReply& m) {
  out.u64(m.received.value());
  out.u64(m.durable.value());
  out.u64(m.round);
}
void put(FieldWriter& out, const raft::VoteRequest& m) {
  out.u64(m.last_index.value());
  out.u64(m.last_term.value());
  out.flag(m.pre_vote);
  out.flag(m.transfer);
}
void put(FieldWriter& out, const raft::VoteReply& m) {
  out.flag(m.pre_vote);
  out.flag(m.granted);
}
void put(FieldWriter&, const raft::TimeoutNow&) {}
void put(FieldWriter& out, const raft::InstallSnapshot& m) {
  out.u64(m.index.value());
  out.u64(m.index_term.value());
}
void put(FieldWriter&, const raft::SnapshotFailed&) {}

// Ascending, not 0, as many as the count byte says.
template <std::size_t Capacity>
void get_members(FieldReader& in, std::size_t count, FixedVector<NodeId, Capacity>& into) {
  for (std::size_t i = 0; i < count; ++i) {
    const NodeId node(in.u32());
    if (node == NodeId(0) || (!into.empty() && into.back() >= node))
      in.fail("members that are not ascending");
    into.push_back(node);
  }
}

void get_configuration(FieldReader& in, raft::Configuration& into) {
  const std::size_t voters = in.u8();
  const std::size_t learners = in.u8();
  if (in.u8() != 0) in.fail("reserved bytes that are not zero");
  if (voters == 0 || voters > raft::kVotersMax || learners > raft::kLearnersMax)
    return in.fail("a configuration with an impossible number of members");
  get_members(in, voters, into.voters);
  get_members(in, learners, into.learners);
  if (std::ranges::any_of(into.learners, [&into](NodeId node) { return into.is_voter(node); }))
    in.fail("a configuration with a member that is voter and learner");
}

void get(FieldReader& in, raft::AppendEntries& m) {
  m.prev_index = in.index();
  m.prev_term = in.term();
  m.entries_term = in.term();
  m.bytes = in.u64();
  m.commit = in.index();
  m.round = in.u64();
  m.count = in.u32();
  const bool with_configuration = in.flag();
  if (m.prev_index.value() > std::numeric_limits<std::uint64_t>::max() - m.count)
    in.fail("an index range that overflows");
  if (!with_configuration) return;
  if (m.count != 1) in.fail("a configuration that does not travel alone");
  get_configuration(in, m.configuration.emplace());
}
void get(FieldReader& in, raft::AppendReply& m) {
  m.received = in.index();
  m.durable = in.index();
  m.rejected_prev = in.index();
  m.hint_index = in.index();
  m.hint_term = in.term();
  m.round = in.u64();
  m.accepted = in.flag();
}
void get(FieldReader& in, raft::Heartbeat& m) {
  m.commit = in.index();
  m.round = in.u64();
}
void get(FieldReader& in, raft::HeartbeatReply& m) {
  m.received = in.index();
  m.durable = in.index();
  m.round = in.u64();
}
void get(FieldReader& in, raft::VoteRequest& m) {
  m.last_index = in.index();
  m.last_term = in.term();
  m.pre_vote = in.flag();
  m.transfer = in.flag();
}
void get(FieldReader& in, raft::VoteReply& m) {
  m.pre_vote = in.flag();
  m.granted = in.flag();
}
void get(FieldReader&, raft::TimeoutNow&) {}
void get(FieldReader& in, raft::InstallSnapshot& m) {
  m.index = in.index();
  m.index_term = in.term();
}
void get(FieldReader&, raft::SnapshotFailed&) {}

constexpr MessageType type_of(const raft::AppendEntries&) {
  return MessageType::append_entries;
}
constexpr MessageType type_of(const raft::AppendReply&) {
  return MessageType::append_reply;
}
constexpr MessageType type_of(const raft::Heartbeat&) {
  return MessageType::heartbeat;
}
constexpr MessageType type_of(const raft::HeartbeatReply&) {
  return MessageType::heartbeat_reply;
}
constexpr MessageType type_of(const raft::VoteRequest&) {
  return MessageType::vote_request;
}
constexpr MessageType type_of(const raft::VoteReply&) {
  return MessageType::vote_reply;
}
constexpr MessageType type_of(const raft::TimeoutNow&) {
  return MessageType::timeout_now;
}
constexpr MessageType type_of(const raft::InstallSnapshot&) {
  return MessageType::install_snapshot;
}
constexpr MessageType type_of(const raft::SnapshotFailed&) {
  return MessageType::snapshot_failed;
}

void begin(const Route& route, MessageType type, PayloadInfo payload, std::uint64_t term_or_tag,
           HeaderSpan into) {
  std::ranges::fill(into, std::byte{0});
  store_le(into.data() + kMagicAt, kMessageMagic);
  store_le(into.data() + kVersionAt, static_cast<std::uint8_t>(kProtocolVersion));
  store_le(into.data() + kTypeAt, static_cast<std::uint8_t>(type));
  store_le(into.data() + kPayloadBytesAt, payload.bytes);
  store_le(into.data() + kPayloadCrcAt, payload.crc);
  store_le(into.data() + kFromAt, route.from.value());
  store_le(into.data() + kToAt, route.to.value());
  store_le(into.data() + kGroupAt, route.group.value());
  store_le(into.data() + kTermAt, term_or_tag);
}

void seal(HeaderSpan into) {
  store_le(into.data() + kHeaderCrcAt, crc32c(into.subspan(kVersionAt)));
}

template <class Alternative>
std::expected<Header, std::string_view> decode_raft(HeaderView bytes, Header header) {
  Alternative payload;
  FieldReader in(bytes);
  get(in, payload);
  if (const std::string_view error = in.finish(); !error.empty()) return std::unexpected(error);
  if (load_le<std::uint16_t>(bytes.data() + kKindAt) != 0)
    return std::unexpected("reserved bytes that are not zero");
  if (header.payload.bytes != 0) {
    bool has_entries = false;
    if constexpr (std::is_same_v<Alternative, raft::AppendEntries>) has_entries = payload.count > 0;
    if (!has_entries) return std::unexpected("a payload behind a message without entries");
  }
  const Term term(load_le<std::uint64_t>(bytes.data() + kTermAt));
  header.message = raft::Message{header.route.from, header.route.to, term, payload};
  return header;
}

std::expected<Header, std::string_view> decode_service(HeaderView bytes, Header header) {
  FieldReader in(bytes);
  if (const std::string_view error = in.finish(); !error.empty()) return std::unexpected(error);
  header.message = Service{.kind = load_le<std::uint16_t>(bytes.data() + kKindAt),
                           .tag = load_le<std::uint64_t>(bytes.data() + kTermAt)};
  return header;
}

}  // namespace

void encode(const Route& route, const raft::Message& message, PayloadInfo payload, HeaderSpan into) {
  const auto* append = std::get_if<raft::AppendEntries>(&message.payload);
  ESC_ASSERT(payload.bytes == 0 || (append != nullptr && append->count > 0));
  std::visit(
      [&](const auto& alternative) {
        begin(route, type_of(alternative), payload, message.term.value(), into);
        FieldWriter out(into);
        put(out, alternative);
      },
      message.payload);
  seal(into);
}

void encode(const Route& route, const Service& service, PayloadInfo payload, HeaderSpan into) {
  begin(route, MessageType::service, payload, service.tag, into);
  store_le(into.data() + kKindAt, service.kind);
  seal(into);
}

std::expected<Header, std::string_view> decode(HeaderView bytes, std::uint32_t payload_bytes_max) {
  if (load_le<std::uint32_t>(bytes.data() + kMagicAt) != kMessageMagic)
    return std::unexpected("no message magic");
  if (load_le<std::uint32_t>(bytes.data() + kHeaderCrcAt) != crc32c(bytes.subspan(kVersionAt)))
    return std::unexpected("a header whose checksum is wrong");
  if (load_le<std::uint8_t>(bytes.data() + kVersionAt) != kProtocolVersion)
    return std::unexpected("a version that was not agreed on");
  Header header;
  header.payload = {.bytes = load_le<std::uint32_t>(bytes.data() + kPayloadBytesAt),
                    .crc = load_le<std::uint32_t>(bytes.data() + kPayloadCrcAt)};
  header.route = {.from = NodeId(load_le<std::uint32_t>(bytes.data() + kFromAt)),
                  .to = NodeId(load_le<std::uint32_t>(bytes.data() + kToAt)),
                  .group = GroupId(load_le<std::uint32_t>(bytes.data() + kGroupAt))};
  if (header.payload.bytes > payload_bytes_max) return std::unexpected("a payload above the limit");
  if (header.payload.bytes == 0 && header.payload.crc != 0)
    return std::unexpected("a checksum without a payload");
  switch (static_cast<MessageType>(load_le<std::uint8_t>(bytes.data() + kTypeAt))) {
    case MessageType::append_entries: return decode_raft<raft::AppendEntries>(bytes, header);
    case MessageType::append_reply: return decode_raft<raft::AppendReply>(bytes, header);
    case MessageType::heartbeat: return decode_raft<raft::Heartbeat>(bytes, header);
    case MessageType::heartbeat_reply: return decode_raft<raft::HeartbeatReply>(bytes, header);
    case MessageType::vote_request: return decode_raft<raft::VoteRequest>(bytes, header);
    case MessageType::vote_reply: return decode_raft<raft::VoteReply>(bytes, header);
    case MessageType::timeout_now: return decode_raft<raft::TimeoutNow>(bytes, header);
    case MessageType::install_snapshot: return decode_raft<raft::InstallSnapshot>(bytes, header);
    case MessageType::snapshot_failed: return decode_raft<raft::SnapshotFailed>(bytes, header);
    case MessageType::service: return decode_service(bytes, header);
  }
  return std::unexpected("an unknown message type");
}

}  // namespace esc::peer
