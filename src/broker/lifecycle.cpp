#include "esc/broker/lifecycle.h"

#include "controller.h"
#include "coordinators.h"
#include "esc/base/byte_codec.h"
#include "every_core.h"
#include "producer_ids.h"
#include "replica_watch.h"

namespace esc::broker {

void on_metadata(Broker& broker, Index index, ByteView command) {
  broker.controller().on_metadata(index, command);
}
void on_coordinator(Broker& broker, GroupId group, Index index, WallMs timestamp, ByteView command) {
  broker.coordinators().on_committed(group, index, timestamp, command);
}

namespace {

// Before there were consumer groups the catalog stood alone, and begins with its own version, 1.
constexpr std::uint32_t kMetadataVersion = 2;

}  // namespace

void save_metadata(Broker& broker, GroupId group, std::vector<std::byte>& out) {
  std::vector<std::byte> part;
  if (group == GroupId(0)) broker.controller().save(part);
  ByteWriter writer(out);
  writer.number(kMetadataVersion);
  writer.blob(part);
  part.clear();
  broker.coordinators().save(group, part);
  writer.blob(part);
}

Status load_metadata(Broker& broker, GroupId group, ByteView state) {
  if (state.empty()) return {};
  ByteReader reader(state);
  const auto version = reader.number<std::uint32_t>();
  if (version < kMetadataVersion && group == GroupId(0)) return broker.controller().load(state);
  if (version != kMetadataVersion) {
    return fail(Errc::unsupported, "the metadata in the checkpoint has version " + std::to_string(version) +
                                       ", this build reads version 2: use the build that wrote it");
  }
  const ByteView catalog = reader.blob();
  const ByteView groups = reader.blob();
  if (!reader.at_end()) return fail(Errc::corruption, "the metadata in the checkpoint does not decode");
  if (group == GroupId(0)) {
    if (Status status = broker.controller().load(catalog); !status) return status;
  }
  return groups.empty() ? Status{} : broker.coordinators().load(group, groups);
}
void on_partition(Broker& broker, GroupId group, replica::Partition& partition) {
  broker.controller().on_partition(group, partition);
}
void on_service(Broker& broker, GroupId group, NodeId from, peer::Service service, ByteView payload) {
  if (service.kind == kServiceProducerIdRequest || service.kind == kServiceProducerId)
    return broker.producer_ids().on_service(group, from, service, payload);
  if (service.kind == kServiceInSync)
    return broker.replica_watch().on_in_sync(group, from, service.tag, payload);
  if (group == GroupId(0)) broker.controller().on_service(from, service, payload);
}
void announce_leader(Broker& broker, GroupId group, NodeId leader, Term term) {
  broker.controller().announce_leader(group, leader, term);
}

void announce_port(Broker& broker, std::uint16_t port) {
  tell_every_core(broker, [port](Broker& target) {
    if (target.options().advertised_port == 0) target.set_advertised_port(port);
  });
}

namespace {

// How long a node of a cluster waits for leaders before it serves all the same.
constexpr Nanos kLeaderPatience = 1500 * kMillisecond;

bool every_group_led(const Broker& broker) {
  for (std::uint32_t id = 0; id < broker.directory().group_count(); ++id) {
    if (broker.directory().group(GroupId(id)).leader == NodeId(0)) return false;
  }
  return true;
}

bool is_single(const Broker& broker) {
  return broker.options().nodes.size() <= 1;
}

}  // namespace

bool controller_may_start(Broker& broker) {
  return !is_single(broker) || every_group_led(broker);
}

void start_controller(Broker& broker) {
  broker.controller().start();
}
bool controller_ready(Broker& broker, Nanos now) {
  const Controller& controller = broker.controller();
  if (!controller.ready()) return false;
  return is_single(broker) || every_group_led(broker) || now - controller.started_at() >= kLeaderPatience;
}

}  // namespace esc::broker
