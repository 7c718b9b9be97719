// NUMA nodes of the devices under a directory or a network address.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace esc::topo {

// Unset when the device is virtual, the machine has one node only, or the kernel does not say.
[[nodiscard]] std::optional<std::uint32_t> numa_node_of_directory(const std::string& root,
                                                                  const std::string& directory);
[[nodiscard]] std::optional<std::uint32_t> numa_node_of_address(const std::string& root,
                                                                const std::string& address);

// The block device `major:minor`, following device-mapper and md to their first member.
[[nodiscard]] std::optional<std::uint32_t> numa_node_of_block_device(const std::string& root,
                                                                     const std::string& major_minor);

}  // namespace esc::topo
