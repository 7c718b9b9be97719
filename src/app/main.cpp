// escd: reads its configuration, plans its placement, runs the node.
#include <cstdio>
#include <string>

#include "esc/app/config.h"
#include "esc/app/node.h"
#include "esc/topo/placement.h"
#include "forced_start.h"

namespace {

void print(std::FILE* to, const std::string& text) {
  std::fputs(text.c_str(), to);
  if (!text.empty() && text.back() != '\n') std::fputc('\n', to);
}

}  // namespace

int main(int argc, char** argv) {
  namespace app = esc::app;
  namespace topo = esc::topo;
  const auto command = app::parse_command_line(argc, argv);
  if (!command) {
    print(command.error().code == 0 ? stdout : stderr, command.error().text);
    return command.error().code;
  }
  const auto config = app::load_config(command->sources);
  if (!config) {
    print(stderr, "escd: " + config.error().message);
    return 2;
  }
  if (command->action == app::Action::check_config) {
    for (const std::string& warning : app::config_warnings(*config))
      print(stderr, "escd: warning: " + warning);
    print(stdout, "escd: the configuration is valid");
    return 0;
  }
  if (command->action == app::Action::print_config) {
    print(stdout, app::format_config(*config));
    return 0;
  }
  if (command->action == app::Action::force_sole_voter)
    return app::force_sole_voter(*config, command->confirmed_cluster);
  const auto topology = topo::read_topology(
      {.data_dir = config->data_dir, .wal_dir = config->wal_dir, .listen_host = config->kafka.listen.host});
  if (!topology) {
    print(stderr, "escd: " + topology.error().message);
    return 1;
  }
  const auto plan = topo::plan_placement(*topology, app::placement_request(*config));
  if (!plan) {
    print(stderr, "escd: " + plan.error().message);
    return 2;
  }
  if (command->action == app::Action::print_plan) {
    print(stdout,
          command->json ? topo::format_plan_json(*topology, *plan) : topo::format_plan(*topology, *plan));
    return 0;
  }
  return app::run_node(*config, *plan);
}
