#include "esc/app/config.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "../../src/app/config_key.h"
#include "../../src/app/config_value.h"

namespace esc::app {
namespace {

bool contains(const std::string& text, std::string_view part) {
  return text.find(part) != std::string::npos;
}

std::string refusal_of_text(std::string_view toml) {
  Config config;
  const auto status = apply_config_text(config, toml, "escd.toml");
  EXPECT_FALSE(status.has_value()) << toml;
  return status ? std::string() : status.error().message;
}

ConfigSources with(std::vector<Override> overrides) {
  overrides.push_back({.key = "data_dir", .value = "/tmp/x", .origin = "--data"});
  return {.overrides = std::move(overrides)};
}

std::string refusal_of(const ConfigSources& sources) {
  const auto config = load_config(sources);
  EXPECT_FALSE(config.has_value());
  return config ? std::string() : config.error().message;
}

class ConfigFile : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (std::filesystem::temp_directory_path() / "esc-config-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    directory_ = pattern;
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }
  std::string write(const std::string& name, const std::string& text) {
    const std::string path = directory_ + "/" + name;
    std::ofstream(path) << text;
    return path;
  }
  std::string directory_;
};

constexpr std::string_view kCluster = R"(
data_dir = "/srv/events"
[node]
id = 2
[cluster]
id = "prod-1"
secret = "0123456789abcdef"
[[cluster.nodes]]
id = 3
peer = "10.0.0.3:9192"
kafka = "10.0.0.3:9092"
[[cluster.nodes]]
id = 1
peer = "10.0.0.1:9192"
kafka = "10.0.0.1:9092"
[[cluster.nodes]]
id = 2
peer = "10.0.0.2:9192"
kafka = "10.0.0.2:9092"
)";
constexpr std::string_view kNodes =
    "1=10.0.0.1:9192/10.0.0.1:9092,2=10.0.0.2:9192/10.0.0.2:9092,3=10.0.0.3:9192/10.0.0.3:9092";

// A valid cluster, changed by some settings.
ConfigSources cluster_with(std::vector<Override> overrides) {
  std::vector<Override> all = {{"cluster.id", "prod-1", "--set"},
                               {"cluster.secret", "0123456789abcdef", "--set"},
                               {"cluster.nodes", std::string(kNodes), "--set"}};
  all.insert(all.end(), overrides.begin(), overrides.end());
  return with(std::move(all));
}

