#include "esc/broker/topic_settings.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "esc/dedup/window.h"

namespace esc::broker {
namespace {

constexpr std::int64_t kMax = std::numeric_limits<std::int64_t>::max();
// Times within a slice of the window are kept in 32 bits of milliseconds.
constexpr std::int64_t kDedupWindowMsMax = std::int64_t{90} * 24 * 3600 * 1000;
// A segment is a file and some KiB of memory.
constexpr std::int64_t kRollMsMin = 1000;
constexpr std::string_view kDedupId = "dedup.id";
constexpr std::string_view kCleanupPolicy = "cleanup.policy";
constexpr std::string_view kDirtyRatio = "min.cleanable.dirty.ratio";
constexpr std::string_view kHeaderPrefix = "header:";

struct NumberKey {
  std::string_view key;
  std::int64_t TopicSettings::* field;
  std::int64_t min;
  std::int64_t max;
  ConfigType type;
  std::string_view documentation;
};
// Segments below 16 KiB cannot hold a useful index; above 1 GiB positions would not fit their fields.
constexpr std::array kNumberKeys = {
    NumberKey{"retention.ms", &TopicSettings::retention_ms, -1, kMax, ConfigType::int64,
              "Sealed segments whose newest record is older are deleted; -1 keeps them for ever"},
    NumberKey{"retention.bytes", &TopicSettings::retention_bytes, -1, kMax, ConfigType::int64,
              "Sealed segments beyond this size of a partition are deleted, oldest first; -1 is no limit"},
    NumberKey{"segment.bytes", &TopicSettings::segment_bytes, 16 * static_cast<std::int64_t>(kKiB),
              static_cast<std::int64_t>(kGiB), ConfigType::int32,
              "A segment file is rolled before it would exceed this"},
    NumberKey{"segment.ms", &TopicSettings::segment_ms, kRollMsMin, kMax, ConfigType::int64,
              "A segment file is rolled before a record that is newer by more than this than its first ones"},
    NumberKey{"max.message.bytes", &TopicSettings::max_message_bytes, 1024, 1'048'588, ConfigType::int32,
              "Largest record batch, as it arrives (compressed)"},
    NumberKey{"min.insync.replicas", &TopicSettings::min_insync_replicas, 1, 32, ConfigType::int32,
              "With acks=all, so many replicas have what is acknowledged; a majority has it anyway"},
    NumberKey{"delete.retention.ms", &TopicSettings::delete_retention_ms, 0, kMax / 2, ConfigType::int64,
              "Compaction keeps a tombstone for so long after it has removed what it deletes"},
    NumberKey{"min.compaction.lag.ms", &TopicSettings::min_compaction_lag_ms, 0, kMax / 2, ConfigType::int64,
              "A segment with a record younger than this is not compacted"},
    NumberKey{"max.compaction.lag.ms", &TopicSettings::max_compaction_lag_ms, kRollMsMin, kMax,
              ConfigType::int64,
              "A segment that began longer ago is compacted, however little that is worth; on a compacted "
              "topic segments are rolled after this time, too"},
    NumberKey{"dedup.window.ms", &TopicSettings::dedup_window_ms, -1, kDedupWindowMsMax, ConfigType::int64,
              "A record whose event id was committed in this time in the same partition is dropped, and "
              "acknowledged with the offset of the original; -1 or 0 keeps all"},
    NumberKey{"dedup.window.bytes", &TopicSettings::dedup_window_bytes,
              static_cast<std::int64_t>(dedup::kBytesMin), 16 * static_cast<std::int64_t>(kGiB),
              ConfigType::int64,
              "Memory and disk for the event ids of a partition, 40 bytes each; the oldest are forgotten "
              "beyond it"},
};

struct FixedKey {
  std::string_view key;
  std::string_view value;
  ConfigType type;
  std::string_view documentation;
};
// Keys whose only supported value is what the server does anyway.
constexpr std::array kFixedKeys = {
    FixedKey{"compression.type", "producer", ConfigType::string,
             "Batches are stored as the producer compressed them"},
    FixedKey{"unclean.leader.election.enable", "false", ConfigType::boolean,
             "A replica without the log never leads"},
};

// A setting that is one of two words.
struct WordKey {
  std::string_view key;
  bool TopicSettings::* field;
  std::string_view off;
  std::string_view on;
  std::string_view documentation;
};
constexpr std::array kWordKeys = {
    WordKey{"message.timestamp.type", &TopicSettings::log_append_time, "CreateTime", "LogAppendTime",
            "Whether records keep the producer's timestamp or get the time of their append"},
};

std::optional<std::int64_t> parse_number(std::string_view text) {
  std::int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

Status set_dedup_id(TopicSettings& settings, std::string_view value) {
  const bool header = value.starts_with(kHeaderPrefix) && value.size() > kHeaderPrefix.size();
  if (value != "key" && !header) {
    return fail(Errc::invalid_argument,
                "dedup.id = " + std::string(value) + ": \"key\" or \"header:NAME\" is accepted");
  }
  settings.dedup_id = value;
  return {};
}

// Of a list; at least one, which may be empty.
std::vector<std::string_view> words_of(std::string_view list) {
  std::vector<std::string_view> words;
  for (;;) {
    const std::size_t comma = list.find(',');
    std::string_view word = list.substr(0, comma);
    while (word.starts_with(' ')) word.remove_prefix(1);
    while (word.ends_with(' ')) word.remove_suffix(1);
    words.push_back(word);
    if (comma == std::string_view::npos) return words;
    list.remove_prefix(comma + 1);
  }
}

// Words in any order, as Kafka takes them.
Status set_cleanup_policy(TopicSettings& settings, std::string_view value) {
  bool deletes = false;
  bool compacts = false;
  for (const std::string_view word : words_of(value)) {
    if (word != "delete" && word != "compact") {
      return fail(Errc::invalid_argument, "cleanup.policy = " + std::string(value) +
                                              ": delete, compact or compact,delete is accepted");
    }
    (word == "delete" ? deletes : compacts) = true;
  }
  settings.cleanup_delete = deletes;
  settings.cleanup_compact = compacts;
  return {};
}

std::string_view cleanup_policy(const TopicSettings& settings) {
  if (!settings.cleanup_compact) return "delete";
  return settings.cleanup_delete ? "compact,delete" : "compact";
}

Status set_dirty_ratio(TopicSettings& settings, std::string_view value) {
  double ratio = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), ratio);
  if (error != std::errc{} || end != value.data() + value.size() || !(ratio >= 0 && ratio <= 1)) {
    return fail(Errc::invalid_argument,
                std::string(kDirtyRatio) + " = " + std::string(value) + ": a number from 0 to 1 is accepted");
  }
  settings.min_cleanable_dirty_ratio = ratio;
  return {};
}

std::string shortest(double value) {
  std::array<char, 32> text;
  const auto [end, error] = std::to_chars(text.data(), text.data() + text.size(), value);
  return {text.data(), error == std::errc{} ? end : text.data()};
}

}  // namespace

