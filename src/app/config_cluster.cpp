// [cluster]: its list of nodes, and what must hold between it and the rest.
#include "config_cluster.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>

#include "config_value.h"

namespace esc::app {
namespace {

constexpr std::size_t kNodesMax = 7;  // raft::kVotersMax: more voters cost latency and add no safety
constexpr std::size_t kSecretBytesMin = 16;
constexpr std::size_t kClusterIdMax = 64;

bool is_any_address(const std::string& host) {
  return host == "0.0.0.0" || host == "::" || host == "*";
}

bool is_name(const std::string& host) {
  return host.find_first_not_of("0123456789.") != std::string::npos && host.find(':') == std::string::npos;
}

Result<ClusterNode> parse_node(std::string_view text) {
  const std::size_t equals = text.find('=');
  const std::size_t slash = text.find('/');
  if (equals == std::string_view::npos || slash == std::string_view::npos || slash < equals) {
    return fail(Errc::invalid_argument, fmt::format("\"{}\" is not ID=PEER/KAFKA", text));
  }
  const auto id = parse_integer(text.substr(0, equals));
  if (!id || *id < 1 || *id > std::numeric_limits<std::int32_t>::max()) {
    return fail(Errc::invalid_argument,
                fmt::format("id = {} is no node number (1 to 2147483647)", text.substr(0, equals)));
  }
  ClusterNode node{.id = NodeId(static_cast<std::uint32_t>(*id)), .peer = {}, .kafka = {}};
  const std::array parts = {std::pair{"peer", text.substr(equals + 1, slash - equals - 1)},
                            std::pair{"kafka", text.substr(slash + 1)}};
  for (const auto& [name, part] : parts) {
    auto address = parse_host_port(part);
    if (!address) {
      return fail(Errc::invalid_argument,
                  fmt::format("node {}: {} = \"{}\": {}", *id, name, part, address.error().message));
    }
    (name == parts[0].first ? node.peer : node.kafka) = std::move(*address);
  }
  return node;
}

// One address of a node, named for messages.
struct Named {
  NodeId node;
  std::string_view kind;
  const HostPort* address;
};

void check_addresses(const ClusterConfig& cluster, Problems& problems) {
  std::vector<Named> all;
  for (const ClusterNode& node : cluster.nodes) {
    all.push_back({node.id, "peer", &node.peer});
    all.push_back({node.id, "kafka", &node.kafka});
  }
  for (std::size_t i = 0; i < all.size(); ++i) {
    const auto& [node, kind, address] = all[i];
    if (address->port == 0) {
      problems.push_back(
          fmt::format("cluster.nodes: node {}: {} = \"{}\": the others have to know the port, it cannot be "
                      "chosen at start",
                      node.value(), kind, to_string(*address)));
      continue;
    }
    if (is_any_address(address->host)) {
      problems.push_back(
          fmt::format("cluster.nodes: node {}: {} = \"{}\": nobody can connect to that; write the address "
                      "that others use",
                      node.value(), kind, to_string(*address)));
      continue;
    }
    for (std::size_t k = 0; k < i; ++k) {
      if (*all[k].address != *address) continue;
      problems.push_back(
          fmt::format("cluster.nodes: {} of node {} and {} of node {} are both \"{}\": give each a "
                      "port of its own",
                      all[k].kind, all[k].node.value(), kind, node.value(), to_string(*address)));
    }
  }
}

void check_nodes(const Config& config, Problems& problems) {
  const ClusterConfig& cluster = config.cluster;
  if (cluster.nodes.empty()) {
    problems.push_back(
        "cluster.nodes is not set: list every node of the cluster, such as { id = 1, peer = "
        "\"10.0.0.1:9192\", "
        "kafka = \"10.0.0.1:9092\" }; for a single node leave [cluster] out");
    return;
  }
  if (cluster.nodes.size() > kNodesMax) {
    problems.push_back(fmt::format("cluster.nodes lists {} nodes: at most {}, and 3 or 5 are usual",
                                   cluster.nodes.size(), kNodesMax));
  }
  std::string ids;
  for (std::size_t i = 0; i < cluster.nodes.size(); ++i) {
    const NodeId id = cluster.nodes[i].id;
    ids += fmt::format("{}{}", ids.empty() ? "" : ", ", id.value());
    if (i > 0 && cluster.nodes[i - 1].id == id) {
      problems.push_back(
          fmt::format("cluster.nodes: id = {} appears twice: every node has its own", id.value()));
    }
  }
  if (cluster.find(config.node.id) == nullptr) {
    problems.push_back(
        fmt::format("node.id = {} is not in cluster.nodes (ids {}): set node.id to this node's id, "
                    "or add it to the list",
                    config.node.id.value(), ids));
  }
  if (cluster.join && cluster.nodes.size() == 1) {
    problems.push_back(
        "cluster.join = true, but cluster.nodes lists this node only: list the nodes of the cluster to join, "
        "too");
  }
  check_addresses(cluster, problems);
}

// Clients reach this node at the address that all nodes tell them.
void check_client_address(const Config& config, Problems& problems) {
  const ClusterNode* own = config.cluster.find(config.node.id);
  if (own == nullptr) return;
  const auto& advertise = config.kafka.advertise;
  if (advertise && *advertise != own->kafka) {
    problems.push_back(
        fmt::format("kafka.advertise = \"{}\": the other nodes tell clients \"{}\" (cluster.nodes, node {}); "
                    "remove it or make "
                    "them equal",
                    to_string(*advertise), to_string(own->kafka), own->id.value()));
  }
  const HostPort& listen = config.kafka.listen;
  const bool comparable = !is_any_address(listen.host) && !is_name(listen.host) && !is_name(own->kafka.host);
  const bool differs = listen.port != own->kafka.port || (comparable && listen.host != own->kafka.host);
  if (differs && !advertise) {
    problems.push_back(
        fmt::format("kafka.listen = \"{}\" is not where clients are sent, \"{}\" (cluster.nodes, node {}): "
                    "remove kafka.listen, "
                    "or, when a proxy forwards the one to the other, say so with kafka.advertise = \"{}\"",
                    to_string(listen), to_string(own->kafka), own->id.value(), to_string(own->kafka)));
  }
  if (listen == own->peer) {
    problems.push_back(
        fmt::format("kafka.listen = \"{}\" is the peer address of this node in cluster.nodes: give each "
                    "a port of its own",
                    to_string(listen)));
  }
}

void check_secret(const ClusterConfig& cluster, Problems& problems) {
  if (cluster.secret.empty()) {
    problems.push_back(
        "cluster.secret is not set: give all nodes the same secret of at least 16 characters, or name a file "
        "with "
        "cluster.secret_file (for example: openssl rand -hex 32 > /etc/escd.secret)");
  } else if (cluster.secret.size() < kSecretBytesMin) {
    problems.push_back(
        fmt::format("cluster.secret has {} characters: at least {}; for example: openssl rand -hex 32",
                    cluster.secret.size(), kSecretBytesMin));
  }
}

void check_id(const Config& config, Problems& problems) {
  const std::string& id = config.cluster.id;
  if (id.empty()) {
    problems.push_back("cluster.id is not set: name the cluster, with the same name on every node");
    return;
  }
  constexpr std::string_view kAllowed = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-";
  if (id.size() > kClusterIdMax || id.find_first_not_of(kAllowed) != std::string::npos) {
    problems.push_back(fmt::format("cluster.id = {}: at most {} letters, digits, '.', '_' and '-'",
                                   toml_quoted(id), kClusterIdMax));
  }
  if (!config.node.cluster_id.empty() && config.node.cluster_id != id) {
    problems.push_back(fmt::format("node.cluster_id = {} but cluster.id = {}: remove node.cluster_id",
                                   toml_quoted(config.node.cluster_id), toml_quoted(id)));
  }
}

}  // namespace

Result<std::vector<ClusterNode>> parse_cluster_nodes(std::string_view text) {
  std::vector<ClusterNode> nodes;
  while (!text.empty()) {
    const std::size_t comma = std::min(text.find(','), text.size());
    auto node = parse_node(text.substr(0, comma));
    if (!node) return std::unexpected(node.error());
    nodes.push_back(std::move(*node));
    text.remove_prefix(std::min(comma + 1, text.size()));
  }
  std::ranges::stable_sort(nodes, {}, &ClusterNode::id);
  return nodes;
}

const ClusterNode* ClusterConfig::find(NodeId node) const {
  const auto found = std::ranges::find(nodes, node, &ClusterNode::id);
  return found == nodes.end() ? nullptr : &*found;
}

void check_cluster(const Config& config, Problems& problems) {
  check_id(config, problems);
  check_secret(config.cluster, problems);
  check_nodes(config, problems);
  check_client_address(config, problems);
}

std::vector<std::string> config_warnings(const Config& config) {
  std::vector<std::string> warnings;
  const ClusterConfig& cluster = config.cluster;
  if (!cluster.configured()) return warnings;
  const std::size_t nodes = cluster.nodes.size();
  if (nodes == 1) {
    warnings.push_back("cluster.nodes lists one node: it survives no failure");
  } else if (nodes % 2 == 0) {
    warnings.push_back(
        fmt::format("cluster.nodes lists {} nodes: a majority is {}, so as many may fail as of {}; an odd "
                    "number is better",
                    nodes, nodes / 2 + 1, nodes - 1));
  }
  return warnings;
}

}  // namespace esc::app
