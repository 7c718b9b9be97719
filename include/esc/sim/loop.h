// The simulated loop of one core: SimDisk, Network and a host's clock behind io::Loop.
//
// Nothing waits here. poll() runs the callbacks that are due, or notes until when the core would sleep;
// whoever drives the core learns from the run callback when it wakes up. A turn costs virtual time.
//
//   on_run:   loop.deliver();  shard.step() -> ... loop.poll(wait_until)
//
// Threading: one thread. Lifetime: outlives its users; crash() drops everything without callbacks.
#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <utility>
#include <vector>

#include "esc/base/prng.h"
#include "esc/io/loop.h"
#include "esc/sim/clock.h"
#include "esc/sim/disk.h"
#include "esc/sim/network.h"

namespace esc::sim {

// A host's own idea of time, derived from virtual time.
struct HostClock {
  Nanos offset = 0;            // of the monotonic clock
  std::int64_t drift_ppm = 0;  // its speed
  WallMs wall_start_ms = 1'700'000'000'000;
  [[nodiscard]] Nanos local(Nanos global) const { return global + offset + global * drift_ppm / 1'000'000; }
  // The first global time at which local() has reached `at`.
  [[nodiscard]] Nanos global(Nanos at) const;
};

struct SimLoopOptions {
  HostNumber host = 1;
  std::uint32_t receive_buffers = 64;
  std::uint32_t receive_buffer_bytes = 16 * 1024;
  std::uint32_t connections_max = 1000;
  Nanos turn_min = 500;  // cost of one turn of the core
  Nanos turn_max = 8 * kMicrosecond;
  // One turn in this many is followed by a gap of up to `gap_max` (another process had the CPU); 0: none.
  std::uint32_t gap_one_in = 0;
  Nanos gap_max = 10 * kMillisecond;
  DiskLatency disk{};
};

class SimLoop final : public io::Loop {
 public:
  SimLoop(SimClock& clock, Network& network, FileSystem& files, const HostClock& host_clock, Prng prng,
          const SimLoopOptions& options);
  ~SimLoop() override;
  SimLoop(const SimLoop&) = delete;
  SimLoop& operator=(const SimLoop&) = delete;

  // --- the driver's side ---
  // What a core does when it is woken; runs from the SimClock, never from inside the loop.
  void set_run(std::function<void()> run) { run_ = std::move(run); }
  // The core runs soon.
  void start() { wake(); }
  // Callbacks that are due, with a fresh now(); the second half of a poll() that slept.
  std::uint32_t deliver();
  // While true poll() really waits, by running the simulation's events: for code that blocks, such as
  // recovery. The run callback is held back meanwhile.
  void set_blocking(bool blocking);
  // SIGSTOP and SIGCONT: time goes on, the core does not.
  void pause(bool paused);
  // The process ends now: operations and connections are dropped, no callback runs any more. The file system
  // itself crashes by its own call.
  void crash(CrashKind kind);
  [[nodiscard]] SimDisk& disk() { return disk_; }
  [[nodiscard]] std::uint32_t receive_buffers_lent() const { return lent_; }

  // --- io::Loop ---
  std::uint32_t poll(Nanos wait_until) override;
  void flush() override {}
  void wake() override;
  void wake_from(Loop&) override { wake(); }
  [[nodiscard]] std::uint32_t connections_open() const override { return open_; }
  [[nodiscard]] std::uint32_t disk_ops_in_flight() const override;

  // io::Disk
  void submit(io::DiskOp& op) override { disk_.submit(op); }
  void register_memory(ByteSpan) override {}

  // io::Net
  Result<std::uint16_t> listen(const std::string& host, std::uint16_t port,
                               io::AcceptHandler& handler) override;
  void stop_listening() override;
  std::expected<io::ConnectionId, Errc> adopt(io::AcceptedSocket socket,
                                              io::ConnectionHandler& handler) override;
  std::expected<io::ConnectionId, Errc> connect(const std::string& host, std::uint16_t port,
                                                io::ConnectionHandler& handler) override;
  void send(io::ConnectionId connection, std::span<const struct iovec> pieces) override;
  void pause_receive(io::ConnectionId connection) override;
  void resume_receive(io::ConnectionId connection) override;
  void release(io::ReceiveLoan loan) override;
  void close(io::ConnectionId connection) override;
  void detach(io::ConnectionId connection) override;
  void set_peer_timeout(io::ConnectionId connection, std::uint32_t timeout_ms) override;
  [[nodiscard]] std::string peer_address(io::ConnectionId connection) override;

  // io::Clock
  Nanos now() const override { return now_; }
  WallMs wall_ms() const override;
  void arm(io::Timer& timer, Nanos deadline) override;
  void disarm(io::Timer& timer) override;

 private:
  friend class Network;
  struct Ready {
    enum class Kind : std::uint8_t { disk, accepted, connected, sent, readable, closed, detached };
    Kind kind = Kind::disk;
    io::DiskOp* op = nullptr;
    io::AcceptHandler* acceptor = nullptr;
    int fd = -1;
    io::ConnectionId connection{};
  };
  struct Slot {
    Network::EndPtr end;
    std::uint32_t generation = 0;
  };
  struct Buffer {
    std::vector<std::byte> bytes;
    bool lent = false;
  };

  void post(Ready ready);
  void run_at(Nanos global);
  void on_run_event(std::uint64_t ticket);
  [[nodiscard]] Network::EndPtr* find(io::ConnectionId id);
  [[nodiscard]] std::expected<io::ConnectionId, Errc> attach(const Network::EndPtr& end,
                                                             io::ConnectionHandler& handler);
  void dispatch(const Ready& ready);
  void read_some(const Network::EndPtr& end);
  void finish_close(const Network::EndPtr& end);
  void finish_detach(const Network::EndPtr& end);
  void free_slot(const Network::EndPtr& end);
  void post_readable(Network::End& end);
  std::uint32_t fire_timers();

  SimClock& clock_;
  Network& network_;
  const HostClock& host_clock_;
  Prng prng_;
  SimLoopOptions options_;
  SimDisk disk_;
  std::function<void()> run_;

  Nanos now_ = 0;
  Nanos run_at_ = 0;  // global; 0: not scheduled
  std::uint64_t ticket_ = 0;
  bool blocking_ = false;
  bool paused_ = false;
  bool run_missed_ = false;
  bool dead_ = false;
  bool woken_ = false;
  std::deque<Ready> ready_;
  std::map<std::pair<Nanos, std::uint32_t>, io::Timer*> timers_;
  std::uint32_t timer_sequence_ = 0;

  std::vector<Slot> slots_;
  std::vector<std::uint32_t> free_slots_;
  std::uint32_t open_ = 0;
  std::vector<Buffer> buffers_;
  std::uint32_t lent_ = 0;
  std::vector<io::ConnectionId> starved_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

}  // namespace esc::sim
