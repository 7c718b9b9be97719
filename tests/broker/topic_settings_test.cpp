#include "esc/broker/topic_settings.h"

#include <gtest/gtest.h>

namespace esc::broker {
namespace {

TEST(TopicSettings, a_known_number_is_taken_over) {
  TopicSettings settings;
  ASSERT_TRUE(apply_override(settings, "retention.ms", "60000").has_value());
  EXPECT_EQ(settings.retention_ms, 60000);
}

TEST(TopicSettings, an_unknown_key_is_refused_by_name) {
  TopicSettings settings;
  const Status status = apply_override(settings, "flush.messages", "1");
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().message.find("flush.messages"), std::string::npos);
}

TEST(TopicSettings, an_unsupported_value_names_what_is_supported) {
  TopicSettings settings;
  const Status status = apply_override(settings, "cleanup.policy", "shred");
  ASSERT_FALSE(status.has_value());
  EXPECT_NE(status.error().message.find("delete"), std::string::npos);
  EXPECT_TRUE(apply_override(settings, "cleanup.policy", "delete").has_value());
}

TEST(TopicSettings, the_cleanup_policy_is_a_list_in_any_order) {
  struct Case {
    const char* value;
    bool deletes;
    bool compacts;
  };
  for (const Case& known : {Case{"delete", true, false}, Case{"compact", false, true},
                            Case{"compact,delete", true, true}, Case{"delete, compact", true, true}}) {
    TopicSettings settings;
    ASSERT_TRUE(apply_override(settings, "cleanup.policy", known.value)) << known.value;
    EXPECT_EQ(settings.cleanup_delete, known.deletes) << known.value;
    EXPECT_EQ(settings.cleanup_compact, known.compacts) << known.value;
  }
  TopicSettings settings;
  for (const char* value : {"", ",", "compact,", "compact,shred"})
    EXPECT_FALSE(apply_override(settings, "cleanup.policy", value)) << value;
}

TEST(TopicSettings, the_dirty_ratio_is_a_part_of_one) {
  TopicSettings settings;
  ASSERT_TRUE(apply_override(settings, "min.cleanable.dirty.ratio", "0.01"));
  EXPECT_EQ(settings.min_cleanable_dirty_ratio, 0.01);
  for (const char* value : {"", "-0.1", "1.5", "half", "nan", "0.5x"})
    EXPECT_FALSE(apply_override(settings, "min.cleanable.dirty.ratio", value)) << value;
}

TEST(TopicSettings, numbers_out_of_range_or_malformed_are_refused) {
  TopicSettings settings;
  for (const char* value : {"", "abc", "1x", "-2", "99999999999999999999"}) {
    EXPECT_FALSE(apply_override(settings, "retention.bytes", value).has_value()) << value;
  }
  EXPECT_FALSE(apply_override(settings, "max.message.bytes", "100000000").has_value());
}

TEST(TopicSettings, a_compacted_topic_rolls_in_time_for_its_largest_lag) {
  TopicSettings settings;
  ASSERT_TRUE(apply_override(settings, "segment.ms", "60000"));
  ASSERT_TRUE(apply_override(settings, "max.compaction.lag.ms", "5000"));
  EXPECT_EQ(roll_rules(settings).ms, 60000);
  ASSERT_TRUE(apply_override(settings, "cleanup.policy", "compact"));
  EXPECT_EQ(roll_rules(settings).ms, 5000);
  ASSERT_TRUE(apply_override(settings, "segment.ms", "2000"));
  EXPECT_EQ(roll_rules(settings).ms, 2000);
  for (const char* key : {"segment.ms", "max.compaction.lag.ms"}) {
    EXPECT_FALSE(apply_override(settings, key, "999")) << key;
    EXPECT_FALSE(apply_override(settings, key, "-1")) << key;
    EXPECT_TRUE(apply_override(settings, key, "9223372036854775807")) << "Kafka's way to say never";
  }
}

TEST(TopicSettings, lags_that_contradict_each_other_are_refused) {
  const TopicSettings defaults;
  const TopicOverrides before = {{"min.compaction.lag.ms", "5000"}};
  const auto refused =
      change_overrides(defaults, before, {{.key = "max.compaction.lag.ms", .value = "4999"}}, false);
  ASSERT_FALSE(refused);
  EXPECT_NE(refused.error().message.find("min.compaction.lag.ms = 5000"), std::string::npos);
  EXPECT_TRUE(change_overrides(defaults, before, {{.key = "max.compaction.lag.ms", .value = "5000"}}, false));
  EXPECT_TRUE(change_overrides(defaults, before, {{.key = "max.compaction.lag.ms", .value = "4999"}}, true));
}

TEST(TopicSettings, the_description_has_the_effective_values) {
  TopicSettings settings;
  settings.segment_bytes = 1 << 20;
  bool found = false;
  for (const ConfigDescription& config : describe(settings)) {
    if (config.key == "segment.bytes") found = config.value == "1048576";
  }
  EXPECT_TRUE(found);
}

TEST(TopicNames, follow_kafkas_rules) {
  EXPECT_EQ(topic_name_problem("orders.v1_final-2"), nullptr);
  EXPECT_EQ(topic_name_problem(std::string(249, 'a')), nullptr);
  for (const std::string& name : {std::string(), std::string("."), std::string(".."), std::string("a b"),
                                  std::string("a/b"), std::string(250, 'a'), std::string("caf\xc3\xa9")}) {
    EXPECT_NE(topic_name_problem(name), nullptr) << name;
  }
}

}  // namespace
}  // namespace esc::broker
