// The coordinator of all consumer groups of one Raft group: Kafka's classic group protocol as a pure state
// machine. No I/O and no clock; given the same calls it does the same.
//
//   requests, tick(now) ------>  Coordinator  ------> answers to parked requests (by token)
//   became_leader, lost ------>   | State |   ------> proposals for the log, in order
//   committed commands ------->
//
// Two layers. State is what the log says, equal on every replica. The leader adds what need not survive it:
// who is joining, session timers, parked requests. A new leader takes State as Stable groups with their
// members and generation and starts the session timers anew, so that a failover costs clients a retry.
//
//   Empty -> PreparingRebalance (members join) -> CompletingRebalance (the leader's assignment is awaited and
//   written to the log) -> Stable -> PreparingRebalance ... -> Empty
//
// An assignment and an offset are answered only when they are committed. Sources: Kafka's GroupCoordinator;
// KIP-134 (initial delay), KIP-345 (static members), KIP-394 (member ids), KIP-559 (protocol checks),
// KIP-814.
//
// Threading: one core. Memory: bounded by Options. Errors: Kafka's codes.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "esc/coord/state.h"
#include "esc/wire/api/heartbeat.h"
#include "esc/wire/api/join_group.h"
#include "esc/wire/api/leave_group.h"
#include "esc/wire/api/sync_group.h"
#include "esc/wire/error_code.h"

namespace esc::coord {

// Names a parked request; chosen by the caller, never 0.
using Token = std::uint64_t;

// Bugs planted on purpose, so that the simulator can show that its checkers find them. Never set in service.
enum class Plant : std::uint8_t {
  none,
  sync_before_commit,     // hands out an assignment before it is committed
  generation_not_fenced,  // takes offsets of any generation
};

struct Options {
  Nanos initial_rebalance_delay = 3 * kSecond;
  std::int32_t session_timeout_ms_min = 6'000;
  std::int32_t session_timeout_ms_max = 1'800'000;
  std::uint32_t group_members_max = 1'000;
  std::uint32_t groups_max = 10'000;             // with members or offsets, of one Raft group
  std::uint64_t state_bytes_max = 32 * kMiB;     // of State, about
  std::uint32_t command_bytes_max = 768 * 1024;  // one group's members and assignments must fit
  std::uint32_t offset_metadata_bytes_max = 4096;
  std::int64_t offsets_retention_ms = 604'800'000;  // after the group is empty
  Nanos expire_interval = 600 * kSecond;
  Nanos new_member_timeout = 300 * kSecond;  // of a join that waits, before its member is forgotten
  Plant plant = Plant::none;
};

enum class Phase : std::uint8_t { empty, preparing, completing, stable, dead };
inline constexpr std::size_t kPhases = 5;
// Kafka's name: "PreparingRebalance".
[[nodiscard]] std::string_view to_string(Phase phase);

// What a parked request gets. Fields that its kind does not have stay empty.
struct Answer {
  Token token = 0;
  wire::ErrorCode code = wire::ErrorCode::none;
  // Join and sync.
  std::int32_t generation = -1;
  std::optional<std::string> protocol_type;
  std::optional<std::string> protocol_name;
  // Join.
  std::string leader;
  std::string member_id;
  bool skip_assignment = false;
  struct Joined {
    std::string id;
    std::optional<std::string> instance;
    std::vector<std::byte> metadata;
  };
  std::vector<Joined> members;  // for the leader
  // Sync.
  std::vector<std::byte> assignment;
};

struct JoinContext {
  std::int16_t version = 0;  // of the request
  std::string_view client_id;
  std::string_view client_host;
  std::string_view unique;  // for the id of a new member: never given before
};

struct CommitRequest {
  std::string_view group;
  std::int32_t generation = -1;
  std::string_view member;
  std::optional<std::string_view> instance;
  std::vector<OffsetToCommit> offsets;  // those whose topic is known and whose metadata fits
};

struct GroupSummary {
  std::string id;
  std::string protocol_type;
  Phase phase = Phase::dead;
};
struct GroupView : GroupSummary {
  std::int32_t generation = 0;
  std::string protocol_name;
  std::string leader;
  std::vector<Member> members;
};

struct CoordinatorStats {
  std::uint64_t rebalances = 0;         // generations begun
  std::uint64_t members_expired = 0;    // sessions that timed out
  std::uint64_t commits = 0;            // commands with offsets that this leader has committed
  std::uint64_t offsets_committed = 0;  // offsets in them
};

struct GroupCounts {
  std::array<std::uint64_t, kPhases> groups{};  // by phase
  std::uint64_t members = 0;
};

class Coordinator {
 public:
  explicit Coordinator(const Options& options) : options_(options) {}

