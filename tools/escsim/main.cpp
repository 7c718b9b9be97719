// escsim: runs seeds of the simulator, in parallel processes, and tells which of them fail and why.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <string>

#include "farm.h"
#include "plants.h"
#include "simulation.h"

// jemalloc reads it. Thousands of short-lived clusters would give their memory back to the kernel, and take
// it again page by page: that waits some seconds. For ever would be too long: what no later cluster fits into
// is never used again, and a worker grew by a megabyte a seed.
extern "C" const char* malloc_conf;
const char* malloc_conf = "dirty_decay_ms:5000,muzzy_decay_ms:5000";

namespace esc::escsim {
namespace {

struct Options {
  std::string seeds;
  std::string list;
  std::uint64_t seed = 0;
  bool one = false;
  FarmOptions farm;
  std::string plant;
  std::int64_t seconds = 0;
  bool logs = false;
  bool list_plants = false;
  bool check_plants = false;
};

bool parse_range(const std::string& text, FarmOptions& farm) {
  const std::size_t dots = text.find("..");
  char* end = nullptr;
  farm.first = std::strtoull(text.c_str(), &end, 10);
  if (dots == std::string::npos) {
    farm.last = farm.first;
    return end == text.c_str() + text.size();
  }
  if (end != text.c_str() + dots) return false;
  farm.last = std::strtoull(text.c_str() + dots + 2, &end, 10);
  return end == text.c_str() + text.size() && farm.last >= farm.first;
}

int replay(const Options& options) {
  SimulationOptions simulation = options.farm.simulation;
  simulation.seed = options.seed;
  simulation.print = true;
  simulation.logs = options.logs;
  const SimulationReport report = simulate(simulation);
  fmt::print("{}\n", describe(options.seed, report));
  return report.ok ? 0 : 1;
}

int list_plants() {
  for (const Plant& info : plants()) fmt::print("{:<28} {:>5} seeds  {}\n", info.name, info.seeds, info.what);
  return 0;
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{
      "Runs whole clusters on virtual time, each from one seed, with faults, and checks what must hold."};
  app.set_version_flag("--version", std::string("escsim ") + commit_name());
  app.add_option("--seeds", options.seeds, "Run these seeds: A..B");
  app.add_option("--regress", options.list, "Run the seeds listed in this file");
  app.add_option("--seed", options.seed, "Replay one seed and print its trace")
      ->each([&](const std::string&) { options.one = true; });
  app.add_option("--jobs", options.farm.jobs, "Processes for --seeds")->check(CLI::Range(1, 256));
  app.add_option("--nodes", options.farm.simulation.nodes, "Nodes of every cluster; 0: the seed decides")
      ->check(CLI::Range(0, 5));
  app.add_option("--time", options.seconds, "Virtual seconds with faults; 0: the seed decides");
  app.add_option("--plant", options.plant, "Plant a bug, see --list-plants");
  app.add_flag("--list-plants", options.list_plants, "List the bugs that can be planted");
  app.add_flag("--check-plants", options.check_plants, "Show that every planted bug is found");
  app.add_option("--stop-after", options.farm.seconds_max,
                 "Real seconds, after which no further seed is begun");
  const auto age = [&](const char* flag, Age value, const char* what) {
    app.add_flag_callback(flag, [&options, value] { options.farm.simulation.age = value; }, what);
  };
  age("--plain", Age::plain, "Without ambushes, as the first regression seeds");
  age("--sound", Age::sound, "Without bit flips, as the seeds before those");
  age("--steady", Age::steady, "Without topics that come and go, as the seeds before those");
  age("--fixed", Age::fixed,
      "Without rules of segments that change, and sectors that cannot be read, as the seeds before those");
  age("--narrow", Age::narrow, "Without requests for several partitions, as the seeds before those");
  app.add_flag("--once", options.farm.once, "Do not run every seed twice");
  app.add_flag("--keep-going", options.farm.keep_going, "Do not stop at the first failing seed");
  app.add_flag("--logs", options.logs, "With --seed: the nodes' own log lines on standard error");
  CLI11_PARSE(app, argc, argv);
  if (options.list_plants) return list_plants();
  if (options.check_plants) return check_plants(options.farm);
  options.farm.simulation.chaos_time = options.seconds * kSecond;
  if (!options.plant.empty()) {
    const Plant* const plant = plant_named(options.plant);
    if (plant == nullptr) {
      fmt::print(stderr, "escsim: there is no plant '{}'; --list-plants shows them\n", options.plant);
      return 2;
    }
    options.farm.simulation.plant = plant;
  }
  if (!options.list.empty()) return run_list(options.list, options.farm);
  if (options.one) return replay(options);
  if (options.seeds.empty() || !parse_range(options.seeds, options.farm)) {
    fmt::print(stderr, "escsim: give --seeds A..B or --seed S\n");
    return 2;
  }
  return run_farm(options.farm);
}

}  // namespace
}  // namespace esc::escsim

int main(int argc, char** argv) {
  return esc::escsim::run(argc, argv);
}
