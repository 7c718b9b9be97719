// The commands of esctl. Each prints its result to standard output when it succeeds, and nothing otherwise.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client.h"
#include "esc/base/result.h"
#include "outcome.h"

namespace esc::esctl {

enum class Output { table, json };

// What every command shares.
struct Options {
  std::string bootstrap = "127.0.0.1:9092";  // one or more HOST:PORT, comma-separated
  double timeout_s = 10;
  Output output = Output::table;

  [[nodiscard]] Deadline deadline() const {
    return std::chrono::steady_clock::now() +
           std::chrono::milliseconds(static_cast<std::int64_t>(timeout_s * 1000));
  }
  // Every address of `bootstrap`.
  [[nodiscard]] std::vector<std::string> addresses() const {
    std::vector<std::string> list;
    for (std::size_t from = 0; from <= bootstrap.size();) {
      const auto comma = std::min(bootstrap.find(',', from), bootstrap.size());
      list.push_back(bootstrap.substr(from, comma - from));
      from = comma + 1;
    }
    return list;
  }
  // The timeout as requests carry it.
  [[nodiscard]] std::int32_t timeout_ms() const { return static_cast<std::int32_t>(timeout_s * 1000); }
};

struct TopicCreateOptions {
  std::string name;
  std::int32_t partitions = -1;          // -1: the server's default
  std::int16_t replication_factor = -1;  // likewise
  std::vector<std::string> configs;      // "key=value"
  bool validate_only = false;
  bool if_not_exists = false;
};
struct TopicAlterOptions {
  std::string name;
  std::vector<std::string> set;      // KEY=VALUE
  std::vector<std::string> removed;  // keys
  bool validate_only = false;
};

struct TopicDeleteOptions {
  std::vector<std::string> names;
  bool if_exists = false;
};
struct GroupResetOptions {
  std::string group;
  std::string topic;
  std::vector<std::int32_t> partitions;  // empty: all
  std::string to;                        // earliest, latest, an offset, or ms: and a time
  bool execute = false;                  // otherwise only say what would be done
  bool create = false;                   // a group that does not exist yet
};
struct NodeAddOptions {
  std::int32_t id = 0;
  std::string peer;   // HOST:PORT, numeric
  std::string kafka;  // HOST:PORT
  std::string rack;
  bool no_wait = false;
};
struct WalDumpOptions {
  std::string directory;
  std::optional<std::uint32_t> group;
  bool entries = false;
};

[[nodiscard]] Status topic_create(const Options& options, const TopicCreateOptions& topic);
// Names that begin with "__" only when asked for.
[[nodiscard]] Status topic_list(const Options& options, bool internal);
[[nodiscard]] Status topic_describe(const Options& options, const std::string& name);
[[nodiscard]] Status topic_alter(const Options& options, const TopicAlterOptions& topic);
[[nodiscard]] Status topic_delete(const Options& options, const TopicDeleteOptions& topics);
[[nodiscard]] Status group_list(const Options& options);
// Errc::not_found: no such group.
[[nodiscard]] Status group_describe(const Options& options, const std::string& group);
[[nodiscard]] Status group_lag(const Options& options, const std::string& group);
[[nodiscard]] Status group_reset(const Options& options, const GroupResetOptions& reset);
// healthy, degraded or unhealthy.
[[nodiscard]] Result<ExitCode> cluster_status(const Options& options);
[[nodiscard]] Status node_list(const Options& options);
// Waits until every group counts the node. Errc::timeout: it goes on by itself.
[[nodiscard]] Status node_add(const Options& options, const NodeAddOptions& node);
// Waits until no group counts it. Errc::not_found: no such node.
[[nodiscard]] Status node_remove(const Options& options, std::int32_t id, bool no_wait);
// Reads files only, no server. Fails with Errc::corruption when damage was found, after printing everything.
[[nodiscard]] Status wal_dump(const Options& options, const WalDumpOptions& dump);

}  // namespace esc::esctl
