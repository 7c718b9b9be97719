#include "probes.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <sstream>
#include <thread>

#include "clocks.h"
#include "zeroed_file.h"

namespace esc::bench {

namespace {

constexpr std::size_t kWriteBytes = 16 * kKiB;
constexpr std::size_t kStreamBytes = kMiB;
constexpr std::uint64_t kSectorBytes = 512;

Error system_error(const std::string& what) {
  return Error{errc_from_errno(errno), what + ": " + std::strerror(errno)};
}

// Durable writes of `bytes` one after the other, each one's duration into `histogram`.
bool write_durably(int fd, const std::byte* block, std::size_t bytes, Nanos span, obs::Histogram& histogram) {
  const Nanos end = monotonic_nanos() + span;
  for (std::size_t at = 0;; at = (at + bytes) % kZeroedBytes) {
    const Nanos before = monotonic_nanos();
    if (before >= end) return true;
    if (::pwrite(fd, block, bytes, static_cast<off_t>(at)) != static_cast<ssize_t>(bytes)) return false;
    histogram.record(monotonic_nanos() - before);
  }
}

Status measure_writes(Floors& floors, const std::string& dir, Nanos span) {
  struct Free {
    void operator()(void* p) const { std::free(p); }
  };
  const std::unique_ptr<std::byte, Free> block(
      static_cast<std::byte*>(std::aligned_alloc(4096, kStreamBytes)));
  std::memset(block.get(), 0x5a, kStreamBytes);
  const auto file = ZeroedFile::create(dir);
  if (!file) return std::unexpected(file.error());
  const bool good = write_durably(file->fd(), block.get(), kWriteBytes, span, floors.write) &&
                    write_durably(file->fd(), block.get(), kStreamBytes, span, floors.stream);
  if (!good) return std::unexpected(system_error("synchronous write in " + dir));
  return {};
}

bool transfer(int fd, std::byte* bytes, std::size_t count, bool sending) {
  while (count > 0) {
    const ssize_t done = sending ? ::send(fd, bytes, count, MSG_NOSIGNAL) : ::recv(fd, bytes, count, 0);
    if (done < 0 && errno == EINTR) continue;
    if (done <= 0) return false;
    bytes += done;
    count -= static_cast<std::size_t>(done);
  }
  return true;
}

void no_delay(int fd) {
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

Status measure_trips(obs::Histogram& histogram, std::uint32_t message_bytes, Nanos span) {
  const int listener = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof address;
  auto* generic = reinterpret_cast<sockaddr*>(&address);
  if (listener < 0 || ::bind(listener, generic, length) != 0 || ::listen(listener, 1) != 0 ||
      ::getsockname(listener, generic, &length) != 0) {
    return std::unexpected(system_error("loopback listener"));
  }
  std::thread echo([&] {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_CLOEXEC);
    if (fd < 0) return;
    no_delay(fd);
    std::vector<std::byte> bytes(message_bytes);
    while (transfer(fd, bytes.data(), bytes.size(), false) &&
           transfer(fd, bytes.data(), bytes.size(), true)) {
    }
    ::close(fd);
  });
  const int client = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  bool good = ::connect(client, generic, length) == 0;
  no_delay(client);
  std::vector<std::byte> bytes(message_bytes);
  const Nanos end = monotonic_nanos() + span;
  while (good) {
    const Nanos before = monotonic_nanos();
    if (before >= end) break;
    good = transfer(client, bytes.data(), bytes.size(), true) &&
           transfer(client, bytes.data(), bytes.size(), false);
    histogram.record(monotonic_nanos() - before);
  }
  ::close(client);
  ::shutdown(listener, SHUT_RDWR);
  ::close(listener);
  echo.join();
  if (!good) return fail(Errc::io_error, "loopback round trip failed");
  return {};
}

// "Key:   123 kB" lines.
std::uint64_t status_value(const std::string& text, const std::string& key) {
  const std::size_t at = text.find(key + ":");
  if (at == std::string::npos) return 0;
  return std::strtoull(text.c_str() + at + key.size() + 1, nullptr, 10);
}

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

Status measure_floors(Floors& floors, const std::string& dir, std::uint32_t message_bytes, Nanos span) {
  if (const Status status = measure_writes(floors, dir, span); !status) return status;
  return measure_trips(floors.trip, message_bytes, span);
}

double Floors::stream_mb_per_s() const {
  return stream.mean() > 0 ? static_cast<double>(kStreamBytes) * 1e3 / stream.mean() : 0;
}

std::optional<DeviceCounters> read_device(const std::string& dir) {
  struct stat info{};
  if (::stat(dir.c_str(), &info) != 0) return std::nullopt;
  std::ifstream table("/proc/diskstats");
  std::string line;
  while (std::getline(table, line)) {
    std::istringstream fields(line);
    unsigned major_number = 0;
    unsigned minor_number = 0;
    DeviceCounters counters;
    fields >> major_number >> minor_number >> counters.device;
    if (major_number != major(info.st_dev) || minor_number != minor(info.st_dev)) continue;
    // Documentation/admin-guide/iostats.rst: 5 writes, 7 sectors written, 16 flushes.
    std::vector<std::uint64_t> values;
    for (std::uint64_t value = 0; fields >> value;) values.push_back(value);
    if (values.size() < 16) return std::nullopt;
    counters.writes = values[4];
    counters.written_bytes = values[6] * kSectorBytes;
    counters.flushes = values[15];
    const std::string base = "/sys/class/block/" + counters.device;
    std::string cache = read_text(base + "/queue/write_cache");
    if (cache.empty()) cache = read_text(base + "/../queue/write_cache");  // a partition
    counters.volatile_cache = cache.starts_with("write back");
    return counters;
  }
  return std::nullopt;
}

std::optional<ProcessCounters> read_process(std::int32_t pid) {
  const std::string base = "/proc/" + std::to_string(pid);
  const std::string status = read_text(base + "/status");
  if (status.empty()) return std::nullopt;
  ProcessCounters counters;
  counters.rss_bytes = status_value(status, "VmRSS") * kKiB;
  counters.rss_peak_bytes = status_value(status, "VmHWM") * kKiB;
  counters.rss_anon_bytes = status_value(status, "RssAnon") * kKiB;
  const std::string io = read_text(base + "/io");
  counters.write_bytes = status_value(io, "\nwrite_bytes");
  counters.write_calls = status_value(io, "syscw");
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(base + "/task", error)) {
    ProcessCounters::Thread thread;
    thread.id = std::atoi(entry.path().filename().c_str());
    thread.name = read_text(entry.path() / "comm");
    if (!thread.name.empty() && thread.name.back() == '\n') thread.name.pop_back();
    // First field of schedstat: nanoseconds on a CPU.
    thread.cpu = std::strtoll(read_text(entry.path() / "schedstat").c_str(), nullptr, 10);
    counters.cpu += thread.cpu;
    counters.threads.push_back(std::move(thread));
  }
  return counters;
}

}  // namespace esc::bench