TEST(ConfigValue, sizes_have_binary_and_decimal_units) {
  EXPECT_EQ(parse_size("64MiB"), 64 << 20);
  EXPECT_EQ(parse_size("1 GB"), 1'000'000'000);
  EXPECT_EQ(parse_size("4096"), 4096);
  EXPECT_EQ(parse_size("10kib"), 10240);
  for (const char* bad : {"", "MiB", "-1", "64M", "1.5GiB", "9999999999TiB", "0x10", "1 2"}) {
    EXPECT_EQ(parse_size(bad), std::nullopt) << bad;
  }
}

TEST(ConfigValue, durations_must_be_whole_numbers_of_the_keys_unit) {
  EXPECT_EQ(parse_duration("10ms", kMillisecond), 10);
  EXPECT_EQ(parse_duration("7d", kMillisecond), 604'800'000);
  EXPECT_EQ(parse_duration("2000us", kMillisecond), 2);
  EXPECT_EQ(parse_duration("500us", kMillisecond), std::nullopt);
  EXPECT_EQ(parse_duration("1ms", kMicrosecond), 1000);
  EXPECT_EQ(parse_duration("15", kMicrosecond), 15);
  EXPECT_EQ(parse_duration("9223372036854775807d", kMillisecond), std::nullopt);
}

TEST(ConfigValue, printing_is_exact_and_reads_back) {
  for (const std::int64_t value : {std::int64_t{0}, std::int64_t{1}, std::int64_t{1000},
                                   std::int64_t{1} << 20, std::int64_t{3} << 30, std::int64_t{1'114'112}}) {
    EXPECT_EQ(parse_size(format_size(value)), value);
    EXPECT_EQ(parse_duration(format_duration(value, kMillisecond), kMillisecond), value);
    EXPECT_EQ(parse_duration(format_duration(value, kMicrosecond), kMicrosecond), value);
  }
  EXPECT_EQ(format_size(1 << 20), "1MiB");
  EXPECT_EQ(format_duration(604'800'000, kMillisecond), "7d");
}

TEST(ConfigValue, addresses) {
  EXPECT_EQ(parse_host_port("127.0.0.1:9092").value(), (HostPort{"127.0.0.1", 9092}));
  EXPECT_EQ(parse_host_port("[::1]:0").value(), (HostPort{"::1", 0}));
  EXPECT_EQ(to_string(HostPort{"::1", 9092}), "[::1]:9092");
  for (const char* bad : {"localhost", ":9092", "a:b", "a:65536", "::1:9092", "a b:1", "a:-1", "a:"}) {
    EXPECT_FALSE(parse_host_port(bad).has_value()) << bad;
  }
}

TEST(ConfigValue, suggestions_find_slips_and_wrong_sections) {
  const std::vector<std::string_view> known = {"topics.segment_bytes", "tuning.wal.segment_bytes",
                                               "tuning.cores"};
  EXPECT_EQ(did_you_mean("tuning.corse", known), "tuning.cores");
  EXPECT_EQ(did_you_mean("cores", known), "tuning.cores");
  EXPECT_EQ(did_you_mean("segment_bytes", known), "topics.segment_bytes or tuning.wal.segment_bytes");
  EXPECT_EQ(did_you_mean("completely_different", known), "");
}

TEST(ConfigText, sets_keys_of_every_kind) {
  Config config;
  const auto status = apply_config_text(config, R"(
data_dir = "/srv/events"
[node]
id = 7
[kafka]
listen = "0.0.0.0:19092"
advertise = "broker-1.example:19092"
[topics]
auto_create = false
retention_ms = "1h"
retention_bytes = "unlimited"
max_message_bytes = 2048
[tuning]
idle = "park"
cpu_list = "2-3"
[tuning.wal]
segment_bytes = "32MiB"
[log]
level = "debug"
)",
                                        "escd.toml");
  ASSERT_TRUE(status.has_value()) << status.error().message;
  EXPECT_EQ(config.data_dir, "/srv/events");
  EXPECT_EQ(config.node.id, NodeId(7));
  EXPECT_EQ(config.kafka.listen, (HostPort{"0.0.0.0", 19092}));
  EXPECT_EQ(config.kafka.advertise, (HostPort{"broker-1.example", 19092}));
  EXPECT_FALSE(config.topics.auto_create);
  EXPECT_EQ(config.topics.retention_ms, 3'600'000);
  EXPECT_EQ(config.topics.retention_bytes, -1);
  EXPECT_EQ(config.topics.max_message_bytes, 2048u);
  EXPECT_EQ(config.tuning.idle, topo::IdleStrategy::park);
  EXPECT_EQ(config.tuning.cpu_list.to_string(), "2,3");
  EXPECT_EQ(config.tuning.wal.segment_bytes, 32 * kMiB);
  EXPECT_EQ(config.log.level, LogLevel::debug);
}

TEST(ConfigText, unknown_keys_name_file_line_key_and_a_suggestion) {
  const std::string message = refusal_of_text("[tuning]\ncores = 2\ncroes = 3\n");
  EXPECT_TRUE(contains(message, "escd.toml:3: tuning.croes: unknown key; did you mean tuning.cores?"))
      << message;
}

TEST(ConfigText, wrong_types_name_the_value_and_what_is_accepted) {
  EXPECT_TRUE(
      contains(refusal_of_text("[tuning]\ncores = \"two\"\n"),
               "escd.toml:2: tuning.cores = \"two\": not understood; accepted: an integer from 0 to 64"));
  EXPECT_TRUE(contains(refusal_of_text("[tuning]\ncores = 2.5\n"), "tuning.cores = 2.5: not understood"));
  EXPECT_TRUE(contains(refusal_of_text("[topics]\nauto_create = 1\n"), "accepted: true, false"));
  EXPECT_TRUE(contains(refusal_of_text("data_dir = 5\n"), "data_dir = 5: not a text in quotes"));
  EXPECT_TRUE(contains(refusal_of_text("[log]\nlevel = \"loud\"\n"),
                       "accepted: \"error\", \"warn\", \"info\", \"debug\""));
  EXPECT_TRUE(contains(refusal_of_text("tuning = 5\n"), "this is a section; write [tuning]"));
  EXPECT_TRUE(contains(refusal_of_text("[node.id]\nx = 1\n"), "node.id"));
}