void apply_to(const TopicSettings& settings, replica::Partition& partition) {
  const bool deletes = settings.cleanup_delete;
  partition.set_retention({deletes ? settings.retention_ms : -1, deletes ? settings.retention_bytes : -1});
  partition.set_log_append_time(settings.log_append_time);
  std::optional<store::CompactionRules> rules;
  if (settings.cleanup_compact) {
    rules = {.delete_retention_ms = settings.delete_retention_ms,
             .min_lag_ms = settings.min_compaction_lag_ms,
             .max_lag_ms = settings.max_compaction_lag_ms,
             .dirty_permille = static_cast<std::uint32_t>(settings.min_cleanable_dirty_ratio * 1000)};
  }
  partition.set_compaction(rules);
}

store::RollRules roll_rules(const TopicSettings& settings) {
  // What must be compacted by then must be in a sealed segment by then (KIP-354).
  const std::int64_t ms = settings.cleanup_compact
                              ? std::min(settings.segment_ms, settings.max_compaction_lag_ms)
                              : settings.segment_ms;
  return {static_cast<std::uint64_t>(settings.segment_bytes), ms};
}

Status check_together(const TopicSettings& settings) {
  if (settings.min_compaction_lag_ms <= settings.max_compaction_lag_ms) return {};
  return fail(Errc::invalid_argument,
              "min.compaction.lag.ms = " + std::to_string(settings.min_compaction_lag_ms) +
                  " is more than max.compaction.lag.ms = " + std::to_string(settings.max_compaction_lag_ms) +
                  ": raise the one or lower the other, in one request");
}

Status apply_override(TopicSettings& settings, std::string_view key, std::string_view value) {
  for (const NumberKey& known : kNumberKeys) {
    if (known.key != key) continue;
    const auto number = parse_number(value);
    if (!number || *number < known.min || *number > known.max) {
      return fail(Errc::invalid_argument, std::string(key) + " = " + std::string(value) +
                                              ": a whole number from " + std::to_string(known.min) + " to " +
                                              std::to_string(known.max) + " is accepted");
    }
    settings.*known.field = *number;
    return {};
  }
  for (const WordKey& known : kWordKeys) {
    if (known.key != key) continue;
    if (value != known.on && value != known.off) {
      return fail(Errc::invalid_argument, std::string(key) + " = " + std::string(value) + ": " +
                                              std::string(known.off) + " or " + std::string(known.on) +
                                              " is accepted");
    }
    settings.*known.field = value == known.on;
    return {};
  }
  if (key == kDedupId) return set_dedup_id(settings, value);
  if (key == kCleanupPolicy) return set_cleanup_policy(settings, value);
  if (key == kDirtyRatio) return set_dirty_ratio(settings, value);
  for (const FixedKey& known : kFixedKeys) {
    if (known.key != key) continue;
    if (value == known.value) return {};
    return fail(Errc::unsupported, std::string(key) + " = " + std::string(value) +
                                       " is not supported; only " + std::string(known.value) + " is");
  }
  return fail(Errc::unsupported, "topic configuration " + std::string(key) + " is not supported");
}

