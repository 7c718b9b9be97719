// Relations between keys, each with the arithmetic an operator needs to repair it.
#include <fmt/format.h>

#include <bit>
#include <vector>

#include "config_cluster.h"
#include "config_value.h"
#include "esc/app/config.h"
#include "esc/base/bytes.h"

namespace esc::app {
namespace {

// Headers around one batch in a frame, and around one partition's batch in a produce request.
constexpr std::uint64_t kFrameOverheadBytes = kBlockBytes;
constexpr std::uint64_t kRequestOverheadBytes = 4 * kKiB;

std::string size(std::uint64_t bytes) {
  return format_size(static_cast<std::int64_t>(bytes));
}

void check_node(const Config& config, Problems& problems) {
  if (config.data_dir.empty()) {
    problems.push_back(
        "data_dir is not set: say where to store data with --data DIR or data_dir in the file");
  }
  const auto& host = config.kafka.listen.host;
  const bool any_address = host == "0.0.0.0" || host == "::" || host == "*";
  if (any_address && !config.kafka.advertise) {
    problems.push_back(
        fmt::format("kafka.listen = \"{}\" listens on every address, and clients cannot connect to that: "
                    "set kafka.advertise (--advertise HOST:PORT) to the address they should use",
                    to_string(config.kafka.listen)));
  }
  const auto& admin = config.admin.listen;
  if (admin && admin->port != 0 && *admin == config.kafka.listen) {
    problems.push_back(fmt::format("admin.listen and kafka.listen are both \"{}\": give each its own port",
                                   to_string(*admin)));
  }
  if (config.cluster.configured()) check_cluster(config, problems);
  if (config.node.cluster_id.size() > 64) {
    problems.push_back("node.cluster_id is longer than 64 characters");
  }
}

void check_memory(const TuningConfig& tuning, Problems& problems) {
  const MemoryTuning& memory = tuning.memory;
  const std::uint64_t sum =
      memory.frame_arena_bytes + memory.receive_bytes() + memory.request_bytes + memory.fetch_bytes;
  if (sum > memory.budget_bytes) {
    problems.push_back(fmt::format(
        "tuning.memory: frame_arena_bytes {} + receive buffers {} x {} + request_bytes {} + fetch_bytes {} = "
        "{}, more "
        "than budget_bytes {}; raise budget_bytes or lower a part",
        size(memory.frame_arena_bytes), memory.receive_buffer_count, size(memory.receive_buffer_bytes),
        size(memory.request_bytes), size(memory.fetch_bytes), size(sum), size(memory.budget_bytes)));
  }
  if (!std::has_single_bit(memory.receive_buffer_count)) {
    problems.push_back(
        fmt::format("tuning.memory.receive_buffer_count = {}: the kernel takes powers of two; use {} or {}",
                    memory.receive_buffer_count, std::bit_floor(memory.receive_buffer_count),
                    std::bit_ceil(memory.receive_buffer_count)));
  }
  const std::uint64_t frames = std::uint64_t{tuning.wal.depth + 1} * tuning.batch.frame_bytes_max;
  if (frames > memory.frame_arena_bytes) {
    problems.push_back(fmt::format(
        "tuning.memory.frame_arena_bytes = {}: wal.depth {} + 1 being filled x batch.frame_bytes_max {} = {} "
        "must fit",
        size(memory.frame_arena_bytes), tuning.wal.depth, size(tuning.batch.frame_bytes_max), size(frames)));
  }
  if (tuning.limits.request_bytes_max > memory.request_bytes) {
    problems.push_back(
        fmt::format("tuning.limits.request_bytes_max = {}: one request must fit in memory.request_bytes {}",
                    size(tuning.limits.request_bytes_max), size(memory.request_bytes)));
  }
}

void check_log(const TuningConfig& tuning, Problems& problems) {
  for (const auto& [name, bytes] :
       {std::pair<std::string_view, std::uint64_t>{"batch.frame_bytes_max", tuning.batch.frame_bytes_max},
        {"wal.segment_bytes", tuning.wal.segment_bytes},
        {"memory.receive_buffer_bytes", tuning.memory.receive_buffer_bytes}}) {
    if (!is_aligned(bytes, kBlockBytes)) {
      problems.push_back(fmt::format("tuning.{} = {}: must be a multiple of 4KiB; use {}", name, bytes,
                                     align_up(bytes, kBlockBytes)));
    }
  }
  // A segment opens with a header block, and a frame never spans two segments.
  const std::uint64_t frame_room = tuning.batch.frame_bytes_max + kBlockBytes;
  if (frame_room > tuning.wal.segment_bytes) {
    problems.push_back(
        fmt::format("tuning.wal.segment_bytes = {}: the largest frame (batch.frame_bytes_max {}) and a "
                    "header of 4KiB must fit",
                    size(tuning.wal.segment_bytes), size(tuning.batch.frame_bytes_max)));
  }
  const std::uint64_t wal_least = (2 + std::uint64_t{tuning.wal.spare_segments}) * tuning.wal.segment_bytes;
  if (wal_least > tuning.wal.bytes_max) {
    problems.push_back(fmt::format(
        "tuning.wal.bytes_max = {}: one segment in use, one being recycled and {} spare of {} = {} must fit",
        size(tuning.wal.bytes_max), tuning.wal.spare_segments, size(tuning.wal.segment_bytes),
        size(wal_least)));
  }
  if (tuning.checkpoint.bytes * 2 > tuning.wal.bytes_max) {
    problems.push_back(fmt::format(
        "tuning.checkpoint.bytes = {}: at most half of wal.bytes_max {}, or producers stall while "
        "a checkpoint runs",
        size(tuning.checkpoint.bytes), size(tuning.wal.bytes_max)));
  }
}

void check_messages(const Config& config, Problems& problems) {
  const TuningConfig& tuning = config.tuning;
  const std::uint64_t message = config.topics.max_message_bytes;
  if (message + kFrameOverheadBytes > tuning.batch.frame_bytes_max) {
    problems.push_back(
        fmt::format("topics.max_message_bytes = {}: with 4KiB of headers it must fit in "
                    "tuning.batch.frame_bytes_max {}",
                    size(message), size(tuning.batch.frame_bytes_max)));
  }
  if (message + kRequestOverheadBytes > tuning.limits.request_bytes_max) {
    problems.push_back(
        fmt::format("topics.max_message_bytes = {}: with 4KiB of headers it must fit in "
                    "tuning.limits.request_bytes_max {}",
                    size(message), size(tuning.limits.request_bytes_max)));
  }
  if (message > config.topics.segment_bytes) {
    problems.push_back(fmt::format("topics.max_message_bytes = {}: must fit in topics.segment_bytes {}",
                                   size(message), size(config.topics.segment_bytes)));
  }
  if (message > tuning.memory.fetch_bytes) {
    problems.push_back(
        fmt::format("topics.max_message_bytes = {}: one batch must fit in tuning.memory.fetch_bytes {}",
                    size(message), size(tuning.memory.fetch_bytes)));
  }
  if (tuning.limits.connection_bytes_max < tuning.limits.request_bytes_max) {
    problems.push_back(
        fmt::format("tuning.limits.connection_bytes_max = {}: one request (request_bytes_max {}) must fit",
                    size(tuning.limits.connection_bytes_max), size(tuning.limits.request_bytes_max)));
  }
  if (config.topics.default_partitions > tuning.limits.partitions_max) {
    problems.push_back(
        fmt::format("topics.default_partitions = {}: more than tuning.limits.partitions_max {}",
                    config.topics.default_partitions, tuning.limits.partitions_max));
  }
}

void check_raft(const RaftTuning& raft, Problems& problems) {
  constexpr std::uint32_t kHeartbeatsPerElection = 3;
  if (raft.election_min_ms < kHeartbeatsPerElection * raft.heartbeat_ms) {
    problems.push_back(
        fmt::format("tuning.raft.election_min_ms = {}: at least {} heartbeats of heartbeat_ms {} ({}), or "
                    "one that is late "
                    "starts an election",
                    raft.election_min_ms, kHeartbeatsPerElection, raft.heartbeat_ms,
                    kHeartbeatsPerElection * raft.heartbeat_ms));
  }
  if (raft.election_max_ms < raft.election_min_ms + raft.heartbeat_ms) {
    problems.push_back(fmt::format(
        "tuning.raft.election_max_ms = {}: at least election_min_ms {} + heartbeat_ms {} = {}, or nodes keep "
        "standing against each other",
        raft.election_max_ms, raft.election_min_ms, raft.heartbeat_ms,
        raft.election_min_ms + raft.heartbeat_ms));
  }
}

void check_cores(const TuningConfig& tuning, Problems& problems) {
  const std::size_t listed = tuning.cpu_list.count();
  if (listed > 0 && tuning.cores > listed) {
    problems.push_back(fmt::format(
        "tuning.cores = {} but tuning.cpu_list = \"{}\" names only {}: list one CPU per data core",
        tuning.cores, tuning.cpu_list.to_string(), listed));
  }
  if (listed > 0 && tuning.pin == topo::PinMode::off) {
    problems.push_back(
        "tuning.cpu_list is set but tuning.pin = \"off\": set pin to \"prefer\" or \"require\"");
  }
  if (tuning.idle == topo::IdleStrategy::spin && tuning.pin == topo::PinMode::off) {
    problems.push_back(
        "tuning.idle = \"spin\" with tuning.pin = \"off\": a core that polls for ever needs a CPU of its "
        "own; "
        "set pin = \"require\" or idle = \"adaptive\"");
  }
}

}  // namespace

Status validate(const Config& config) {
  Problems problems;
  check_node(config, problems);
  check_cores(config.tuning, problems);
  check_memory(config.tuning, problems);
  check_log(config.tuning, problems);
  check_messages(config, problems);
  check_raft(config.tuning.raft, problems);
  if (problems.empty()) return {};
  std::string message;
  for (const auto& problem : problems) {
    if (!message.empty()) message += '\n';
    message += problem;
  }
  return fail(Errc::invalid_argument, std::move(message));
}

}  // namespace esc::app
