#include "esc/topo/placement.h"

#include <gtest/gtest.h>

#include <string>

#include "esc/base/prng.h"
#include "machines.h"

namespace esc::topo {
namespace {

Plan must_plan(const Topology& topology, const PlacementRequest& request) {
  auto plan = plan_placement(topology, request);
  EXPECT_TRUE(plan.has_value()) << plan.error().message;
  return plan.value_or(Plan{});
}

std::string refusal(const Topology& topology, const PlacementRequest& request) {
  const auto plan = plan_placement(topology, request);
  EXPECT_FALSE(plan.has_value());
  if (plan) return {};
  EXPECT_EQ(plan.error().code, Errc::invalid_argument);
  return plan.error().message;
}

bool any_contains(const std::vector<std::string>& sentences, std::string_view part) {
  for (const auto& sentence : sentences) {
    if (sentence.find(part) != std::string::npos) return true;
  }
  return false;
}

TEST(Placement, one_cpu_runs_one_core_that_shares_it_with_housekeeping) {
  const Plan plan = must_plan(make_machine({}), {});
  ASSERT_EQ(plan.cores.size(), 1u);
  EXPECT_TRUE(plan.cores[0].pinned);
  EXPECT_EQ(plan.data_cpus, CpuSet{0});
  EXPECT_EQ(plan.housekeeping_cpus, CpuSet{0});
  EXPECT_EQ(plan.io_worker_cpus, CpuSet{0});
  EXPECT_TRUE(plan.warnings.empty()) << "normal on a small machine";
}

TEST(Placement, polling_cores_on_every_cpu_are_reported) {
  const Plan plan =
      must_plan(make_machine({.cores_per_socket = 2}), {.cores = 2, .idle = IdleStrategy::spin});
  EXPECT_TRUE(any_contains(plan.warnings, "No CPU is left for housekeeping"));
}

TEST(Placement, both_cpus_of_a_two_cpu_vm_are_used_when_asked_for) {
  const Plan plan = must_plan(make_machine({.cores_per_socket = 2}), {.cores = 2});
  EXPECT_EQ(plan.cores.size(), 2u);
  EXPECT_EQ(plan.data_cpus, (CpuSet{0, 1}));
}

TEST(Placement, a_two_cpu_vm_leaves_cpu_0_to_housekeeping) {
  const Plan plan = must_plan(make_machine({.cores_per_socket = 2}), {});
  EXPECT_EQ(plan.cores.size(), 1u);
  EXPECT_EQ(plan.data_cpus, CpuSet{1});
  EXPECT_EQ(plan.housekeeping_cpus, CpuSet{0});
  EXPECT_TRUE(plan.warnings.empty()) << plan.warnings[0];
}

TEST(Placement, automatic_count_leaves_a_core_to_housekeeping_when_there_are_four) {
  const Plan plan = must_plan(make_machine({.cores_per_socket = 4, .threads_per_core = 2}), {});
  EXPECT_EQ(plan.data_cpus, (CpuSet{1, 2, 3}));
  EXPECT_EQ(plan.housekeeping_cpus, (CpuSet{0, 4}));  // not the siblings of data cores
}

TEST(Placement, physical_cores_come_before_smt_siblings) {
  const Topology machine = make_machine({.cores_per_socket = 4, .threads_per_core = 2});
  EXPECT_EQ(must_plan(machine, {.cores = 4}).data_cpus, (CpuSet{0, 1, 2, 3}));
  const Plan five = must_plan(machine, {.cores = 5});
  EXPECT_EQ(five.data_cpus, (CpuSet{0, 1, 2, 3, 5}));  // CPU 5 is the sibling of 1; CPU 0's core stays single
  EXPECT_TRUE(any_contains(five.warnings, "share a physical core"));
  EXPECT_TRUE(five.cores[1].shares_physical_core);
  EXPECT_FALSE(five.cores[0].shares_physical_core);
}

TEST(Placement, two_sockets_keep_all_cores_on_the_node_of_the_wal_device) {
  Topology machine = make_machine({.sockets = 2, .cores_per_socket = 8, .threads_per_core = 2});
  machine.wal_numa_node = 1;
  machine.nic_numa_node = 0;
  const Plan plan = must_plan(machine, {.cores = 8});
  EXPECT_EQ(plan.data_cpus.to_string(), "8-15");
  for (const auto& core : plan.cores) EXPECT_EQ(core.numa_node, 1u);
  EXPECT_TRUE(any_contains(plan.reasons, "The WAL device is on memory node 1"));
  EXPECT_TRUE(any_contains(plan.warnings, "The network interface is on memory node 0, no data core is"));
  EXPECT_EQ(plan.housekeeping_cpus.to_string(), "0-7,16-23");
  EXPECT_EQ(plan.io_worker_cpus, plan.housekeeping_cpus) << "no housekeeping CPU is on node 1";
}

TEST(Placement, two_sockets_without_device_hints_stay_on_one_socket) {
  const Topology machine = make_machine({.sockets = 2, .cores_per_socket = 4});
  EXPECT_EQ(must_plan(machine, {.cores = 3}).data_cpus, (CpuSet{1, 2, 3}));
  EXPECT_EQ(must_plan(machine, {.cores = 4}).data_cpus, (CpuSet{0, 1, 2, 3}));
  const Plan six = must_plan(machine, {.cores = 6});
  EXPECT_TRUE(any_contains(six.warnings, "span 2 memory nodes"));
}

TEST(Placement, io_workers_stay_on_the_memory_node_of_the_data_cores) {
  const Plan plan = must_plan(make_machine({.sockets = 2, .cores_per_socket = 4}), {.cores = 3});
  EXPECT_EQ(plan.housekeeping_cpus.to_string(), "0,4-7");
  EXPECT_EQ(plan.io_worker_cpus, CpuSet{0});
}

TEST(Placement, isolated_cpus_are_taken_first_and_set_the_automatic_count) {
  Topology machine = make_machine({.cores_per_socket = 8});
  machine.isolated = {4, 5, 6};
  const Plan plan = must_plan(machine, {.idle = IdleStrategy::spin});
  EXPECT_EQ(plan.data_cpus, (CpuSet{4, 5, 6}));
  EXPECT_EQ(plan.housekeeping_cpus, (CpuSet{0, 1, 2, 3, 7}));
  EXPECT_TRUE(plan.cores[0].isolated);
  const Plan more = must_plan(machine, {.cores = 4});
  EXPECT_EQ(more.data_cpus, (CpuSet{1, 4, 5, 6}));
  EXPECT_TRUE(any_contains(more.warnings, "CPUs 1 are not isolated"));
}

TEST(Placement, housekeeping_never_lands_on_isolated_cpus_while_others_exist) {
  Topology machine = make_machine({.cores_per_socket = 4});
  machine.isolated = {2, 3};
  const Plan plan = must_plan(machine, {.cores = 1});
  EXPECT_EQ(plan.data_cpus, CpuSet{2});
  EXPECT_EQ(plan.housekeeping_cpus, (CpuSet{0, 1}));
}

TEST(Placement, unpinned_cores_avoid_isolated_cpus) {
  Topology machine = make_machine({.cores_per_socket = 4});
  machine.isolated = {2, 3};
  const Plan plan = must_plan(machine, {.cores = 2, .pin = PinMode::off});
  EXPECT_EQ(plan.data_cpus, (CpuSet{0, 1}));
  EXPECT_FALSE(plan.cores[0].pinned);
}

TEST(Placement, spinning_cores_outside_nohz_full_are_reported) {
  Topology machine = make_machine({.cores_per_socket = 4});
  machine.nohz_full = {3};
  const Plan plan = must_plan(machine, {.cores = 2, .idle = IdleStrategy::spin});
  EXPECT_TRUE(any_contains(plan.warnings, "not in nohz_full"));
}

TEST(Placement, spinning_under_a_cpu_quota_is_refused_with_the_fix) {
  Topology machine = make_machine({.cores_per_socket = 4});
  machine.quota = CpuQuota{.quota_us = 150'000, .period_us = 100'000};
  const std::string message = refusal(machine, {.cores = 1, .idle = IdleStrategy::spin});
  EXPECT_NE(message.find("1.50 CPUs"), std::string::npos) << message;
  EXPECT_NE(message.find("idle = \"park\""), std::string::npos) << message;
}

TEST(Placement, a_quota_turns_adaptive_polling_into_parking_and_limits_the_automatic_count) {
  Topology machine = make_machine({.cores_per_socket = 8});
  machine.quota = CpuQuota{.quota_us = 250'000, .period_us = 100'000};
  const Plan plan = must_plan(machine, {});
  EXPECT_EQ(plan.cores.size(), 2u);
  EXPECT_EQ(plan.idle, IdleStrategy::park);
  const Plan many = must_plan(machine, {.cores = 4});
  EXPECT_TRUE(any_contains(many.warnings, "raise cpu.max or lower cores"));
}

TEST(Placement, spinning_without_pinning_is_refused) {
  const std::string message = refusal(make_machine({.cores_per_socket = 2}),
                                      {.cores = 1, .pin = PinMode::off, .idle = IdleStrategy::spin});
  EXPECT_NE(message.find("needs one CPU per data core"), std::string::npos) << message;
}

TEST(Placement, more_cores_than_cpus_is_refused_when_pinning_is_required) {
  const std::string message =
      refusal(make_machine({.cores_per_socket = 2}), {.cores = 3, .pin = PinMode::require});
  EXPECT_NE(message.find("lower cores to 2"), std::string::npos) << message;
}

TEST(Placement, more_cores_than_cpus_float_when_pinning_is_preferred) {
  const Plan plan = must_plan(make_machine({.cores_per_socket = 2}), {.cores = 3});
  EXPECT_EQ(plan.pin, PinMode::off);
  EXPECT_EQ(plan.cores.size(), 3u);
  EXPECT_TRUE(any_contains(plan.warnings, "3 data cores share 2 CPUs"));
}

TEST(Placement, taskset_limits_the_choice) {
  Topology machine = make_machine({.cores_per_socket = 8});
  machine.affinity = {2, 3, 4};
  const Plan plan = must_plan(machine, {});
  EXPECT_EQ(plan.data_cpus, (CpuSet{2, 3}));
  EXPECT_EQ(plan.housekeeping_cpus, CpuSet{4});
  const std::string message = refusal(machine, {.cpu_list = {2, 5}});
  EXPECT_NE(message.find("CPU 5 is excluded by the process affinity (taskset)"), std::string::npos)
      << message;
}

TEST(Placement, the_cgroup_cpuset_limits_the_choice) {
  Topology machine = make_machine({.cores_per_socket = 8});
  machine.cgroup_cpus = {4, 5};
  EXPECT_EQ(must_plan(machine, {.cores = 2}).data_cpus, (CpuSet{4, 5}));
  const std::string message = refusal(machine, {.cpu_list = {1, 100}});
  EXPECT_NE(message.find("CPU 100 does not exist"), std::string::npos) << message;
  EXPECT_NE(message.find("CPU 1 is outside of the cgroup's cpuset"), std::string::npos) << message;
}

TEST(Placement, an_explicit_cpu_list_is_obeyed) {
  const Topology machine = make_machine({.cores_per_socket = 8});
  const Plan plan = must_plan(machine, {.cpu_list = {0, 7}, .housekeeping_cpus = {3}});
  EXPECT_EQ(plan.data_cpus, (CpuSet{0, 7}));
  EXPECT_EQ(plan.housekeeping_cpus, CpuSet{3});
  EXPECT_NE(refusal(machine, {.cores = 3, .cpu_list = {0, 7}}).find("one CPU per data core"),
            std::string::npos);
  EXPECT_NE(refusal(machine, {.pin = PinMode::off, .cpu_list = {1}}).find("remove cpu_list"),
            std::string::npos);
}

TEST(Placement, explicit_housekeeping_cpus_are_not_used_for_data) {
  const Topology machine = make_machine({.cores_per_socket = 4});
  EXPECT_EQ(must_plan(machine, {.housekeeping_cpus = {2, 3}}).data_cpus, (CpuSet{0, 1}));
  const Plan overlap = must_plan(machine, {.cpu_list = {2}, .housekeeping_cpus = {2}});
  EXPECT_TRUE(any_contains(overlap.warnings, "runs a data core and housekeeping"));
}

TEST(Placement, the_limit_of_cores_is_enforced) {
  EXPECT_NE(refusal(make_machine({.cores_per_socket = 128}), {.cores = 65}).find("limit of 64"),
            std::string::npos);
  EXPECT_EQ(must_plan(make_machine({.cores_per_socket = 128}), {}).cores.size(), 64u);
}

TEST(Placement, a_machine_without_allowed_cpus_is_refused) {
  Topology machine = make_machine({.cores_per_socket = 2});
  machine.affinity = {};
  EXPECT_NE(refusal(machine, {}).find("no CPU is allowed"), std::string::npos);
}

// Whatever the machine and the request: a plan uses allowed CPUs only, each for one core when pinned.
TEST(Placement, every_plan_of_random_machines_keeps_its_promises) {
  Prng prng(20240611);
  int planned = 0;
  for (int round = 0; round < 3000; ++round) {
    Topology machine = make_machine({.sockets = 1 + static_cast<std::uint32_t>(prng.below(3)),
                                     .cores_per_socket = 1 + static_cast<std::uint32_t>(prng.below(6)),
                                     .threads_per_core = 1 + static_cast<std::uint32_t>(prng.below(2))});
    for (const Cpu& cpu : machine.cpus) {
      if (prng.below(4) == 0) machine.isolated.add(cpu.id);
      if (prng.below(8) == 0) machine.affinity.remove(cpu.id);
      if (prng.below(8) == 0) machine.cgroup_cpus.remove(cpu.id);
    }
    if (prng.below(6) == 0)
      machine.quota = CpuQuota{.quota_us = 50'000 + prng.below(400'000), .period_us = 100'000};
    if (prng.below(2) == 0) machine.wal_numa_node = static_cast<std::uint32_t>(prng.below(3));
    PlacementRequest request{.cores = static_cast<std::uint32_t>(prng.below(8)),
                             .pin = static_cast<PinMode>(prng.below(3)),
                             .idle = static_cast<IdleStrategy>(prng.below(3))};
    const auto plan = plan_placement(machine, request);
    if (!plan) continue;
    ++planned;
    EXPECT_FALSE(plan->cores.empty());
    EXPECT_TRUE(request.cores == 0 || plan->cores.size() == request.cores);
    EXPECT_TRUE(machine.allowed().contains_all(plan->data_cpus));
    EXPECT_FALSE(plan->housekeeping_cpus.empty());
    EXPECT_TRUE(machine.allowed().contains_all(plan->housekeeping_cpus));
    EXPECT_FALSE(plan->io_worker_cpus.empty());
    EXPECT_TRUE(plan->housekeeping_cpus.contains_all(plan->io_worker_cpus));
    if (plan->pin != PinMode::off) {
      EXPECT_EQ(plan->data_cpus.count(), plan->cores.size());
    }
    if (plan->idle == IdleStrategy::spin) {
      EXPECT_FALSE(machine.quota.has_value());
      EXPECT_NE(plan->pin, PinMode::off);
    }
    EXPECT_FALSE(format_plan(machine, *plan).empty());
  }
  EXPECT_GT(planned, 1000);
}

TEST(PlacementFormat, text_names_every_core_and_every_reason) {
  const Topology machine = make_machine({.sockets = 2, .cores_per_socket = 2});
  const Plan plan = must_plan(machine, {.cores = 1});
  const std::string text = format_plan(machine, plan);
  EXPECT_NE(text.find("CORE  CPU"), std::string::npos) << text;
  for (const auto& sentence : plan.reasons)
    EXPECT_NE(text.find("- " + sentence + "\n"), std::string::npos) << text;
}

TEST(PlacementFormat, json_lists_cores_and_escapes_quotes) {
  const Topology machine = make_machine({.cores_per_socket = 2});
  Plan plan = must_plan(machine, {.cores = 1});
  plan.reasons = {"a \"quoted\" word"};
  const std::string json = format_plan_json(machine, plan);
  EXPECT_NE(json.find("\"data_cpus\": [1]"), std::string::npos) << json;
  EXPECT_NE(json.find("a \\\"quoted\\\" word"), std::string::npos) << json;
  EXPECT_EQ(json.back(), '\n');
}

}  // namespace
}  // namespace esc::topo
