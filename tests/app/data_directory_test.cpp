#include "../../src/app/data_directory.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <string>

namespace esc::app {
namespace {

class DataDirectoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "esc-data-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  [[nodiscard]] Config single() const {
    Config config;
    config.data_dir = config.wal_dir = directory_ + "/data";
    return config;
  }
  [[nodiscard]] Config member(std::uint32_t id, const std::string& cluster = "prod") const {
    Config config = single();
    config.node.id = NodeId(id);
    config.cluster.id = cluster;
    config.cluster.nodes = *parse_cluster_nodes("1=a:1/a:2,2=b:1/b:2,3=c:1/c:2");
    return config;
  }
  // The message of the refusal; empty when the directory opens.
  static std::string refusal(const Config& config) {
    const auto opened = DataDirectory::open(config, 3);
    return opened ? std::string() : opened.error().message;
  }
  std::string directory_;
};

TEST_F(DataDirectoryTest, remembers_cluster_node_and_groups) {
  {
    const auto first = DataDirectory::open(member(2), 3);
    ASSERT_TRUE(first.has_value()) << first.error().message;
    EXPECT_EQ(first->identity().cluster_id, "prod");
    EXPECT_EQ(first->identity().groups, 3u);
  }
  const auto again = DataDirectory::open(member(2), 7);
  ASSERT_TRUE(again.has_value()) << again.error().message;
  EXPECT_EQ(again->identity().groups, 3u);
}

TEST_F(DataDirectoryTest, one_process_at_a_time) {
  const auto first = DataDirectory::open(single(), 1);
  ASSERT_TRUE(first.has_value());
  EXPECT_NE(refusal(single()).find("in use by another escd"), std::string::npos);
}

TEST_F(DataDirectoryTest, the_directory_of_another_node_or_cluster_is_refused) {
  EXPECT_EQ(refusal(member(2)), "");
  EXPECT_NE(refusal(member(3)).find("belongs to node 2, the configuration says node.id = 3"),
            std::string::npos);
  EXPECT_NE(
      refusal(member(2, "test")).find("belongs to cluster prod, the configuration says cluster.id = test"),
      std::string::npos);
}

// Alone it would commit what needs a majority.
TEST_F(DataDirectoryTest, a_member_of_a_cluster_never_runs_alone) {
  EXPECT_EQ(refusal(member(1)), "");
  EXPECT_NE(refusal(single()).find("but the configuration has no [cluster]"), std::string::npos);
}

TEST_F(DataDirectoryTest, a_single_nodes_directory_becomes_a_clusters_when_that_has_its_id) {
  Config alone = single();
  alone.node.cluster_id = "mine";
  EXPECT_EQ(refusal(alone), "");
  EXPECT_NE(refusal(member(1)).find("belongs to a single node"), std::string::npos);
  EXPECT_NE(refusal(member(1)).find("cluster.id = \"mine\""), std::string::npos) << refusal(member(1));
  Config joining = member(1, "mine");
  joining.cluster.join = true;
  EXPECT_NE(refusal(joining).find("remove the key here"), std::string::npos) << refusal(joining);
  EXPECT_NE(refusal(member(2, "mine")).find("belongs to node 1"), std::string::npos);
  EXPECT_EQ(refusal(alone), "") << "a refusal changes nothing";
  {
    const auto grown = DataDirectory::open(member(1, "mine"), 3);
    ASSERT_TRUE(grown.has_value()) << grown.error().message;
    EXPECT_TRUE(grown->identity().began_alone);
    EXPECT_EQ(grown->identity().groups, 3u);
  }
  EXPECT_TRUE(DataDirectory::open(member(1, "mine"), 3)->identity().began_alone) << "also later";
  EXPECT_NE(refusal(alone).find("but the configuration has no [cluster]"), std::string::npos)
      << "there is no way back";
}

TEST_F(DataDirectoryTest, a_cluster_of_several_did_not_begin_alone) {
  EXPECT_FALSE(DataDirectory::open(member(1), 3)->identity().began_alone);
  EXPECT_FALSE(DataDirectory::open(member(1), 3)->identity().began_alone) << "also later";
}

TEST_F(DataDirectoryTest, the_number_of_groups_cannot_change) {
  EXPECT_EQ(refusal(member(1)), "");
  Config more = member(1);
  more.groups = 4;
  EXPECT_NE(refusal(more).find("groups = 4, but this directory was created with 3"), std::string::npos);
}

}  // namespace
}  // namespace esc::app
