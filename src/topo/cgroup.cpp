#include "cgroup.h"

#include <charconv>
#include <filesystem>
#include <sstream>
#include <vector>

#include "files.h"

namespace esc::topo {
namespace {

struct Mount {
  std::string root;   // the part of the hierarchy that is mounted
  std::string point;  // where
  std::string type;   // "cgroup" or "cgroup2"
  std::string super_options;
};

// proc_pid_mountinfo(5): "36 35 98:0 /root /point options optional-fields... - type source super-options".
std::vector<Mount> read_cgroup_mounts(const std::string& root) {
  std::vector<Mount> mounts;
  const auto text = read_text(root + "/proc/self/mountinfo");
  if (!text) return mounts;
  std::istringstream lines(*text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t separator = line.find(" - ");
    if (separator == std::string::npos) continue;
    Mount mount;
    std::string skip;
    std::istringstream left(line.substr(0, separator));
    left >> skip >> skip >> skip >> mount.root >> mount.point;
    std::istringstream right(line.substr(separator + 3));
    right >> mount.type >> skip >> mount.super_options;
    if (mount.type == "cgroup" || mount.type == "cgroup2") mounts.push_back(std::move(mount));
  }
  return mounts;
}

bool list_contains(const std::string& list, std::string_view name) {
  std::istringstream items(list);
  for (std::string item; std::getline(items, item, ',');) {
    if (item == name) return true;
  }
  return false;
}

// /proc/self/cgroup, "hierarchy:controllers:path"; v2 is hierarchy 0 without controllers.
std::optional<std::string> path_of(const std::string& cgroup_text, std::string_view controller) {
  std::istringstream lines(cgroup_text);
  for (std::string line; std::getline(lines, line);) {
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const bool matches = controller.empty() ? controllers.empty() : list_contains(controllers, controller);
    if (matches) return line.substr(second + 1);
  }
  return std::nullopt;
}

// Directories from our own group up to the mount point, ours first.
std::vector<std::string> directories(const std::string& root, const Mount& mount, const std::string& path) {
  std::string relative = path;
  // Without a cgroup namespace the path counts from the real root, of which only a part is mounted.
  if (mount.root != "/") {
    relative = path.compare(0, mount.root.size(), mount.root) == 0 ? path.substr(mount.root.size()) : "";
  }
  if (relative.find("/..") != std::string::npos) relative.clear();  // outside of our namespace
  std::vector<std::string> result;
  while (!relative.empty() && relative != "/") {
    result.push_back(root + mount.point + relative);
    relative.erase(relative.rfind('/'));
  }
  result.push_back(root + mount.point);
  return result;
}

// Where the files of `controller` are: a v1 hierarchy when one carries it, otherwise v2.
std::vector<std::string> controller_directories(const std::string& root, const std::vector<Mount>& mounts,
                                                const std::string& cgroup_text, std::string_view controller) {
  if (const auto path = path_of(cgroup_text, controller)) {
    for (const Mount& mount : mounts) {
      if (mount.type == "cgroup" && list_contains(mount.super_options, controller)) {
        return directories(root, mount, *path);
      }
    }
  }
  if (const auto path = path_of(cgroup_text, "")) {
    for (const Mount& mount : mounts) {
      if (mount.type == "cgroup2") return directories(root, mount, *path);
    }
  }
  return {};
}

std::optional<std::uint64_t> parse_number(const std::string& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end == text.data()) return std::nullopt;
  return value;
}

std::optional<CpuQuota> quota_of(const std::string& directory) {
  std::string quota_text;
  std::string period_text;
  if (const auto v2 = read_text(directory + "/cpu.max")) {
    std::istringstream fields(*v2);
    fields >> quota_text >> period_text;
  } else {
    quota_text = read_text(directory + "/cpu.cfs_quota_us").value_or("");
    period_text = read_text(directory + "/cpu.cfs_period_us").value_or("");
  }
  const auto quota = parse_number(quota_text);  // "max" (v2) and "-1" (v1) are no numbers: unlimited
  const auto period = parse_number(period_text);
  if (!quota || !period || *period == 0) return std::nullopt;
  return CpuQuota{.quota_us = *quota, .period_us = *period};
}

std::optional<CpuSet> cpus_of(const std::string& directory) {
  for (const char* name : {"/cpuset.cpus.effective", "/cpuset.effective_cpus", "/cpuset.cpus"}) {
    CpuSet set = read_cpu_list(directory + name);
    if (!set.empty()) return set;
  }
  return std::nullopt;
}

}  // namespace

CgroupLimits read_cgroup_limits(const std::string& root) {
  CgroupLimits limits;
  const std::string groups = read_text(root + "/proc/self/cgroup").value_or("");
  const auto mounts = read_cgroup_mounts(root);
  // The nearest group with the controller enabled decides: "effective" already includes its ancestors.
  for (const auto& directory : controller_directories(root, mounts, groups, "cpuset")) {
    limits.cpus = cpus_of(directory);
    if (limits.cpus) break;
  }
  // A quota of any ancestor throttles us too: the smallest counts.
  for (const auto& directory : controller_directories(root, mounts, groups, "cpu")) {
    const auto quota = quota_of(directory);
    if (quota && (!limits.quota || quota->cpus() < limits.quota->cpus())) limits.quota = quota;
  }
  return limits;
}

}  // namespace esc::topo
