// cluster status: what the nodes say of themselves, and whether an event commits in every group.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <thread>

#include "canary.h"
#include "commands.h"
#include "json.h"
#include "node_status.h"
#include "table.h"

namespace esc::esctl {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kEntriesBehindMax = 200;  // what is under way under load
constexpr std::int64_t kContactMsMax = 1000;
// By then followers have been told that the canary is committed, and do not look an event behind.
constexpr auto kHeartbeats = std::chrono::milliseconds(60);
constexpr auto kCanaryPatience = std::chrono::seconds(3);  // several elections

// How far one follower of one group is behind its leader.
struct Lag {
  std::int32_t node = -1;
  std::int64_t entries = 0;            // log entries that are not durable there
  std::optional<std::int64_t> events;  // records not committed there; unknown when the node gives no answer
  std::optional<double> seconds;       // how old its newest state is; unknown while nothing is being written
  [[nodiscard]] bool late() const { return entries > kEntriesBehindMax || seconds.value_or(0) > 1; }
};

struct Health {
  ClusterReport report;
  std::vector<std::vector<Lag>> lags;  // by group, of its followers
  std::optional<CanaryResult> canary;
  std::vector<std::string> unhealthy;  // why; both empty: healthy
  std::vector<std::string> degraded;

  [[nodiscard]] ExitCode code() const {
    return !unhealthy.empty() ? kExitUnhealthy : !degraded.empty() ? kExitDegraded : kExitOk;
  }
};

std::string first_sentence(const std::string& text) {
  return text.substr(0, text.find(". "));
}

const NodeReport* find_node(const ClusterReport& report, std::int32_t id) {
  const auto found = std::ranges::find(report.nodes, id, &NodeReport::id);
  return found == report.nodes.end() ? nullptr : &*found;
}

// `entries_per_s` is how fast the group's log grows.
Lag lag_of(const ClusterReport& report, std::size_t group, const PeerReport& peer, double entries_per_s) {
  const GroupReport& lead = report.leader_of(group)->groups[group];
  Lag lag{.node = peer.node, .entries = std::max<std::int64_t>(0, lead.last - peer.match)};
  const NodeReport* node = find_node(report, peer.node);
  if (node != nullptr && group < node->groups.size())
    lag.events = std::max<std::int64_t>(0, lead.records - node->groups[group].records);
  const std::int64_t silent_ms = peer.last_contact_ms < 0 ? lead.elected_ms : peer.last_contact_ms;
  if (silent_ms > kContactMsMax) {
    lag.seconds = static_cast<double>(silent_ms) / 1000;
  } else if (lag.entries <= kEntriesBehindMax) {
    lag.seconds = 0;
  } else if (entries_per_s > 0) {
    lag.seconds = static_cast<double>(lag.entries) / entries_per_s;
  }
  return lag;
}

// Nobody writes down why a leader changed; what is known of the one before allows a good guess.
std::string election_reason(const ClusterReport& report, std::size_t group, const NodeReport& leader) {
  const GroupReport& lead = leader.groups[group];
  const std::int32_t before = lead.previous_leader;
  if (before < 0)
    return leader.uptime_ms - lead.elected_ms < 5000 ? "start of the cluster" : "start of this node";
  if (before == leader.id) return "it lost its followers for a while";
  const NodeReport* old = find_node(report, before);
  if (old == nullptr || !old->answered()) return fmt::format("node {} does not answer", before);
  if (old->uptime_ms < lead.elected_ms + 1000) return fmt::format("node {} was restarted", before);
  const auto preferred = report.nodes[group % report.nodes.size()].id;
  if (leader.id == preferred) return fmt::format("handed over by node {}, as this one is preferred", before);
  return fmt::format("node {} handed over, stalled or was cut off", before);
}

void judge_lags(Health& health, const ClusterReport& earlier, double elapsed_s) {
  const ClusterReport& report = health.report;
  health.lags.resize(report.groups());
  for (std::size_t group = 0; group < report.groups(); ++group) {
    const NodeReport* leader = report.leader_of(group);
    if (leader == nullptr) continue;
    const NodeReport* before = earlier.leader_of(group);
    const std::int64_t grown =
        before == nullptr ? 0 : leader->groups[group].last - before->groups[group].last;
    for (const PeerReport& peer : leader->groups[group].peers) {
      const Lag lag = lag_of(report, group, peer, static_cast<double>(grown) / elapsed_s);
      health.lags[group].push_back(lag);
      const NodeReport* node = find_node(report, peer.node);
      if (lag.late() && node != nullptr && node->answered())
        health.degraded.push_back(
            fmt::format("group {}: node {} is {} log entries behind", group, lag.node, lag.entries));
    }
  }
}

Result<Health> examine(const Options& options) {
  const Bootstrap bootstrap = options.addresses();
  const auto earlier_at = Clock::now();
  auto earlier = report_cluster(bootstrap, options.deadline());
  if (!earlier) return std::unexpected(earlier.error());
  Bootstrap nodes;
  for (const NodeReport& node : earlier->nodes) {
    if (node.answered()) nodes.push_back(node.address);
  }
  Health health;
  const auto groups = static_cast<std::uint32_t>(std::max<std::size_t>(earlier->groups(), 1));
  auto canary = commit_canary(nodes, groups, std::min(options.deadline(), Clock::now() + kCanaryPatience));
  if (!canary) {
    health.unhealthy.push_back("the canary topic cannot be made: " + canary.error().message);
  } else {
    if (!canary->all())
      health.unhealthy.push_back("a canary event does not commit: " + canary->first_trouble());
    health.canary = std::move(*canary);
  }
  std::this_thread::sleep_for(kHeartbeats);
  auto report = report_cluster(nodes, std::max(options.deadline(), Clock::now() + std::chrono::seconds(1)));
  health.report = report ? std::move(*report) : *earlier;
  for (const NodeReport& node : health.report.nodes) {
    if (!node.answered())
      health.degraded.push_back(fmt::format("node {}: {}", node.id, first_sentence(node.trouble)));
  }
  if (health.report.without_leader > 0)
    health.unhealthy.push_back(fmt::format("{} partitions have no leader", health.report.without_leader));
  judge_lags(health, *earlier, std::chrono::duration<double>(Clock::now() - earlier_at).count());
  return health;
}

std::int64_t groups_led(const ClusterReport& report, std::int32_t node) {
  std::int64_t count = 0;
  for (std::size_t group = 0; group < report.groups(); ++group) {
    const NodeReport* leader = report.leader_of(group);
    count += leader != nullptr && leader->id == node ? 1 : 0;
  }
  return count;
}

Json optional_json(const auto& value) {
  return value ? Json(*value) : Json();
}

Json lag_json(const Lag& lag) {
  Json json = Json::object();
  json.set("node", lag.node).set("lag_entries", lag.entries).set("lag_events", optional_json(lag.events));
  // Milliseconds are exact as an integer, and that is how they are known.
  json.set("lag_ms",
           lag.seconds ? Json(static_cast<std::int64_t>(std::llround(*lag.seconds * 1000))) : Json());
  return json;
}

Json groups_json(const Health& health) {
  Json groups = Json::array();
  for (std::size_t group = 0; group < health.report.groups(); ++group) {
    const NodeReport* leader = health.report.leader_of(group);
    Json json = Json::object();
    json.set("group", group).set("leader", leader != nullptr ? Json(leader->id) : Json());
    if (leader != nullptr) {
      const GroupReport& lead = leader->groups[group];
      json.set("term", lead.term).set("commit_index", lead.commit).set("last_index", lead.last);
      json.set("elected_ms_ago", lead.elected_ms).set("previous_leader", lead.previous_leader);
      json.set("likely_reason", election_reason(health.report, group, *leader));
    }
    Json followers = Json::array();
    for (const Lag& lag : health.lags[group]) followers.push(lag_json(lag));
    groups.push(json.set("followers", std::move(followers)));
  }
  return groups;
}

Json status_json(const Health& health) {
  Json nodes = Json::array();
  for (const NodeReport& node : health.report.nodes) {
    const auto colon = node.address.rfind(':');
    Json json = Json::object();
    json.set("id", node.id).set("host", node.address.substr(0, colon));
    json.set("port", std::stol(node.address.substr(colon + 1))).set("answers", node.answered());
    json.set("controller", node.id == health.report.controller).set("uptime_ms", node.uptime_ms);
    nodes.push(json.set("version", node.version).set("groups_led", groups_led(health.report, node.id)));
  }
  Json trouble = Json::array();
  for (const auto* list : {&health.unhealthy, &health.degraded}) {
    for (const std::string& text : *list) trouble.push(text);
  }
  Json canary = Json::object();
  canary.set("groups", health.canary ? Json(health.canary->partitions.size()) : Json());
  canary.set("committed", health.canary ? health.canary->committed() : 0);
  Json json = Json::object();
  json.set("cluster_id", health.report.cluster_id).set("healthy", health.code() == kExitOk);
  json.set("health", health_name(health.code())).set("trouble", std::move(trouble));
  json.set("canary", std::move(canary)).set("controller", health.report.controller);
  json.set("topics", health.report.topics).set("partitions", health.report.partitions);
  json.set("partitions_without_leader", health.report.without_leader);
  return json.set("nodes", std::move(nodes)).set("groups", groups_json(health));
}

std::string duration_text(std::int64_t milliseconds) {
  if (milliseconds < 0) return "?";
  const std::int64_t seconds = milliseconds / 1000;
  if (seconds < 60) return fmt::format("{:.1f} s", static_cast<double>(milliseconds) / 1000);
  if (seconds < 3600) return fmt::format("{} min", seconds / 60);
  if (seconds < 48 * 3600) return fmt::format("{} h", seconds / 3600);
  return fmt::format("{} days", seconds / 86400);
}

std::string lags_text(const std::vector<Lag>& lags) {
  std::vector<std::string> parts;
  for (const Lag& lag : lags) {
    const std::string events =
        lag.events ? fmt::format("{} events", *lag.events) : fmt::format("{} entries", lag.entries);
    parts.push_back(fmt::format("node {}: {}, {}", lag.node, events,
                                lag.seconds ? fmt::format("{:.1f} s", *lag.seconds) : "? s"));
  }
  return fmt::format("{}", fmt::join(parts, "; "));
}

std::string status_text(const Health& health) {
  using enum Table::Align;
  const ClusterReport& report = health.report;
  std::string text = fmt::format("Cluster {}: {}\n", report.cluster_id, health_name(health.code()));
  for (const auto* list : {&health.unhealthy, &health.degraded}) {
    for (const std::string& trouble : *list) text += fmt::format("  - {}\n", trouble);
  }
  if (health.canary) {
    double slowest = 0;
    for (const auto& partition : health.canary->partitions)
      slowest = std::max(slowest, partition.milliseconds);
    text += fmt::format("A canary event committed in {} of {} groups, {:.1f} ms at the slowest\n",
                        health.canary->committed(), health.canary->partitions.size(), slowest);
  }
  text += fmt::format("{} topics, {} partitions, {} without a leader\n\n", report.topics, report.partitions,
                      report.without_leader);
  Table nodes({{"NODE", right},
               {"ADDRESS", left},
               {"STATE", left},
               {"UPTIME", right},
               {"VERSION", left},
               {"LEADS", right},
               {"ROLE", left}});
  for (const NodeReport& node : report.nodes) {
    nodes.add({std::to_string(node.id), node.address, node.answered() ? "up" : "NO ANSWER",
               node.answered() ? duration_text(node.uptime_ms) : "", node.version,
               std::to_string(groups_led(report, node.id)),
               node.id == report.controller ? "controller" : ""});
  }
  Table groups({{"GROUP", right},
                {"LEADER", right},
                {"TERM", right},
                {"COMMIT", right},
                {"ELECTED", right},
                {"LIKELY REASON", left},
                {"LAG OF FOLLOWERS", left}});
  for (std::size_t group = 0; group < report.groups(); ++group) {
    const NodeReport* leader = report.leader_of(group);
    if (leader == nullptr) {
      groups.add({std::to_string(group), "none", "", "", "", "no majority of nodes that can vote", ""});
      continue;
    }
    const GroupReport& lead = leader->groups[group];
    groups.add({std::to_string(group), std::to_string(leader->id), std::to_string(lead.term),
                std::to_string(lead.commit), duration_text(lead.elected_ms) + " ago",
                election_reason(report, group, *leader), lags_text(health.lags[group])});
  }
  return text + nodes.text() + "\n" + groups.text();
}

}  // namespace

Result<ExitCode> cluster_status(const Options& options) {
  const auto health = examine(options);
  if (!health) {
    // Not to be reached is as unhealthy as it gets; a script that asks for health gets that answer.
    fmt::print(stderr, "esctl: {}\n", health.error().message);
    return kExitUnhealthy;
  }
  if (options.output == Output::json) {
    fmt::print("{}\n", status_json(*health).text());
  } else {
    fmt::print("{}", status_text(*health));
  }
  return health->code();
}

}  // namespace esc::esctl