TEST(ConfigText, values_out_of_range_name_the_range) {
  EXPECT_TRUE(
      contains(refusal_of_text("[tuning]\ncores = 65\n"), "out of range; accepted: an integer from 0 to 64"));
  EXPECT_TRUE(
      contains(refusal_of_text("[tuning.wal]\nsegment_bytes = \"1KiB\"\n"), "a size from 1MiB to 4GiB"));
  EXPECT_TRUE(contains(refusal_of_text("[tuning.batch]\ndelay_us = -1\n"), "a duration from 0us to 1s"));
}

TEST(ConfigText, every_problem_is_reported_in_the_order_of_the_file) {
  const std::string message =
      refusal_of_text("[tuning]\ncores = 99\n[log]\nlevel = \"x\"\n[kafka]\nlisten = \"y\"\n");
  const auto first = message.find("escd.toml:2:");
  const auto second = message.find("escd.toml:4:");
  const auto third = message.find("escd.toml:6:");
  ASSERT_NE(third, std::string::npos) << message;
  EXPECT_LT(first, second);
  EXPECT_LT(second, third);
}

TEST(ConfigText, a_refused_text_changes_nothing) {
  Config config;
  EXPECT_FALSE(apply_config_text(config, "[tuning]\ncores = 3\nbad = 1\n", "x").has_value());
  EXPECT_EQ(config.tuning.cores, 0u);
}

TEST(ConfigText, broken_toml_names_the_line) {
  EXPECT_TRUE(contains(refusal_of_text("a = 1\nb = = 2\n"), "escd.toml:2: not valid TOML"));
}

TEST(ConfigLoad, defaults_need_only_a_data_directory) {
  const auto config = load_config(with({}));
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->wal_dir, "/tmp/x");
  EXPECT_EQ(config->kafka.listen, (HostPort{"127.0.0.1", 9092}));
  EXPECT_EQ(config->profile, "laptop");
  EXPECT_TRUE(contains(refusal_of({}), "data_dir is not set: say where to store data with --data DIR"));
}

TEST(ConfigLoad, every_built_in_profile_is_valid) {
  for (const auto name : builtin_profile_names()) {
    auto sources = with({});
    sources.profile = std::string(name);
    const auto config = load_config(sources);
    ASSERT_TRUE(config.has_value()) << name << ": " << config.error().message;
    EXPECT_EQ(config->profile, name);
  }
  EXPECT_EQ(builtin_profile_names().size(), 4u);
}

TEST(ConfigLoad, an_unknown_profile_lists_the_known_ones) {
  auto sources = with({});
  sources.profile = "fast";
  EXPECT_TRUE(contains(refusal_of(sources), "accepted: laptop, ci, throughput, latency, or a path"));
}

TEST_F(ConfigFile, command_line_beats_file_beats_profile) {
  const std::string path = write(
      "escd.toml", "profile = \"latency\"\ndata_dir = \"/a\"\n[tuning]\nidle = \"park\"\npin = \"prefer\"\n");
  const auto plain = load_config({.config_file = path});
  ASSERT_TRUE(plain.has_value()) << plain.error().message;
  EXPECT_EQ(plain->profile, "latency");
  EXPECT_EQ(plain->tuning.idle, topo::IdleStrategy::park);  // the file over the profile
  EXPECT_EQ(plain->tuning.wal.spare_segments, 3u);          // the profile over the default
  const auto overridden =
      load_config({.config_file = path,
                   .profile = "throughput",
                   .overrides = {{"data_dir", "/b", "--data"}, {"tuning.idle", "adaptive", "--idle"}}});
  ASSERT_TRUE(overridden.has_value()) << overridden.error().message;
  EXPECT_EQ(overridden->profile, "throughput");
  EXPECT_EQ(overridden->data_dir, "/b");
  EXPECT_EQ(overridden->tuning.idle, topo::IdleStrategy::adaptive);
  EXPECT_EQ(overridden->tuning.wal.depth, 4u);
}

