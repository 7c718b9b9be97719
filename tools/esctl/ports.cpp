#include "ports.h"

#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

namespace esc::esctl {

namespace {

// The inode of the socket that listens at the port; empty when nothing is found. proc(5), /proc/net/tcp:
// "sl local_address rem_address st tx:rx tr:when retrnsmt uid timeout inode", state 0A is LISTEN.
std::string listening_inode(std::uint16_t port) {
  const std::string suffix = fmt::format(":{:04X}", port);
  for (const char* table : {"/proc/net/tcp", "/proc/net/tcp6"}) {
    std::ifstream file(table);
    for (std::string line; std::getline(file, line);) {
      std::istringstream fields(line);
      std::string slot, local, remote, state, inode, skipped;
      fields >> slot >> local >> remote >> state;
      for (int i = 0; i < 5; ++i) fields >> skipped;
      if (fields >> inode && state == "0A" && local.ends_with(suffix)) return inode;
    }
  }
  return {};
}

// "escd (process 4711)", or empty when the owner cannot be seen.
std::string holder(std::uint16_t port) {
  namespace fs = std::filesystem;
  const std::string inode = listening_inode(port);
  if (inode.empty()) return {};
  const std::string wanted = "socket:[" + inode + "]";
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator("/proc", ignored)) {
    const std::string pid = entry.path().filename();
    if (!std::all_of(pid.begin(), pid.end(), [](char c) { return c >= '0' && c <= '9'; })) continue;
    std::error_code denied;
    for (const auto& descriptor : fs::directory_iterator(entry.path() / "fd", denied)) {
      if (fs::read_symlink(descriptor.path(), denied).string() != wanted) continue;
      std::ifstream file(entry.path() / "comm");
      std::string name;
      std::getline(file, name);
      return fmt::format("{} (process {})", name, pid);
    }
  }
  return {};
}

// 0, or why a listener could not have the port.
int try_bind(std::uint16_t port) {
  const int descriptor = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (descriptor < 0) return errno;
  const int on = 1;  // connections of earlier runs that linger do not make a port busy
  (void)::setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int error =
      ::bind(descriptor, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0 ? 0 : errno;
  ::close(descriptor);
  return error;
}

// The kernel closes the sockets of a killed process that used io_uring a moment after its end.
constexpr auto kAfterlife = std::chrono::milliseconds(1500);

}  // namespace

Status check_port_free(std::uint16_t port, const std::string& purpose) {
  const auto deadline = std::chrono::steady_clock::now() + kAfterlife;
  std::string who;
  int error = try_bind(port);
  while (error == EADDRINUSE) {
    who = holder(port);
    if (!who.empty() || std::chrono::steady_clock::now() > deadline) break;
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
    error = try_bind(port);
  }
  if (error == 0) return {};
  if (error != EADDRINUSE)
    return fail(Errc::io_error, fmt::format("port {} ({}): {}", port, purpose, std::strerror(error)));
  return fail(Errc::already_exists,
              fmt::format("port {} ({}) is in use by {}; stop it, or choose other ports with --kafka-port",
                          port, purpose, who.empty() ? "a process this user cannot see" : who));
}

}  // namespace esc::esctl
