#include "farm.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <fstream>
#include <sstream>
#include <vector>

namespace esc::escsim {
namespace {

constexpr std::size_t kReasonBytes = 1024;
constexpr int kStuckSeconds = 60;  // of real time, for one seed

// What a worker tells, one per seed when it begins and one when it has ended.
struct Message {
  bool ended = false;
  bool ok = false;
  std::uint64_t seed = 0;
  std::uint64_t hash = 0;
  std::uint64_t acknowledged = 0;
  std::uint64_t events = 0;
  Nanos virtual_time = 0;
  char reason[kReasonBytes] = {};
};
static_assert(sizeof(Message) <= 4096, "written to a pipe at once");

struct Worker {
  pid_t pid = -1;
  int pipe = -1;
  int errors = -1;  // memory file with its standard error
  std::uint64_t current = 0;
  bool busy = false;
  std::uint64_t next = 0;  // the first seed not begun
};

Message run_seed(const FarmOptions& options, std::uint64_t seed) {
  SimulationOptions simulation = options.simulation;
  simulation.seed = seed;
  SimulationReport report = simulate(simulation);
  if (report.ok && !options.once) {
    const SimulationReport again = simulate(simulation);
    if (again.hash != report.hash) {
      report.ok = false;
      report.reason =
          fmt::format("not deterministic: trace hash {:016x}, then {:016x}", report.hash, again.hash);
    }
  }
  Message message{.ended = true,
                  .ok = report.ok,
                  .seed = seed,
                  .hash = report.hash,
                  .acknowledged = report.acknowledged,
                  .events = report.events,
                  .virtual_time = report.virtual_time,
                  .reason = {}};
  std::strncpy(message.reason, report.reason.c_str(), kReasonBytes - 1);
  return message;
}

[[noreturn]] void work(const FarmOptions& options, std::uint64_t first, int pipe, int errors) {
  ::dup2(errors, 2);
  for (std::uint64_t seed = first; seed <= options.last; seed += options.jobs) {
    ::alarm(kStuckSeconds);
    const Message begin{.seed = seed};
    if (::write(pipe, &begin, sizeof begin) != sizeof begin) break;
    const Message end = run_seed(options, seed);
    if (::write(pipe, &end, sizeof end) != sizeof end) break;
  }
  ::_exit(0);
}

double since(std::chrono::steady_clock::time_point begin) {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

class Farm {
 public:
  explicit Farm(const FarmOptions& options) : options_(options) {}
  FarmResult run();

 private:
  void start(Worker& worker, std::uint64_t first);
  bool read(Worker& worker);
  void on_death(Worker& worker);
  void fail(std::uint64_t seed, const std::string& reason);
  void summarise(double seconds) const;

  const FarmOptions& options_;
  std::vector<Worker> workers_;
  std::uint64_t passed_ = 0;
  std::uint64_t failed_ = 0;
  std::uint64_t first_failed_ = 0;
  std::string first_reason_;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t events_ = 0;
  Nanos virtual_time_ = 0;
  bool stop_ = false;
};

void Farm::start(Worker& worker, std::uint64_t first) {
  if (first > options_.last) {
    worker = Worker{};
    return;
  }
  int ends[2];
  if (::pipe(ends) != 0) std::abort();
  const int errors = ::memfd_create("escsim-errors", 0);
  std::fflush(stdout);
  const pid_t pid = ::fork();
  if (pid == 0) {
    ::close(ends[0]);
    work(options_, first, ends[1], errors);
  }
  ::close(ends[1]);
  worker = {.pid = pid, .pipe = ends[0], .errors = errors, .current = 0, .busy = false, .next = first};
}

void Farm::fail(std::uint64_t seed, const std::string& reason) {
  if (options_.judge && !is_sign_of(*options_.simulation.plant, reason)) return;
  if (++failed_ == 1) {
    first_failed_ = seed;
    first_reason_ = reason;
  }
  if (!options_.keep_going) stop_ = true;
  if (options_.quiet) return;
  fmt::print("seed {} FAILED at {}: {}\n", seed, commit_name(), reason);
  std::fflush(stdout);
}

// False: the worker has ended.
bool Farm::read(Worker& worker) {
  Message message;
  if (::read(worker.pipe, &message, sizeof message) != sizeof message) return false;
  worker.current = message.seed;
  worker.busy = !message.ended;
  worker.next = message.seed + options_.jobs;
  if (!message.ended) return true;
  acknowledged_ += message.acknowledged;
  events_ += message.events;
  virtual_time_ += message.virtual_time;
  if (message.ok) {
    ++passed_;
  } else {
    fail(message.seed, message.reason);
  }
  return true;
}

void Farm::on_death(Worker& worker) {
  int status = 0;
  ::waitpid(worker.pid, &status, 0);
  ::close(worker.pipe);
  if (worker.busy) {
    char text[kReasonBytes] = {};
    const off_t size = ::lseek(worker.errors, 0, SEEK_END);
    const off_t from = std::max<off_t>(0, size - static_cast<off_t>(sizeof text) + 1);
    if (::pread(worker.errors, text, sizeof text - 1, from) < 0) text[0] = '\0';
    std::string reason =
        WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM
            ? fmt::format("takes more than {} s", kStuckSeconds)
            : fmt::format("the process died ({} {}): {}", WIFSIGNALED(status) ? "signal" : "exit code",
                          WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), text);
    while (!reason.empty() && reason.back() == '\n') reason.pop_back();
    fail(worker.current, reason);
  }
  ::close(worker.errors);
  start(worker, worker.busy ? worker.next : options_.last + 1);
}

void Farm::summarise(double seconds) const {
  fmt::print(
      "{} seeds passed, {} failed in {:.1f} s ({:.1f} seeds/s with {} jobs); {:.0f} virtual s, {} records "
      "acknowledged, {} events; commit {}\n",
      passed_, failed_, seconds, static_cast<double>(passed_ + failed_) / seconds, options_.jobs,
      static_cast<double>(virtual_time_) / 1e9, acknowledged_, events_, commit_name());
}

FarmResult Farm::run() {
  const auto begin = std::chrono::steady_clock::now();
  workers_.resize(options_.jobs);
  for (std::uint32_t job = 0; job < options_.jobs; ++job) start(workers_[job], options_.first + job);
  while (!stop_ && (options_.seconds_max <= 0 || since(begin) < options_.seconds_max)) {
    std::vector<pollfd> waits;
    std::vector<Worker*> waiting;
    for (Worker& worker : workers_) {
      if (worker.pid < 0) continue;
      waits.push_back({worker.pipe, POLLIN, 0});
      waiting.push_back(&worker);
    }
    if (waits.empty()) break;
    ::poll(waits.data(), waits.size(), 1000);
    for (std::size_t i = 0; i < waits.size() && !stop_; ++i)
      if (waits[i].revents != 0 && !read(*waiting[i])) on_death(*waiting[i]);
  }
  for (Worker& worker : workers_) {
    if (worker.pid < 0) continue;
    ::kill(worker.pid, SIGKILL);
    ::waitpid(worker.pid, nullptr, 0);
  }
  if (!options_.quiet) summarise(since(begin));
  return {passed_, failed_, first_failed_, first_reason_};
}

// One list entry; false: it is malformed.
bool parse_entry(const std::string& line, FarmOptions& farm) {
  std::istringstream words(line);
  if (!(words >> farm.first)) return false;
  farm.last = farm.first;
  std::string word;
  while (words >> word) {
    if (word == "plain") {
      farm.simulation.age = Age::plain;
    } else if (word == "sound") {
      farm.simulation.age = Age::sound;
    } else if (word == "steady") {
      farm.simulation.age = Age::steady;
    } else if (word == "fixed") {
      farm.simulation.age = Age::fixed;
    } else if (word == "narrow") {
      farm.simulation.age = Age::narrow;
    } else if (word.starts_with("nodes=") && word.size() == 7 && word[6] >= '1' && word[6] <= '5') {
      farm.simulation.nodes = static_cast<std::uint32_t>(word[6] - '0');
    } else {
      return false;
    }
  }
  return true;
}

}  // namespace

FarmResult run_seeds(const FarmOptions& options) {
  return Farm(options).run();
}

int run_farm(const FarmOptions& options) {
  return run_seeds(options).failed == 0 ? 0 : 1;
}

int run_list(const std::string& path, const FarmOptions& options) {
  std::ifstream file(path);
  if (!file) {
    fmt::print(stderr, "escsim: cannot read {}\n", path);
    return 2;
  }
  std::uint64_t passed = 0;
  std::uint64_t failed = 0;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line.front() == '#') continue;
    FarmOptions farm = options;
    farm.jobs = 1;
    farm.quiet = true;
    if (!parse_entry(line, farm)) {
      fmt::print(stderr, "escsim: {}: not a seed: {}\n", path, line);
      return 2;
    }
    const FarmResult result = run_seeds(farm);
    passed += result.passed;
    failed += result.failed;
    if (result.failed > 0) fmt::print("seed {} FAILED at {}: {}\n", line, commit_name(), result.reason);
  }
  fmt::print("{} listed seeds passed, {} failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}

int check_plants(const FarmOptions& options) {
  int missed = 0;
  int demanded = 0;
  for (const Plant& plant : plants()) {
    if (plant.seeds == 0) {
      fmt::print("{:<28} not demanded: no seed is known to find it\n", plant.name);
      continue;
    }
    ++demanded;
    FarmOptions farm = options;
    farm.first = 1;
    farm.last = plant.seeds;
    farm.once = farm.quiet = true;
    farm.keep_going = false;
    farm.judge = true;
    farm.simulation.plant = &plant;
    if (plant.nodes > 0) farm.simulation.nodes = plant.nodes;
    const FarmResult found = run_seeds(farm);
    farm.judge = false;
    farm.first = farm.last = found.first_failed;
    farm.simulation.plant = nullptr;
    const bool clean = found.failed > 0 && run_seeds(farm).failed == 0;
    if (!clean) ++missed;
    fmt::print("{:<28} {} {}\n", plant.name,
               found.failed == 0 ? fmt::format("NOT FOUND in {} seeds", plant.seeds)
               : clean           ? fmt::format("found by seed {}:", found.first_failed)
                                 : fmt::format("seed {} FAILS without it, too:", found.first_failed),
               found.reason.substr(0, found.reason.find('\n')));
    std::fflush(stdout);
  }
  fmt::print("{} of {} plants found\n", demanded - missed, demanded);
  return missed == 0 ? 0 : 1;
}

std::string describe(std::uint64_t seed, const SimulationReport& report) {
  return fmt::format(
      "seed {} {} at {}: {}{}hash {:016x}, {} records acknowledged, {} leaders, {} boots, {} events, "
      "{:.3f} virtual s",
      seed, report.ok ? "passed" : "FAILED", commit_name(), report.reason, report.ok ? "" : "; ", report.hash,
      report.acknowledged, report.leaders, report.boots, report.events,
      static_cast<double>(report.virtual_time) / 1e9);
}

}  // namespace esc::escsim
