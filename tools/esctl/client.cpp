#include "client.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <memory>
#include <utility>

#include "esc/wire/api/api_versions.h"

namespace esc::esctl {

namespace {

struct Address {
  std::string host;
  std::string port;
};

Result<Address> split_address(const std::string& text) {
  const auto colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == text.size()) {
    return fail(Errc::invalid_argument,
                fmt::format("'{}' is not an address: write HOST:PORT, for instance 127.0.0.1:9092", text));
  }
  Address address{text.substr(0, colon), text.substr(colon + 1)};
  if (address.host.front() == '[' && address.host.back() == ']') {
    address.host = address.host.substr(1, address.host.size() - 2);
  }
  return address;
}

int milliseconds_left(Deadline deadline) {
  const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
  return static_cast<int>(std::clamp<std::int64_t>(left.count(), 0, 3'600'000));
}

// 0 when connected, an errno value otherwise.
int connect_one(int descriptor, const addrinfo& target, Deadline deadline) {
  if (::connect(descriptor, target.ai_addr, target.ai_addrlen) == 0) return 0;
  if (errno != EINPROGRESS) return errno;
  pollfd waiting{descriptor, POLLOUT, 0};
  const int ready = ::poll(&waiting, 1, milliseconds_left(deadline));
  if (ready == 0) return ETIMEDOUT;
  if (ready < 0) return errno;
  int error = 0;
  socklen_t size = sizeof error;
  if (::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size) != 0) return errno;
  return error;
}

}  // namespace

Client::Client(Client&& other) noexcept
    : descriptor_(std::exchange(other.descriptor_, -1)),
      address_(std::move(other.address_)),
      deadline_(other.deadline_),
      correlation_id_(other.correlation_id_),
      ranges_(std::move(other.ranges_)),
      request_(std::move(other.request_)) {}

Client::~Client() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

Result<Client> Client::connect(const std::string& bootstrap, Deadline deadline) {
  const auto address = split_address(bootstrap);
  if (!address) return std::unexpected(address.error());
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(address->host.c_str(), address->port.c_str(), &hints, &found);
      error != 0) {
    return fail(Errc::closed,
                fmt::format("cannot resolve {}: {}. Check --bootstrap", bootstrap, ::gai_strerror(error)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> list(found, ::freeaddrinfo);
  int error = 0;
  for (const addrinfo* target = found; target != nullptr; target = target->ai_next) {
    const int descriptor = ::socket(target->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) {
      error = errno;
      continue;
    }
    error = connect_one(descriptor, *target, deadline);
    if (error != 0) {
      ::close(descriptor);
      continue;
    }
    const int on = 1;
    (void)::setsockopt(descriptor, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    Client client(descriptor, bootstrap, deadline);
    if (const auto versions = client.fetch_versions(); !versions) return std::unexpected(versions.error());
    return client;
  }
  return fail(error == ETIMEDOUT ? Errc::timeout : Errc::closed,
              fmt::format("cannot connect to {}: {}. Is escd running and listening there? Its --kafka option "
                          "says where; name the address with --bootstrap or ESC_BOOTSTRAP",
                          bootstrap, std::strerror(error)));
}

Status Client::fetch_versions() {
  // Version 0 is understood by every broker, and says all that is needed.
  auto reply = call_at<wire::ApiVersionsResponse>(wire::ApiVersionsRequest{}, 0);
  if (!reply) return std::unexpected(reply.error());
  for (const auto& api : reply->message.api_keys) {
    ranges_.push_back({api.api_key, api.min_version, api.max_version});
  }
  return {};
}

Result<std::int16_t> Client::negotiate(wire::ApiKey key) const {
  const wire::ApiInfo& ours = wire::api_info(key);
  for (const Range& theirs : ranges_) {
    if (theirs.key != static_cast<std::int16_t>(key)) continue;
    const std::int16_t version = std::min(ours.max, theirs.max);
    if (version >= std::max(ours.min, theirs.min)) return version;
  }
  return fail(
      Errc::unsupported,
      fmt::format("the server at {} does not offer {} in versions {} to {}; use an esctl of its release",
                  address_, ours.name, ours.min, ours.max));
}

Status Client::wait_for(short events) {
  pollfd waiting{descriptor_, events, 0};
  while (true) {
    const int ready = ::poll(&waiting, 1, milliseconds_left(deadline_));
    if (ready > 0) return {};
    if (ready == 0) {
      return fail(Errc::timeout, fmt::format("{} did not answer in time. The server may be overloaded or "
                                             "stopped; allow more with --timeout SECONDS",
                                             address_));
    }
    if (errno != EINTR) return fail(Errc::io_error, fmt::format("poll: {}", std::strerror(errno)));
  }
}

Status Client::send_all(ByteView bytes) {
  while (!bytes.empty()) {
    if (const auto ready = wait_for(POLLOUT); !ready) return ready;
    const ssize_t sent = ::send(descriptor_, bytes.data(), bytes.size(), MSG_NOSIGNAL);
    if (sent < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (sent < 0) {
      return fail(Errc::closed, fmt::format("sending to {}: {}", address_, std::strerror(errno)));
    }
    bytes = bytes.subspan(static_cast<std::size_t>(sent));
  }
  return {};
}

Status Client::read_all(ByteSpan bytes) {
  while (!bytes.empty()) {
    if (const auto ready = wait_for(POLLIN); !ready) return ready;
    const ssize_t got = ::recv(descriptor_, bytes.data(), bytes.size(), 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
    if (got <= 0) {
      return fail(
          Errc::closed,
          fmt::format("{} closed the connection{}{}. Is it a Kafka listener? The server's log says why",
                      address_, got < 0 ? ": " : "", got < 0 ? std::strerror(errno) : ""));
    }
    bytes = bytes.subspan(static_cast<std::size_t>(got));
  }
  return {};
}

Result<std::vector<std::byte>> Client::exchange(ByteView request) {
  if (const auto sent = send_all(request); !sent) return std::unexpected(sent.error());
  std::array<std::byte, wire::kSizePrefixBytes> prefix{};
  if (const auto read = read_all(prefix); !read) return std::unexpected(read.error());
  const auto size = wire::frame_size(prefix, kResponseBytesMax, sizeof(std::int32_t));
  if (!size) {
    return fail(Errc::corruption,
                fmt::format("{} answered with something that is not Kafka's protocol ({}); check the port",
                            address_, size.error().reason));
  }
  std::vector<std::byte> frame(*size);
  if (const auto read = read_all(frame); !read) return std::unexpected(read.error());
  return frame;
}

std::unexpected<Error> Client::malformed(wire::ApiKey key, const wire::DecodeError& error) const {
  return fail(Errc::corruption,
              fmt::format("{} sent a {} answer that cannot be read: {} at byte {}", address_,
                          wire::api_info(key).name, error.reason, error.position));
}

std::unexpected<Error> Client::out_of_step(wire::ApiKey key) const {
  return fail(Errc::corruption, fmt::format("{} answered {} with a foreign correlation id", address_,
                                            wire::api_info(key).name));
}

}  // namespace esc::esctl
