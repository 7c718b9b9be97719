#include "drill.h"

#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <cmath>
#include <memory>
#include <thread>

#include "dev.h"
#include "drill_check.h"
#include "drill_writer.h"
#include "json.h"
#include "node_status.h"
#include "table.h"

namespace esc::esctl {

namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr auto kRecovery = std::chrono::seconds(30);  // longer than this is a failure, not a pause
constexpr auto kLoadBeforeKill = milliseconds(300);

struct Round {
  std::uint32_t node = 0;
  std::size_t groups_led = 0;
  double gap_ms = 0;      // longest of the groups that the node led
  double healthy_ms = 0;  // from its restart until it had caught up
};

class Drill {
 public:
  Drill(const LocalCluster& cluster, std::string topic) : cluster_(cluster), topic_(std::move(topic)) {
    for (std::uint32_t group = 0; group < cluster.groups(); ++group) {
      writers_.push_back(
          std::make_unique<DrillWriter>(cluster.kafka_addresses(), topic_, static_cast<std::int32_t>(group)));
    }
  }

  [[nodiscard]] Status load_flows() const { return all_acknowledge(Clock::now()); }

  // Kills the leader of the group in turn, and waits until the cluster is whole again.
  [[nodiscard]] Result<Round> round(std::uint32_t number) {
    std::this_thread::sleep_for(kLoadBeforeKill);
    const DrillWriter& chosen = *writers_[number % writers_.size()];
    Round round{.node = static_cast<std::uint32_t>(chosen.leader())};
    const auto process = cluster_.process(round.node);
    if (!process) return fail(Errc::closed, fmt::format("node {} is not running", round.node));
    std::vector<const DrillWriter*> affected;
    for (const auto& writer : writers_) {
      if (writer->leader() == chosen.leader()) affected.push_back(writer.get());
    }
    round.groups_led = affected.size();
    const auto killed_at = Clock::now();
    if (!send_signal(*process, SIGKILL) || !wait_for_end(*process, milliseconds(5000)))
      return fail(Errc::io_error,
                  fmt::format("node {} (process {}) cannot be killed", round.node, process->pid));
    if (const auto flows = all_acknowledge(Clock::now()); !flows) return std::unexpected(flows.error());
    for (const DrillWriter* writer : affected)
      round.gap_ms = std::max(round.gap_ms, writer->longest_gap_ms(killed_at));
    const auto restarted_at = Clock::now();
    if (const auto started = cluster_.start(round.node); !started) return std::unexpected(started.error());
    if (const auto healthy = wait_until_healthy(); !healthy) return std::unexpected(healthy.error());
    round.healthy_ms = std::chrono::duration<double, std::milli>(Clock::now() - restarted_at).count();
    return round;
  }

  [[nodiscard]] Result<DrillVerdict> finish() {
    for (const auto& writer : writers_) writer->stop();
    DrillVerdict verdict;
    for (std::size_t i = 0; i < writers_.size(); ++i) {
      const auto checked = check_drill(cluster_.kafka_addresses(), topic_, static_cast<std::int32_t>(i),
                                       writers_[i]->acks(), Clock::now() + kRecovery, verdict);
      if (!checked) return std::unexpected(checked.error());
    }
    return verdict;
  }

 private:
  [[nodiscard]] Status all_acknowledge(Clock::time_point since) const {
    for (std::size_t i = 0; i < writers_.size(); ++i) {
      if (writers_[i]->acknowledged_after(since, since + kRecovery)) continue;
      return fail(Errc::timeout, fmt::format("group {} has acknowledged nothing for {} s: {}", i,
                                             kRecovery.count(), writers_[i]->last_trouble()));
    }
    return {};
  }

  [[nodiscard]] Status wait_until_healthy() const {
    const auto deadline = Clock::now() + kRecovery;
    std::string trouble = "not every follower has caught up";
    while (Clock::now() < deadline) {
      if (const auto running = cluster_.check_running(); !running) return running;
      const auto report = report_cluster(cluster_.kafka_addresses(), Clock::now() + milliseconds(2000));
      if (report && caught_up(*report)) return {};
      if (!report) trouble = report.error().message;
      std::this_thread::sleep_for(milliseconds(20));
    }
    return fail(Errc::timeout, fmt::format("the cluster is not healthy {} s after the restart: {}",
                                           kRecovery.count(), trouble));
  }

  const LocalCluster& cluster_;
  std::string topic_;
  std::vector<std::unique_ptr<DrillWriter>> writers_;
};

// The smallest value that at least this part of all values does not exceed.
double percentile(std::vector<double> values, double part) {
  if (values.empty()) return 0;
  std::ranges::sort(values);
  const auto rank = static_cast<std::size_t>(std::ceil(part * static_cast<double>(values.size())));
  return values[std::max<std::size_t>(rank, 1) - 1];
}

struct Outcome {
  std::vector<Round> rounds;
  DrillVerdict verdict;

