#include "local_cluster.h"

#include <fmt/format.h>
#include <signal.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <filesystem>
#include <fstream>
#include <random>

#include "ports.h"

namespace esc::esctl {

namespace {

namespace fs = std::filesystem;

constexpr std::uint16_t kPeerPortDistance = 10'000;
constexpr std::uint16_t kAdminPortDistance = 9644 - 9092;
constexpr std::string_view kAdminKey = "admin.listen=";

Status write_file(const std::string& path, const std::string& text, mode_t mode = 0644) {
  {
    std::ofstream file(path, std::ios::trunc);
    (void)::chmod(path.c_str(), mode);
    file << text;
    if (file.flush()) return {};
  }
  return fail(Errc::io_error,
              fmt::format("cannot write {}: is the disk full, or the directory another user's?", path));
}

std::string random_secret() {
  std::random_device random;  // getrandom(2)
  std::string text;
  for (int i = 0; i < 8; ++i) text += fmt::format("{:08x}", random());
  return text;
}

std::string toml_quoted(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\';
    out += c;
  }
  return out + '"';
}

std::string log_tail(const std::string& path, std::size_t lines) {
  std::ifstream file(path);
  std::deque<std::string> tail;
  for (std::string line; std::getline(file, line);) {
    tail.push_back("  " + line);
    if (tail.size() > lines) tail.pop_front();
  }
  return fmt::format("{}", fmt::join(tail, "\n"));
}

}  // namespace

Result<std::string> LocalCluster::default_directory() {
  if (const char* state = std::getenv("XDG_STATE_HOME"); state != nullptr && state[0] == '/')
    return std::string(state) + "/esc-dev";
  if (const char* home = std::getenv("HOME"); home != nullptr && home[0] == '/')
    return std::string(home) + "/.local/state/esc-dev";
  return fail(Errc::invalid_argument, "HOME is not set: name the directory of the cluster with --dir");
}

Result<LocalCluster> LocalCluster::open(const std::string& directory) {
  std::ifstream file(directory + "/cluster");
  if (!file)
    return fail(Errc::not_found, fmt::format("there is no cluster in {}; esctl dev up makes one", directory));
  LocalClusterSettings settings;
  for (std::string key, value; file >> key && std::getline(file >> std::ws, value);) {
    if (key == "nodes") settings.nodes = static_cast<std::uint32_t>(std::strtoul(value.c_str(), nullptr, 10));
    if (key == "kafka_port")
      settings.kafka_port = static_cast<std::uint16_t>(std::strtoul(value.c_str(), nullptr, 10));
    if (key == "profile") settings.profile = value;
    if (key == "set") settings.sets.push_back(value);
  }
  if (settings.nodes < 1 || settings.nodes > 9 || settings.kafka_port == 0) {
    return fail(
        Errc::corruption,
        fmt::format("{}/cluster cannot be understood; remove the directory and run esctl dev up again",
                    directory));
  }
  return LocalCluster(directory, std::move(settings));
}

Result<LocalCluster> LocalCluster::configure(const std::string& directory,
                                             const LocalClusterSettings& settings) {
  std::error_code error;
  const fs::path absolute = fs::absolute(directory, error);
  LocalCluster cluster(absolute.string(), settings);
  if (!fs::exists(absolute / "cluster") && fs::exists(absolute) && !fs::is_empty(absolute, error)) {
    return fail(
        Errc::already_exists,
        fmt::format("{} is not empty and holds no cluster: name another directory with --dir", directory));
  }
  if (const auto written = cluster.write_files(); !written) return std::unexpected(written.error());
  return cluster;
}

Status LocalCluster::write_files() const {
  std::error_code error;
  for (std::uint32_t node = 1; node <= nodes(); ++node) {
    fs::create_directories(fs::path(data_path(node)), error);
    if (error)
      return fail(Errc::io_error, fmt::format("cannot make {}: {}", data_path(node), error.message()));
  }
  if (!fs::exists(directory_ + "/secret")) {
    if (const auto written = write_file(directory_ + "/secret", random_secret() + "\n", 0600); !written)
      return written;
  }
  for (std::uint32_t node = 1; node <= nodes(); ++node) {
    if (const auto written = write_file(node_path(node, "escd.toml"), node_config(node)); !written)
      return written;
  }
  std::string text = fmt::format("nodes {}\nkafka_port {}\nprofile {}\n", settings_.nodes,
                                 settings_.kafka_port, settings_.profile);
  for (const std::string& set : settings_.sets) text += fmt::format("set {}\n", set);
  return write_file(directory_ + "/cluster", text);
}

// All nodes share this machine: one data core each, not pinned.
std::string LocalCluster::node_config(std::uint32_t node) const {
  std::string text = fmt::format(
      "# Written by esctl dev up, overwritten by the next one.\n"
      "data_dir = {}\nprofile = {}\ngroups = {}\n\n[node]\nid = {}\n\n[tuning]\ncores = 1\npin = \"off\"\n\n",
      toml_quoted(data_path(node)), toml_quoted(settings_.profile), groups(), node);
  text += fmt::format("[admin]\nlisten = \"127.0.0.1:{}\"\n\n", admin_port(node));
  if (nodes() == 1) return text + fmt::format("[kafka]\nlisten = \"{}\"\n", kafka_address(1));
  text += fmt::format("[cluster]\nid = \"dev\"\nsecret_file = {}\nnodes = [\n",
                      toml_quoted(directory_ + "/secret"));
  for (std::uint32_t other = 1; other <= nodes(); ++other) {
    text += fmt::format("  {{ id = {}, peer = \"127.0.0.1:{}\", kafka = \"{}\" }},\n", other,
                        peer_port(other), kafka_address(other));
  }
  return text + "]\n";
}

