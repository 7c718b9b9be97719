#include "process.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <signal.h>
#include <spawn.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>

namespace esc::esctl {

namespace {

std::string first_line(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

const std::string& boot_id() {
  static const std::string boot = first_line("/proc/sys/kernel/random/boot_id");
  return boot;
}

}  // namespace

std::optional<ProcessIdentity> identify(pid_t pid) {
  const std::string stat = first_line(fmt::format("/proc/{}/stat", pid));
  // The name, field 2, may contain anything, blanks and parentheses too: fields are counted from its end.
  const auto name_end = stat.rfind(") ");
  if (name_end == std::string::npos) return std::nullopt;
  std::istringstream fields(stat.substr(name_end + 2));
  std::string field;
  fields >> field;
  if (field == "Z" || field == "X") return std::nullopt;
  for (int number = 4; number < 22; ++number) fields >> field;
  ProcessIdentity process{.pid = pid, .boot = boot_id()};
  if (!(fields >> process.start_ticks)) return std::nullopt;
  return process;
}

bool runs(const ProcessIdentity& process) {
  return identify(process.pid) == process;
}

bool send_signal(const ProcessIdentity& process, int signal) {
  // The descriptor pins the process: whatever runs() then says is said about the one that gets the signal.
  const auto descriptor = static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0));
  if (descriptor < 0) return false;
  const bool sent = runs(process) && ::syscall(SYS_pidfd_send_signal, descriptor, signal, nullptr, 0) == 0;
  ::close(descriptor);
  return sent;
}

bool wait_for_end(const ProcessIdentity& process, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (runs(process)) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  (void)::waitpid(process.pid, nullptr, WNOHANG);  // fails when it is another's child: then that one reaps it
  return true;
}

std::optional<ProcessIdentity> read_pid_file(const std::string& path) {
  std::ifstream file(path);
  ProcessIdentity process;
  if (!(file >> process.pid >> process.start_ticks >> process.boot) || process.pid <= 0) return std::nullopt;
  return process;
}

Status write_pid_file(const std::string& path, const ProcessIdentity& process) {
  const std::string fresh = path + ".new";
  {
    std::ofstream file(fresh, std::ios::trunc);
    file << process.pid << ' ' << process.start_ticks << ' ' << process.boot << '\n';
    if (!file.flush()) return fail(Errc::io_error, fmt::format("cannot write {}", fresh));
  }
  if (::rename(fresh.c_str(), path.c_str()) != 0)
    return fail(Errc::io_error, fmt::format("cannot write {}: {}", path, std::strerror(errno)));
  return {};
}

Result<ProcessIdentity> start_detached(const std::string& program, const std::vector<std::string>& arguments,
                                       const std::string& log_path) {
  std::vector<char*> argv;
  argv.push_back(const_cast<char*>(program.c_str()));
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.c_str()));
  argv.push_back(nullptr);
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&attributes);
  posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, log_path.c_str(), O_WRONLY | O_CREAT | O_APPEND,
                                   0644);
  posix_spawn_file_actions_adddup2(&files, STDOUT_FILENO, STDERR_FILENO);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSID);
  pid_t pid = 0;
  const int error = ::posix_spawn(&pid, program.c_str(), &files, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&attributes);
  if (error != 0) {
    return fail(error == ENOENT ? Errc::not_found : Errc::io_error,
                fmt::format("cannot start {} (log {}): {}", program, log_path, std::strerror(error)));
  }
  const auto process = identify(pid);
  if (process) return *process;
  (void)::waitpid(pid, nullptr, 0);
  return fail(Errc::closed, fmt::format("{} ended at once; its log is {}", program, log_path));
}

Result<std::string> program_beside_own(const std::string& name) {
  std::array<char, 4096> own{};
  const ssize_t size = ::readlink("/proc/self/exe", own.data(), own.size() - 1);
  if (size <= 0)
    return fail(Errc::io_error, "cannot find the directory of the running program: is /proc mounted?");
  const auto path =
      std::filesystem::path(std::string(own.data(), static_cast<std::size_t>(size))).parent_path() / name;
  if (::access(path.c_str(), X_OK) == 0) return path.string();
  return fail(Errc::not_found,
              fmt::format("there is no program {}: {} must lie beside esctl", path.string(), name));
}

}  // namespace esc::esctl
