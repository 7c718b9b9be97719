// Is the cluster well? Not by what nodes say of themselves: a canary event is sent through the leader of
// every group, as a client would, and counts when a majority has it.
//
// It goes into the topic __esctl_canary, one partition per group: partitions of one topic are dealt to the
// groups in turn. A record an hour old is dropped.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cluster_client.h"

namespace esc::esctl {

inline constexpr std::string_view kCanaryTopic = "__esctl_canary";

struct CanaryResult {
  struct Partition {
    std::int32_t leader = -1;  // who acknowledged
    bool committed = false;
    double milliseconds = 0;  // of the request that was acknowledged
    std::string trouble;      // the last failure, when not committed
  };
  std::vector<Partition> partitions;

  [[nodiscard]] bool all() const;
  [[nodiscard]] std::size_t committed() const;
  [[nodiscard]] std::string first_trouble() const;
};

// Tries until every partition has committed or the time is up. Fails only when the topic can be neither found
// nor made; partitions without a commit are in the result.
[[nodiscard]] Result<CanaryResult> commit_canary(const Bootstrap& bootstrap, std::uint32_t groups,
                                                 Deadline deadline);

}  // namespace esc::esctl