std::uint16_t LocalCluster::kafka_port(std::uint32_t node) const {
  return static_cast<std::uint16_t>(settings_.kafka_port + node - 1);
}

std::uint16_t LocalCluster::peer_port(std::uint32_t node) const {
  const bool high = settings_.kafka_port > 50'000;
  return static_cast<std::uint16_t>(high ? kafka_port(node) - kPeerPortDistance
                                         : kafka_port(node) + kPeerPortDistance);
}

std::uint16_t LocalCluster::admin_port(std::uint32_t node) const {
  const bool high = settings_.kafka_port > 60'000;
  return static_cast<std::uint16_t>(high ? kafka_port(node) - kAdminPortDistance
                                         : kafka_port(node) + kAdminPortDistance);
}

std::optional<std::string> LocalCluster::metrics_url(std::uint32_t node) const {
  const bool own =
      std::ranges::any_of(settings_.sets, [](const std::string& set) { return set.starts_with(kAdminKey); });
  if (own) return std::nullopt;
  return fmt::format("http://127.0.0.1:{}/metrics", admin_port(node));
}

std::string LocalCluster::kafka_address(std::uint32_t node) const {
  return fmt::format("127.0.0.1:{}", kafka_port(node));
}

std::vector<std::string> LocalCluster::kafka_addresses() const {
  std::vector<std::string> addresses;
  for (std::uint32_t node = 1; node <= nodes(); ++node) addresses.push_back(kafka_address(node));
  return addresses;
}

std::string LocalCluster::node_path(std::uint32_t node, const char* name) const {
  return fmt::format("{}/node-{}/{}", directory_, node, name);
}

std::optional<ProcessIdentity> LocalCluster::process(std::uint32_t node) const {
  auto remembered = read_pid_file(node_path(node, "escd.pid"));
  if (remembered && !runs(*remembered)) remembered.reset();
  return remembered;
}

std::uint32_t LocalCluster::running() const {
  std::uint32_t count = 0;
  for (std::uint32_t node = 1; node <= nodes(); ++node) count += process(node) ? 1 : 0;
  return count;
}

Status LocalCluster::check_ports(std::uint32_t node) const {
  const auto kafka = check_port_free(kafka_port(node), fmt::format("Kafka listener of node {}", node));
  if (!kafka) return kafka;
  if (metrics_url(node)) {
    const auto admin = check_port_free(admin_port(node), fmt::format("metrics of node {}", node));
    if (!admin) return admin;
  }
  if (nodes() == 1) return {};
  return check_port_free(peer_port(node), fmt::format("peer listener of node {}", node));
}

Status LocalCluster::start(std::uint32_t node) const {
  const auto program = program_beside_own("escd");
  if (!program) return std::unexpected(program.error());
  if (const auto free = check_ports(node); !free) return free;
  std::vector<std::string> arguments{"--config", node_path(node, "escd.toml")};
  for (const std::string& set : settings_.sets) {
    arguments.push_back("--set");
    arguments.push_back(set);
  }
  const auto process = start_detached(*program, arguments, log_path(node));
  if (!process && process.error().code == Errc::closed) return ended(node);
  if (!process) return std::unexpected(process.error());
  return write_pid_file(node_path(node, "escd.pid"), *process);
}

std::uint32_t LocalCluster::stop_all(std::chrono::milliseconds patience) const {
  const auto deadline = std::chrono::steady_clock::now() + patience;
  std::vector<std::pair<std::uint32_t, ProcessIdentity>> stopping;
  for (std::uint32_t node = 1; node <= nodes(); ++node) {
    const auto process = this->process(node);
    if (process && send_signal(*process, SIGTERM)) stopping.emplace_back(node, *process);
  }
  std::uint32_t killed = 0;
  for (const auto& [node, process] : stopping) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (!wait_for_end(process, std::max(left, std::chrono::milliseconds(0)))) {
      ++killed;
      (void)send_signal(process, SIGKILL);
      (void)wait_for_end(process, std::chrono::seconds(10));
    }
    std::error_code ignored;
    fs::remove(node_path(node, "escd.pid"), ignored);
  }
  return killed;
}

Status LocalCluster::check_running() const {
  for (std::uint32_t node = 1; node <= nodes(); ++node) {
    if (!process(node)) return ended(node);
  }
  return {};
}

std::unexpected<Error> LocalCluster::ended(std::uint32_t node) const {
  return fail(Errc::closed, fmt::format("node {} has ended; the last lines of {} are\n{}", node,
                                        log_path(node), log_tail(log_path(node), 6)));
}

Status LocalCluster::remove() const {
  std::error_code error;
  for (std::uint32_t node = 1; node <= nodes(); ++node) {
    fs::remove_all(fmt::format("{}/node-{}", directory_, node), error);
    if (error)
      return fail(Errc::io_error,
                  fmt::format("cannot remove node-{} in {}: {}", node, directory_, error.message()));
  }
  fs::remove(directory_ + "/secret", error);
  fs::remove(directory_ + "/cluster", error);
  fs::remove(directory_, error);  // only when nothing foreign lies in it
  return {};
}

}  // namespace esc::esctl
