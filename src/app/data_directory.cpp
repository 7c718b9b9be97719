#include "data_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/random.h>
#include <unistd.h>

#include <charconv>
#include <cstring>

#include "esc/base/crc32c.h"
#include "esc/io/posix_files.h"

namespace esc::app {
namespace {

constexpr std::uint64_t kIdentityBytesMax = 64 * kKiB;
// `mode` of node.toml. A directory without one is older than clusters.
constexpr std::string_view kModeSingle = "single";
constexpr std::string_view kModeCluster = "cluster";
constexpr std::string_view kBeganAlone = "alone";  // `began`, of a node that had no others; grown or not

// A random id in Kafka's style: 22 characters of URL-safe base64.
std::string new_cluster_id() {
  static constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
  unsigned char random[22] = {};
  [[maybe_unused]] const auto got = ::getrandom(random, sizeof random, 0);
  std::string id;
  for (const unsigned char byte : random) id.push_back(kAlphabet[byte & 63]);
  return id;
}

std::uint64_t number_of(std::string_view cluster_id) {
  const std::uint64_t high = crc32c(as_bytes(cluster_id));
  return (high << 32) | crc32c(as_bytes(cluster_id), 0x9e3779b9U);
}

std::string value_of(std::string_view text, std::string_view key) {
  std::size_t at = 0;
  while (at < text.size()) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    const std::string_view line = text.substr(at, end - at);
    if (line.starts_with(key) && line.substr(key.size()).starts_with(" = ")) {
      std::string value(line.substr(key.size() + 3));
      std::erase(value, '"');
      return value;
    }
    at = end + 1;
  }
  return {};
}

// A single node may become the first one of a cluster, but only on purpose: the cluster has the node's id,
// and other nodes are named.
Status check_growth(const Config& config, const std::string& directory, const NodeIdentity& identity) {
  const std::string owner = directory + " belongs to a single node (cluster id " + identity.cluster_id + ")";
  if (config.cluster.id != identity.cluster_id) {
    return fail(Errc::invalid_argument, owner + " and cannot join cluster " + config.cluster.id +
                                            ": choose an empty directory; to make it the first node of a "
                                            "cluster write cluster.id = \"" +
                                            identity.cluster_id +
                                            "\" on all nodes (docs/PLAYBOOK.md, \"Grow a single node\")");
  }
  if (config.cluster.join) {
    return fail(Errc::invalid_argument,
                owner +
                    ", and cluster.join = true is for nodes without data: remove the key here, the others "
                    "have it (docs/PLAYBOOK.md, \"Grow a single node\")");
  }
  return {};
}

// A directory of another node or another cluster is never used: its log would be taken for ours. Nor is one
// of a cluster used without it: a single node would commit alone what needs a majority.
Status check_identity(const Config& config, std::string_view text, const NodeIdentity& identity) {
  const bool clustered = config.cluster.configured();
  const std::string directory = "data directory " + config.data_dir;
  const bool was_clustered = value_of(text, "mode") == kModeCluster;
  if (was_clustered && !clustered) {
    return fail(Errc::invalid_argument,
                directory + " belongs to node " + value_of(text, "node_id") + " of cluster " +
                    identity.cluster_id +
                    ", but the configuration has no [cluster]: add it, or choose another "
                    "--data");
  }
  if (!was_clustered && clustered) {
    if (Status status = check_growth(config, directory, identity); !status) return status;
  }
  const std::string& wanted = clustered ? config.cluster.id : config.node.cluster_id;
  if (!wanted.empty() && wanted != identity.cluster_id) {
    return fail(Errc::invalid_argument, directory + " belongs to cluster " + identity.cluster_id +
                                            ", the configuration says " +
                                            (clustered ? "cluster.id = " : "node.cluster_id = ") + wanted);
  }
  if (value_of(text, "node_id") != std::to_string(config.node.id.value())) {
    return fail(Errc::invalid_argument,
                directory + " belongs to node " + value_of(text, "node_id") +
                    ", the configuration says node.id = " + std::to_string(config.node.id.value()));
  }
  if (config.groups != 0 && config.groups != identity.groups) {
    return fail(Errc::invalid_argument,
                "groups = " + std::to_string(config.groups) + ", but this directory was created with " +
                    std::to_string(identity.groups) + " and the number cannot change: remove the key");
  }
  return {};
}

Status write_identity(io::Files& files, const std::string& path, const Config& config,
                      const NodeIdentity& identity) {
  const std::string_view mode = config.cluster.configured() ? kModeCluster : kModeSingle;
  std::string text =
      "# Written by escd when this directory was created. Do not edit.\nversion = 1\ncluster_id = \"" +
      identity.cluster_id + "\"\nnode_id = " + std::to_string(config.node.id.value()) +
      "\ngroups = " + std::to_string(identity.groups) + "\nmode = \"" + std::string(mode) + "\"\n";
  if (identity.began_alone) text += "began = \"" + std::string(kBeganAlone) + "\"\n";
  return io::write_file_atomically(files, path, as_bytes(text));
}

}  // namespace

