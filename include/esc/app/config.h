// Configuration of a node: plain data, validated once at start, passed downward in small pieces.
//
// Sources, later ones win: built-in defaults, the profile (tuning/<name>.toml), the configuration
// file, command-line options. Key names in the file are the field names below: the field
// `config.tuning.wal.segment_bytes` is `segment_bytes` under `[tuning.wal]`. A plain integer is in the
// unit of the key's name; text with a unit ("64MiB", "10ms", "7d") is accepted everywhere.
//
// After `load_config` succeeded every field is within its range and every relation between fields holds
// (`validate`), so nobody below needs to check again.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "esc/base/ids.h"
#include "esc/base/result.h"
#include "esc/base/units.h"
#include "esc/topo/placement.h"

namespace esc::app {

struct HostPort {
  std::string host;        // name, IPv4 or IPv6 address without brackets
  std::uint16_t port = 0;  // 0 = let the kernel pick a free port
  friend bool operator==(const HostPort&, const HostPort&) = default;
};
// "host:port", "[ipv6]:port".
[[nodiscard]] Result<HostPort> parse_host_port(std::string_view text);
[[nodiscard]] std::string to_string(const HostPort& address);

// [node]
struct NodeConfig {
  NodeId id{1};            // 1..2^31-1, unique in the cluster
  std::string name;        // for people and logs; empty = host name
  std::string cluster_id;  // empty = whatever the data directory says, or a fresh one at first start
};

// One line of cluster.nodes: the same list in the configuration of every node that founds the cluster.
struct ClusterNode {
  NodeId id{};
  HostPort peer;   // where the other nodes connect to
  HostPort kafka;  // where clients connect to, as they are told
  friend bool operator==(const ClusterNode&, const ClusterNode&) = default;
};
// "1=peer-host:port/kafka-host:port,2=...": the list in one line, as --set takes it.
[[nodiscard]] Result<std::vector<ClusterNode>> parse_cluster_nodes(std::string_view text);

// [cluster]. Without any of its keys: a single node.
struct ClusterConfig {
  std::string id;                  // the same on every node
  std::string secret;              // nodes prove to each other that they know it; never printed
  std::string secret_file;         // ...or the file that holds it
  std::vector<ClusterNode> nodes;  // ascending by id
  bool join = false;               // of a cluster that exists: never found one
  [[nodiscard]] bool configured() const {
    return !id.empty() || !secret.empty() || !secret_file.empty() || !nodes.empty();
  }
  [[nodiscard]] const ClusterNode* find(NodeId node) const;
};

// [kafka]
struct KafkaConfig {
  HostPort listen{"127.0.0.1", 9092};  // of a cluster, unless set: the node's own in cluster.nodes
  bool listen_is_set = false;
  std::optional<HostPort> advertise;  // what clients are told; unset = `listen` with the bound port
};

// [admin]: metrics and health over HTTP, for who operates the node.
struct AdminConfig {
  std::optional<HostPort> listen;  // unset = off. Read-only, without authentication
};

// [topics]: what a topic gets that was created without settings of its own.
struct TopicDefaults {
  bool auto_create = true;  // on Metadata and Produce of an unknown topic
  std::uint32_t default_partitions = 1;
  std::int64_t retention_ms = 604'800'000;     // 7 days; -1 = no limit
  std::int64_t retention_bytes = -1;           // per partition; -1 = no limit
  std::uint64_t segment_bytes = 64 * kMiB;     // a partition's segment file is rolled at this size
  std::uint32_t max_message_bytes = 1 * kMiB;  // one record batch as it arrives (compressed)
};

// [tuning.memory]: one core's budget and how it is split. All of it is reserved at start.
struct MemoryTuning {
  std::uint64_t budget_bytes = 64 * kMiB;          // limit for the sum of the four parts below
  std::uint64_t frame_arena_bytes = 24 * kMiB;     // WAL frames: being written, sent, or read at the tail
  std::uint32_t receive_buffer_bytes = 64 * kKiB;  // one provided buffer of the multishot receive
  std::uint32_t receive_buffer_count = 64;         // power of two
  std::uint64_t request_bytes = 16 * kMiB;         // requests spanning buffers, or waiting for their commit
  std::uint64_t fetch_bytes = 16 * kMiB;           // responses being built or sent
  [[nodiscard]] std::uint64_t receive_bytes() const {
    return std::uint64_t{receive_buffer_bytes} * receive_buffer_count;
  }
};

// [tuning.batch]: when a group closes the frame it is filling. An idle disk never waits.
struct BatchTuning {
  std::uint32_t events_max = 64;                          // this many events end the wait for more
  std::uint32_t delay_us = 1000;                          // longest wait for more events; 0 = never wait
  std::uint32_t frame_bytes_max = 1 * kMiB + 256 * kKiB;  // whole frame with headers, multiple of 4 KiB
};

// [tuning.wal], each per Raft group.
struct WalTuning {
  std::uint64_t segment_bytes = 16 * kMiB;  // zero-written file, multiple of 4 KiB
  std::uint32_t spare_segments = 2;         // ready for use before they are needed
  std::uint64_t bytes_max = 256 * kMiB;     // above it producers wait for the checkpoint
  std::uint32_t depth = 2;                  // writes in flight
};

// [tuning.checkpoint], each per Raft group; whichever comes first.
struct CheckpointTuning {
  std::uint32_t interval_ms = 10'000;
  std::uint64_t bytes = 64 * kMiB;  // applied but not yet checkpointed
};

// [tuning.compaction] of compacted topics.
struct CompactionTuning {
  std::uint64_t bytes_per_second = 16 * kMiB;  // of each Raft group: read, written, unpacked
  std::uint64_t memory_bytes = 16 * kMiB;      // of a data core, for keys
};

// [tuning.net]
struct NetTuning {
  bool zero_copy_send = false;  // large sends to near nodes, where the kernel does not copy in any case
};

// [tuning.raft]: how fast a cluster notices that a leader is gone. See raft::Timeouts.
struct RaftTuning {
  std::uint32_t heartbeat_ms = 50;
  std::uint32_t election_min_ms = 250;
  std::uint32_t election_max_ms = 400;
  std::uint32_t disk_stall_ms = 300;  // 0: never
};

// [tuning.consumer_groups]: see coord::Options.
struct ConsumerGroupTuning {
  std::uint32_t initial_rebalance_delay_ms = 3'000;  // Kafka's group.initial.rebalance.delay.ms
  std::uint32_t session_timeout_min_ms = 6'000;
  std::uint32_t session_timeout_max_ms = 1'800'000;
  std::uint32_t members_max = 1'000;                // of one consumer group
  std::uint32_t groups_max = 10'000;                // consumer groups of one Raft group
  std::uint64_t state_bytes_max = 32 * kMiB;        // of members and offsets, per Raft group
  std::int64_t offsets_retention_ms = 604'800'000;  // after the last member has gone
};

// [tuning.limits]
struct LimitTuning {
  std::uint32_t connections_max = 10'000;         // of the node
  std::uint32_t request_bytes_max = 8 * kMiB;     // one request; a longer one closes the connection
  std::uint32_t connection_requests_max = 256;    // unanswered requests of one connection
  std::uint32_t connection_bytes_max = 8 * kMiB;  // bytes of unanswered requests of one connection
  std::uint32_t topics_max = 10'000;
  std::uint32_t partitions_max = 100'000;  // of the node, over all topics
};

// [tuning]
struct TuningConfig {
  std::uint32_t cores = 0;  // data cores; 0 = let the planner decide
  topo::PinMode pin = topo::PinMode::prefer;
  topo::IdleStrategy idle = topo::IdleStrategy::adaptive;
  std::uint32_t idle_spin_us = 50;     // how long `adaptive` polls before it parks
  topo::CpuSet cpu_list;               // empty = let the planner choose
  topo::CpuSet housekeeping_cpu_list;  // empty = let the planner choose
  std::uint32_t retention_check_interval_ms = 30'000;
  MemoryTuning memory;
  BatchTuning batch;
  WalTuning wal;
  CheckpointTuning checkpoint;
  CompactionTuning compaction;
  NetTuning net;
  RaftTuning raft;
  ConsumerGroupTuning consumer_groups;
  LimitTuning limits;
};

enum class LogLevel : std::uint8_t { error, warn, info, debug };
enum class LogFormat : std::uint8_t { text, json };
[[nodiscard]] std::string_view to_string(LogLevel level);
[[nodiscard]] std::string_view to_string(LogFormat format);

// [log]
struct LogConfig {
  LogLevel level = LogLevel::info;
  LogFormat format = LogFormat::text;
};

// Groups of a cluster that names no number: equal on all nodes, whatever their cores.
inline constexpr std::uint32_t kClusterGroupsDefault = 3;

struct Config {
  std::string profile = "laptop";  // name of the profile the tuning came from
  std::string data_dir;
  std::string wal_dir;       // equals data_dir unless set
  std::uint32_t groups = 0;  // Raft groups of a new cluster; 0 = kClusterGroupsDefault, or one per data core
  NodeConfig node;
  ClusterConfig cluster;
  KafkaConfig kafka;
  AdminConfig admin;
  TopicDefaults topics;
  TuningConfig tuning;
  LogConfig log;
};

[[nodiscard]] topo::PlacementRequest placement_request(const Config& config);

// One setting from outside the file: `origin` is how the operator wrote it ("--cores").
struct Override {
  std::string key;    // dotted, "tuning.cores"
  std::string value;  // as in a file, without quotes
  std::string origin;
};

struct ConfigSources {
  std::optional<std::string> config_file{};
  std::optional<std::string>
      profile{};  // name of a built-in profile, or a path (contains '/' or ends in .toml)
  std::vector<Override> overrides{};
};

// Reads, merges, validates. The error message lists every problem found, one per line, each naming
// file, line, key, value and what is accepted.
[[nodiscard]] Result<Config> load_config(const ConfigSources& sources);

// Applies TOML text on top of `config`; `origin` names it in messages. Does not call `validate`.
[[nodiscard]] Status apply_config_text(Config& config, std::string_view toml, std::string_view origin);

// Checks ranges that depend on several fields (memory arithmetic, frame and segment sizes, ...).
[[nodiscard]] Status validate(const Config& config);

// What is accepted but rarely meant, one sentence each.
[[nodiscard]] std::vector<std::string> config_warnings(const Config& config);

// The configuration as a TOML file that loads to the same values, each key with a comment. Secrets are not
// shown.
[[nodiscard]] std::string format_config(const Config& config);

[[nodiscard]] std::vector<std::string_view> builtin_profile_names();
[[nodiscard]] std::optional<std::string_view> builtin_profile(std::string_view name);

enum class Action : std::uint8_t { run, print_plan, check_config, print_config, force_sole_voter };

struct CommandLine {
  Action action = Action::run;
  bool json = false;              // --output json, for print_plan
  std::string confirmed_cluster;  // of force_sole_voter
  ConfigSources sources;
};

// The command line ended here: print `text` and exit with `code`.
struct CommandLineExit {
  int code = 0;  // 0 for --help and --version, 2 for a usage error
  std::string text;
};

[[nodiscard]] std::expected<CommandLine, CommandLineExit> parse_command_line(int argc,
                                                                             const char* const* argv);

}  // namespace esc::app