TEST_F(ConfigFile, a_profile_may_be_a_file_but_may_only_tune) {
  auto sources = with({});
  sources.profile = write("mine.toml", "[tuning]\ncores = 1\n");
  ASSERT_TRUE(load_config(sources).has_value());
  sources.profile = write("sneaky.toml", "[kafka]\nlisten = \"0.0.0.0:1\"\n");
  EXPECT_TRUE(contains(refusal_of(sources), "kafka.listen cannot be set by a profile"));
}

TEST_F(ConfigFile, a_missing_file_is_named) {
  EXPECT_TRUE(contains(refusal_of({.config_file = directory_ + "/none.toml"}),
                       "none.toml cannot be read: No such file"));
}

TEST(ConfigLoad, overrides_name_the_option) {
  EXPECT_TRUE(
      contains(refusal_of(with({{"tuning.cores", "many", "--cores"}})),
               "--cores (tuning.cores) = \"many\": not understood; accepted: an integer from 0 to 64"));
  EXPECT_TRUE(contains(refusal_of(with({{"tuning.coers", "1", "--set"}})), "did you mean tuning.cores?"));
}

TEST(ConfigLoad, memory_that_does_not_add_up_is_refused_with_the_arithmetic) {
  const std::string message = refusal_of(with({{"tuning.memory.fetch_bytes", "64MiB", "--set"}}));
  EXPECT_TRUE(contains(
      message, "24MiB + receive buffers 64 x 64KiB + request_bytes 16MiB + fetch_bytes 64MiB = 108MiB"))
      << message;
  EXPECT_TRUE(contains(message, "more than budget_bytes 64MiB")) << message;
}

TEST(ConfigLoad, impossible_combinations_are_refused) {
  EXPECT_TRUE(
      contains(refusal_of(with({{"kafka.listen", "0.0.0.0:9092", "--kafka"}})), "set kafka.advertise"));
  EXPECT_TRUE(contains(refusal_of(with({{"topics.max_message_bytes", "16MiB", "--set"}})),
                       "must fit in tuning.batch.frame_bytes_max"));
  EXPECT_TRUE(contains(refusal_of(with({{"tuning.wal.bytes_max", "16MiB", "--set"}})),
                       "tuning.wal.bytes_max = 16MiB"));
  EXPECT_TRUE(
      contains(refusal_of(with({{"tuning.wal.segment_bytes", "16777217", "--set"}})), "use 16781312"));
  EXPECT_TRUE(
      contains(refusal_of(with({{"tuning.memory.receive_buffer_count", "100", "--set"}})), "use 64 or 128"));
  EXPECT_TRUE(contains(refusal_of(with({{"tuning.idle", "spin", "--idle"}, {"tuning.pin", "off", "--pin"}})),
                       "needs a CPU of its own"));
  EXPECT_TRUE(
      contains(refusal_of(with({{"tuning.cpu_list", "1", "--set"}, {"tuning.cores", "2", "--cores"}})),
               "names only 1"));
}

TEST(ConfigFormat, the_printed_configuration_loads_to_itself) {
  for (const auto name : builtin_profile_names()) {
    auto sources = cluster_with(
        {{"kafka.advertise", "10.0.0.1:9092", "--advertise"}, {"node.name", "a \"b\" \\ c", "--set"}});
    sources.profile = std::string(name);
    const Config config = load_config(sources).value();
    const std::string text = format_config(config);
    Config again;
    const auto status = apply_config_text(again, text, "printed");
    ASSERT_TRUE(status.has_value()) << status.error().message;
    EXPECT_EQ(format_config(again), text);
  }
}

