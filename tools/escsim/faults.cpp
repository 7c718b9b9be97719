#include "faults.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace esc::escsim {
namespace {

constexpr Nanos kBootDelayMin = 5 * kMillisecond;
constexpr Nanos kBootDelayMax = 1200 * kMillisecond;
constexpr Nanos kHealBootMax = 100 * kMillisecond;

}  // namespace

Faults::Faults(World& world, std::vector<std::unique_ptr<Host>>& hosts, Prng prng)
    : world_(world), hosts_(hosts), prng_(prng), states_(hosts.size()) {
  for (State& state : states_) state.boot_at = world.clock.now() + prng_.between(0, 50) * kMillisecond;
}

void Faults::begin() {
  active_ = true;
  const Scenario& s = world_.scenario;
  every(s.crash_every, &Faults::kill);
  every(s.power_every, &Faults::cut_power);
  every(s.stop_every, &Faults::terminate);
  every(s.pause_every, &Faults::pause);
  every(s.partition_every, &Faults::partition);
  every(s.reset_every, &Faults::reset);
  every(s.stall_every, &Faults::stall);
  every(s.eio_every, &Faults::break_disk);
  every(s.full_every, &Faults::fill_disk);
  every(s.wall_every, &Faults::shift_wall);
  every(s.fuse_every, &Faults::fuse);
  every(s.replace_every, &Faults::replace);
  every(s.rot_every, &Faults::rot);
  every(s.renew_every, &Faults::renew);
  every(s.unreadable_every, &Faults::spoil);
}

void Faults::every(Nanos mean, Strike strike) {
  if (mean > 0) again(mean, strike);
}

void Faults::again(Nanos mean, Strike strike) {
  world_.clock.schedule(world_.clock.now() + prng_.between(mean / 4, mean * 7 / 4), [this, mean, strike] {
    if (!active_) return;
    (this->*strike)();
    again(mean, strike);
  });
}

void Faults::later(Nanos delay, void (Faults::*what)(Host&), Host& host) {
  world_.clock.schedule(world_.clock.now() + delay, [this, what, &host] {
    if (active_) (this->*what)(host);
  });
}

bool Faults::disturbed(const Host& host) const {
  return !host.running() || host.paused() || states_[host.number() - 1].isolated;
}

Host* Faults::victim() {
  const auto count = std::ranges::count_if(hosts_, [this](const auto& host) { return disturbed(*host); });
  if (count >= static_cast<std::ptrdiff_t>(world_.scenario.down_max)) return nullptr;
  Host& host = *hosts_[prng_.below(hosts_.size())];
  return disturbed(host) ? nullptr : &host;
}

void Faults::supervise() {
  for (const auto& host : hosts_) {
    State& state = states_[host->number() - 1];
    if (host->running()) {
      if (!active_) host->calm();
      state.was_running = true;
      continue;
    }
    if (state.was_running) {
      state.was_running = false;
      const bool soon = !active_ || std::exchange(state.boots_soon, false);
      state.boot_at = world_.clock.now() + prng_.between(kBootDelayMin, soon ? kHealBootMax : kBootDelayMax);
    }
    if (world_.clock.now() < state.boot_at) continue;
    state.was_running = true;  // also when it fails at once
    host->boot();
  }
}

void Faults::heal() {
  active_ = false;
  world_.trace.event("faults", "everything heals");
  world_.network.unblock_all();
  for (const auto& host : hosts_) {
    host->heal();
    states_[host->number() - 1].isolated = false;
    states_[host->number() - 1].boot_at = world_.clock.now();
  }
}

// --- ambushes ---

void Faults::on_moment(Host& host, Moment moment) {
  if (!active_ || !ambush()) return;
  const Nanos delay = prng_.between(0, world_.scenario.ambush_delay_max);
  switch (prng_.below(moment == Moment::elected ? 8 : 2)) {
    case 0: return later(delay, &Faults::cut_power_briefly, host);
    case 1: later(delay, &Faults::cut_power_briefly, another(host)); [[fallthrough]];
    case 2:
    case 3:
    case 4: return later(delay, &Faults::isolate, host);
    case 5: later(delay, &Faults::isolate, host); [[fallthrough]];
    case 6: return later(delay, &Faults::stall_ambushed, host);
    default: return later(delay, &Faults::stall_ambushed, another(host));
  }
}

Host& Faults::another(const Host& host) {
  return *hosts_[(host.number() + prng_.below(hosts_.size() - 1)) % hosts_.size()];
}

