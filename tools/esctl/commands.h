// The commands of esctl. Each prints its result to standard output when it succeeds, and nothing otherwise.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "client.h"
#include "esc/base/result.h"

namespace esc::esctl {

enum class Output { table, json };

// What every command shares.
struct Options {
  std::string bootstrap = "127.0.0.1:9092";
  double timeout_s = 10;
  Output output = Output::table;

  [[nodiscard]] Deadline deadline() const {
    return std::chrono::steady_clock::now() +
           std::chrono::milliseconds(static_cast<std::int64_t>(timeout_s * 1000));
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
struct TopicDeleteOptions {
  std::vector<std::string> names;
  bool if_exists = false;
};
struct WalDumpOptions {
  std::string directory;
  std::optional<std::uint32_t> group;
  bool entries = false;
};

[[nodiscard]] Status topic_create(const Options& options, const TopicCreateOptions& topic);
[[nodiscard]] Status topic_list(const Options& options);
[[nodiscard]] Status topic_describe(const Options& options, const std::string& name);
[[nodiscard]] Status topic_delete(const Options& options, const TopicDeleteOptions& topics);
[[nodiscard]] Status cluster_status(const Options& options);
// Reads files only, no server. Fails with Errc::corruption when damage was found, after printing everything.
[[nodiscard]] Status wal_dump(const Options& options, const WalDumpOptions& dump);

}  // namespace esc::esctl
