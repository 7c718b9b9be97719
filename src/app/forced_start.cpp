#include "forced_start.h"

#include <fmt/format.h>

#include <vector>

#include "data_directory.h"
#include "esc/io/posix_files.h"
#include "esc/replica/forced_seat.h"

namespace esc::app {
namespace {

constexpr const char* kMeaning = R"(
This makes the data of node {0} the only ones that count. EVERYTHING THAT THIS NODE HAD NOT RECEIVED IS LOST,
acknowledged or not: events, topics, consumer offsets. It is for when a majority of the nodes has lost its disks for
good. Not for nodes that are down, or cannot be reached: start those, or their network, and nothing is lost.

  - Of several nodes with data take the one whose logs end latest: compare last term, then last index, of each group.
  - The data of all other nodes are void from then on. Never start them with their data while node {0} is down, or cut
    off from them: a majority of them would go on with the old history, beside this one. Copy them away, empty them.
  - Copy the data directory of node {0} away first.
)";

constexpr const char* kNext = R"(
Done; nothing has been started. Next:
  1. empty the data directories of all other nodes (keep copies)
  2. start node {0} with its configuration as it is: it leads every group alone (group_goes_on_alone)
  3. start the others, or remove those that will not come back: esctl node remove --id N
  4. consumers may find that offsets they know do not exist any more (OFFSET_OUT_OF_RANGE)
)";

int refuse(const std::string& why) {
  fmt::print(stderr, "escd: {}\nescd: nothing was changed\n", why);
  return 1;
}

std::vector<replica::SeatPlace> places_of(const Config& config, std::uint32_t groups) {
  std::vector<replica::SeatPlace> places;
  for (std::uint32_t id = 0; id < groups; ++id) {
    const std::string name = "/group-" + std::to_string(id);
    places.push_back({GroupId(id), config.node.id, config.data_dir + name, config.wal_dir + name + "/wal"});
  }
  return places;
}

}  // namespace

int force_sole_voter(const Config& config, const std::string& confirmed) {
  io::PosixFiles files;
  const std::string identity_file = config.data_dir + "/node.toml";
  const auto exists = files.exists(identity_file);
  if (!exists) return refuse(exists.error().message);
  if (!*exists)
    return refuse(identity_file + " is not there: name the data directory of a node of the cluster");
  const auto text = io::read_whole_file(files, identity_file, 64 * kKiB);
  if (!text) return refuse(text.error().message);
  if (as_text(*text).find("mode = \"cluster\"") == std::string_view::npos || config.cluster.nodes.size() < 2)
    return refuse("--force-sole-voter is for a node of a cluster with others: this one is alone already");
  const auto directory = DataDirectory::open(config, kClusterGroupsDefault);
  if (!directory) return refuse(directory.error().message);
  const NodeIdentity& identity = directory->identity();
  const auto places = places_of(config, identity.groups);
  fmt::print("Node {} of cluster {}, {}\n", config.node.id.value(), identity.cluster_id, config.data_dir);
  for (const replica::SeatPlace& place : places) {
    const auto report = replica::inspect_seat(files, place);
    if (!report) return refuse(report.error().message);
    fmt::print("  group {}: last term {}, last index {}, known committed {}, voters {}{}\n",
               place.group.value(), report->last_term.value(), report->last_index.value(),
               report->commit.value(), report->voters,
               report->wanted ? " (to be the only one from the next start on)" : "");
  }
  fmt::print(kMeaning, config.node.id.value());
  if (confirmed != identity.cluster_id) {
    fmt::print(stderr, "\nescd: nothing was changed: to confirm say --force-sole-voter {}\n",
               identity.cluster_id);
    return 2;
  }
  for (const replica::SeatPlace& place : places) {
    if (Status status = replica::want_seat(files, place); !status) {
      fmt::print(stderr, "escd: {}\nescd: not all groups are prepared: mend it, and say the same again\n",
                 status.error().message);
      return 1;
    }
  }
  fmt::print(kNext, config.node.id.value());
  return 0;
}

}  // namespace esc::app