// From the other nodes, not from clients: what they produce becomes a tail that nobody else has.
void Faults::isolate(Host& host) {
  State& state = states_[host.number() - 1];
  if (!host.running() || state.isolated) return;
  state.isolated = true;
  for (std::uint32_t peer = 1; peer <= hosts_.size(); ++peer) {
    if (peer == host.number()) continue;
    world_.network.block(peer, host.number());
    world_.network.block(host.number(), peer);
  }
  world_.trace.event(host.name(), "is cut off from the other nodes");
  later(prng_.between(50, 1200) * kMillisecond, &Faults::reconnect, host);
}

void Faults::cut_power_briefly(Host& host) {
  if (!host.running()) return;
  states_[host.number() - 1].boots_soon = true;
  host.crash(sim::CrashKind::power);
}

// Power is cut in the middle, or when what was held up has just been written.
void Faults::stall_ambushed(Host& host) {
  if (!host.running()) return;
  const Nanos time = prng_.between(20, prng_.chance(1, 2) ? 2500 : 500) * kMillisecond;
  const bool wal = prng_.chance(1, 2);
  world_.trace.event(host.name(), "its {} stalls for {} ms", wal ? "log device" : "disk",
                     time / kMillisecond);
  host.stall_disk(world_.clock.now() + time, wal ? "/wal" : "");
  const std::uint64_t draw = prng_.below(3);
  const Nanos after = prng_.between(0, 2 * world_.scenario.loop.disk.max);
  if (draw == 0) later(prng_.between(0, time), &Faults::cut_power_briefly, host);
  if (draw == 1) later(time + after, &Faults::cut_power_briefly, host);
}

// --- one fault each ---

void Faults::kill() {
  if (Host* host = victim()) host->crash(sim::CrashKind::process);
}

void Faults::cut_power() {
  if (Host* host = victim()) host->crash(sim::CrashKind::power);
}

void Faults::terminate() {
  if (Host* host = victim()) host->terminate();
}

void Faults::pause() {
  Host* const host = victim();
  if (host == nullptr) return;
  host->pause(true);
  later(prng_.between(10, 1500) * kMillisecond, &Faults::resume, *host);
}

void Faults::resume(Host& host) {
  host.pause(false);
}

void Faults::partition() {
  Host* const host = victim();
  if (host == nullptr || hosts_.size() < 2) return;
  const std::uint64_t kind = prng_.below(4);  // 0: in, 1: out, 2 and 3: both
  const bool alone = prng_.chance(2, 3);      // from everybody, or from one other node
  const bool clients = alone && prng_.chance(1, 2);
  const auto other = static_cast<std::uint32_t>(1 + prng_.below(hosts_.size()));
  const std::uint32_t last = clients ? 120 : static_cast<std::uint32_t>(hosts_.size());
  for (std::uint32_t peer = 1; peer <= last; ++peer) {
    if (peer == host->number() || (!alone && peer != other)) continue;
    if (kind != 1) world_.network.block(peer, host->number());
    if (kind != 0) world_.network.block(host->number(), peer);
  }
  states_[host->number() - 1].isolated = true;
  world_.trace.event(host->name(), "is cut off {} {}{}",
                     kind == 0   ? "(nothing comes in)"
                     : kind == 1 ? "(nothing goes out)"
                                 : "(both ways)",
                     alone ? "from everybody" : "from one node", clients ? " and from clients" : "");
  later(prng_.between(20, 2500) * kMillisecond, &Faults::reconnect, *host);
}

void Faults::reconnect(Host& host) {
  states_[host.number() - 1].isolated = false;
  world_.trace.event(host.name(), "is reachable again");
  for (std::uint32_t peer = 1; peer <= 120; ++peer) {
    world_.network.unblock(peer, host.number());
    world_.network.unblock(host.number(), peer);
  }
}

void Faults::reset() {
  const auto a = static_cast<sim::HostNumber>(1 + prng_.below(hosts_.size()));
  const bool client = hosts_.size() == 1 || prng_.chance(1, 3);
  const auto b = static_cast<sim::HostNumber>(client ? 101 + prng_.below(5) : 1 + prng_.below(hosts_.size()));
  world_.trace.event("faults", "connections between {} and {} are reset", a, b);
  world_.network.reset(a, b);
}

void Faults::stall() {
  Host& host = *hosts_[prng_.below(hosts_.size())];
  if (!host.running()) return;
  const Nanos time = prng_.between(10, prng_.chance(1, 4) ? 3000 : 400) * kMillisecond;
  world_.trace.event(host.name(), "its disk stalls for {} ms", time / kMillisecond);
  host.stall_disk(world_.clock.now() + time);
}