DataDirectory::DataDirectory(DataDirectory&& other) noexcept
    : path_(std::move(other.path_)),
      lock_(std::exchange(other.lock_, -1)),
      identity_(std::move(other.identity_)) {}

DataDirectory::~DataDirectory() {
  if (lock_ >= 0) ::close(lock_);
}

Result<DataDirectory> DataDirectory::open(const Config& config, std::uint32_t groups_default) {
  io::PosixFiles files;
  DataDirectory directory;
  directory.path_ = config.data_dir;
  if (Status status = files.make_directories(config.data_dir); !status)
    return std::unexpected(status.error());
  if (Status status = files.make_directories(config.wal_dir); !status) return std::unexpected(status.error());
  const std::string lock_path = config.data_dir + "/lock";
  directory.lock_ = ::open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0640);
  if (directory.lock_ < 0) {
    return fail(errc_from_errno(errno), "cannot open " + lock_path + ": " + std::strerror(errno) +
                                            "; check the owner and the rights of the data directory");
  }
  if (::flock(directory.lock_, LOCK_EX | LOCK_NB) != 0) {
    return fail(
        Errc::busy,
        "data directory " + config.data_dir +
            " is in use by another escd (its lock file is held); stop that one or choose another --data");
  }
  const std::string path = config.data_dir + "/node.toml";
  auto exists = files.exists(path);
  if (!exists) return std::unexpected(exists.error());
  NodeIdentity& identity = directory.identity_;
  const bool clustered = config.cluster.configured();
  const std::string& wanted_id = clustered ? config.cluster.id : config.node.cluster_id;
  if (!*exists) {
    identity.cluster_id = wanted_id.empty() ? new_cluster_id() : wanted_id;
    identity.groups = config.groups == 0 ? groups_default : config.groups;
    identity.began_alone = config.cluster.nodes.size() < 2;
    if (Status status = write_identity(files, path, config, identity); !status)
      return std::unexpected(status.error());
  } else {
    auto bytes = io::read_whole_file(files, path, kIdentityBytesMax);
    if (!bytes) return std::unexpected(bytes.error());
    const std::string text(as_text(*bytes));
    identity.cluster_id = value_of(text, "cluster_id");
    const std::string groups = value_of(text, "groups");
    std::from_chars(groups.data(), groups.data() + groups.size(), identity.groups);
    if (value_of(text, "version") != "1" || identity.cluster_id.empty() || groups.empty() ||
        identity.groups == 0) {
      return fail(Errc::corruption,
                  path +
                      " is damaged or from another version: it should name version 1, cluster_id, "
                      "node_id and groups; restore it from a copy");
    }
    const bool was_clustered = value_of(text, "mode") == kModeCluster;
    identity.began_alone = !was_clustered || value_of(text, "began") == kBeganAlone;
    if (Status status = check_identity(config, text, identity); !status)
      return std::unexpected(status.error());
    if (clustered && !was_clustered) {
      if (Status status = write_identity(files, path, config, identity); !status)
        return std::unexpected(status.error());
    }
  }
  identity.cluster_number = number_of(identity.cluster_id);
  return directory;
}

void DataDirectory::write_port(std::uint16_t port) const {
  io::PosixFiles files;
  const std::string text = std::to_string(port) + "\n";
  // Best effort: only scripts read it.
  (void)io::write_file_atomically(files, path_ + "/kafka.port", as_bytes(text)).has_value();
}

}  // namespace esc::app
