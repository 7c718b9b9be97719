// The rows of the table, and what is generic about a row.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "config_key.h"
#include "esc/base/assert.h"

namespace esc::app {
namespace {

constexpr std::array<std::string_view, 3> kPinChoices = {"off", "prefer", "require"};
constexpr std::array<std::string_view, 3> kIdleChoices = {"park", "adaptive", "spin"};
constexpr std::array<std::string_view, 4> kLevelChoices = {"error", "warn", "info", "debug"};
constexpr std::array<std::string_view, 2> kFormatChoices = {"text", "json"};
constexpr std::array<std::string_view, 2> kZeroCopyChoices = {"off", "auto"};

constexpr std::int64_t kKi = 1024;
constexpr std::int64_t kMi = 1024 * kKi;
constexpr std::int64_t kGi = 1024 * kMi;
constexpr std::int64_t kTi = 1024 * kGi;
constexpr std::int64_t kInt32Max = std::numeric_limits<std::int32_t>::max();

// `Access` is a captureless lambda from Config& to the field.
template <class Access>
ConfigKey number(std::string_view path, Access, KeyKind kind, std::int64_t low, std::int64_t high,
                 std::string_view meaning) {
  ConfigKey key{.path = path, .kind = kind, .low = low, .high = high, .meaning = meaning};
  key.get_number = [](const Config& config) -> std::int64_t {
    const auto& field = Access{}(const_cast<Config&>(config));
    if constexpr (requires { field.value(); }) {
      return static_cast<std::int64_t>(field.value());
    } else {
      return static_cast<std::int64_t>(field);
    }
  };
  key.set_number = [](Config& config, std::int64_t value) {
    auto& field = Access{}(config);
    using Field = std::remove_reference_t<decltype(field)>;
    if constexpr (requires { field.value(); }) {
      field = Field(static_cast<typename Field::rep>(value));
    } else {
      field = static_cast<Field>(value);
    }
  };
  return key;
}

template <class Access>
ConfigKey duration(std::string_view path, Access access, Nanos unit, std::int64_t low, std::int64_t high,
                   std::string_view meaning) {
  ConfigKey key = number(path, access, KeyKind::duration, low, high, meaning);
  key.unit_ns = unit;
  return key;
}

template <class Access>
ConfigKey choice(std::string_view path, Access access, std::span<const std::string_view> choices,
                 std::string_view meaning) {
  ConfigKey key =
      number(path, access, KeyKind::choice, 0, static_cast<std::int64_t>(choices.size()) - 1, meaning);
  key.choices = choices;
  return key;
}

ConfigKey unlimited(ConfigKey key) {
  key.may_be_unlimited = true;
  return key;
}

template <class Access>
ConfigKey text(std::string_view path, Access, std::string_view meaning) {
  ConfigKey key{.path = path, .kind = KeyKind::text, .high = 4096, .meaning = meaning};
  key.get_text = [](const Config& config) { return std::string(Access{}(const_cast<Config&>(config))); };
  key.set_text = [](Config& config, std::string_view value) -> Status {
    Access{}(config) = std::string(value);
    return {};
  };
  return key;
}

template <class Access>
ConfigKey cpu_list(std::string_view path, Access, std::string_view meaning) {
  ConfigKey key{.path = path, .kind = KeyKind::cpu_list, .meaning = meaning};
  key.get_text = [](const Config& config) { return Access{}(const_cast<Config&>(config)).to_string(); };
  key.set_text = [](Config& config, std::string_view value) -> Status {
    auto set = topo::CpuSet::parse(value);
    if (!set) return std::unexpected(set.error());
    Access{}(config) = *set;
    return {};
  };
  return key;
}

ConfigKey listen_key() {
  ConfigKey key{.path = "kafka.listen",
                .kind = KeyKind::address,
                .meaning =
                    "Address clients connect to; port 0 takes any free port. In a cluster, unless set: "
                    "this node's own in cluster.nodes."};
  key.get_text = [](const Config& config) { return to_string(config.kafka.listen); };
  key.set_text = [](Config& config, std::string_view value) -> Status {
    auto address = parse_host_port(value);
    if (!address) return std::unexpected(address.error());
    config.kafka.listen = *address;
    config.kafka.listen_is_set = true;
    return {};
  };
  return key;
}

ConfigKey advertise_key() {
  ConfigKey key{.path = "kafka.advertise",
                .kind = KeyKind::address,
                .meaning = "Address clients are told to use; empty: the one in kafka.listen."};
  key.get_text = [](const Config& config) {
    return config.kafka.advertise ? to_string(*config.kafka.advertise) : std::string();
  };
  key.set_text = [](Config& config, std::string_view value) -> Status {
    config.kafka.advertise.reset();
    if (value.empty()) return {};
    auto address = parse_host_port(value);
    if (!address) return std::unexpected(address.error());
    if (address->port == 0) return fail(Errc::invalid_argument, "clients cannot connect to port 0");
    config.kafka.advertise = *address;
    return {};
  };
  return key;
}

ConfigKey admin_key() {
  ConfigKey key{.path = "admin.listen",
                .kind = KeyKind::address,
                .meaning =
                    "Address of the HTTP pages /metrics, /livez and /readyz, such as \"127.0.0.1:9644\"; "
                    "port 0 takes any free port; empty: no such pages. Read-only; whoever reaches the "
                    "address can read them."};
  key.get_text = [](const Config& config) {
    return config.admin.listen ? to_string(*config.admin.listen) : std::string();
  };
  key.set_text = [](Config& config, std::string_view value) -> Status {
    config.admin.listen.reset();
    if (value.empty()) return {};
    auto address = parse_host_port(value);
    if (!address) return std::unexpected(address.error());
    config.admin.listen = *address;
    return {};
  };
  return key;
}

ConfigKey nodes_key() {
  ConfigKey key{
      .path = "cluster.nodes",
      .kind = KeyKind::node_list,
      .meaning =
          "All nodes of the cluster, this one too; the same list on every node. Once esctl node has changed "
          "the nodes, what the cluster remembers counts instead."};
  key.get_text = [](const Config& config) {
    std::string text;
    for (const ClusterNode& node : config.cluster.nodes) {
      text += fmt::format("{}{{ id = {}, peer = {}, kafka = {} }}", text.empty() ? "" : ", ", node.id.value(),
                          toml_quoted(to_string(node.peer)), toml_quoted(to_string(node.kafka)));
    }
    return "[" + text + "]";
  };
  key.set_text = [](Config& config, std::string_view value) -> Status {
    auto nodes = parse_cluster_nodes(value);
    if (!nodes) return std::unexpected(nodes.error());
    config.cluster.nodes = std::move(*nodes);
    return {};
  };
  return key;
}

ConfigKey secret(ConfigKey key) {
  key.secret = true;
  return key;
}

// Name and field of a key are the same words, so neither can drift.
#define ESC_KEY(field) #field, [](Config& c) -> auto& { return c.field; }

void add_node_keys(std::vector<ConfigKey>& keys) {
  keys.push_back(
      text(ESC_KEY(profile), "Tuning profile: laptop, ci, throughput, latency, or a path to a file."));
  keys.push_back(text(ESC_KEY(data_dir), "Directory of everything this node stores."));
  keys.push_back(
      text(ESC_KEY(wal_dir), "Directory of the write-ahead logs, if on another disk; empty: data_dir."));
  keys.push_back(
      number(ESC_KEY(groups), KeyKind::count, 0, 256,
             "Raft groups of a new cluster, equal on all nodes; 0: 3, and of a single node one per "
             "data core. Fixed afterwards."));
  keys.push_back(
      number(ESC_KEY(node.id), KeyKind::count, 1, kInt32Max, "Number of this node, unique in the cluster."));
  keys.push_back(text(ESC_KEY(node.name), "Name of this node in logs and tools; empty: the host name."));
  keys.push_back(text(ESC_KEY(node.cluster_id),
                      "Refuse data directories of other clusters; empty: take what is there."));
  keys.push_back(
      text(ESC_KEY(cluster.id),
           "Name of the cluster, equal on all nodes; empty, like all of [cluster]: a single node."));
  keys.push_back(secret(text(ESC_KEY(cluster.secret),
                             "At least 16 characters by which nodes know each other. Never printed.")));
  keys.push_back(
      text(ESC_KEY(cluster.secret_file), "File that holds the secret, instead of cluster.secret."));
  keys.push_back(nodes_key());
  keys.push_back(
      number(ESC_KEY(cluster.join), KeyKind::boolean, 0, 1,
             "This node joins a cluster that exists (esctl node add) and never founds one. Without effect "
             "once it has."));
  keys.push_back(listen_key());
  keys.push_back(advertise_key());
  keys.push_back(admin_key());
}

void add_topic_keys(std::vector<ConfigKey>& keys) {
  keys.push_back(number(ESC_KEY(topics.auto_create), KeyKind::boolean, 0, 1,
                        "Create a topic when a client first names it."));
  keys.push_back(number(ESC_KEY(topics.default_partitions), KeyKind::count, 1, 10'000,
                        "Partitions of a topic created without a count."));
  keys.push_back(unlimited(duration(ESC_KEY(topics.retention_ms), kMillisecond, 1'000,
                                    std::numeric_limits<std::int64_t>::max() / kMillisecond,
                                    "Records older than this are dropped, segment by segment.")));
  keys.push_back(unlimited(number(ESC_KEY(topics.retention_bytes), KeyKind::size, 1 * kMi, 1024 * kTi,
                                  "Oldest segments are dropped while a partition is larger than this.")));
  keys.push_back(
      number(ESC_KEY(topics.segment_bytes), KeyKind::size, 1 * kMi, 1 * kGi,
             "A partition's segment file is closed at this size; retention works on whole segments."));
  keys.push_back(number(ESC_KEY(topics.max_message_bytes), KeyKind::size, 1 * kKi, 64 * kMi,
                        "Largest record batch as it arrives, that is, compressed."));
}

void add_core_keys(std::vector<ConfigKey>& keys) {
  keys.push_back(
      number(ESC_KEY(tuning.cores), KeyKind::count, 0, topo::kCoresMax,
             "Data cores, one pinned thread each; 0: let the planner decide (escd --print-plan)."));
  keys.push_back(choice(ESC_KEY(tuning.pin), kPinChoices,
                        "One CPU per data core: never, when there are enough, or refuse to start."));
  keys.push_back(choice(ESC_KEY(tuning.idle), kIdleChoices,
                        "A core without work sleeps at once, polls for a while first, or polls for ever."));
  keys.push_back(duration(ESC_KEY(tuning.idle_spin_us), kMicrosecond, 0, 100'000,
                          "How long an adaptive core polls before it sleeps."));
  keys.push_back(
      cpu_list(ESC_KEY(tuning.cpu_list), "CPUs of the data cores, such as \"2-5\"; empty: chosen."));
  keys.push_back(cpu_list(ESC_KEY(tuning.housekeeping_cpu_list), "CPUs of everything else; empty: chosen."));
  keys.push_back(duration(ESC_KEY(tuning.retention_check_interval_ms), kMillisecond, 100, 3'600'000,
                          "How often retention and compaction look for segments to drop or to rewrite."));
}

void add_memory_keys(std::vector<ConfigKey>& keys) {
  keys.push_back(number(ESC_KEY(tuning.memory.budget_bytes), KeyKind::size, 8 * kMi, 1 * kTi,
                        "Memory of one data core, reserved at start; the four parts below must fit."));
  keys.push_back(number(ESC_KEY(tuning.memory.frame_arena_bytes), KeyKind::size, 2 * kMi, 512 * kGi,
                        "Log frames being written, sent to followers, or read at the tail."));
  keys.push_back(number(ESC_KEY(tuning.memory.receive_buffer_bytes), KeyKind::size, 4 * kKi, 1 * kMi,
                        "One receive buffer; small ones cost CPU per byte."));
  keys.push_back(number(ESC_KEY(tuning.memory.receive_buffer_count), KeyKind::count, 8, 32'768,
                        "Receive buffers, shared by all connections of a core; a power of two."));
  keys.push_back(number(ESC_KEY(tuning.memory.request_bytes), KeyKind::size, 1 * kMi, 512 * kGi,
                        "Requests that span buffers or wait for their commit."));
  keys.push_back(number(ESC_KEY(tuning.memory.fetch_bytes), KeyKind::size, 1 * kMi, 512 * kGi,
                        "Responses being built or sent."));
}

void add_log_keys(std::vector<ConfigKey>& keys) {
  keys.push_back(number(ESC_KEY(tuning.batch.events_max), KeyKind::count, 1, 1'000'000,
                        "This many events end the wait for more before a write."));
  keys.push_back(duration(ESC_KEY(tuning.batch.delay_us), kMicrosecond, 0, 1'000'000,
                          "Longest wait for more events while the disk is busy; an idle disk never waits."));
  keys.push_back(number(ESC_KEY(tuning.batch.frame_bytes_max), KeyKind::size, 64 * kKi, 128 * kMi,
                        "Largest log frame with its headers; a multiple of 4KiB."));
  keys.push_back(number(ESC_KEY(tuning.wal.segment_bytes), KeyKind::size, 1 * kMi, 4 * kGi,
                        "A write-ahead log file, zero-written in advance; a multiple of 4KiB."));
  keys.push_back(number(ESC_KEY(tuning.wal.spare_segments), KeyKind::count, 1, 64,
                        "Log files kept ready beyond the one in use, per group."));
  keys.push_back(number(ESC_KEY(tuning.wal.bytes_max), KeyKind::size, 4 * kMi, 1 * kTi,
                        "Above this, producers of a group wait for its checkpoint."));
  keys.push_back(number(ESC_KEY(tuning.wal.depth), KeyKind::count, 1, 8, "Log writes in flight, per group."));
  keys.push_back(duration(ESC_KEY(tuning.checkpoint.interval_ms), kMillisecond, 100, 3'600'000,
                          "Longest time between checkpoints of a group that has changed."));
  keys.push_back(number(ESC_KEY(tuning.checkpoint.bytes), KeyKind::size, 1 * kMi, 1 * kTi,
                        "A checkpoint starts when this much was applied since the last."));
  keys.push_back(
      number(ESC_KEY(tuning.compaction.bytes_per_second), KeyKind::size, 64 * kKi, 1 * kTi,
             "What compaction of a group reads, writes and unpacks, so that clients do not notice."));
  keys.push_back(
      number(ESC_KEY(tuning.compaction.memory_bytes), KeyKind::size, 64 * kKi, 16 * kGi,
             "Keys that compaction holds, 32 bytes each, while it runs; more take several passes."));
}

void add_raft_keys(std::vector<ConfigKey>& keys) {
  keys.push_back(
      choice(ESC_KEY(tuning.net.zero_copy_send), kZeroCopyChoices,
             "auto: large sends to near nodes straight from memory, until the kernel says that it copies."));
  keys.push_back(duration(ESC_KEY(tuning.raft.heartbeat_ms), kMillisecond, 5, 10'000,
                          "How often a leader that has nothing to send says that it is there."));
  keys.push_back(duration(ESC_KEY(tuning.raft.election_min_ms), kMillisecond, 20, 60'000,
                          "A follower that hears nothing for this long, at least, starts an election."));
  keys.push_back(duration(ESC_KEY(tuning.raft.election_max_ms), kMillisecond, 30, 120'000,
                          "...and at most this long; each wait is drawn at random between the two."));
  keys.push_back(duration(ESC_KEY(tuning.raft.disk_stall_ms), kMillisecond, 0, 600'000,
                          "A leader whose disk makes no progress for this long hands over; 0: never."));
}

void add_consumer_group_keys(std::vector<ConfigKey>& keys) {
  keys.push_back(duration(ESC_KEY(tuning.consumer_groups.initial_rebalance_delay_ms), kMillisecond, 0,
                          300'000, "How long the first member of an empty group waits for others."));
  keys.push_back(duration(ESC_KEY(tuning.consumer_groups.session_timeout_min_ms), kMillisecond, 1, 1'800'000,
                          "Shortest session timeout that a member may ask for."));
  keys.push_back(duration(ESC_KEY(tuning.consumer_groups.session_timeout_max_ms), kMillisecond, 1'000,
                          86'400'000, "Longest session timeout that a member may ask for."));
  keys.push_back(number(ESC_KEY(tuning.consumer_groups.members_max), KeyKind::count, 1, 100'000,
                        "Members of one consumer group."));
  keys.push_back(number(ESC_KEY(tuning.consumer_groups.groups_max), KeyKind::count, 1, 1'000'000,
                        "Consumer groups that one Raft group coordinates."));
  keys.push_back(number(ESC_KEY(tuning.consumer_groups.state_bytes_max), KeyKind::size, 1 * kMi, 128 * kMi,
                        "Memory for members and offsets, per Raft group; above it commits are refused."));
  keys.push_back(duration(ESC_KEY(tuning.consumer_groups.offsets_retention_ms), kMillisecond, 1'000,
                          std::numeric_limits<std::int64_t>::max() / kMillisecond,
                          "Offsets are kept for this long after their group's last member has gone."));
}

void add_limit_keys(std::vector<ConfigKey>& keys) {
  keys.push_back(number(ESC_KEY(tuning.limits.connections_max), KeyKind::count, 1, 1'000'000,
                        "Client connections of the node; more are closed at once."));
  keys.push_back(number(ESC_KEY(tuning.limits.request_bytes_max), KeyKind::size, 16 * kKi, 128 * kMi,
                        "Longest request; a longer one closes its connection."));
  keys.push_back(number(ESC_KEY(tuning.limits.connection_requests_max), KeyKind::count, 1, 65'536,
                        "Unanswered requests of one connection before it is no longer read."));
  keys.push_back(number(ESC_KEY(tuning.limits.connection_bytes_max), KeyKind::size, 16 * kKi, 1 * kGi,
                        "Bytes of unanswered requests of one connection before it is no longer read."));
  keys.push_back(
      number(ESC_KEY(tuning.limits.topics_max), KeyKind::count, 1, 1'000'000, "Topics of the cluster."));
  keys.push_back(number(ESC_KEY(tuning.limits.partitions_max), KeyKind::count, 1, 1'000'000,
                        "Partitions over all topics."));
  keys.push_back(choice(ESC_KEY(log.level), kLevelChoices, "Least important message to write."));
  keys.push_back(choice(ESC_KEY(log.format), kFormatChoices, "Log lines for people or for programs."));
}

#undef ESC_KEY

std::vector<ConfigKey> make_keys() {
  std::vector<ConfigKey> keys;
  add_node_keys(keys);
  add_topic_keys(keys);
  add_core_keys(keys);
  add_memory_keys(keys);
  add_log_keys(keys);
  add_raft_keys(keys);
  add_consumer_group_keys(keys);
  add_limit_keys(keys);
  return keys;
}

std::string join(std::span<const std::string_view> words) {
  std::string text;
  for (const auto word : words) text += fmt::format("{}\"{}\"", text.empty() ? "" : ", ", word);
  return text;
}

// A number, a size or a duration from what the operator wrote; unset when it is none.
std::optional<std::int64_t> number_of(const ConfigKey& key, const RawValue& value, bool lenient) {
  if (value.type == RawValue::Type::integer) return value.integer;
  if (value.type != RawValue::Type::text) return std::nullopt;
  if (key.may_be_unlimited && (value.text == "unlimited" || (lenient && value.text == "-1"))) return -1;
  if (key.kind == KeyKind::size) return parse_size(value.text);
  if (key.kind == KeyKind::duration) return parse_duration(value.text, key.unit_ns);
  return lenient ? parse_integer(value.text) : std::nullopt;
}

std::optional<std::int64_t> index_of(const ConfigKey& key, const RawValue& value, bool lenient) {
  if (key.kind == KeyKind::boolean) {
    if (value.type == RawValue::Type::boolean) return value.boolean ? 1 : 0;
    if (lenient && value.text == "true") return 1;
    if (lenient && value.text == "false") return 0;
    return std::nullopt;
  }
  if (value.type != RawValue::Type::text) return std::nullopt;
  const auto at = std::ranges::find(key.choices, std::string_view(value.text));
  if (at == key.choices.end()) return std::nullopt;
  return at - key.choices.begin();
}

Status not_accepted(const ConfigKey& key, std::string_view why) {
  return fail(Errc::invalid_argument, fmt::format("{}; accepted: {}", why, accepted_values(key)));
}

}  // namespace

std::span<const ConfigKey> config_keys() {
  static const std::vector<ConfigKey> keys = make_keys();  // constant after construction
  return keys;
}

std::string accepted_values(const ConfigKey& key) {
  const std::string_view or_unlimited = key.may_be_unlimited ? ", or \"unlimited\"" : "";
  switch (key.kind) {
    case KeyKind::boolean: return "true, false";
    case KeyKind::count: return fmt::format("an integer from {} to {}", key.low, key.high);
    case KeyKind::size:
      return fmt::format("a size from {} to {} such as \"64MiB\" (units {}) or an integer of bytes{}",
                         format_size(key.low), format_size(key.high), kSizeUnits, or_unlimited);
    case KeyKind::duration:
      return fmt::format("a duration from {} to {} such as \"10ms\" (units {}) or an integer of {}{}",
                         format_duration(key.low, key.unit_ns), format_duration(key.high, key.unit_ns),
                         kDurationUnits, key.unit_ns == kMillisecond ? "milliseconds" : "microseconds",
                         or_unlimited);
    case KeyKind::text: return fmt::format("text of at most {} characters", key.high);
    case KeyKind::choice: return join(key.choices);
    case KeyKind::address: return "\"HOST:PORT\" such as \"127.0.0.1:9092\" or \"[::1]:9092\"";
    case KeyKind::cpu_list: return "a list of CPU numbers such as \"2-5,8\", or \"\"";
    case KeyKind::node_list:
      return "tables such as { id = 1, peer = \"10.0.0.1:9192\", kafka = \"10.0.0.1:9092\" }, or on the "
             "command line \"1=10.0.0.1:9192/10.0.0.1:9092,2=...\"";
  }
  ESC_UNREACHABLE("key kind");
}

Status set_key(Config& config, const ConfigKey& key, const RawValue& value, bool lenient) {
  switch (key.kind) {
    case KeyKind::count:
    case KeyKind::size:
    case KeyKind::duration: {
      const auto number = number_of(key, value, lenient);
      if (!number) return not_accepted(key, "not understood");
      const bool unlimited = key.may_be_unlimited && *number == -1;
      if (!unlimited && (*number < key.low || *number > key.high)) return not_accepted(key, "out of range");
      key.set_number(config, *number);
      return {};
    }
    case KeyKind::boolean:
    case KeyKind::choice: {
      const auto index = index_of(key, value, lenient);
      if (!index) return not_accepted(key, "not understood");
      key.set_number(config, *index);
      return {};
    }
    case KeyKind::text:
    case KeyKind::address:
    case KeyKind::cpu_list:
    case KeyKind::node_list: {
      if (value.type != RawValue::Type::text) return not_accepted(key, "not a text in quotes");
      if (key.kind == KeyKind::text && value.text.size() > static_cast<std::size_t>(key.high)) {
        return not_accepted(key, "too long");
      }
      if (value.text.find('\0') != std::string::npos) return not_accepted(key, "holds a zero byte");
      auto status = key.set_text(config, value.text);
      if (!status) return not_accepted(key, status.error().message);
      return {};
    }
  }
  ESC_UNREACHABLE("key kind");
}

std::string print_key(const Config& config, const ConfigKey& key) {
  switch (key.kind) {
    case KeyKind::boolean: return key.get_number(config) != 0 ? "true" : "false";
    case KeyKind::count: return std::to_string(key.get_number(config));
    case KeyKind::choice: return toml_quoted(key.choices[static_cast<std::size_t>(key.get_number(config))]);
    case KeyKind::size:
    case KeyKind::duration: {
      const std::int64_t value = key.get_number(config);
      if (key.may_be_unlimited && value == -1) return "\"unlimited\"";
      return toml_quoted(key.kind == KeyKind::size ? format_size(value)
                                                   : format_duration(value, key.unit_ns));
    }
    case KeyKind::text:
    case KeyKind::address:
    case KeyKind::cpu_list: {
      if (!key.secret) return toml_quoted(key.get_text(config));
      // What came from a file is named by that file.
      const bool show = !key.get_text(config).empty() && config.cluster.secret_file.empty();
      return toml_quoted(show ? shown(key, {}) : "");
    }
    case KeyKind::node_list: return key.get_text(config);
  }
  ESC_UNREACHABLE("key kind");
}

std::string_view shown(const ConfigKey& key, std::string_view printed) {
  return key.secret ? "(not shown)" : printed;
}

std::string unknown_key_message(std::string_view path) {
  std::vector<std::string_view> names;
  for (const ConfigKey& key : config_keys()) names.push_back(key.path);
  const std::string near = did_you_mean(path, names);
  if (!near.empty()) return fmt::format("unknown key; did you mean {}?", near);
  return "unknown key; escd --print-config lists every key";
}

}  // namespace esc::app