// The defaults in config.h and the laptop profile say the same in two places; this keeps them together.
TEST(ConfigFormat, defaults_lie_within_their_own_ranges) {
  Config config;
  for (const ConfigKey& key : config_keys()) {
    if (key.get_number == nullptr) continue;
    const std::int64_t value = key.get_number(config);
    EXPECT_TRUE((value >= key.low && value <= key.high) || (key.may_be_unlimited && value == -1)) << key.path;
    EXPECT_FALSE(key.meaning.empty()) << key.path;
  }
}

TEST_F(ConfigFile, a_cluster_lists_its_nodes_and_serves_clients_at_its_own_address) {
  const auto config = load_config({.config_file = write("escd.toml", std::string(kCluster))});
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_TRUE(config->cluster.configured());
  ASSERT_EQ(config->cluster.nodes.size(), 3u);
  EXPECT_EQ(config->cluster.nodes[0].id, NodeId(1));  // in order
  EXPECT_EQ(config->cluster.nodes[2].peer, (HostPort{"10.0.0.3", 9192}));
  EXPECT_EQ(config->kafka.listen, (HostPort{"10.0.0.2", 9092}));
  EXPECT_TRUE(config_warnings(*config).empty());
}

TEST(ConfigCluster, without_any_of_its_keys_the_node_is_single) {
  const auto config = load_config(with({}));
  ASSERT_TRUE(config.has_value());
  EXPECT_FALSE(config->cluster.configured());
  EXPECT_TRUE(config_warnings(*config).empty());
}

TEST(ConfigCluster, nodes_in_one_line_equal_nodes_in_tables) {
  Config tables;
  ASSERT_TRUE(apply_config_text(tables, kCluster, "x").has_value());
  const auto line = load_config(cluster_with({{"node.id", "2", "--node-id"}}));
  ASSERT_TRUE(line.has_value()) << line.error().message;
  EXPECT_EQ(tables.cluster.nodes, line->cluster.nodes);
}

TEST(ConfigCluster, what_is_missing_is_named) {
  const std::string message = refusal_of(with({{"cluster.id", "a", "--set"}}));
  EXPECT_TRUE(contains(message, "cluster.secret is not set")) << message;
  EXPECT_TRUE(contains(message, "cluster.nodes is not set")) << message;
  EXPECT_TRUE(
      contains(refusal_of(with({{"cluster.secret", "0123456789abcdef", "--set"}})), "cluster.id is not set"));
}

TEST(ConfigCluster, a_node_must_be_in_its_own_list) {
  EXPECT_TRUE(contains(refusal_of(cluster_with({{"node.id", "4", "--node-id"}})),
                       "node.id = 4 is not in cluster.nodes (ids 1, 2, 3)"));
}

TEST(ConfigCluster, ids_and_addresses_are_unique_and_usable) {
  const auto refusal = [](std::string nodes) {
    return refusal_of(cluster_with({{"cluster.nodes", std::move(nodes), "--set"}}));
  };
  EXPECT_TRUE(contains(refusal("1=a:1/a:2,1=b:1/b:2"), "id = 1 appears twice"));
  EXPECT_TRUE(contains(refusal("1=a:1/a:2,2=a:1/b:2"), "peer of node 1 and peer of node 2 are both \"a:1\""));
  EXPECT_TRUE(contains(refusal("1=a:1/a:1,2=b:1/b:2"), "peer of node 1 and kafka of node 1 are both"));
  EXPECT_TRUE(contains(refusal("1=a:0/a:2"), "it cannot be chosen at start"));
  EXPECT_TRUE(contains(refusal("1=0.0.0.0:1/a:2"), "nobody can connect to that"));
  EXPECT_TRUE(contains(refusal("0=a:1/a:2"), "id = 0 is no node number"));
  EXPECT_TRUE(contains(refusal("1=a:1"), "is not ID=PEER/KAFKA; accepted: tables such as"));
  EXPECT_TRUE(contains(refusal("1=a/b:2"), "node 1: peer = \"a\""));
  EXPECT_TRUE(
      contains(refusal("1=a:1/a:2,2=b:1/b:2,3=c:1/c:2,4=d:1/d:2,5=e:1/e:2,6=f:1/f:2,7=g:1/g:2,8=h:1/h:2"),
               "lists 8 nodes: at most 7"));
}