void Faults::break_disk() {
  Host* const host = victim();
  if (host == nullptr) return;
  world_.trace.event(host->name(), "a write or sync will fail");
  host->break_disk(prng_.below(10));
}

void Faults::fill_disk() {
  Host* const host = victim();
  if (host == nullptr) return;
  world_.trace.event(host->name(), "its disk is full");
  host->fill_disk(true);
  later(prng_.between(100, 1500) * kMillisecond, &Faults::empty_disk, *host);
}

void Faults::empty_disk(Host& host) {
  world_.trace.event(host.name(), "its disk has room again");
  host.fill_disk(false);
}

void Faults::shift_wall() {
  Host& host = *hosts_[prng_.below(hosts_.size())];
  const WallMs by = prng_.between(-3'600'000, 3'600'000);
  world_.trace.event(host.name(), "its wall clock jumps by {} ms", by);
  host.shift_wall(by);
}

// Killed, and killed again while it recovers.
void Faults::fuse() {
  Host* const host = victim();
  if (host == nullptr) return;
  host->crash(prng_.chance(1, 2) ? sim::CrashKind::power : sim::CrashKind::process);
  host->arm_fuse(1 + prng_.below(60));
}

// Only when every group has taken in what was replaced before: two disks at once may be a majority.
void Faults::replace() {
  Host* const host = victim();
  if (host == nullptr || !whole()) return;
  host->crash(sim::CrashKind::power);
  if (host->running()) return;  // in the middle of recovery, which has yet to unwind
  host->replace_disk();
}

// Who is not a member has nothing that anybody relies on.
void Faults::renew() {
  for (const auto& host : hosts_) {
    if (!host->running() || !is_out(*host)) continue;
    host->crash(sim::CrashKind::power);
    if (host->running()) return;
    return host->replace_disk();
  }
}

bool Faults::is_out(const Host& host) const {
  for (std::uint32_t id = 0; id < world_.scenario.groups; ++id) {
    bool led = false;
    for (const auto& other : hosts_) {
      if (other->number() == host.number()) continue;
      const replica::Group* const group = other->group(GroupId(id));
      if (group == nullptr || group->core().configuration().contains(host.node())) return false;
      const raft::Core& core = group->core();
      led = led || (group->leading() && core.configurations().current_index() <= core.commit_index());
    }
    if (!led) return false;
  }
  return true;
}

// Likewise: what is damaged counts as lost.
void Faults::rot() {
  Host* const host = victim();
  if (host == nullptr || !whole()) return;
  host->crash(sim::CrashKind::power);  // what is not stable could still turn into something older
  if (host->running()) return;         // as above
  host->rot();
  later(prng_.between(100, 3000) * kMillisecond, &Faults::calm, *host);
}

// Likewise. The node runs: its readers meet it, or its next start.
void Faults::spoil() {
  Host* const host = victim();
  if (host == nullptr || !whole()) return;
  host->spoil();
  later(prng_.between(100, 3000) * kMillisecond, &Faults::calm, *host);
}

void Faults::calm(Host& host) {
  host.calm();
  if (host.rotten()) later(500 * kMillisecond, &Faults::calm, host);
}

bool Faults::whole() const {
  return unsettled(world_.scenario, hosts_).empty() &&
         std::ranges::none_of(hosts_, [](const auto& host) { return host->rotten(); });
}

std::string unsettled(const Scenario& scenario, const std::vector<std::unique_ptr<Host>>& hosts) {
  if (scenario.nodes == 1) return {};
  for (std::uint32_t id = 0; id < scenario.groups; ++id) {
    const bool settled = std::ranges::any_of(hosts, [&](const auto& host) {
      const replica::Group* const group = host->group(GroupId(id));
      if (group == nullptr || !group->leading()) return false;
      const raft::Core& core = group->core();
      const raft::Configuration& members = core.configuration();
      return core.configurations().current_index() <= core.commit_index() &&
             std::ranges::all_of(hosts, [&](const auto& member) {
               const raft::Incarnation shown = member->incarnation(GroupId(id));
               return shown != raft::Incarnation(0) && members.is_voter(member->node()) &&
                      (members.incarnations.empty() || members.incarnation_of(member->node()) == shown);
             });
    });
    if (!settled) return fmt::format("group {}: not every node is a voter as it is now", id);
  }
  return {};
}

}  // namespace esc::escsim
