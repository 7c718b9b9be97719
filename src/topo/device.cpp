#include "device.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include <cstring>
#include <filesystem>

#include "files.h"

namespace esc::topo {
namespace {

namespace fs = std::filesystem;

constexpr int kStackedDevicesMax = 8;  // dm on md on partitions: no sane stack is deeper

// The numa_node file of a PCI device holds -1 when firmware does not say.
std::optional<std::uint32_t> read_node(const fs::path& file) {
  const auto text = read_text(file.string());
  if (!text || text->empty() || (*text)[0] < '0' || (*text)[0] > '9') return std::nullopt;
  return static_cast<std::uint32_t>(std::strtoul(text->c_str(), nullptr, 10));
}

std::optional<std::uint32_t> node_of_sysfs_device(fs::path device, int depth) {
  std::error_code error;
  device = fs::canonical(device, error);
  if (error) return std::nullopt;
  for (fs::path at = device; at.has_relative_path(); at = at.parent_path()) {
    if (const auto node = read_node(at / "numa_node")) return node;
  }
  if (depth >= kStackedDevicesMax) return std::nullopt;
  for (const auto& member : fs::directory_iterator(device / "slaves", error)) {
    if (const auto node = node_of_sysfs_device(member.path(), depth + 1)) return node;
  }
  return std::nullopt;
}

// Name of the interface that carries the numeric address; empty when none does (0.0.0.0, a name).
std::string interface_of(const std::string& address) {
  in_addr v4{};
  in6_addr v6{};
  const bool is_v4 = inet_pton(AF_INET, address.c_str(), &v4) == 1;
  const bool is_v6 = !is_v4 && inet_pton(AF_INET6, address.c_str(), &v6) == 1;
  ifaddrs* list = nullptr;
  if ((!is_v4 && !is_v6) || getifaddrs(&list) != 0) return {};
  std::string name;
  for (const ifaddrs* entry = list; entry != nullptr && name.empty(); entry = entry->ifa_next) {
    if (entry->ifa_addr == nullptr) continue;
    if (is_v4 && entry->ifa_addr->sa_family == AF_INET) {
      sockaddr_in at{};
      std::memcpy(&at, entry->ifa_addr, sizeof at);
      if (at.sin_addr.s_addr == v4.s_addr) name = entry->ifa_name;
    } else if (is_v6 && entry->ifa_addr->sa_family == AF_INET6) {
      sockaddr_in6 at{};
      std::memcpy(&at, entry->ifa_addr, sizeof at);
      if (std::memcmp(&at.sin6_addr, &v6, sizeof v6) == 0) name = entry->ifa_name;
    }
  }
  freeifaddrs(list);
  return name;
}

}  // namespace

std::optional<std::uint32_t> numa_node_of_block_device(const std::string& root,
                                                       const std::string& major_minor) {
  return node_of_sysfs_device(fs::path(root + "/sys/dev/block") / major_minor, 0);
}

std::optional<std::uint32_t> numa_node_of_directory(const std::string& root, const std::string& directory) {
  if (directory.empty()) return std::nullopt;
  std::error_code error;
  fs::path at = fs::absolute(directory, error);
  if (error) return std::nullopt;
  struct stat info{};
  while (::stat(at.c_str(), &info) != 0) {
    if (!at.has_relative_path()) return std::nullopt;
    at = at.parent_path();
  }
  return numa_node_of_block_device(
      root, std::to_string(major(info.st_dev)) + ":" + std::to_string(minor(info.st_dev)));
}

std::optional<std::uint32_t> numa_node_of_address(const std::string& root, const std::string& address) {
  const std::string interface = interface_of(address);
  if (interface.empty()) return std::nullopt;
  return read_node(fs::path(root + "/sys/class/net") / interface / "device/numa_node");
}

}  // namespace esc::topo
