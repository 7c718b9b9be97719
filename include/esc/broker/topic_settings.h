// Topic configuration: the keys we support, their defaults, how a value is checked and described.
// A key that is not in the table is refused by name, never accepted and ignored.
// Source: Kafka's topic configuration reference.
#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "esc/base/result.h"
#include "esc/base/units.h"
#include "esc/replica/partition.h"
#include "esc/wire/event_id.h"

namespace esc::broker {

struct TopicSettings {
  std::int64_t retention_ms = 604'800'000;  // -1: no limit
  std::int64_t retention_bytes = -1;        // per partition; -1: no limit
  std::int64_t segment_bytes = 64 * kMiB;
  std::int64_t max_message_bytes = 1'048'588;
  std::int64_t min_insync_replicas = 1;  // beyond the majority that commits; of acks=all only
  bool log_append_time = false;          // records carry the time of their append instead of the producer's
  // Records whose event id was committed in this time, in the same partition, are dropped; -1: none are.
  std::int64_t dedup_window_ms = -1;
  std::int64_t dedup_window_bytes = 256 * kMiB;  // of memory and files for ids, per partition
  // cleanup.policy: old segments are deleted, or sealed ones compacted, or both.
  bool cleanup_delete = true;
  bool cleanup_compact = false;
  std::int64_t delete_retention_ms = 86'400'000;  // of tombstones, once they are compacted
  std::int64_t min_compaction_lag_ms = 0;
  double min_cleanable_dirty_ratio = 0.5;
  std::string dedup_id = "header:event-id";  // where the id is: a header's name, or "key"
  std::int64_t segment_ms = 604'800'000;     // of record time, from a segment's first batch on
  std::int64_t max_compaction_lag_ms = std::numeric_limits<std::int64_t>::max();
};

// What a partition is told of its topic.
void apply_to(const TopicSettings& settings, replica::Partition& partition);

// Where its segments end. That goes through the log of the partition's group, so that all members do alike.
[[nodiscard]] store::RollRules roll_rules(const TopicSettings& settings);

// Views into `settings`.
[[nodiscard]] wire::EventIdRule event_id_rule(const TopicSettings& settings);

using TopicOverrides = std::vector<std::pair<std::string, std::string>>;

// Applies one key; the message says what is accepted.
[[nodiscard]] Status apply_override(TopicSettings& settings, std::string_view key, std::string_view value);
// What no single key says: settings that contradict each other are refused.
[[nodiscard]] Status check_together(const TopicSettings& settings);
// One key of a topic's configuration is to be changed. `append` and `subtract` are of keys that are lists.
struct ConfigChange {
  enum class Operation : std::uint8_t { set = 0, remove = 1, append = 2, subtract = 3 };  // Kafka's
  Operation operation = Operation::set;
  std::string key;
  std::string value;  // not of `remove`
};
// The overrides of an existing topic after these changes of it; with `replaces_all` of a topic that has none.
// Refused by name: what cannot be set. `defaults`: of what is not overridden.
[[nodiscard]] Result<TopicOverrides> change_overrides(const TopicSettings& defaults,
                                                      const TopicOverrides& before,
                                                      const std::vector<ConfigChange>& changes,
                                                      bool replaces_all);
// Overrides from the log were checked before they were proposed.
[[nodiscard]] TopicSettings resolve(const TopicSettings& defaults, const TopicOverrides& overrides);

enum class ConfigType : std::uint8_t {
  unknown = 0,
  boolean = 1,
  string = 2,
  int32 = 3,
  int16 = 4,
  int64 = 5,
  real = 6,
  list = 7
};

struct ConfigDescription {
  std::string_view key;
  std::string value;
  ConfigType type = ConfigType::string;
  bool read_only = false;
  std::string_view documentation;
};
// Every key with its effective value, in a fixed order.
[[nodiscard]] std::vector<ConfigDescription> describe(const TopicSettings& settings);

// Kafka's rules for topic names: 1-249 of [a-zA-Z0-9._-], not "." or "..". Null when valid, else the reason.
[[nodiscard]] const char* topic_name_problem(std::string_view name);

}  // namespace esc::broker