namespace {

const std::string* value_of(const TopicOverrides& overrides, std::string_view key) {
  const auto found = std::ranges::find(overrides, key, &TopicOverrides::value_type::first);
  return found == overrides.end() ? nullptr : &found->second;
}

// A list with words more or less than `before`. One that is there, or is not there, already is no mistake.
std::string changed_list(std::string_view before, const ConfigChange& change) {
  std::vector<std::string_view> words = words_of(before);
  for (const std::string_view word : words_of(change.value)) {
    const auto found = std::ranges::find(words, word);
    if (change.operation == ConfigChange::Operation::subtract) {
      std::erase(words, word);
    } else if (found == words.end()) {
      words.push_back(word);
    }
  }
  std::string after;
  for (const std::string_view word : words) after += (after.empty() ? "" : ",") + std::string(word);
  return after;
}

// What the key of `change` is set to by it; `known` is what it is without any override.
Result<std::string> changed_value(const ConfigDescription& known, const TopicOverrides& overrides,
                                  const ConfigChange& change) {
  if (change.operation == ConfigChange::Operation::set) return change.value;
  if (known.type != ConfigType::list) {
    const bool append = change.operation == ConfigChange::Operation::append;
    return fail(Errc::unsupported, std::string("nothing can be ") +
                                       (append ? "appended to " : "subtracted from ") + change.key +
                                       ": its value is not a list; set the whole value");
  }
  const std::string* const set = value_of(overrides, change.key);
  return changed_list(set == nullptr ? known.value : *set, change);
}

}  // namespace

Result<TopicOverrides> change_overrides(const TopicSettings& defaults, const TopicOverrides& before,
                                        const std::vector<ConfigChange>& changes, bool replaces_all) {
  TopicOverrides after = replaces_all ? TopicOverrides{} : before;
  TopicSettings settings;
  const std::vector<ConfigDescription> all = describe(defaults);
  for (const ConfigChange& change : changes) {
    const auto known = std::ranges::find(all, change.key, &ConfigDescription::key);
    if (known == all.end())
      return fail(Errc::unsupported, "topic configuration " + change.key + " is not supported");
    std::optional<std::string> value;
    if (change.operation != ConfigChange::Operation::remove) {
      auto changed = changed_value(*known, after, change);
      if (!changed) return std::unexpected(std::move(changed.error()));
      if (Status status = apply_override(settings, change.key, *changed); !status)
        return std::unexpected(std::move(status.error()));
      value = std::move(*changed);
    }
    std::erase_if(after, [&](const auto& pair) { return pair.first == change.key; });
    if (value) after.emplace_back(change.key, std::move(*value));
  }
  if (Status status = check_together(resolve(defaults, after)); !status)
    return std::unexpected(std::move(status.error()));
  return after;
}

wire::EventIdRule event_id_rule(const TopicSettings& settings) {
  const std::string_view id = settings.dedup_id;
  if (!id.starts_with(kHeaderPrefix)) return {.key = true, .header = {}};
  return {.key = false, .header = id.substr(kHeaderPrefix.size())};
}

TopicSettings resolve(const TopicSettings& defaults, const TopicOverrides& overrides) {
  TopicSettings settings = defaults;
  for (const auto& [key, value] : overrides) {
    if (Status status = apply_override(settings, key, value); !status) continue;
  }
  return settings;
}

std::vector<ConfigDescription> describe(const TopicSettings& settings) {
  std::vector<ConfigDescription> all;
  for (const NumberKey& known : kNumberKeys) {
    all.push_back({known.key, std::to_string(settings.*known.field), known.type, false, known.documentation});
  }
  for (const WordKey& known : kWordKeys) {
    const std::string_view word = settings.*known.field ? known.on : known.off;
    all.push_back({known.key, std::string(word), ConfigType::string, false, known.documentation});
  }
  all.push_back({kDedupId, settings.dedup_id, ConfigType::string, false,
                 "Where a record's event id is: header:NAME, or key"});
  all.push_back(
      {kCleanupPolicy, std::string(cleanup_policy(settings)), ConfigType::list, false,
       "Old segments are deleted, or of sealed segments the newest record of each key is kept, or both"});
  all.push_back({kDirtyRatio, shortest(settings.min_cleanable_dirty_ratio), ConfigType::real, false,
                 "Sealed segments are compacted when so much of them has not been yet"});
  for (const FixedKey& known : kFixedKeys) {
    all.push_back({known.key, std::string(known.value), known.type, true, known.documentation});
  }
  std::sort(all.begin(), all.end(), [](const auto& a, const auto& b) { return a.key < b.key; });
  return all;
}

const char* topic_name_problem(std::string_view name) {
  if (name.empty()) return "the topic name is empty";
  if (name.size() > 249) return "the topic name is longer than 249 characters";
  if (name == "." || name == "..") return "the topic name must not be . or ..";
  const bool legal = std::all_of(name.begin(), name.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '_' || c == '-';
  });
  return legal ? nullptr : "the topic name has characters other than letters, digits, '.', '_' and '-'";
}

}  // namespace esc::broker