  // --- the log --------------------------------------------------------------------------------------

  // A committed command, also on replay and on followers.
  void committed(Index index, WallMs timestamp, ByteView command, Nanos now);
  void save(std::vector<std::byte>& out) const { state_.save(out); }
  // Of a follower or at the start; groups of a leader never come from outside.
  [[nodiscard]] Status load(ByteView state);
  [[nodiscard]] const State& state() const { return state_; }

  void became_leader(Nanos now);
  // Every parked request is answered not_coordinator.
  void lost_leadership();
  [[nodiscard]] bool leading() const { return leading_; }

  // The oldest command that is not in the log yet; null: none. The caller appends it and says where it is, or
  // that it never will be.
  [[nodiscard]] const std::vector<std::byte>* proposal() const {
    return proposals_.empty() ? nullptr : &proposals_.front().command;
  }
  void proposed(Index index);
  void refused(wire::ErrorCode code);

  // --- requests; leader only, others are answered not_coordinator --------------------------------------

  void join(Token token, const wire::JoinGroupRequest& request, const JoinContext& context, Nanos now);
  void sync(Token token, const wire::SyncGroupRequest& request, Nanos now);
  [[nodiscard]] wire::ErrorCode heartbeat(const wire::HeartbeatRequest& request, Nanos now);
  // One code per member of the request; before v3 one member without an array.
  [[nodiscard]] wire::ErrorCode leave(const wire::LeaveGroupRequest& request, std::int16_t version,
                                      std::vector<wire::ErrorCode>& members, Nanos now);
  void commit(Token token, const CommitRequest& request, Nanos now);
  void remove_group(Token token, std::string_view group, Nanos now);
  // `codes`, one per offset: why it is refused although the group's code is none.
  void forget_offsets(Token token, std::string_view group, const std::vector<OffsetName>& offsets,
                      std::vector<wire::ErrorCode>& codes);
  // Offsets of topics that are gone; nobody waits for it.
  void forget_topic(std::string_view group, std::string_view topic);

  // --- reading -------------------------------------------------------------------------------------------

  [[nodiscard]] GroupView describe(std::string_view group) const;
  [[nodiscard]] std::vector<GroupSummary> list() const;
  // Of the leader, nothing elsewhere. Looks at groups with members only.
  [[nodiscard]] GroupCounts count() const;

  // --- time ------------------------------------------------------------------------------------------------

  // Sessions, rebalances, expiry. `wall_ms` only proposes what to expire.
  void tick(Nanos now, WallMs wall_ms);
  [[nodiscard]] Nanos next_deadline() const { return due_.empty() ? kNever : due_.begin()->first; }

  // Answers since the last call.
  [[nodiscard]] std::vector<Answer> take_answers() { return std::exchange(answers_, {}); }
  [[nodiscard]] const CoordinatorStats& stats() const { return stats_; }

  static constexpr Nanos kNever = std::numeric_limits<Nanos>::max();

