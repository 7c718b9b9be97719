#include "dev.h"

#include <fmt/format.h>

#include <algorithm>
#include <thread>

#include "canary.h"
#include "json.h"
#include "table.h"

namespace esc::esctl {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

Result<std::string> directory_of(const DevOptions& dev) {
  if (!dev.directory.empty()) return dev.directory;
  return LocalCluster::default_directory();
}

// The settings asked for, on top of those the directory has.
Result<LocalCluster> prepare(const std::string& directory, const DevOptions& dev) {
  const auto existing = LocalCluster::open(directory);
  if (!existing && existing.error().code != Errc::not_found) return existing;
  LocalClusterSettings wanted = existing ? existing->settings() : LocalClusterSettings{};
  if (existing && dev.nodes && *dev.nodes != existing->nodes()) {
    return fail(
        Errc::already_exists,
        fmt::format("{} holds a cluster of {} nodes, not {}: name another directory with --dir, or remove "
                    "this one with esctl dev down --remove-data",
                    directory, existing->nodes(), *dev.nodes));
  }
  wanted.nodes = dev.nodes.value_or(wanted.nodes);
  wanted.kafka_port = dev.kafka_port.value_or(wanted.kafka_port);
  wanted.profile = dev.profile.value_or(wanted.profile);
  if (!dev.sets.empty()) wanted.sets = dev.sets;
  if (existing && existing->running() > 0) {
    const LocalClusterSettings& now = existing->settings();
    if (wanted.kafka_port == now.kafka_port && wanted.profile == now.profile && wanted.sets == now.sets)
      return existing;
    return fail(Errc::busy,
                fmt::format("the cluster in {} runs with other settings: esctl dev down first", directory));
  }
  return LocalCluster::configure(directory, wanted);
}

// Every free port is checked before the first node starts.
Result<std::uint32_t> start_missing(const LocalCluster& cluster) {
  for (std::uint32_t node = 1; node <= cluster.nodes(); ++node) {
    if (cluster.process(node)) continue;
    if (const auto free = cluster.check_ports(node); !free) return std::unexpected(free.error());
  }
  std::uint32_t started = 0;
  for (std::uint32_t node = 1; node <= cluster.nodes(); ++node) {
    if (cluster.process(node)) continue;
    if (const auto status = cluster.start(node); !status) return std::unexpected(status.error());
    ++started;
  }
  return started;
}

Json nodes_json(const LocalCluster& cluster) {
  Json nodes = Json::array();
  for (std::uint32_t node = 1; node <= cluster.nodes(); ++node) {
    const auto process = cluster.process(node);
    Json json = Json::object();
    json.set("id", node)
        .set("running", process.has_value())
        .set("pid", process ? Json(process->pid) : Json());
    json.set("kafka", cluster.kafka_address(node)).set("data", cluster.data_path(node));
    const auto metrics = cluster.metrics_url(node);
    json.set("metrics", metrics ? Json(*metrics) : Json());
    nodes.push(json.set("log", cluster.log_path(node)));
  }
  return nodes;
}

std::string nodes_text(const LocalCluster& cluster) {
  using enum Table::Align;
  Table table(
      {{"NODE", right}, {"STATE", left}, {"PID", right}, {"KAFKA", left}, {"METRICS", left}, {"LOG", left}});
  for (std::uint32_t node = 1; node <= cluster.nodes(); ++node) {
    const auto process = cluster.process(node);
    table.add({std::to_string(node), process ? "running" : "stopped",
               process ? std::to_string(process->pid) : "", cluster.kafka_address(node),
               cluster.metrics_url(node).value_or(""), cluster.log_path(node)});
  }
  return table.text();
}

// A majority commits; the last node may still be on its way.
Status all_answer(const LocalCluster& cluster, Deadline deadline) {
  for (const std::string& address : cluster.kafka_addresses()) {
    if (const auto client = Client::connect(address, deadline); !client)
      return std::unexpected(client.error());
  }
  return {};
}

std::string bootstrap_of(const LocalCluster& cluster) {
  return fmt::format("{}", fmt::join(cluster.kafka_addresses(), ","));
}

}  // namespace

Result<LocalCluster> open_local_cluster(const std::string& directory) {
  const auto path = directory_of({.directory = directory});
  if (!path) return std::unexpected(path.error());
  return LocalCluster::open(*path);
}

Status wait_until_ready(const LocalCluster& cluster, Deadline deadline) {
  std::string trouble = "no node has answered yet";
  while (Clock::now() < deadline) {
    if (const auto running = cluster.check_running(); !running) return running;
    // Short, so that the end of a node is noticed; long enough for an election.
    const auto slice = std::min(deadline, Clock::now() + milliseconds(500));
    const auto canary = commit_canary(cluster.kafka_addresses(), cluster.groups(), slice);
    if (canary && canary->all()) {
      const auto answered = all_answer(cluster, slice);
      if (answered) return {};
      trouble = answered.error().message;
      std::this_thread::sleep_for(milliseconds(5));
      continue;
    }
    trouble = canary ? canary->first_trouble() : canary.error().message;
  }
  return fail(Errc::timeout,
              fmt::format("not every group has committed an event in time ({}). The nodes are still "
                          "running; look at their logs, or allow more with --timeout SECONDS",
                          trouble));
}

