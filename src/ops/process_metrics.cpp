// After "Standard and runtime collectors" of Prometheus' guide to writing client libraries; sources in
// proc(5).
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <charconv>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>

#include "esc/ops/pages.h"

namespace esc::ops {
namespace {

std::string read_all(const char* path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The n-th word of a text, counted from 0.
std::optional<double> word(const std::string& text, std::size_t index) {
  std::istringstream words(text);
  std::string value;
  for (std::size_t i = 0; i <= index; ++i) {
    if (!(words >> value)) return std::nullopt;
  }
  double number = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), number);
  if (error != std::errc{}) return std::nullopt;
  return number;
}

// Ticks after boot, and the second of the boot.
std::optional<double> start_time() {
  const std::string own = read_all("/proc/self/stat");
  const std::size_t name_end = own.rfind(')');  // the program's name may hold anything, blanks too
  if (name_end == std::string::npos) return std::nullopt;
  constexpr std::size_t kStartTimeWord = 22 - 3;  // field 22 of the line; the rest begins with field 3
  const auto ticks = word(own.substr(name_end + 1), kStartTimeWord);
  const std::string machine = read_all("/proc/stat");
  constexpr std::string_view kBootTime = "\nbtime ";
  const std::size_t at = machine.find(kBootTime);
  if (!ticks || at == std::string::npos) return std::nullopt;
  const auto boot = word(machine.substr(at + kBootTime.size()), 0);
  if (!boot) return std::nullopt;
  return *boot + *ticks / static_cast<double>(::sysconf(_SC_CLK_TCK));
}

std::optional<double> cpu_seconds() {
  timespec used{};
  if (::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used) != 0) return std::nullopt;
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) / 1e9;
}

std::optional<double> open_descriptors() {
  std::error_code error;
  double count = 0;
  for (std::filesystem::directory_iterator at("/proc/self/fd", error), end; !error && at != end;
       at.increment(error)) {
    ++count;
  }
  if (error || count == 0) return std::nullopt;
  return count - 1;  // the one that reads the directory
}

std::optional<double> descriptors_max() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return std::nullopt;
  return static_cast<double>(limit.rlim_cur);
}

}  // namespace

void write_process_metrics(std::string& out) {
  const auto add = [&](std::string_view name, std::string_view type, std::string_view help,
                       std::optional<double> value) {
    if (value) out += fmt::format("# HELP {0} {2}\n# TYPE {0} {1}\n{0} {3}\n", name, type, help, *value);
  };
  const std::string pages = read_all("/proc/self/statm");
  const auto page_bytes = static_cast<double>(::sysconf(_SC_PAGESIZE));
  const auto bytes = [&](std::size_t index) -> std::optional<double> {
    const auto count = word(pages, index);
    return count ? std::optional(*count * page_bytes) : std::nullopt;
  };
  add("process_start_time_seconds", "gauge", "Start time of the process since the Unix epoch.", start_time());
  add("process_cpu_seconds_total", "counter", "User and system CPU time of the process.", cpu_seconds());
  add("process_resident_memory_bytes", "gauge", "Resident memory of the process.", bytes(1));
  add("process_virtual_memory_bytes", "gauge", "Virtual memory of the process.", bytes(0));
  add("process_open_fds", "gauge", "Open file descriptors.", open_descriptors());
  add("process_max_fds", "gauge", "Limit of open file descriptors.", descriptors_max());
}

}  // namespace esc::ops