 private:
  struct LiveMember : Member {
    Nanos deadline = kNever;  // of the session, or of a new member's join
    Token join = 0;           // parked
    Token sync = 0;
    bool fresh = false;         // waits in its first join
    bool sync_pending = false;  // has not synced in this generation
  };
  struct Live {
    std::string id;
    Phase phase = Phase::empty;
    std::int32_t generation = 0;
    std::string protocol_type;
    std::string protocol_name;
    std::string leader;
    std::map<std::string, LiveMember, std::less<>> members;
    std::map<std::string, std::string, std::less<>> instances;  // to member ids
    std::map<std::string, Nanos, std::less<>> pending;          // given an id, expected to join with it
    Nanos join_deadline = kNever;
    Nanos initial_until = 0;    // 0: joins complete as soon as all are there; else the latest end of the wait
    bool member_added = false;  // during the initial wait
    Nanos sync_deadline = kNever;
    bool storing = false;  // the assignment of this generation is on its way into the log
    Nanos due = kNever;
    std::uint32_t in_flight = 0;  // proposals
  };
  // What happens when a command is committed.
  struct Completion {
    enum class Kind : std::uint8_t { nothing, code, generation, static_join };
    Kind kind = Kind::nothing;
    Token token = 0;
    std::string group;
    std::int32_t generation = 0;
    std::string member;           // static_join: the member's new id
    std::string leader;           // static_join: before the replacement
    bool skip_supported = false;  // static_join
    std::uint32_t offsets = 0;
  };
  struct Proposal {
    std::vector<std::byte> command;
    Completion completion;
  };
  struct InFlight {
    Index index;
    Completion completion;
  };

  // coordinator.cpp
  [[nodiscard]] Live* find(std::string_view group, Nanos now);
  [[nodiscard]] Live* find_or_create(std::string_view group, Nanos now);
  [[nodiscard]] Live& take_from_state(std::string_view id, const StoredGroup& stored, Nanos now);
  [[nodiscard]] bool too_many_groups() const;
  void settle(Live& group);
  void arm(Live& group, Nanos deadline);
  void rearm(Live& group);
  void propose(std::vector<std::byte> command, Completion completion);
  void complete(const Completion& completion, wire::ErrorCode code, Nanos now);
  void answer(Token token, wire::ErrorCode code);
  void answer_member(Token token, wire::ErrorCode code, std::string_view member);
  void expire_offsets(Nanos now, WallMs wall_ms);

  // join.cpp
  struct Joining;
  [[nodiscard]] wire::ErrorCode check_join(const wire::JoinGroupRequest& request, const JoinContext& context,
                                           const Live* group) const;
  [[nodiscard]] bool accepts(const Live& group, std::string_view member) const;
  void join_new(Live& group, const Joining& joining);
  void join_known(Live& group, const Joining& joining);
  void add_member(Live& group, const Joining& joining, std::string id);
  void update_member(Live& group, LiveMember& member, const Joining& joining);
  void replace_static(Live& group, const Joining& joining, std::string id);
  void prepare(Live& group, Nanos now);
  void try_complete_join(Live& group, Nanos now);
  void complete_join(Live& group, Nanos now);
  void become_empty(Live& group);
  void answer_join(const Live& group, const LiveMember& member, Token token, bool current);
  [[nodiscard]] static std::string choose_protocol(const Live& group);
  [[nodiscard]] static bool supports(const Live* group, const wire::JoinGroupRequest& request);

  // members.cpp
  [[nodiscard]] static wire::ErrorCode check_member(const Live& group, std::string_view member,
                                                    const std::optional<std::string_view>& instance);
  void remove_member(Live& group, const std::string& id, Nanos now);
  void erase_member(Live& group, const std::string& id);
  void begin_session(Live& group, LiveMember& member, Nanos now);
  void answer_sync(const Live& group, const LiveMember& member, Token token, wire::ErrorCode code);
  void store_generation(Live& group, Completion completion);
  void finish_generation(Live& group, Nanos now);
  void reset_assignments(Live& group, wire::ErrorCode code);
  void check_deadlines(Live& group, Nanos now);

  // offsets.cpp
  [[nodiscard]] wire::ErrorCode check_commit(const Live* group, const CommitRequest& request) const;

  Options options_;
  State state_;
  bool leading_ = false;
  std::map<std::string, Live, std::less<>> live_;  // groups with members, joins or proposals
  std::set<std::pair<Nanos, std::string>> due_;    // of live_
  std::deque<Proposal> proposals_;
  std::deque<InFlight> in_flight_;
  std::vector<Answer> answers_;
  Nanos next_expiry_ = 0;
  CoordinatorStats stats_;
};

}  // namespace esc::coord
