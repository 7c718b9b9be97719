// The command line of escd. The only file that knows CLI11 (slow to compile).
#include <fmt/format.h>

#include <CLI/CLI.hpp>

#include "esc/app/config.h"

namespace esc::app {
namespace {

constexpr int kUsageError = 2;

constexpr const char* kFooter = R"(Examples:
  escd --data /var/lib/escd
  escd --data /tmp/events --kafka 127.0.0.1:0 --cores 2
  escd --config /etc/escd.toml --check-config
  escd --data /var/lib/escd --profile latency --print-plan

Exit status: 0 clean end, 1 failure, 2 usage or configuration error.
Settings: defaults < profile < file < command line. See escd(8) and escd.toml(5).)";

// An option that is short for one configuration key.
struct Shorthand {
  const char* option;
  const char* key;
  const char* placeholder;
  const char* help;
};

constexpr Shorthand kShorthands[] = {
    {"--data", "data_dir", "DIR", "Directory of everything this node stores"},
    {"--wal", "wal_dir", "DIR", "Directory of the write-ahead logs, if on another disk"},
    {"--kafka", "kafka.listen", "HOST:PORT", "Address for clients [127.0.0.1:9092]; port 0 takes a free one"},
    {"--advertise", "kafka.advertise", "HOST:PORT", "Address clients are told to use"},
    {"--admin", "admin.listen", "HOST:PORT",
     "Address of /metrics, /livez, /readyz [off]; port 0 takes a free one"},
    {"--node-id", "node.id", "N", "Number of this node in its cluster [1]"},
    {"--cores", "tuning.cores", "N", "Data cores [0: let the planner decide]"},
    {"--groups", "groups", "N", "Raft groups of a new cluster [0: one per data core]"},
    {"--pin", "tuning.pin", "MODE", "Pin data cores to CPUs: off, prefer, require"},
    {"--idle", "tuning.idle", "STRATEGY", "Cores without work: park, adaptive, spin"},
    {"--log-level", "log.level", "LEVEL", "error, warn, info, debug"},
    {"--log-format", "log.format", "FORMAT", "text, json"},
};

struct Parsed {
  bool print_plan = false;
  bool check_config = false;
  bool print_config = false;
  std::string output = "table";
  std::string config_file;
  std::string profile;
  std::string force_cluster;
  std::vector<std::string> settings;
  std::string values[std::size(kShorthands)];
};

void declare(CLI::App& app, Parsed& parsed) {
  app.set_version_flag("--version", "escd " ESC_VERSION, "Print the version and exit");
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.footer(kFooter);
  for (std::size_t i = 0; i < std::size(kShorthands); ++i) {
    const Shorthand& shorthand = kShorthands[i];
    app.add_option(shorthand.option, parsed.values[i], shorthand.help)->type_name(shorthand.placeholder);
  }
  app.add_option("-c,--config", parsed.config_file, "Configuration file (TOML)")->type_name("FILE");
  app.add_option("--profile", parsed.profile, "Tuning profile: laptop, ci, throughput, latency, or a file")
      ->type_name("NAME");
  app.add_option("--set", parsed.settings, "Set any key of the configuration file; may be repeated")
      ->type_name("KEY=VALUE")
      ->expected(1)
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
  auto* plan = app.add_flag("--print-plan", parsed.print_plan, "Show which CPU would run what, and exit");
  auto* check = app.add_flag("--check-config", parsed.check_config, "Check the configuration and exit");
  auto* print =
      app.add_flag("--print-config", parsed.print_config, "Print the configuration in effect and exit");
  plan->excludes(check)->excludes(print);
  check->excludes(print);
  app.add_option("--force-sole-voter", parsed.force_cluster,
                 "Majority of disks lost: make this stopped node's data all there is, and exit; see escd(8)")
      ->type_name("CLUSTER-ID")
      ->excludes(plan)
      ->excludes(check)
      ->excludes(print);
  app.add_option("--output", parsed.output, "Form of --print-plan: table, json")
      ->type_name("FORM")
      ->check(CLI::IsMember({"table", "json"}));
}

CommandLineExit usage_error(std::string_view message) {
  return {kUsageError, fmt::format("escd: {}\nTry 'escd --help'.\n", message)};
}

}  // namespace

std::expected<CommandLine, CommandLineExit> parse_command_line(int argc, const char* const* argv) {
  CLI::App app("EventStreamCore: a durable event log for any Kafka client.", "escd");
  Parsed parsed;
  declare(app, parsed);
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return std::unexpected(CommandLineExit{0, app.help()});
  } catch (const CLI::CallForVersion&) {
    return std::unexpected(CommandLineExit{0, "escd " ESC_VERSION "\n"});
  } catch (const CLI::ParseError& error) {
    return std::unexpected(usage_error(error.what()));
  }
  CommandLine command;
  if (parsed.print_plan) command.action = Action::print_plan;
  if (parsed.check_config) command.action = Action::check_config;
  if (parsed.print_config) command.action = Action::print_config;
  if (app.count("--force-sole-voter") > 0) command.action = Action::force_sole_voter;
  command.confirmed_cluster = parsed.force_cluster;
  command.json = parsed.output == "json";
  if (app.count("--config") > 0) command.sources.config_file = parsed.config_file;
  if (app.count("--profile") > 0) command.sources.profile = parsed.profile;
  for (const std::string& setting : parsed.settings) {
    const std::size_t equals = setting.find('=');
    if (equals == std::string::npos || equals == 0) {
      return std::unexpected(usage_error(fmt::format("--set \"{}\" is not KEY=VALUE", setting)));
    }
    command.sources.overrides.push_back(
        {.key = setting.substr(0, equals), .value = setting.substr(equals + 1), .origin = "--set"});
  }
  for (std::size_t i = 0; i < std::size(kShorthands); ++i) {
    if (app.count(kShorthands[i].option) == 0) continue;
    command.sources.overrides.push_back(
        {.key = kShorthands[i].key, .value = parsed.values[i], .origin = kShorthands[i].option});
  }
  return command;
}

}  // namespace esc::app
