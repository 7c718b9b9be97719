// Plans as text for people and as JSON for programs.
#include <fmt/format.h>

#include <iterator>

#include "esc/topo/placement.h"

namespace esc::topo {
namespace {

std::string node_text(const std::optional<std::uint32_t>& node) {
  return node ? std::to_string(*node) : std::string("unknown");
}

std::string node_json(const std::optional<std::uint32_t>& node) {
  return node ? std::to_string(*node) : std::string("null");
}

std::string or_none(const CpuSet& set) {
  return set.empty() ? std::string("none") : set.to_string();
}

// Our own sentences carry quotes, never control characters; both are escaped all the same.
std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(static_cast<unsigned char>(c)));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string json_list(const std::vector<std::string>& sentences) {
  std::string out = "[";
  for (const auto& sentence : sentences) {
    if (out.size() > 1) out += ", ";
    out += quoted(sentence);
  }
  return out + "]";
}

std::string json_set(const CpuSet& set) {
  std::string out = "[";
  for (const std::uint32_t cpu : set.to_vector()) {
    if (out.size() > 1) out += ", ";
    out += std::to_string(cpu);
  }
  return out + "]";
}

}  // namespace

std::string format_plan(const Topology& topology, const Plan& plan) {
  std::string text;
  const auto line = [&text](std::string_view label, std::string_view value) {
    fmt::format_to(std::back_inserter(text), "{:<20}{}\n", label, value);
  };
  line("CPUs", fmt::format("{} online, allowed {}", topology.online.count(), or_none(topology.allowed())));
  line("Sockets, NUMA nodes", fmt::format("{}, {}", topology.packages, topology.numa_nodes.size()));
  line("Isolated",
       fmt::format("{} (nohz_full: {})", or_none(topology.isolated), or_none(topology.nohz_full)));
  line("CPU quota", topology.quota ? fmt::format("{:.2f} CPUs", topology.quota->cpus()) : "none");
  line("Device NUMA nodes",
       fmt::format("wal {}, data {}, network {}", node_text(topology.wal_numa_node),
                   node_text(topology.data_numa_node), node_text(topology.nic_numa_node)));
  line("Pinning", to_string(plan.pin));
  line("Idle strategy", to_string(plan.idle));
  line("Housekeeping CPUs", plan.housekeeping_cpus.to_string());
  line("io worker CPUs", plan.io_worker_cpus.to_string());
  text +=
      fmt::format("\n{:>5}  {:<12}  {:>4}  {:<8}  {}\n", "CORE", "CPU", "NODE", "ISOLATED", "PHYSICAL CORE");
  for (const CorePlacement& core : plan.cores) {
    text += fmt::format("{:>5}  {:<12}  {:>4}  {:<8}  {}\n", core.core,
                        core.pinned ? std::to_string(core.cpu) : plan.data_cpus.to_string(), core.numa_node,
                        core.isolated ? "yes" : "no",
                        !core.pinned ? "floating" : (core.shares_physical_core ? "shared" : "own"));
  }
  text += "\n";
  for (const auto& sentence : plan.reasons) text += "- " + sentence + "\n";
  for (const auto& sentence : plan.warnings) text += "! " + sentence + "\n";
  return text;
}

std::string format_plan_json(const Topology& topology, const Plan& plan) {
  std::string cores;
  for (const CorePlacement& core : plan.cores) {
    cores += fmt::format(
        "{}\n    {{\"core\": {}, \"pinned\": {}, \"cpu\": {}, \"numa_node\": {}, \"isolated\": {}, "
        "\"shares_physical_core\": {}}}",
        cores.empty() ? "" : ",", core.core, core.pinned, core.pinned ? std::to_string(core.cpu) : "null",
        core.numa_node, core.isolated, core.shares_physical_core);
  }
  std::string text = "{\n";
  text += fmt::format("  \"pin\": {},\n  \"idle\": {},\n", quoted(to_string(plan.pin)),
                      quoted(to_string(plan.idle)));
  text += fmt::format("  \"cores\": [{}\n  ],\n", cores);
  text +=
      fmt::format("  \"data_cpus\": {},\n  \"housekeeping_cpus\": {},\n  \"io_worker_cpus\": {},\n",
                  json_set(plan.data_cpus), json_set(plan.housekeeping_cpus), json_set(plan.io_worker_cpus));
  text += fmt::format("  \"reasons\": {},\n  \"warnings\": {},\n", json_list(plan.reasons),
                      json_list(plan.warnings));
  text += fmt::format(
      "  \"machine\": {{\"online_cpus\": {}, \"allowed_cpus\": {}, \"isolated_cpus\": {}, \"packages\": {}, "
      "\"numa_nodes\": {}, \"quota_cpus\": {}, \"wal_numa_node\": {}, \"data_numa_node\": {}, "
      "\"nic_numa_node\": {}}}\n}}\n",
      json_set(topology.online), json_set(topology.allowed()), json_set(topology.isolated), topology.packages,
      topology.numa_nodes.size(), topology.quota ? fmt::format("{:.3f}", topology.quota->cpus()) : "null",
      node_json(topology.wal_numa_node), node_json(topology.data_numa_node),
      node_json(topology.nic_numa_node));
  return text;
}

}  // namespace esc::topo