TEST(ConfigCluster, broken_tables_name_line_and_entry) {
  EXPECT_TRUE(contains(refusal_of_text("[cluster]\nnodes = [{ id = 1, peer = \"a:1\" }]\n"),
                       "escd.toml:2: cluster.nodes: entry 1: kafka is missing"));
  EXPECT_TRUE(contains(refusal_of_text("[cluster]\nnodes = [{ id = 1, peer = \"a:1\", kafak = \"b:1\" }]\n"),
                       "entry 1: unknown key kafak"));
  EXPECT_TRUE(contains(refusal_of_text("[[cluster.nodes]]\nid = \"1\"\n"),
                       "entry 1: id is missing or not an integer"));
  EXPECT_TRUE(contains(refusal_of_text("[cluster]\nnodes = [5]\n"), "entry 1: not a table"));
}

TEST(ConfigCluster, an_even_number_of_nodes_or_one_is_allowed_with_a_warning) {
  const auto two = load_config(cluster_with({{"cluster.nodes", "1=a:1/a:2,2=b:1/b:2", "--set"}}));
  ASSERT_TRUE(two.has_value()) << two.error().message;
  ASSERT_EQ(config_warnings(*two).size(), 1u);
  EXPECT_TRUE(contains(config_warnings(*two)[0], "as many may fail as of 1"));
  const auto one = load_config(cluster_with({{"cluster.nodes", "1=a:1/a:2", "--set"}}));
  ASSERT_TRUE(one.has_value()) << one.error().message;
  EXPECT_EQ(config_warnings(*one).size(), 1u);
}

TEST(ConfigCluster, a_node_that_joins_needs_somebody_to_join) {
  const auto joins = load_config(cluster_with({{"cluster.join", "true", "--set"}}));
  ASSERT_TRUE(joins.has_value()) << joins.error().message;
  EXPECT_TRUE(joins->cluster.join);
  EXPECT_FALSE(load_config(cluster_with({}))->cluster.join);
  EXPECT_TRUE(contains(
      refusal_of(cluster_with({{"cluster.nodes", "1=a:1/a:2", "--set"}, {"cluster.join", "true", "--set"}})),
      "lists this node only"));
}

TEST(ConfigCluster, clients_are_sent_where_the_node_listens) {
  EXPECT_TRUE(contains(refusal_of(cluster_with({{"kafka.listen", "10.0.0.1:9999", "--kafka"}})),
                       "is not where clients are sent, \"10.0.0.1:9092\""));
  EXPECT_TRUE(contains(refusal_of(cluster_with({{"kafka.advertise", "10.0.0.9:9092", "--advertise"}})),
                       "the other nodes tell clients \"10.0.0.1:9092\""));
  EXPECT_TRUE(contains(refusal_of(cluster_with({{"kafka.listen", "10.0.0.1:9192", "--kafka"}})),
                       "is the peer address of this node"));
  // Every address, with the right port; and a port that is forwarded.
  EXPECT_TRUE(load_config(cluster_with({{"kafka.listen", "0.0.0.0:9092", "--kafka"},
                                        {"kafka.advertise", "10.0.0.1:9092", "--advertise"}}))
                  .has_value());
  EXPECT_TRUE(load_config(cluster_with({{"kafka.listen", "127.0.0.1:19092", "--kafka"},
                                        {"kafka.advertise", "10.0.0.1:9092", "--advertise"}}))
                  .has_value());
}

TEST_F(ConfigFile, the_secret_comes_from_the_file_and_is_never_printed) {
  auto sources = cluster_with({{"cluster.secret", "", "--set"}});
  sources.overrides.push_back({"cluster.secret_file", write("secret", "topsecret-topsecret\n"), "--set"});
  const auto config = load_config(sources);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->cluster.secret, "topsecret-topsecret");
  EXPECT_FALSE(contains(format_config(*config), "topsecret"));
  const auto inline_secret = load_config(cluster_with({}));
  EXPECT_FALSE(contains(format_config(*inline_secret), "0123456789abcdef"));
  EXPECT_TRUE(
      contains(refusal_of(cluster_with({{"cluster.secret_file", "/none", "--set"}})), "are both set"));
  sources.overrides.push_back({"cluster.secret_file", directory_ + "/none", "--set"});
  EXPECT_TRUE(contains(refusal_of(sources), "none cannot be read"));
}

