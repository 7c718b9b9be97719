// The only file that knows Boost.Beast and Asio (slow to compile).
#include "esc/ops/http_server.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <netdb.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <ctime>
#include <exception>
#include <optional>
#include <string_view>
#include <thread>
#include <utility>

namespace esc::ops {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = beast::http;
using asio::ip::tcp;
using ErrorCode = boost::system::error_code;

constexpr int kBacklog = 512;
constexpr auto kAcceptPause = std::chrono::milliseconds(100);  // when descriptors have run out
// After the last response: what the client still sends is read, or its kernel may throw the response away
// (RFC 9112, 9.6).
constexpr auto kLingerTime = std::chrono::seconds(1);
constexpr std::size_t kLingerBytesMax = 256 * 1024;
constexpr std::string_view kText = "text/plain; charset=utf-8";
constexpr std::string_view kTooManyConnections =
    "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\nRetry-After: 1\r\n"
    "Content-Type: text/plain\r\nContent-Length: 21\r\n\r\nToo many connections\n";

// What the sessions share; everything of it belongs to the server's thread.
struct Shared {
  HttpLimits limits;
  std::vector<HttpPage> pages;
  std::uint32_t connections = 0;
};

std::string http_date() {
  const std::time_t now = std::time(nullptr);
  std::tm utc{};
  ::gmtime_r(&now, &utc);
  std::array<char, 40> text{};
  const std::size_t length = std::strftime(text.data(), text.size(), "%a, %d %b %Y %H:%M:%S GMT", &utc);
  return {text.data(), length};
}

// "/metrics" of "/metrics?x=y" and of "http://host/metrics" (RFC 9112, 3.2.2).
std::string_view path_of(std::string_view target) {
  constexpr std::string_view kScheme = "http://";
  if (target.starts_with(kScheme)) {
    const std::size_t slash = target.find('/', kScheme.size());
    target = slash == std::string_view::npos ? std::string_view("/") : target.substr(slash);
  }
  return target.substr(0, target.find_first_of("?#"));
}

// One connection. Lives as long as one of its handlers does.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Shared& shared, tcp::socket socket)
      : shared_(shared),
        stream_(std::move(socket)),
        buffer_(std::size_t{2} * shared.limits.header_bytes_max) {
    ++shared_.connections;
  }
  ~Session() { --shared_.connections; }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  void read() {
    parser_.emplace();
    parser_->header_limit(shared_.limits.header_bytes_max);
    stream_.expires_after(std::chrono::nanoseconds(shared_.limits.request_timeout));
    http::async_read_header(
        stream_, buffer_, *parser_,
        [self = shared_from_this()](const ErrorCode& error, std::size_t) { self->on_header(error); });
  }

 private:
  struct Manner {
    unsigned version = 11;
    bool head = false;
    bool keep_alive = false;
  };

  void on_header(const ErrorCode& error) {
    if (!error) return answer();
    if (error == http::error::header_limit || error == http::error::buffer_overflow) {
      return refuse(431, fmt::format("The header of a request has at most {} bytes.\n",
                                     shared_.limits.header_bytes_max));
    }
    const bool ended = error == http::error::end_of_stream || error == http::error::partial_message;
    const bool nonsense = error.category() == http::make_error_code(http::error::bad_target).category();
    // Else the client has gone or was too slow: nobody is there to be told.
    if (nonsense && !ended) refuse(400, fmt::format("This is no HTTP request: {}.\n", error.message()));
  }

  void answer() {
    const auto& request = parser_->get();
    const bool get = request.method() == http::verb::get;
    Manner manner{.version = request.version(),
                  .head = request.method() == http::verb::head,
                  // A body is not read, so what follows it cannot be found.
                  .keep_alive = request.keep_alive() && parser_->is_done()};
    if (request.version() == 11 && request.count(http::field::host) != 1)
      return refuse(400, "A request of HTTP/1.1 names its host once.\n");
    const std::string_view path = path_of({request.target().data(), request.target().size()});
    const auto page = std::ranges::find(shared_.pages, path, &HttpPage::path);
    if (page == shared_.pages.end()) return write(not_found(), manner);
    if (!get && !manner.head) {
      return write({.status = 405, .content_type = std::string(kText), .body = "Only GET and HEAD.\n"},
                   manner);
    }
    write(page->make(), manner);
  }