  [[nodiscard]] std::vector<double> gaps() const {
    std::vector<double> gaps;
    for (const Round& round : rounds) gaps.push_back(round.gap_ms);
    return gaps;
  }
};

Json milliseconds_json(double value) {
  return Json(static_cast<std::int64_t>(std::llround(value)));
}

std::string outcome_json(const Outcome& outcome) {
  Json rounds = Json::array();
  for (const Round& round : outcome.rounds) {
    Json json = Json::object();
    json.set("node", round.node)
        .set("groups_led", round.groups_led)
        .set("gap_ms", milliseconds_json(round.gap_ms));
    rounds.push(json.set("healthy_again_ms", milliseconds_json(round.healthy_ms)));
  }
  const DrillVerdict& verdict = outcome.verdict;
  Json json = Json::object();
  json.set("rounds", outcome.rounds.size())
      .set("gap_p50_ms", milliseconds_json(percentile(outcome.gaps(), 0.5)));
  json.set("gap_p99_ms", milliseconds_json(percentile(outcome.gaps(), 0.99)));
  json.set("gap_max_ms", milliseconds_json(percentile(outcome.gaps(), 1)));
  json.set("acknowledged", verdict.acknowledged).set("stored", verdict.stored).set("lost", verdict.lost);
  json.set("duplicated", verdict.duplicated).set("misplaced", verdict.misplaced);
  json.set("clean", verdict.clean()).set("trouble", verdict.clean() ? Json() : Json(verdict.first_trouble));
  return json.set("each_round", std::move(rounds)).text();
}

std::string outcome_text(const Outcome& outcome) {
  const DrillVerdict& verdict = outcome.verdict;
  return fmt::format(
      "\n{} leaders killed under load.\n"
      "Pause between two acknowledgements, as a client sees it: p50 {:.0f} ms, p99 {:.0f} ms, max {:.0f} ms\n"
      "{} events acknowledged, {} stored, {} lost, {} out of place\n"
      "{} stored twice: repeated because the answer to the first attempt died with the leader\n",
      outcome.rounds.size(), percentile(outcome.gaps(), 0.5), percentile(outcome.gaps(), 0.99),
      percentile(outcome.gaps(), 1), verdict.acknowledged, verdict.stored, verdict.lost, verdict.misplaced,
      verdict.duplicated);
}

}  // namespace

Result<ExitCode> drill_failover(const Options& options, const DrillOptions& drill) {
  const auto cluster = open_local_cluster(drill.directory);
  if (!cluster) return std::unexpected(cluster.error());
  if (cluster->nodes() < 3)
    return fail(Errc::invalid_argument, "a failover needs at least three nodes: esctl dev up --nodes 3");
  if (const auto ready = wait_until_ready(*cluster, options.deadline()); !ready)
    return std::unexpected(ready.error());
  const auto stamp = std::chrono::system_clock::now().time_since_epoch() / std::chrono::seconds(1);
  const std::string topic = fmt::format("esctl-drill-{}", stamp);
  const TopicWish wish{
      .name = topic, .partitions = static_cast<std::int32_t>(cluster->groups()), .configs = {}};
  const auto created = ensure_topic(cluster->kafka_addresses(), wish, options.deadline());
  if (!created) return std::unexpected(created.error());

  const bool talk = options.output == Output::table;
  Outcome outcome;
  Drill run(*cluster, topic);
  if (const auto flows = run.load_flows(); !flows) return std::unexpected(flows.error());
  for (std::uint32_t number = 0; number < drill.rounds; ++number) {
    const auto round = run.round(number);
    if (!round) return std::unexpected(round.error());
    outcome.rounds.push_back(*round);
    if (talk) {
      fmt::print(
          "round {:3}: node {} killed, leader of {} group{}; gap {:.0f} ms, whole again {:.0f} ms after its "
          "restart\n",
          number + 1, round->node, round->groups_led, round->groups_led == 1 ? "" : "s", round->gap_ms,
          round->healthy_ms);
      std::fflush(stdout);
    }
  }
  auto verdict = run.finish();
  if (!verdict) return std::unexpected(verdict.error());
  outcome.verdict = std::move(*verdict);
  fmt::print("{}\n", talk ? outcome_text(outcome) : outcome_json(outcome));
  if (outcome.verdict.clean()) {
    delete_topic(cluster->kafka_addresses(), topic, options.deadline());
    return kExitOk;
  }
  fmt::print(stderr,
             "esctl: acknowledged events are missing or out of place. {}. Topic {} is kept; keep {} too\n",
             outcome.verdict.first_trouble, topic, cluster->directory());
  return kExitFailure;
}

}  // namespace esc::esctl
