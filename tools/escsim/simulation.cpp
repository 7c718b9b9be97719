#include "simulation.h"

#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <vector>

#include "client.h"
#include "configurer.h"
#include "faults.h"
#include "group_member.h"
#include "host.h"
#include "lag_watcher.h"
#include "node_operator.h"
#include "tenant.h"

namespace esc::escsim {
namespace {

constexpr Nanos kTick = 5 * kMillisecond;
constexpr std::uint32_t kFirstClient = 101;
// The log lines of the nodes carry virtual time; there is one simulation at a time in a process.
const sim::SimClock* log_clock = nullptr;
Nanos log_time() {
  return log_clock == nullptr ? 0 : log_clock->now();
}

enum class Phase : std::uint8_t { chaos, heal, quiet, audit, done };
const char* to_string(Phase phase) {
  switch (phase) {
    case Phase::chaos: return "chaos";
    case Phase::heal: return "heal";
    case Phase::quiet: return "quiet";
    case Phase::audit: return "audit";
    case Phase::done: return "done";
  }
  return "";
}

class Simulation {
 public:
  explicit Simulation(const SimulationOptions& options);
  ~Simulation() { log_clock = nullptr; }
  SimulationReport run();

 private:
  void tick();
  void enter(Phase phase, Nanos limit);
  void note_audited();
  [[nodiscard]] bool phase_complete();
  void advance();
  [[nodiscard]] std::string unhealthy() const;
  [[nodiscard]] std::uint64_t commits() const;  // of the group
  [[nodiscard]] std::string converged() const;
  [[nodiscard]] std::string passing_topic() const;

