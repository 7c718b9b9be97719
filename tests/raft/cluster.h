// A cluster of cores in one process: a network that loses, repeats and reorders, disks that lose what
// was not durable at a crash, and checkers of Raft's safety properties (figure 3 of the paper) that
// look at every step. Time and chance come from the test.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "esc/raft/core.h"

namespace esc::raft::testing {

struct Entry {
  Term term;
  std::uint64_t payload = 0;  // 0: a no-op or a configuration
  std::optional<Configuration> configuration{};
};

// A log with its compacted prefix, in memory or on a disk.
struct LogImage {
  Index snapshot_index;
  Term snapshot_term;
  Configuration snapshot_configuration;
  std::vector<Entry> entries;

  [[nodiscard]] Index last() const { return snapshot_index + entries.size(); }
  [[nodiscard]] bool holds(Index index) const { return index > snapshot_index && index <= last(); }
  [[nodiscard]] const Entry& at(Index index) const { return entries.at(index - snapshot_index - 1); }
  [[nodiscard]] Term term_at(Index index) const;
  [[nodiscard]] Configuration configuration_at(Index index) const;
  void apply(const LogWrite& write, const std::vector<Entry>& added);
  void compact(Index index);
  void install(Index index, Term term, const Configuration& configuration);
};

struct Packet {
  Message message;
  std::vector<Entry> entries;
};

struct DiskWrite {
  std::optional<HardState> hard_state;
  std::vector<std::pair<LogWrite, std::vector<Entry>>> log_writes;
  WriteMark mark;
};

struct Checkpoint {
  Index index;
  Term term;
  Configuration configuration;
};

struct Node {
  NodeId id;
  std::unique_ptr<Core> core;  // null while crashed
  LogImage memory;
  LogImage disk;
  HardState disk_hard_state;
  Checkpoint checkpoint;              // durable state machine; at least disk.snapshot_index after recovery
  std::deque<DiskWrite> writes;       // in flight, oldest first
  std::vector<WriteMark> late_marks;  // durable or not, completions that come late again
  std::optional<SnapshotRequest> fetch;
  std::map<std::uint64_t, Index> reads;  // request -> what had been committed anywhere when it was asked
  std::uint64_t incarnation = 0;
};

class Cluster {
 public:
  struct Options {
    std::vector<std::uint32_t> voters = {1, 2, 3};
    std::uint64_t seed = 1;
    Timeouts timeouts = {};
    Limits limits = {};
    Plant plant = Plant::none;
    bool instant_disk = false;  // writes are durable as soon as they are given out
  };
  explicit Cluster(const Options& options);

  // --- what happens ---
  void advance(Nanos by);              // time passes; every running node ticks
  void tick(NodeId id);                // only this one ticks at the present time
  bool deliver(std::size_t position);  // one packet of the network; false if its receiver is down or cut off
  void deliver_all();                  // in order, until none is left (what it causes included)
  bool finish_write(NodeId id);        // the oldest write in flight becomes durable
  void finish_writes(NodeId id);
  void settle();  // deliver and finish everything until nothing moves
  void run(Nanos duration, Nanos step = 10 * kMillisecond);  // settle and advance in turns
  void crash(NodeId id, std::size_t writes_that_survive = 0);
  void restart(NodeId id);
  void add_node(NodeId id);  // blank, with an empty configuration: it waits to be added
  void cut(NodeId a, NodeId b) { cut_.insert({a, b}), cut_.insert({b, a}); }
  void cut_one_way(NodeId from, NodeId to) { cut_.insert({from, to}); }
  void isolate(NodeId id);
  void heal() { cut_.clear(); }
  std::expected<Index, Errc> propose(NodeId id, std::uint32_t count = 1, std::uint64_t bytes = 100);
  std::expected<Index, Errc> change(NodeId id, ConfigurationChange what);
  std::expected<void, Errc> read(NodeId id, std::uint64_t request);
  std::expected<void, Errc> transfer(NodeId id, NodeId to);
  void compact(NodeId id, Index index);
  void finish_fetch(NodeId id, bool succeed);
  void unreachable(NodeId at, NodeId peer);
  void connected(NodeId at, NodeId peer);
  void inject(const Message& message, std::vector<Entry> entries = {});  // as if received
  void repeat_late_mark(NodeId id, std::size_t position);

  // --- what is ---
  [[nodiscard]] Node& node(NodeId id) { return nodes_.at(id); }
  [[nodiscard]] Core& core(NodeId id) { return *nodes_.at(id).core; }
  [[nodiscard]] bool up(NodeId id) { return nodes_.at(id).core != nullptr; }
  [[nodiscard]] std::map<NodeId, Node>& nodes() { return nodes_; }
  [[nodiscard]] std::deque<Packet>& network() { return network_; }
  [[nodiscard]] NodeId leader() const;  // of the highest term, 0 if none
  [[nodiscard]] Nanos now() const { return now_; }
  [[nodiscard]] Index committed() const;
  [[nodiscard]] const std::map<Index, Entry>& committed_entries() const { return committed_; }
  [[nodiscard]] const std::string& failure() const { return failure_; }
  [[nodiscard]] std::uint64_t trace_hash() const { return trace_hash_; }
  // Compares all logs pairwise (log matching). Slow; the others are checked at every step.
  void check_logs();

  // Called for every node whose effects are about to be carried out (transcripts).
  std::function<void(const Node&, const Effects&)> observer;
  bool record_late_marks = false;

 private:
  void start(Node& node);
  void call(Node& node, const std::function<void(Core&, Effects&)>& input,
            const std::vector<Entry>* received = nullptr);
  void carry_out(Node& node, const std::vector<Entry>* received);
  void collect_writes(Node& node, const std::vector<Entry>* received);
  void check_commit(Node& node, Index commit);
  void check_leadership(Node& node, const LeadershipChange& change);
  void check_reads(Node& node);
  void fail(const std::string& what);
  void trace(std::uint64_t value) { trace_hash_ = (trace_hash_ ^ value) * 0x100000001b3ULL; }

  Options options_;
  Nanos now_ = 0;
  std::map<NodeId, Node> nodes_;
  std::deque<Packet> network_;
  std::set<std::pair<NodeId, NodeId>> cut_;
  std::map<Index, Entry> committed_;
  std::map<Term, NodeId> leaders_;
  std::uint64_t next_payload_ = 1;
  std::string failure_;
  std::uint64_t trace_hash_ = 0xcbf29ce484222325ULL;
  std::unique_ptr<Effects> effects_ = std::make_unique<Effects>();
};

[[nodiscard]] std::string describe(const Message& message);
[[nodiscard]] std::string describe(const Configuration& configuration);
[[nodiscard]] const char* to_string(Role role);
// One line: role, term, log, members, and what a leader knows about its peers.
[[nodiscard]] std::string describe_state(const Core& core);

}  // namespace esc::raft::testing
