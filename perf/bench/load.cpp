#include "load.h"

#include <sys/epoll.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "clocks.h"
#include "esc/base/assert.h"

namespace esc::bench {

namespace {

constexpr Nanos kRefreshInterval = 20 * kMillisecond;
constexpr Nanos kLongestWait = 20 * kMillisecond;
constexpr int kEventsPerWait = 128;

std::uint64_t mix(std::uint64_t x) {
  x ^= x >> 33;
  x *= 0xff51afd7ed558ccdULL;
  x ^= x >> 33;
  return x;
}

BatchFactory::Settings factory_settings(const LoadThread::Plan& plan) {
  return {.run_id = plan.run_id,
          .event_bytes = plan.options->event_bytes,
          .keyed = plan.options->keyed,
          .event_ids = plan.options->event_ids,
          .events_max = plan.options->batch_events,
          .codec = plan.options->codec};
}

}  // namespace

LoadThread::LoadThread(const Plan& plan)
    : plan_(plan),
      prng_(plan.run_id + plan.first_producer),
      factory_(factory_settings(plan)),
      stats_(std::make_unique<ProduceStats>(Window{})),
      epoll_(::epoll_create1(EPOLL_CLOEXEC)) {
  ESC_ASSERT(epoll_ >= 0);
  const Options& options = *plan_.options;
  const double interval = options.rate > 0 ? 1e9 * options.connections / options.rate : 0;
  for (std::uint32_t i = 0; i < plan_.producers; ++i) {
    const std::uint32_t number = plan_.first_producer + i;
    producers_.push_back(std::make_unique<Producer>(Producer::Context{.options = plan_.options,
                                                                      .map = &plan_.map,
                                                                      .factory = &factory_,
                                                                      .stats = stats_.get(),
                                                                      .ack_log = plan_.ack_log,
                                                                      .run_id = plan_.run_id,
                                                                      .window = &window_},
                                                    number));
    schedules_.push_back(
        {.interval_nanos = interval, .phase_nanos = interval * number / options.connections});
  }
  batches_max_ = std::max<std::size_t>(options.buffer_bytes / factory_.batch_bytes_max(), 16);
}

LoadThread::~LoadThread() {
  ::close(epoll_);
}

Status LoadThread::prepare() {
  for (const auto& producer : producers_) {
    if (const Status status = producer->connect(); !status) return status;
    for (const auto& link : producer->links()) watch(*link);
  }
  return {};
}

void LoadThread::begin(const Window& window) {
  window_ = window;
  *stats_ = ProduceStats(window);
}

void LoadThread::watch(Link& link) {
  epoll_event event{.events = EPOLLIN, .data = {.ptr = &link}};
  ESC_ASSERT(::epoll_ctl(epoll_, EPOLL_CTL_ADD, link.connection->fd(), &event) == 0);
}

Nanos LoadThread::due(const Schedule& schedule, std::uint64_t index) const {
  return window_.start +
         static_cast<Nanos>(schedule.phase_nanos + static_cast<double>(index) * schedule.interval_nanos);
}

bool LoadThread::generating(Nanos now) const {
  if (stop_requested_.load(std::memory_order_relaxed)) return false;
  return now < window_.stop && (plan_.events == 0 || generated_ < plan_.events);
}

std::uint32_t LoadThread::choose_partition(Producer& producer, const Schedule& schedule, std::uint64_t& key) {
  const auto partitions = static_cast<std::uint32_t>(plan_.map.leaders.size());
  if (plan_.options->keyed) {
    key = mix(prng_.below(plan_.options->key_count) + 1);
    return static_cast<std::uint32_t>(key % partitions);
  }
  if (plan_.options->partitioner == Partitioner::round_robin) {
    return static_cast<std::uint32_t>((schedule.next + producer.number()) % partitions);
  }
  return producer.sticky_partition();
}

void LoadThread::generate_open(Producer& producer, Schedule& schedule, Nanos now) {
  while (plan_.events == 0 || generated_ < plan_.events) {
    const Nanos intended = due(schedule, schedule.next);
    if (intended > now || intended >= window_.stop) return;
    // A client whose buffer is full keeps its events waiting; their clock runs on.
    if (factory_.batches_out() >= batches_max_) return;
    std::uint64_t key = 0;
    const std::uint32_t partition = choose_partition(producer, schedule, key);
    producer.append(partition, intended, key);
    ++schedule.next;
    ++generated_;
  }
}

void LoadThread::generate_closed(Producer& producer, Nanos now) {
  const Options& options = *plan_.options;
  const std::uint32_t batches =
      std::min(options.request_batches, static_cast<std::uint32_t>(plan_.map.leaders.size()));
  while (generating(now) && producer.batches_in_flight() < options.window) {
    const bool retrying = producer.has_pending();
    const std::uint32_t before = producer.batches_in_flight();
    producer.send_now(now, batches, options.batch_events);
    const std::uint32_t sent = producer.batches_in_flight() - before;
    if (sent == 0) return;  // no leader to send to right now
    if (!retrying) generated_ += std::uint64_t{sent} * options.batch_events;
  }
  if (!generating(now) && producer.has_pending()) producer.send_now(now, batches, options.batch_events);
}

// Open loop: the moment at which something can become sendable. Events in between need no wake-up of their
// own, since they would only be put into a batch.
Nanos LoadThread::next_wake(const Producer& producer, const Schedule& schedule) const {
  const Options& options = *plan_.options;
  const Nanos linger = Nanos{options.linger_us} * kMicrosecond;
  const Nanos oldest = producer.oldest_open();
  const Nanos opened = oldest == INT64_MAX ? due(schedule, schedule.next) : oldest;
  const std::uint32_t open = producer.open_events() % options.batch_events;
  const Nanos filled = due(schedule, schedule.next + (options.batch_events - open) - 1);
  const bool last = filled >= window_.stop || plan_.events != 0;  // nothing may fill it any more
  return last ? opened + linger : std::min(opened + linger, filled);
}

bool LoadThread::drained() const {
  return std::all_of(producers_.begin(), producers_.end(), [](const auto& p) { return p->idle(); });
}

void LoadThread::lost(Link& link) {
  if (link.connection != nullptr) link.producer->disconnect(link);
  switch (plan_.options->on_disconnect) {
    case OnDisconnect::fail:
      stats_->error = "the server closed the connection";
      ended_ = true;
      break;
    case OnDisconnect::stop: ended_ = true; break;
    case OnDisconnect::reconnect: needs_metadata_ = true; break;
  }
}

void LoadThread::flush_links(Producer& producer, Nanos now) {
  for (const auto& link : producer.links()) {
    if (link->connection == nullptr) continue;
    if (link->connection->pending() && !link->connection->flush()) {
      lost(*link);
      continue;
    }
    const bool pending = link->connection->pending();
    if (!pending && plan_.options->acks == 0) producer.complete_unanswered(*link, now);
    if (pending == link->wants_write) continue;
    link->wants_write = pending;
    epoll_event event{.events = pending ? EPOLLIN | EPOLLOUT : EPOLLIN, .data = {.ptr = link.get()}};
    ESC_ASSERT(::epoll_ctl(epoll_, EPOLL_CTL_MOD, link->connection->fd(), &event) == 0);
  }
}

void LoadThread::wait_and_receive(Nanos until) {
  epoll_event events[kEventsPerWait];
  const Nanos left = std::clamp<Nanos>(until - monotonic_nanos(), 0, kLongestWait);
  const timespec timeout{.tv_sec = 0, .tv_nsec = plan_.options->spin ? 0 : left};
  const int ready = ::epoll_pwait2(epoll_, events, kEventsPerWait, &timeout, nullptr);
  if (ready <= 0) return;
  const Nanos now = monotonic_nanos();
  for (int i = 0; i < ready && !ended_; ++i) {
    Link& link = *static_cast<Link*>(events[i].data.ptr);
    if (link.connection == nullptr || (events[i].events & ~std::uint32_t{EPOLLOUT}) == 0) continue;
    const Producer::Outcome outcome = link.producer->receive(link, now);
    if (outcome == Producer::Outcome::failed) ended_ = true;
    if (outcome == Producer::Outcome::needs_metadata) {
      needs_metadata_ = true;
      if (link.connection == nullptr) lost(link);
    }
  }
}

// Asks any broker who leads now. Blocking, which is what a client without its server does anyway.
void LoadThread::refresh(Nanos now) {
  if (now < next_refresh_) return;
  next_refresh_ = now + kRefreshInterval;
  std::vector<Address> addresses;
  for (const auto& broker : plan_.map.brokers) addresses.push_back(broker.address);
  if (auto bootstrap = parse_address(plan_.options->bootstrap)) addresses.push_back(*bootstrap);
  for (const Address& address : addresses) {
    const auto client = ClusterClient::open(address);
    if (!client) continue;
    auto map = (*client)->metadata(plan_.options->topic);
    if (!map || !map->complete() || map->leaders.size() != plan_.map.leaders.size()) continue;
    plan_.map = std::move(*map);
    for (const auto& producer : producers_) {
      std::vector<Link*> fresh;
      for (const auto& link : producer->links()) {
        if (link->connection == nullptr) fresh.push_back(link.get());
      }
      const std::size_t known = producer->links().size();
      const Status status = producer->connect();
      for (std::size_t i = known; i < producer->links().size(); ++i)
        fresh.push_back(producer->links()[i].get());
      for (Link* link : fresh) {
        if (link->connection != nullptr) watch(*link);
      }
      if (!status) return;
    }
    needs_metadata_ = false;
    return;
  }
}

void LoadThread::run() {
  // Timers of 1 ms must not come 50 us late, which is the kernel's default slack.
  ::prctl(PR_SET_TIMERSLACK, 1UL);
  const bool open_loop = plan_.options->rate > 0;
  sleep_until(window_.start);
  while (!ended_) {
    Nanos now = monotonic_nanos();
    if (needs_metadata_) {
      refresh(now);
      now = monotonic_nanos();
    }
    Nanos wake = now + kLongestWait;
    for (std::size_t i = 0; i < producers_.size(); ++i) {
      Producer& producer = *producers_[i];
      if (open_loop) {
        if (!stop_requested_.load(std::memory_order_relaxed)) generate_open(producer, schedules_[i], now);
        producer.send_due(now);
        const Nanos next = next_wake(producer, schedules_[i]);
        // A wake-up that is already past means that the window of requests is full: only an answer helps.
        if (next > now) wake = std::min(wake, next);
      } else {
        generate_closed(producer, now);
      }
      flush_links(producer, now);
    }
    acked_so_far_.store(stats_->acked_events_ever, std::memory_order_relaxed);
    if (now >= window_.drain_until || (!generating(now) && drained())) break;
    wait_and_receive(std::min(wake, window_.drain_until));
  }
  const Nanos now = monotonic_nanos();
  for (const auto& producer : producers_) {
    producer->abandon(now);
    producer->write_ack_log();
  }
  finished_.store(true, std::memory_order_release);
}

}  // namespace esc::bench
