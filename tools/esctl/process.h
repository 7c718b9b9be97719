// Processes that outlive the command that started them: started detached, remembered in a file, and never
// mistaken for a stranger that was given the same number later.
//
// Errors: Errc::io_error, Errc::not_found (no such program) with the cause.
#pragma once

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "esc/base/result.h"

namespace esc::esctl {

// A process id is reused; together with the boot and its start time (proc(5), stat field 22) it is not.
struct ProcessIdentity {
  pid_t pid = 0;
  std::uint64_t start_ticks = 0;  // since boot, in clock ticks
  std::string boot;               // /proc/sys/kernel/random/boot_id
  friend bool operator==(const ProcessIdentity&, const ProcessIdentity&) = default;
};

// Of a process that runs now; nullopt when there is none, or only its unreaped remains.
[[nodiscard]] std::optional<ProcessIdentity> identify(pid_t pid);
[[nodiscard]] bool runs(const ProcessIdentity& process);
// Sends the signal to exactly this process; false when it does not run any more (or is not ours to signal).
[[nodiscard]] bool send_signal(const ProcessIdentity& process, int signal);
// True when it has ended in time. Reaps it when it is our own child.
[[nodiscard]] bool wait_for_end(const ProcessIdentity& process, std::chrono::milliseconds timeout);

// The file that remembers it: "pid start_ticks boot". nullopt: no such file, or not such a file.
[[nodiscard]] std::optional<ProcessIdentity> read_pid_file(const std::string& path);
[[nodiscard]] Status write_pid_file(const std::string& path, const ProcessIdentity& process);

// Starts `program` in a session of its own, standard input from /dev/null, both outputs appended to
// `log_path`. Errc::closed: it started, and ended at once.
[[nodiscard]] Result<ProcessIdentity> start_detached(const std::string& program,
                                                     const std::vector<std::string>& arguments,
                                                     const std::string& log_path);

// The program of this name beside the running executable.
[[nodiscard]] Result<std::string> program_beside_own(const std::string& name);

}  // namespace esc::esctl