  SimulationOptions options_;
  Scenario scenario_;
  Prng prng_;
  sim::SimClock clock_;
  Trace trace_;
  Model model_;
  sim::Network network_;
  obs::Logger logger_;
  World world_;
  std::vector<std::unique_ptr<Host>> hosts_;
  Faults faults_;
  Admin admin_;
  std::vector<std::unique_ptr<Sender>> producers_;
  std::vector<std::unique_ptr<Consumer>> consumers_;
  std::vector<std::unique_ptr<GroupMember>> members_;
  std::unique_ptr<LagWatcher> watcher_;
  std::unique_ptr<NodeOperator> operator_;  // may be null
  std::unique_ptr<Tenant> tenant_;          // likewise
  std::unique_ptr<Configurer> configurer_;  // likewise
  Phase phase_ = Phase::chaos;
  Nanos phase_end_ = 0;
  std::vector<std::uint64_t> acknowledged_at_heal_;
  std::uint64_t commits_at_heal_ = 0;
  std::uint64_t changes_at_heal_ = 0;
  std::int64_t audited_ = 0;  // records that the audit has read
};

Scenario scenario_of(const SimulationOptions& options) {
  Scenario scenario = make_scenario(options.seed, options.nodes, options.age);
  if (options.chaos_time > 0) scenario.chaos_time = options.chaos_time;
  return scenario;
}

std::vector<std::unique_ptr<Host>> make_hosts(World& world, const Prng& prng) {
  std::vector<std::unique_ptr<Host>> hosts;
  for (std::uint32_t number = 1; number <= world.scenario.nodes; ++number)
    hosts.push_back(std::make_unique<Host>(world, number, prng.fork(number)));
  return hosts;
}

Simulation::Simulation(const SimulationOptions& options)
    : options_(options),
      scenario_(scenario_of(options)),
      prng_(Prng(options.seed).fork(2)),
      trace_(clock_, options.print),
      network_(clock_, prng_.fork(1), scenario_.network),
      logger_({.level = obs::Level::info, .wall_nanos = &log_time}),
      world_{scenario_, clock_, network_, trace_, model_, options.plant, options.logs ? &logger_ : nullptr},
      hosts_(make_hosts(world_, prng_.fork(2))),
      faults_(world_, hosts_, prng_.fork(3)),
      admin_(world_, kFirstClient, "admin", prng_.fork(4)) {
  log_clock = &clock_;
  world_.moment = [this](Host& host, Moment moment) { faults_.on_moment(host, moment); };
  std::uint32_t host = kFirstClient + 1;
  for (std::uint32_t i = 0; i < scenario_.consumers; ++i, ++host) {
    consumers_.push_back(
        std::make_unique<Consumer>(world_, host, "consumer" + std::to_string(i), prng_.fork(host)));
  }
  const auto pool = std::make_shared<EventPool>();
  pool->recent.resize(static_cast<std::size_t>(scenario_.partitions));
  for (std::uint32_t i = 0; i < scenario_.producers; ++i, ++host) {
    const std::uint64_t first_number = (i + 1) * 1'000'000ull;
    if (i < scenario_.idempotent_producers) {
      producers_.push_back(std::make_unique<IdempotentProducer>(
          world_, host, "idempotent" + std::to_string(i), prng_.fork(host), first_number));
    } else if (i < scenario_.idempotent_producers + scenario_.event_producers) {
      producers_.push_back(std::make_unique<EventProducer>(world_, host, "events" + std::to_string(i),
                                                           prng_.fork(host), first_number, pool));
    } else {
      producers_.push_back(std::make_unique<Producer>(world_, host, "producer" + std::to_string(i),
                                                      prng_.fork(host), first_number));
    }
  }
  for (std::uint32_t i = 0; i < scenario_.group_members; ++i, ++host) {
    members_.push_back(
        std::make_unique<GroupMember>(world_, host, "member" + std::to_string(i), prng_.fork(host)));
  }
  if (scenario_.nodes_change)
    operator_ = std::make_unique<NodeOperator>(world_, host, "operator", prng_.fork(host));
  if (++host; scenario_.lag_watcher)
    watcher_ = std::make_unique<LagWatcher>(world_, host, "watcher", prng_.fork(host));
  ++host;
  if (scenario_.topic_changes)
    tenant_ = std::make_unique<Tenant>(world_, host, "tenant", prng_.fork(host), 900'000'000ull);
  if (++host; scenario_.rule_changes)
    configurer_ = std::make_unique<Configurer>(world_, host, "configurer", prng_.fork(host));
}

void Simulation::enter(Phase phase, Nanos limit) {
  phase_ = phase;
  phase_end_ = clock_.now() + limit;
  trace_.event("phase", "{}", to_string(phase));
}

// An audit takes as long as its disks and the limits of its fetches make it; what must not happen is that
// it stands still.
void Simulation::note_audited() {
  std::int64_t read = 0;
  for (const auto& consumer : consumers_)
    for (const std::int64_t position : consumer->positions()) read += position;
  if (read > audited_) phase_end_ = clock_.now() + scenario_.heal_time;
  audited_ = read;
}

void Simulation::tick() {
  faults_.supervise();
  if (phase_ == Phase::audit) note_audited();
  if (phase_complete()) {
    advance();
  } else if (clock_.now() >= phase_end_) {
    std::string why = unhealthy();
    if (why.empty()) why = converged();
    for (const auto& host : hosts_) trace_.note("stuck", "{}", host->state());
    for (const auto& producer : producers_) trace_.note("stuck", "{}", producer->state());
    for (const auto& consumer : consumers_) trace_.note("stuck", "{}", consumer->state());
    for (const auto& member : members_) trace_.note("stuck", "{}", member->state());
    if (tenant_ != nullptr) trace_.note("stuck", "{}", tenant_->state());
    model_.fail(fmt::format("no progress: phase '{}' did not end in {} s{}{}", to_string(phase_),
                            scenario_.heal_time / kSecond, why.empty() ? "" : ": ", why));
  }
  clock_.schedule(clock_.now() + kTick, [this] { tick(); });
}

bool Simulation::phase_complete() {
  switch (phase_) {
    case Phase::chaos: return clock_.now() >= phase_end_;
    case Phase::heal: {
      if (!admin_.quiet() || !unhealthy().empty()) return false;
      if (operator_ != nullptr && !operator_->quiet()) return false;
      if (tenant_ != nullptr && tenant_->changes() <= changes_at_heal_) return false;
      if (configurer_ != nullptr && !configurer_->quiet()) return false;
      for (std::size_t i = 0; i < producers_.size(); ++i)
        if (producers_[i]->acknowledged() <= acknowledged_at_heal_[i]) return false;
      return members_.empty() || commits() > commits_at_heal_;
    }
    case Phase::quiet:
      return std::ranges::all_of(producers_, [](const auto& p) { return p->quiet(); }) &&
             std::ranges::all_of(members_, [](const auto& m) { return m->quiet(); }) &&
             (watcher_ == nullptr || watcher_->quiet()) && (tenant_ == nullptr || tenant_->quiet()) &&
             converged().empty();
    case Phase::audit:
      return std::ranges::all_of(consumers_, [](const auto& c) { return c->at_end(); }) &&
             std::ranges::all_of(members_, [](const auto& m) { return m->audited(); }) &&
             (tenant_ == nullptr || tenant_->audited()) && converged().empty();
    case Phase::done: return false;
  }
  return false;
}

void Simulation::advance() {
  switch (phase_) {
    case Phase::chaos:
      faults_.heal();
      if (operator_ != nullptr) operator_->stop();
      if (configurer_ != nullptr) configurer_->stop();
      for (const auto& producer : producers_) acknowledged_at_heal_.push_back(producer->acknowledged());
      commits_at_heal_ = commits();
      if (tenant_ != nullptr) changes_at_heal_ = tenant_->changes();
      return enter(Phase::heal, scenario_.heal_time);
    case Phase::heal:
      for (const auto& producer : producers_) producer->stop();
      for (const auto& member : members_) member->stop();
      if (tenant_ != nullptr) tenant_->stop();
      if (watcher_ != nullptr) watcher_->stop();
      return enter(Phase::quiet, scenario_.heal_time);
    case Phase::quiet:
      for (const auto& consumer : consumers_) consumer->rewind();
      for (const auto& member : members_) member->begin_audit();
      if (tenant_ != nullptr) tenant_->begin_audit();
      return enter(Phase::audit, scenario_.heal_time);
    case Phase::audit:
      for (const auto& host : hosts_) host->observe_files();
      for (const auto& consumer : consumers_) model_.check_final(consumer->positions());
      if (tenant_ != nullptr) tenant_->report();
      return enter(Phase::done, scenario_.heal_time);
    case Phase::done: return;
  }
}

std::uint64_t Simulation::commits() const {
  std::uint64_t sum = 0;
  for (const auto& member : members_) sum += member->commits();
  return sum;
}

// Why the cluster does not serve, or nothing.
std::string Simulation::unhealthy() const {
  for (const auto& host : hosts_) {
    if (!host->serving())
      return host->name() + " does not serve" +
             (host->last_failure().empty() ? "" : ": " + host->last_failure());
  }
  return {};
}

// Why the replicas differ, or nothing.
std::string Simulation::converged() const {
  if (std::string why = unsettled(scenario_, hosts_); !why.empty()) return why;
  for (const auto& host : hosts_)
    if (host->rotten()) return host->name() + " still has damaged data";
  for (std::uint32_t id = 0; id < scenario_.groups; ++id) {
    const replica::Group* first = nullptr;
    for (const auto& host : hosts_) {
      const replica::Group* group = host->group(GroupId(id));
      if (group == nullptr) return host->name() + " has no group " + std::to_string(id);
      if (first == nullptr) first = group;
      if (group->commit_index() != first->commit_index()) {
        return fmt::format("group {}: commit {} at {}, {} at {}", id, first->commit_index().value(),
                           hosts_[0]->name(), group->commit_index().value(), host->name());
      }
      if (group->partitions().size() != first->partitions().size())
        return fmt::format("group {}: replicas have different partitions", id);
      for (const replica::Partition* partition : group->partitions()) {
        const replica::Partition* twin = first->find(partition->id());
        if (twin == nullptr || twin->high_watermark() != partition->high_watermark() ||
            twin->log_start_offset() != partition->log_start_offset())
          return fmt::format("group {}: partition {} differs at {}", id, partition->identity().index,
                             host->name());
        if (configurer_ != nullptr && !configurer_->holds(*partition))
          return fmt::format("group {}: segments of partition {} end by other rules at {}: {} bytes, {} ms",
                             id, partition->identity().index, host->name(), partition->log().rolling().bytes,
                             partition->log().rolling().ms);
      }
    }
  }
  if (tenant_ == nullptr) return {};
  return passing_topic();
}

// Why it is neither there as a whole nor gone as a whole, or nothing. Replicas are equal.
std::string Simulation::passing_topic() const {
  std::int32_t partitions = 0;
  std::optional<replica::TopicId> id;
  for (std::uint32_t group = 0; group < scenario_.groups; ++group) {
    for (const replica::Partition* partition : hosts_[0]->group(GroupId(group))->partitions()) {
      if (partition->identity().topic != kPassingTopic) continue;
      if (id && *id != partition->identity().topic_id) return "partitions of a deleted topic are still there";
      id = partition->identity().topic_id;
      ++partitions;
    }
  }
  if (partitions == 0 || partitions == kPassingPartitions) return {};
  return fmt::format("{} of {} partitions of the passing topic are there", partitions, kPassingPartitions);
}

SimulationReport Simulation::run() {
  trace_.note("seed", "{}: {}", options_.seed, scenario_.describe());
  enter(Phase::chaos, scenario_.chaos_time);
  admin_.start();
  for (const auto& consumer : consumers_) consumer->start();
  for (const auto& producer : producers_) producer->start();
  for (const auto& member : members_) member->start();
  if (operator_ != nullptr) operator_->start();
  if (tenant_ != nullptr) tenant_->start();
  if (configurer_ != nullptr) configurer_->start();
  if (watcher_ != nullptr) watcher_->start();
  faults_.begin();
  tick();
  while (phase_ != Phase::done && !model_.failed()) clock_.step();
  SimulationReport report;
  report.ok = !model_.failed();
  report.reason = model_.failure();
  trace_.event("end", "{}", report.ok ? "ok" : report.reason);
  report.hash = trace_.hash();
  report.acknowledged = model_.acknowledgements();
  report.events = clock_.steps();
  report.virtual_time = clock_.now();
  for (const auto& host : hosts_) report.boots += host->boots();
  report.leaders = model_.leaders().size();
  return report;
}

}  // namespace

SimulationReport simulate(const SimulationOptions& options) {
  return Simulation(options).run();
}

}  // namespace esc::escsim