Result<ExitCode> dev_up(const Options& options, const DevOptions& dev) {
  const auto began = Clock::now();
  const auto directory = directory_of(dev);
  if (!directory) return std::unexpected(directory.error());
  const auto cluster = prepare(*directory, dev);
  if (!cluster) return std::unexpected(cluster.error());
  const auto started = start_missing(*cluster);
  if (!started) return std::unexpected(started.error());
  const auto ready = wait_until_ready(*cluster, options.deadline());
  if (!ready && ready.error().code == Errc::closed && *started == cluster->nodes())
    (void)cluster->stop_all(milliseconds(5000));  // nothing is left of a start that failed
  if (!ready) return std::unexpected(ready.error());
  const auto elapsed = std::chrono::duration_cast<milliseconds>(Clock::now() - began).count();
  if (options.output == Output::json) {
    Json json = Json::object();
    json.set("directory", cluster->directory()).set("bootstrap", bootstrap_of(*cluster));
    json.set("started", *started).set("ready_ms", elapsed).set("nodes", nodes_json(*cluster));
    fmt::print("{}\n", json.text());
    return kExitOk;
  }
  fmt::print("{} node{} started; an event has been committed in every group ({} ms).\n\n{}\nBootstrap: {}\n",
             *started, *started == 1 ? "" : "s", elapsed, nodes_text(*cluster), bootstrap_of(*cluster));
  return kExitOk;
}

Result<ExitCode> dev_down(const Options& options, const DevOptions& dev) {
  const auto cluster = open_local_cluster(dev.directory);
  if (!cluster && cluster.error().code == Errc::not_found) {
    fmt::print("{}", options.output == Output::json ? "{\n  \"stopped\": 0,\n  \"killed\": 0\n}\n"
                                                    : "Nothing to stop.\n");
    return kExitOk;
  }
  if (!cluster) return std::unexpected(cluster.error());
  const std::uint32_t running = cluster->running();
  const std::uint32_t killed = cluster->stop_all(milliseconds(options.timeout_ms()));
  if (dev.remove_data) {
    if (const auto removed = cluster->remove(); !removed) return std::unexpected(removed.error());
  }
  if (options.output == Output::json) {
    Json json = Json::object();
    json.set("directory", cluster->directory()).set("stopped", running).set("killed", killed);
    fmt::print("{}\n", json.set("data_removed", dev.remove_data).text());
    return kExitOk;
  }
  fmt::print("{} node{} stopped{}{}.\n", running, running == 1 ? "" : "s",
             killed == 0 ? "" : fmt::format(", {} of them by SIGKILL after {} s", killed, options.timeout_s),
             dev.remove_data ? fmt::format("; {} removed", cluster->directory()) : "");
  return kExitOk;
}

Result<ExitCode> dev_status(const Options& options, const DevOptions& dev) {
  const auto cluster = open_local_cluster(dev.directory);
  if (!cluster) return std::unexpected(cluster.error());
  const std::uint32_t running = cluster->running();
  const auto deadline = std::min(options.deadline(), Clock::now() + milliseconds(2000));
  Result<CanaryResult> canary = fail(Errc::closed, "no node runs; esctl dev up starts them");
  if (running > 0) canary = commit_canary(cluster->kafka_addresses(), cluster->groups(), deadline);
  const bool commits = canary && canary->all();
  const ExitCode code = !commits ? kExitUnhealthy : running < cluster->nodes() ? kExitDegraded : kExitOk;
  const std::string trouble = commits ? "" : canary ? canary->first_trouble() : canary.error().message;
  if (options.output == Output::json) {
    Json json = Json::object();
    json.set("directory", cluster->directory()).set("bootstrap", bootstrap_of(*cluster));
    json.set("health", health_name(code)).set("trouble", commits ? Json() : Json(trouble));
    json.set("groups", cluster->groups()).set("groups_committing", canary ? canary->committed() : 0);
    fmt::print("{}\n", json.set("nodes", nodes_json(*cluster)).text());
    return code;
  }
  fmt::print("Cluster in {}: {}\n{} of {} nodes run; a canary event {}\n\n{}\nBootstrap: {}\n",
             cluster->directory(), health_name(code), running, cluster->nodes(),
             commits ? "committed in every group" : "did not commit everywhere: " + trouble,
             nodes_text(*cluster), bootstrap_of(*cluster));
  return code;
}

}  // namespace esc::esctl