  [[nodiscard]] HttpAnswer not_found() const {
    std::string text = "There is no such page. There are:\n";
    for (const HttpPage& page : shared_.pages) text += fmt::format("  {:<10} {}\n", page.path, page.meaning);
    return {.status = 404, .content_type = std::string(kText), .body = std::move(text)};
  }

  void refuse(unsigned status, std::string why) {
    write({.status = status, .content_type = std::string(kText), .body = std::move(why)}, {});
  }

  void write(HttpAnswer answer, Manner manner) {
    serializer_.reset();
    response_.emplace(static_cast<http::status>(answer.status), manner.version);
    response_->set(http::field::date, http_date());
    response_->set(http::field::content_type, answer.content_type);
    response_->set(http::field::cache_control, "no-store");
    response_->set("X-Content-Type-Options", "nosniff");
    if (answer.status == 405) response_->set(http::field::allow, "GET, HEAD");
    response_->keep_alive(manner.keep_alive);
    response_->body() = std::move(answer.body);
    response_->prepare_payload();
    serializer_.emplace(*response_);
    stream_.expires_after(std::chrono::nanoseconds(shared_.limits.response_timeout));
    auto done = [self = shared_from_this(), keep_alive = manner.keep_alive](const ErrorCode& error,
                                                                            std::size_t) {
      if (error) return;
      self->response_->body() = {};
      if (keep_alive) return self->read();
      self->finish();
    };
    if (manner.head) {
      http::async_write_header(stream_, *serializer_, std::move(done));
    } else {
      http::async_write(stream_, *serializer_, std::move(done));
    }
  }

  void finish() {
    ErrorCode ignored;
    stream_.socket().shutdown(tcp::socket::shutdown_send, ignored);
    stream_.expires_after(kLingerTime);
    linger();
  }

  void linger() {
    stream_.async_read_some(asio::buffer(discarded_),
                            [self = shared_from_this()](const ErrorCode& error, std::size_t bytes) {
                              self->lingered_ += bytes;
                              if (!error && self->lingered_ < kLingerBytesMax) self->linger();
                            });
  }

  Shared& shared_;
  beast::tcp_stream stream_;
  beast::flat_buffer buffer_;
  std::optional<http::request_parser<http::empty_body>> parser_;
  std::optional<http::response<http::string_body>> response_;
  std::optional<http::response_serializer<http::string_body>> serializer_;
  std::array<char, 1024> discarded_{};
  std::size_t lingered_ = 0;
};

std::unexpected<Error> listen_failure(int error, const HttpOptions& options) {
  const bool v6 = options.host.find(':') != std::string::npos;
  std::string message = fmt::format("cannot listen on {}{}{}:{}: {}", v6 ? "[" : "", options.host,
                                    v6 ? "]" : "", options.port, std::strerror(error));
  if (error == EADDRINUSE) {
    message += "; another process has this port: stop it (ss -ltnp shows it) or choose another port";
    return fail(Errc::already_exists, std::move(message));
  }
  if (error == EADDRNOTAVAIL) message += "; this machine has no such address (ip address lists them)";
  if (error == EACCES) message += "; ports below 1024 need CAP_NET_BIND_SERVICE: choose a higher port";
  return fail(errc_from_errno(error), std::move(message));
}

struct Listener {
  int fd = -1;
  int family = 0;
};

