// esctl: the operator's tool. Parses the command line; the commands themselves are in the other files.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <functional>
#include <map>

#include "commands.h"
#include "dev.h"
#include "drill.h"
#include "outcome.h"

namespace esc::esctl {

namespace {

using Command = std::function<Result<ExitCode>()>;

// Of commands that either do their work or fail.
Result<ExitCode> plain(const Status& status) {
  if (!status) return std::unexpected(status.error());
  return kExitOk;
}

// Refused while parsing, so that it is a usage error.
std::string check_config(const std::string& text) {
  const auto equals = text.find('=');
  if (equals != std::string::npos && equals != 0) return {};
  return fmt::format("'{}' is not KEY=VALUE, for instance retention.ms=86400000", text);
}

constexpr const char* kFooter = R"(
EXIT CODES
  0  done
  1  failure: the server refused, the connection broke, or damage was found
  2  usage: the command line is wrong
  3  not found: no such topic, directory, group or node
  5  timeout: no answer within --timeout
  10 degraded: every group commits, but a node is down or behind (cluster status, dev status)
  11 unhealthy: some group does not commit (cluster status, dev status)

ENVIRONMENT
  ESC_BOOTSTRAP  default of --bootstrap

EXAMPLES
  esctl topic create orders --partitions 8 --config retention.ms=86400000
  esctl topic describe orders
  esctl --output json topic list
  esctl --bootstrap 10.0.0.5:9092 --timeout 3 cluster status
  esctl group lag billing
  esctl wal dump /var/lib/escd --entries
  esctl dev up && esctl drill failover --rounds 10 && esctl dev down

Results go to standard output, errors to standard error with their cause and what to do. With
--output json a successful command prints exactly one JSON document.)";

std::string check_one_address(const std::string& text) {
  const auto colon = text.rfind(':');
  const auto port = colon == std::string::npos ? "" : text.substr(colon + 1);
  if (colon != std::string::npos && colon > 0 && !port.empty() && port.size() <= 5 &&
      port.find_first_not_of("0123456789") == std::string::npos) {
    return {};
  }
  return fmt::format("'{}' is not HOST:PORT, for instance 127.0.0.1:9092", text);
}

std::string check_address(const std::string& text) {
  for (const std::string& address : Options{.bootstrap = text}.addresses()) {
    if (auto problem = check_one_address(address); !problem.empty()) return problem;
  }
  return {};
}

// Every command takes the general options; its own help repeats that, since people read only that page.
constexpr const char* kGeneral =
    "\nThe general options --bootstrap, --timeout and --output may follow the command; esctl --help explains "
    "them,\n"
    "and the exit codes.";

void add_topic_create(CLI::App& parent, const Options& options, Command& chosen) {
  auto* app = parent.add_subcommand("create", "Create a topic.");
  auto topic = std::make_shared<TopicCreateOptions>();
  app->add_option("NAME", topic->name, "Name: letters, digits, '.', '_' and '-', at most 249")->required();
  app->add_option("-p,--partitions", topic->partitions,
                  "Number of partitions (default: as the server is configured)")
      ->check(CLI::Range(1, 1'000'000));
  app->add_option("-r,--replication-factor", topic->replication_factor,
                  "Copies of each partition (default: as the server is configured)")
      ->check(CLI::Range(1, 127));
  app->add_option("-c,--config", topic->configs, "A setting of the topic, KEY=VALUE; may be repeated")
      ->type_name("KEY=VALUE")
      ->check(check_config)
      ->allow_extra_args(false);
  app->add_flag("--validate-only", topic->validate_only, "Only check whether the topic could be created");
  app->add_flag("--if-not-exists", topic->if_not_exists, "Succeed when the topic exists already");
  app->footer(
      "\nEXAMPLES\n  esctl topic create orders --partitions 8\n"
      "  esctl topic create audit --config retention.ms=-1 --config max.message.bytes=65536");
  app->callback([&options, &chosen, topic] {
    chosen = [&options, topic] { return plain(topic_create(options, *topic)); };
  });
}

void add_topic_alter(CLI::App& parent, const Options& options, Command& chosen) {
  auto* app = parent.add_subcommand("alter", "Change settings of a topic that exists.");
  auto topic = std::make_shared<TopicAlterOptions>();
  app->add_option("NAME", topic->name, "The topic")->required();
  app->add_option("-s,--set", topic->set, "A setting, KEY=VALUE; may be repeated")
      ->type_name("KEY=VALUE")
      ->check(check_config)
      ->allow_extra_args(false);
  app->add_option("-d,--default", topic->removed, "A setting that goes back to its default; may be repeated")
      ->type_name("KEY")
      ->allow_extra_args(false);
  app->add_flag("--validate-only", topic->validate_only, "Only check whether the change is possible");
  app->footer(
      "\nEXAMPLES\n  esctl topic alter orders --set retention.ms=3600000 --default max.message.bytes");
  app->callback([&options, &chosen, topic] {
    chosen = [&options, topic] { return plain(topic_alter(options, *topic)); };
  });
}

void add_topic_delete(CLI::App& parent, const Options& options, Command& chosen) {
  auto* app = parent.add_subcommand("delete", "Delete topics with all their records.");
  auto topics = std::make_shared<TopicDeleteOptions>();
  app->add_option("NAME", topics->names, "Topics to delete")->required();
  app->add_flag("--if-exists", topics->if_exists, "Succeed when a topic does not exist");
  app->footer("\nDeletion cannot be undone. Exit code 3 when a topic does not exist.");
  app->callback([&options, &chosen, topics] {
    chosen = [&options, topics] { return plain(topic_delete(options, *topics)); };
  });
}

void add_topic(CLI::App& root, const Options& options, Command& chosen) {
  auto* app = root.add_subcommand("topic", "Create, list, describe, alter and delete topics.");
  app->require_subcommand(1);
  add_topic_create(*app, options, chosen);
  auto* list = app->add_subcommand("list", "List topics: name, number of partitions, id.");
  auto internal = std::make_shared<bool>(false);
  list->add_flag("--internal", *internal, "Also those whose name begins with __");
  list->callback([&options, &chosen, internal] {
    chosen = [&options, internal] { return plain(topic_list(options, *internal)); };
  });
  auto* describe = app->add_subcommand(
      "describe", "Show a topic: leader, replicas and offsets of each partition, and its settings.");
  auto name = std::make_shared<std::string>();
  describe->add_option("NAME", *name, "The topic")->required();
  describe->callback([&options, &chosen, name] {
    chosen = [&options, name] { return plain(topic_describe(options, *name)); };
  });
  add_topic_alter(*app, options, chosen);
  add_topic_delete(*app, options, chosen);
}

// Refused while parsing, so that it is a usage error.
std::string check_reset_target(const std::string& text) {
  std::string_view number = text;
  if (number == "earliest" || number == "latest") return {};
  if (number.starts_with("ms:")) number.remove_prefix(3);
  if (!number.empty() && number.size() <= 18 &&
      number.find_first_not_of("0123456789") == std::string_view::npos)
    return {};
  return fmt::format("'{}' is not earliest, latest, an offset, or ms: and milliseconds since 1970", text);
}

void add_group_reset(CLI::App& parent, const Options& options, Command& chosen) {
  auto* app = parent.add_subcommand("reset", "Set where a group without members goes on.");
  auto reset = std::make_shared<GroupResetOptions>();
  app->add_option("GROUP", reset->group, "The group")->required();
  app->add_option("--topic", reset->topic, "The topic")->required();
  app->add_option("--partition", reset->partitions, "Only this partition; may be repeated")
      ->check(CLI::Range(0, 1'000'000))
      ->allow_extra_args(false);
  app->add_option("--to", reset->to, "earliest, latest, an offset, or ms:MILLISECONDS since 1970")
      ->required()
      ->check(check_reset_target);
  app->add_flag("--execute", reset->execute, "Do it; without this only what would be done is printed");
  app->add_flag("--create", reset->create, "Also when there is no such group yet");
  app->footer(
      "\nOffsets outside the log are moved to its nearer end. Exit code 1 when the group has members, 3 "
      "when\n"
      "the group, the topic or the partition does not exist."
      "\n\nEXAMPLES\n  esctl group reset billing --topic orders --to earliest --execute\n"
      "  esctl group reset billing --topic orders --partition 3 --to ms:1700000000000");
  app->callback([&options, &chosen, reset] {
    chosen = [&options, reset] { return plain(group_reset(options, *reset)); };
  });
}

void add_group(CLI::App& root, const Options& options, Command& chosen) {
  auto* app = root.add_subcommand("group", "Consumer groups: list, describe, lag, reset.");
  app->require_subcommand(1);
  auto* list = app->add_subcommand("list", "List groups: state, kind, node that coordinates it.");
  list->callback([&options, &chosen] { chosen = [&options] { return plain(group_list(options)); }; });
  const auto named = [&](const char* command, const char* meaning,
                         Status (*run)(const Options&, const std::string&)) {
    auto* sub = app->add_subcommand(command, meaning);
    auto name = std::make_shared<std::string>();
    sub->add_option("GROUP", *name, "The group")->required();
    sub->footer("\nExit code 3 when there is no such group.");
    sub->callback([&options, &chosen, name, run] {
      chosen = [&options, name, run] { return plain(run(options, *name)); };
    });
    return sub;
  };
  named("describe", "Show a group: its state, its members and what each of them reads.", &group_describe);
  named("lag", "Show how far a group is behind, per partition, in events and in seconds.", &group_lag)
      ->footer(
          "\nSECONDS is how long ago the first event that was not consumed was written (to the batch).\n"
          "Exit code 3 when there is no such group.");
  add_group_reset(*app, options, chosen);
}

void add_cluster(CLI::App& root, const Options& options, Command& chosen) {
  auto* app = root.add_subcommand("cluster", "Look at the cluster as a whole.");
  app->require_subcommand(1);
  auto* status = app->add_subcommand(
      "status", "Show nodes, leaders, terms, lag and elections, and judge the cluster's health.");
  status->footer(
      "\nHealth is judged by a canary event, sent through the leader of every group into the topic\n"
      "__esctl_canary (made when missing, kept for an hour); what nodes say of themselves comes second.\n"
      "Exit code 0 healthy, 10 degraded (everything commits, but a node is down or behind), 11 unhealthy.");
  status->callback([&options, &chosen] { chosen = [&options] { return cluster_status(options); }; });
}

void add_node_add(CLI::App& parent, const Options& options, Command& chosen) {
  auto* app = parent.add_subcommand("add", "Add a node, and wait until it counts in every group.");
  auto node = std::make_shared<NodeAddOptions>();
  app->add_option("--id", node->id, "Its number, node.id in its configuration")
      ->required()
      ->check(CLI::Range(1, 2147483647));
  app->add_option("--peer", node->peer, "Where the other nodes reach it; numeric")
      ->required()
      ->type_name("HOST:PORT")
      ->check(check_one_address);
  app->add_option("--kafka", node->kafka, "Where clients reach it")
      ->required()
      ->type_name("HOST:PORT")
      ->check(check_one_address);
  app->add_option("--rack", node->rack, "Its rack, as clients are told");
  app->add_flag("--no-wait", node->no_wait, "Return when the node is recorded");
  app->footer(
      "\nStart the new node, before or after, with the cluster's id, secret and groups, with all nodes and "
      "itself\n"
      "in cluster.nodes, and with cluster.join = true, so that it never begins a cluster of its own.\n"
      "Exit code 5 when it does not count everywhere within --timeout: that goes on by itself."
      "\n\nEXAMPLES\n  esctl --timeout 120 node add --id 4 --peer 10.0.0.4:9192 --kafka 10.0.0.4:9092");
  app->callback(
      [&options, &chosen, node] { chosen = [&options, node] { return plain(node_add(options, *node)); }; });
}

void add_node(CLI::App& root, const Options& options, Command& chosen) {
  auto* app = root.add_subcommand("node", "Nodes of the cluster: list, add, remove.");
  app->require_subcommand(1);
  auto* list = app->add_subcommand("list", "List nodes: addresses, state, in how many groups they vote.");
  list->callback([&options, &chosen] { chosen = [&options] { return plain(node_list(options)); }; });
  add_node_add(*app, options, chosen);
  auto* remove = app->add_subcommand("remove", "Remove a node, and wait until no group counts it.");
  auto id = std::make_shared<std::int32_t>(0);
  auto no_wait = std::make_shared<bool>(false);
  remove->add_option("--id", *id, "Its number")->required()->check(CLI::Range(1, 2147483647));
  remove->add_flag("--no-wait", *no_wait, "Return when the removal has begun");
  remove->footer(
      "\nThe node may be up or dead. Refused when no majority of the nodes that stay would be up. A node "
      "that leads\n"
      "hands over first. Afterwards stop its process: it serves nobody any more. Exit code 3 when there is "
      "no\n"
      "such node, 5 when the removal is not over within --timeout: it goes on by itself."
      "\n\nEXAMPLES\n  esctl node remove --id 3");
  remove->callback([&options, &chosen, id, no_wait] {
    chosen = [&options, id, no_wait] { return plain(node_remove(options, *id, *no_wait)); };
  });
}

void add_wal(CLI::App& root, const Options& options, Command& chosen) {
  auto* app = root.add_subcommand("wal", "Look into write-ahead logs, offline.");
  app->require_subcommand(1);
  auto* dump = app->add_subcommand("dump",
                                   "Print what the write-ahead logs of a data directory hold: segments, "
                                   "frames, and where they are damaged.");
  auto what = std::make_shared<WalDumpOptions>();
  dump->add_option("DIRECTORY", what->directory, "Data directory of a server, or the directory of one group")
      ->required();
  dump->add_option("-g,--group", what->group, "Only this Raft group");
  dump->add_flag("-e,--entries", what->entries, "Also print every entry of every frame");
  dump->footer(
      "\nReads files only and never changes them; works while the server runs, without a server, and on\n"
      "damaged directories. A torn tail (a write that a crash cut short) is normal; corruption is not, and\n"
      "is reported with file and position and exit code 1.");
  dump->callback(
      [&options, &chosen, what] { chosen = [&options, what] { return plain(wal_dump(options, *what)); }; });
}

void add_dev(CLI::App& root, const Options& options, Command& chosen) {
  auto* app = root.add_subcommand("dev", "Run a cluster on this machine, for development.");
  app->require_subcommand(1);
  auto dev = std::make_shared<DevOptions>();
  const auto common = [dev](CLI::App* command) {
    command->add_option("-d,--dir", dev->directory,
                        "Directory of the cluster (default: ~/.local/state/esc-dev)");
  };
  auto* up =
      app->add_subcommand("up", "Start the nodes that do not run; ready when every group commits an event.");
  common(up);
  up->add_option("-n,--nodes", dev->nodes, "Number of nodes of a new cluster: 1, 3 (default) or 5")
      ->check(CLI::IsMember({1U, 3U, 5U}));
  up->add_option(
        "--kafka-port", dev->kafka_port,
        "Port of node 1 (default 9092), the other nodes follow; nodes talk to each other 10000 above")
      ->check(CLI::Range(1024, 65500));
  up->add_option("--profile", dev->profile, "Tuning profile of the nodes (default laptop)");
  up->add_option("--set", dev->sets, "A key of escd.toml for every node, KEY=VALUE; may be repeated")
      ->type_name("KEY=VALUE")
      ->check(check_config)
      ->allow_extra_args(false);
  up->footer("\nMay be repeated: what runs stays as it is. Settings not given are those the directory has.");
  up->callback([&options, &chosen, dev] { chosen = [&options, dev] { return dev_up(options, *dev); }; });
  auto* down = app->add_subcommand("down", "Stop the nodes: SIGTERM, and SIGKILL after --timeout.");
  common(down);
  down->add_flag("--remove-data", dev->remove_data, "Then remove the directory with everything in it");
  down->callback([&options, &chosen, dev] { chosen = [&options, dev] { return dev_down(options, *dev); }; });
  auto* status = app->add_subcommand("status", "Show the nodes, and whether every group commits.");
  common(status);
  status->footer("\nExit code 0 healthy, 10 degraded, 11 unhealthy, 3 no such cluster.");
  status->callback(
      [&options, &chosen, dev] { chosen = [&options, dev] { return dev_status(options, *dev); }; });
}

void add_drill(CLI::App& root, const Options& options, Command& chosen) {
  auto* app =
      root.add_subcommand("drill", "Break a cluster that esctl dev runs, and measure what clients notice.");
  app->require_subcommand(1);
  auto drill = std::make_shared<DrillOptions>();
  auto* failover = app->add_subcommand(
      "failover",
      "Kill leaders (SIGKILL) under load; report the gap in acknowledgements, and what was lost.");
  failover->add_option("-d,--dir", drill->directory,
                       "Directory of the cluster (default: ~/.local/state/esc-dev)");
  failover->add_option("-r,--rounds", drill->rounds, "Leaders to kill, one after the other")
      ->check(CLI::Range(1, 100'000))
      ->capture_default_str();
  failover->footer("\nExit code 1 when an event that was acknowledged is missing or out of place.");
  failover->callback(
      [&options, &chosen, drill] { chosen = [&options, drill] { return drill_failover(options, *drill); }; });
}

void mention_general_options(CLI::App& app) {
  for (CLI::App* command : app.get_subcommands([](const CLI::App*) { return true; })) {
    command->footer(command->get_footer() + kGeneral);
    mention_general_options(*command);
  }
}

int run(int argc, char** argv) {
  Options options;
  Command chosen;
  CLI::App app("esctl - operate EventStreamCore: topics, groups, cluster, drills, write-ahead logs", "esctl");
  app.set_version_flag("--version", "esctl " ESC_VERSION);
  app.add_option("-b,--bootstrap", options.bootstrap, "Addresses of nodes' Kafka listeners; one is enough")
      ->envname("ESC_BOOTSTRAP")
      ->type_name("HOST:PORT[,...]")
      ->check(check_address)
      ->capture_default_str();
  app.add_option("-t,--timeout", options.timeout_s, "Give up after this long")
      ->type_name("SECONDS")
      ->check(CLI::Range(0.001, 3600.0))
      ->capture_default_str();
  const std::map<std::string, Output> formats{{"table", Output::table}, {"json", Output::json}};
  app.add_option("-o,--output", options.output,
                 "How results are printed: table (for people) or json (for programs)")
      ->transform(CLI::CheckedTransformer(formats, CLI::ignore_case).description(""))
      ->type_name("table|json")
      ->default_str("table");
  app.fallthrough();  // the options above may also follow the command
  app.require_subcommand(1);
  app.get_formatter()->column_width(34);
  app.footer(kFooter);
  add_topic(app, options, chosen);
  add_group(app, options, chosen);
  add_cluster(app, options, chosen);
  add_node(app, options, chosen);
  add_dev(app, options, chosen);
  add_drill(app, options, chosen);
  add_wal(app, options, chosen);
  mention_general_options(app);
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? kExitOk : kExitUsage;
  }
  const Result<ExitCode> status = chosen();
  std::fflush(stdout);
  if (status) return *status;
  fmt::print(stderr, "esctl: {}\n", status.error().message);
  return exit_code(status.error().code);
}

}  // namespace

}  // namespace esc::esctl

int main(int argc, char** argv) {
  try {
    return esc::esctl::run(argc, argv);
  } catch (const std::exception& error) {  // out of memory, or a closed standard output
    std::fprintf(stderr, "esctl: %s\n", error.what());
    return esc::esctl::kExitFailure;
  }
}
