// A small HTTP/1.1 listener for operators: a few read-only pages on a thread of its own.
//
// Asynchronous and bounded: one thread serves all connections, nobody waits for a slow client, and every
// resource has a limit (HttpLimits). GET and HEAD; 404 lists the pages, 405 names the methods, what cannot be
// understood is answered with 400 (431: too long a header) and closed. Bodies of requests are never read.
// No TLS and no authentication: who reaches the address can read the pages.
//
// Threading: start() and the destructor on one thread; the pages are made on the server's thread, one at a
// time. The destructor ends the thread; connections are closed where they are.
// Errors: start() fails with already_exists (the port is taken), invalid_argument, or io_error; every message
// names the cause and what to do. Later failures (no descriptors left) are waited out.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "esc/base/result.h"
#include "esc/base/units.h"

namespace esc::ops {

struct HttpAnswer {
  unsigned status = 200;
  std::string content_type;
  std::string body;
};

struct HttpPage {
  std::string path;     // "/metrics"; queries are ignored
  std::string meaning;  // one sentence, for who asks for a page that is not there
  std::function<HttpAnswer()> make;
};

struct HttpLimits {
  std::uint32_t connections_max = 64;     // more are answered 503 and closed
  std::uint32_t header_bytes_max = 8192;  // of a request, its first line included
  Nanos request_timeout = 10 * kSecond;   // to send a whole request, from the end of the one before
  Nanos response_timeout = 30 * kSecond;  // to take a whole response
};

struct HttpOptions {
  std::string host;        // name, IPv4 or IPv6 address; "*": every address
  std::uint16_t port = 0;  // 0: any free one
  HttpLimits limits{};
  std::function<void()> prepare_thread;  // runs first on the server's thread; may be empty
};

class HttpServer {
 public:
  [[nodiscard]] static Result<std::unique_ptr<HttpServer>> start(HttpOptions options,
                                                                 std::vector<HttpPage> pages);
  ~HttpServer();
  HttpServer(const HttpServer&) = delete;
  HttpServer& operator=(const HttpServer&) = delete;

  [[nodiscard]] std::uint16_t port() const;  // the bound one

 private:
  class Impl;
  explicit HttpServer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace esc::ops