TEST(ConfigCluster, a_short_secret_is_refused_without_showing_it) {
  const std::string message = refusal_of(cluster_with({{"cluster.secret", "hunter2", "--set"}}));
  EXPECT_TRUE(contains(message, "cluster.secret has 7 characters: at least 16")) << message;
  EXPECT_FALSE(contains(message, "hunter2")) << message;
  EXPECT_FALSE(contains(refusal_of_text("[cluster]\nsecret = 12345\n"), "12345"));
}

TEST(ConfigCluster, election_timeouts_that_elect_for_nothing_are_refused) {
  EXPECT_TRUE(contains(refusal_of(with({{"tuning.raft.heartbeat_ms", "100", "--set"}})),
                       "tuning.raft.election_min_ms = 250: at least 3 heartbeats"));
  EXPECT_TRUE(
      contains(refusal_of(with({{"tuning.raft.election_max_ms", "260", "--set"}})),
               "tuning.raft.election_max_ms = 260: at least election_min_ms 250 + heartbeat_ms 50 = 300"));
}

std::expected<CommandLine, CommandLineExit> parse(std::vector<const char*> arguments) {
  arguments.insert(arguments.begin(), "escd");
  return parse_command_line(static_cast<int>(arguments.size()), arguments.data());
}

TEST(CommandLine, options_become_overrides) {
  const auto command = parse({"--data", "/d", "--kafka", "127.0.0.1:0", "--cores=2", "--set",
                              "log.format=json", "--set", "topics.auto_create=false", "--profile", "ci"});
  ASSERT_TRUE(command.has_value()) << command.error().text;
  EXPECT_EQ(command->action, Action::run);
  const auto config = load_config(command->sources);
  ASSERT_TRUE(config.has_value()) << config.error().message;
  EXPECT_EQ(config->data_dir, "/d");
  EXPECT_EQ(config->kafka.listen.port, 0);
  EXPECT_EQ(config->tuning.cores, 2u);
  EXPECT_EQ(config->log.format, LogFormat::json);
  EXPECT_FALSE(config->topics.auto_create);
  EXPECT_EQ(config->profile, "ci");
}

TEST(CommandLine, help_and_version_end_with_0) {
  const auto help = parse({"--help"});
  ASSERT_FALSE(help.has_value());
  EXPECT_EQ(help.error().code, 0);
  for (const char* word : {"--data", "--kafka", "--config", "--print-plan", "Exit status"}) {
    EXPECT_TRUE(contains(help.error().text, word)) << word;
  }
  const auto version = parse({"--version"});
  ASSERT_FALSE(version.has_value());
  EXPECT_EQ(version.error().code, 0);
  EXPECT_TRUE(contains(version.error().text, "escd ")) << version.error().text;
}

TEST(CommandLine, usage_errors_end_with_2_and_point_to_help) {
  const std::vector<std::vector<const char*>> bad = {{"--nonsense"},      {"--data"},
                                                     {"stray"},           {"--set", "novalue"},
                                                     {"--output", "xml"}, {"--print-plan", "--check-config"}};
  for (const auto& arguments : bad) {
    const auto command = parse(arguments);
    ASSERT_FALSE(command.has_value()) << arguments[0];
    EXPECT_EQ(command.error().code, 2) << arguments[0];
    EXPECT_TRUE(contains(command.error().text, "Try 'escd --help'")) << command.error().text;
  }
}

TEST(CommandLine, actions) {
  EXPECT_EQ(parse({"--data", "/d", "--print-plan", "--output", "json"})->action, Action::print_plan);
  EXPECT_TRUE(parse({"--data", "/d", "--print-plan", "--output", "json"})->json);
  EXPECT_EQ(parse({"--config", "x", "--check-config"})->action, Action::check_config);
  EXPECT_EQ(parse({"--data", "/d", "--print-config"})->action, Action::print_config);
}

}  // namespace
}  // namespace esc::app
