#include "esc/replica/catalog.h"

#include <gtest/gtest.h>

namespace esc::replica {
namespace {

TopicId topic_id(std::uint8_t n) {
  TopicId id{};
  id[0] = std::byte{n};
  return id;
}

Topic topic(std::uint8_t n, const std::string& name, std::uint32_t first_partition, std::uint32_t count) {
  Topic made;
  made.id = topic_id(n);
  made.name = name;
  for (std::uint32_t i = 0; i < count; ++i)
    made.partitions.push_back({PartitionId(first_partition + i), GroupId(i % 2)});
  made.overrides = {{"retention.ms", "1000"}};
  return made;
}

std::vector<std::byte> create_command(const Topic& made) {
  std::vector<std::byte> command;
  Catalog::encode_create_topic(made, command);
  return command;
}

TEST(Catalog, a_created_topic_is_found_by_name_and_id) {
  Catalog catalog;
  catalog.apply(Index(5), create_command(topic(1, "orders", 1, 3)));
  ASSERT_NE(catalog.find("orders"), nullptr);
  EXPECT_EQ(catalog.find(topic_id(1)), catalog.find("orders"));
  EXPECT_EQ(catalog.find("orders")->partitions.size(), 3u);
  EXPECT_EQ(catalog.find("orders")->overrides.front().second, "1000");
  EXPECT_EQ(catalog.next_partition_id(), PartitionId(4));
}

TEST(Catalog, replaying_an_index_changes_nothing) {
  Catalog catalog;
  catalog.apply(Index(5), create_command(topic(1, "orders", 1, 3)));
  catalog.apply(Index(5), create_command(topic(2, "other", 4, 1)));
  EXPECT_EQ(catalog.find("other"), nullptr);
  EXPECT_EQ(catalog.applied(), Index(5));
}

TEST(Catalog, the_second_creation_of_a_name_loses) {
  Catalog catalog;
  catalog.apply(Index(1), create_command(topic(1, "orders", 1, 3)));
  catalog.apply(Index(2), create_command(topic(2, "orders", 4, 9)));
  EXPECT_EQ(catalog.find("orders")->id, topic_id(1));
  EXPECT_EQ(catalog.partition_count(), 3u);
}

TEST(Catalog, partition_ids_are_never_given_twice_even_after_deletion) {
  Catalog catalog;
  catalog.apply(Index(1), create_command(topic(1, "orders", 1, 3)));
  std::vector<std::byte> remove;
  Catalog::encode_delete_topic(topic_id(1), remove);
  catalog.apply(Index(2), remove);
  EXPECT_EQ(catalog.find("orders"), nullptr);
  EXPECT_EQ(catalog.partition_count(), 0u);
  EXPECT_EQ(catalog.next_partition_id(), PartitionId(4));
}

TEST(Catalog, a_saved_catalog_loads_to_the_same_state) {
  Catalog catalog;
  catalog.apply(Index(1), create_command(topic(1, "orders", 1, 3)));
  catalog.apply(Index(2), create_command(topic(2, "bids", 4, 2)));
  std::vector<std::byte> add;
  Catalog::encode_add_partitions(topic_id(2), {{PartitionId(6), GroupId(0)}}, add);
  catalog.apply(Index(3), add);
  std::vector<std::byte> state;
  catalog.save(state);
  Catalog loaded;
  ASSERT_TRUE(loaded.load(state).has_value());
  std::vector<std::byte> again;
  loaded.save(again);
  EXPECT_EQ(state, again);
  EXPECT_EQ(loaded.find("bids")->partitions.size(), 3u);
  EXPECT_EQ(loaded.applied(), Index(3));
}

TEST(Catalog, every_truncation_of_a_saved_catalog_is_refused) {
  Catalog catalog;
  catalog.apply(Index(1), create_command(topic(1, "orders", 1, 3)));
  std::vector<std::byte> state;
  catalog.save(state);
  for (std::size_t bytes = 0; bytes < state.size(); ++bytes) {
    Catalog loaded;
    EXPECT_FALSE(loaded.load(ByteView(state).first(bytes)).has_value()) << bytes;
  }
}

TEST(Catalog, the_configuration_of_a_topic_is_replaced_as_a_whole) {
  Catalog catalog;
  Topic topic;
  topic.id[0] = std::byte{9};
  topic.name = "orders";
  topic.overrides = {{"retention.ms", "1"}};
  std::vector<std::byte> command;
  Catalog::encode_create_topic(topic, command);
  catalog.apply(Index(1), command);
  command.clear();
  Catalog::encode_set_overrides(topic.id, {{"retention.bytes", "2"}}, command);
  EXPECT_EQ(catalog.apply(Index(2), command).topic, "orders");
  const std::vector<std::pair<std::string, std::string>> wanted = {{"retention.bytes", "2"}};
  EXPECT_EQ(catalog.find(std::string_view("orders"))->overrides, wanted);
  Topic gone = topic;
  gone.id[0] = std::byte{8};
  command.clear();
  Catalog::encode_set_overrides(gone.id, {}, command);
  EXPECT_EQ(catalog.apply(Index(3), command).topic, "") << "deleted meanwhile";
}

TEST(Catalog, nodes_are_those_of_the_last_list_and_come_back_from_a_checkpoint) {
  Catalog catalog;
  catalog.apply(Index(1), create_command(topic(1, "orders", 1, 3)));
  std::vector<std::byte> without;
  catalog.save(without);
  NodeList list;
  list.nodes = {
      {.node = NodeId(1), .host = "a", .port = 9092, .peer_host = "10.0.0.1", .peer_port = 9192},
      {.node = NodeId(4), .host = "d", .port = 1, .peer_host = "::1", .peer_port = 65535, .rack = "r"}};
  list.nodes[0].leaving = true;
  list.removed = {NodeId(2), NodeId(3)};
  std::vector<std::byte> command;
  Catalog::encode_set_nodes(list, command);
  const CatalogChange change = catalog.apply(Index(2), command);
  EXPECT_TRUE(change.nodes);
  EXPECT_TRUE(change.topic.empty());
  EXPECT_EQ(catalog.nodes(), list);
  std::vector<std::byte> state;
  catalog.save(state);
  Catalog loaded;
  ASSERT_TRUE(loaded.load(state).has_value());
  EXPECT_EQ(loaded.nodes(), list);
  EXPECT_NE(loaded.find("orders"), nullptr);
  // Until somebody changes them there are none, and a build that knows of none reads the state.
  ASSERT_TRUE(loaded.load(without).has_value());
  EXPECT_EQ(loaded.nodes(), NodeList{});
  for (std::size_t bytes = 0; bytes < state.size(); ++bytes)
    EXPECT_FALSE(loaded.load(ByteView(state).first(bytes)).has_value()) << bytes;
}

}  // namespace
}  // namespace esc::replica