// By hand rather than through Asio, which leaves descriptors open across exec (a node may start itself anew).
Result<Listener> open_listener(const HttpOptions& options) {
  addrinfo hints{};
  hints.ai_family = AF_UNSPEC;
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  const std::string host = options.host.empty() || options.host == "*" ? "0.0.0.0" : options.host;
  addrinfo* found = nullptr;
  const int result = ::getaddrinfo(host.c_str(), std::to_string(options.port).c_str(), &hints, &found);
  if (result != 0) {
    return fail(Errc::invalid_argument,
                fmt::format("cannot resolve {}: {}; use an IP address of this machine", host,
                            ::gai_strerror(result)));
  }
  const std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owned(found, &::freeaddrinfo);
  const Listener listener{.fd = ::socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0),
                          .family = found->ai_family};
  if (listener.fd < 0) return listen_failure(errno, options);
  const int on = 1;  // a restart does not wait for TIME_WAIT
  (void)::setsockopt(listener.fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (::bind(listener.fd, found->ai_addr, found->ai_addrlen) != 0 || ::listen(listener.fd, kBacklog) != 0) {
    const int error = errno;
    ::close(listener.fd);
    return listen_failure(error, options);
  }
  return listener;
}

}  // namespace

class HttpServer::Impl {
 public:
  Impl(HttpOptions options, std::vector<HttpPage> pages)
      : options_(std::move(options)), shared_{.limits = options_.limits, .pages = std::move(pages)} {}
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    context_.stop();
    if (thread_.joinable()) thread_.join();
  }

  [[nodiscard]] Status start() {
    const auto listener = open_listener(options_);
    if (!listener) return std::unexpected(listener.error());
    ErrorCode error;
    acceptor_.assign(listener->family == AF_INET6 ? tcp::v6() : tcp::v4(), listener->fd, error);
    if (error) {
      ::close(listener->fd);
      return listen_failure(error.value(), options_);
    }
    port_ = acceptor_.local_endpoint(error).port();
    accept();
    thread_ = std::thread([this] { run(); });
    return {};
  }

  [[nodiscard]] std::uint16_t port() const { return port_; }

 private:
  void run() {
    if (options_.prepare_thread) options_.prepare_thread();
    while (!context_.stopped()) {
      try {
        context_.run();
      } catch (const std::exception&) {
        // No memory for this connection: its handler is gone, and with it the connection. The others go on.
      }
    }
  }

  void accept() {
    acceptor_.async_accept([this](const ErrorCode& error, tcp::socket socket) {
      if (error) return pause();
      accept();
      admit(std::move(socket));
    });
  }

  void pause() {
    retry_.expires_after(kAcceptPause);
    retry_.async_wait([this](const ErrorCode&) { accept(); });
  }

  void admit(tcp::socket socket) {
    const int fd = socket.native_handle();
    (void)::fcntl(fd, F_SETFD, FD_CLOEXEC);
    if (shared_.connections >= options_.limits.connections_max) {
      // Fits into the empty send buffer of a new connection, or is lost: nobody waits for it.
      (void)::send(fd, kTooManyConnections.data(), kTooManyConnections.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
      return;
    }
    ErrorCode ignored;
    socket.set_option(tcp::no_delay(true), ignored);
    std::make_shared<Session>(shared_, std::move(socket))->read();
  }

  const HttpOptions options_;
  Shared shared_;  // outlives the sessions, whose handlers the context owns
  asio::io_context context_{1};
  tcp::acceptor acceptor_{context_};
  asio::steady_timer retry_{context_};
  std::uint16_t port_ = 0;
  std::thread thread_;
};

HttpServer::HttpServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HttpServer::~HttpServer() = default;

Result<std::unique_ptr<HttpServer>> HttpServer::start(HttpOptions options, std::vector<HttpPage> pages) {
  auto impl = std::make_unique<Impl>(std::move(options), std::move(pages));
  if (Status status = impl->start(); !status) return std::unexpected(std::move(status.error()));
  return std::unique_ptr<HttpServer>(new HttpServer(std::move(impl)));
}

std::uint16_t HttpServer::port() const {
  return impl_->port();
}

}  // namespace esc::ops
