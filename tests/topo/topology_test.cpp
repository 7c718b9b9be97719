#include "esc/topo/topology.h"

#include <gtest/gtest.h>
#include <sched.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "../../src/topo/cgroup.h"
#include "../../src/topo/device.h"
#include "esc/topo/placement.h"

namespace esc::topo {
namespace {

namespace fs = std::filesystem;

// A pretended / with /sys and /proc files of our own.
class FakeRoot : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string pattern = (fs::temp_directory_path() / "esc-topo-XXXXXX").string();
    ASSERT_NE(mkdtemp(pattern.data()), nullptr);
    root_ = pattern;
  }
  void TearDown() override { fs::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    const fs::path file = root_ + path;
    fs::create_directories(file.parent_path());
    std::ofstream(file) << text;
  }
  std::string root_;
};

TEST_F(FakeRoot, cgroup_v2_takes_the_nearest_cpuset_and_the_smallest_quota) {
  write("/proc/self/cgroup", "0::/system.slice/escd.service\n");
  write("/proc/self/mountinfo",
        "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
  write("/sys/fs/cgroup/cpuset.cpus.effective", "0-15\n");
  write("/sys/fs/cgroup/system.slice/cpuset.cpus.effective", "0-3\n");
  write("/sys/fs/cgroup/system.slice/cpu.max", "200000 100000\n");
  write("/sys/fs/cgroup/system.slice/escd.service/cpu.max", "max 100000\n");
  const CgroupLimits limits = read_cgroup_limits(root_);
  ASSERT_TRUE(limits.cpus.has_value());
  EXPECT_EQ(limits.cpus->to_string(), "0-3");
  ASSERT_TRUE(limits.quota.has_value());
  EXPECT_DOUBLE_EQ(limits.quota->cpus(), 2.0);
}

TEST_F(FakeRoot, cgroup_v1_reads_cfs_quota_and_effective_cpus) {
  write("/proc/self/cgroup", "4:cpu,cpuacct:/docker/abc\n3:cpuset:/docker/abc\n");
  // A container without cgroup namespace: only its own part of the hierarchy is mounted.
  write("/proc/self/mountinfo",
        "31 30 0:27 /docker/abc /sys/fs/cgroup/cpu ro - cgroup cgroup rw,cpu,cpuacct\n"
        "32 30 0:28 /docker/abc /sys/fs/cgroup/cpuset ro - cgroup cgroup rw,cpuset\n");
  write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "50000\n");
  write("/sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n");
  write("/sys/fs/cgroup/cpuset/cpuset.effective_cpus", "2-3\n");
  const CgroupLimits limits = read_cgroup_limits(root_);
  EXPECT_EQ(limits.cpus.value_or(CpuSet{}).to_string(), "2,3");
  ASSERT_TRUE(limits.quota.has_value());
  EXPECT_DOUBLE_EQ(limits.quota->cpus(), 0.5);
}

TEST_F(FakeRoot, no_cgroup_files_mean_no_limits) {
  EXPECT_FALSE(read_cgroup_limits(root_).cpus.has_value());
  EXPECT_FALSE(read_cgroup_limits(root_).quota.has_value());
  write("/proc/self/cgroup", "4:cpu:/\nnonsense\n");
  write("/proc/self/mountinfo", "nonsense\n31 30 0:27 / /cg rw - cgroup cgroup rw,cpu\n");
  write("/cg/cpu.cfs_quota_us", "-1\n");
  write("/cg/cpu.cfs_period_us", "100000\n");
  EXPECT_FALSE(read_cgroup_limits(root_).quota.has_value());
}

TEST_F(FakeRoot, block_device_node_comes_from_the_pci_parent_through_partitions_and_mappings) {
  write("/sys/devices/pci0000:40/nvme/nvme0/nvme0n1/nvme0n1p2/dev", "259:2\n");
  write("/sys/devices/pci0000:40/nvme/numa_node", "1\n");
  fs::create_directories(root_ + "/sys/dev/block");
  fs::create_symlink(root_ + "/sys/devices/pci0000:40/nvme/nvme0/nvme0n1/nvme0n1p2",
                     root_ + "/sys/dev/block/259:2");
  EXPECT_EQ(numa_node_of_block_device(root_, "259:2"), 1u);
  fs::create_directories(root_ + "/sys/devices/virtual/block/dm-0/slaves");
  fs::create_symlink(root_ + "/sys/devices/pci0000:40/nvme/nvme0/nvme0n1/nvme0n1p2",
                     root_ + "/sys/devices/virtual/block/dm-0/slaves/nvme0n1p2");
  fs::create_symlink(root_ + "/sys/devices/virtual/block/dm-0", root_ + "/sys/dev/block/253:0");
  EXPECT_EQ(numa_node_of_block_device(root_, "253:0"), 1u);
  EXPECT_EQ(numa_node_of_block_device(root_, "8:1"), std::nullopt);
}

TEST_F(FakeRoot, a_device_without_a_node_is_unknown) {
  write("/sys/devices/virtio/block/vda/dev", "254:0\n");
  write("/sys/devices/virtio/numa_node", "-1\n");
  fs::create_directories(root_ + "/sys/dev/block");
  fs::create_symlink(root_ + "/sys/devices/virtio/block/vda", root_ + "/sys/dev/block/254:0");
  EXPECT_EQ(numa_node_of_block_device(root_, "254:0"), std::nullopt);
}

TEST(Topology, this_machine_is_readable_and_plannable) {
  const auto topology =
      read_topology({.data_dir = "/var/lib/does-not-exist-yet", .listen_host = "127.0.0.1"});
  ASSERT_TRUE(topology.has_value()) << topology.error().message;
  EXPECT_FALSE(topology->allowed().empty());
  EXPECT_FALSE(topology->numa_nodes.empty());
  const auto plan = plan_placement(*topology, {.cores = 1});
  ASSERT_TRUE(plan.has_value()) << plan.error().message;
  EXPECT_EQ(plan->cores.size(), 1u);
}

TEST(Topology, the_affinity_mask_of_the_process_is_respected) {
  cpu_set_t before;
  ASSERT_EQ(sched_getaffinity(0, sizeof before, &before), 0);
  const auto whole = read_topology({});
  ASSERT_TRUE(whole.has_value());
  const std::uint32_t only = whole->allowed().to_vector().back();
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(only, &one);
  ASSERT_EQ(sched_setaffinity(0, sizeof one, &one), 0);
  const auto narrow = read_topology({});
  ASSERT_EQ(sched_setaffinity(0, sizeof before, &before), 0);
  ASSERT_TRUE(narrow.has_value()) << narrow.error().message;
  EXPECT_EQ(narrow->allowed(), CpuSet{only});
}

}  // namespace
}  // namespace esc::topo
