// A small blocking Kafka client: one connection, one request at a time, one deadline for everything.
//
// Threading: single owner. Memory: ordinary heap; this is a tool, not the data path.
// Errors: Errc::timeout when the deadline passes, Errc::closed and Errc::io_error for connection trouble,
// Errc::unsupported when server and client share no version of an API, Errc::corruption when an answer
// cannot be decoded. Messages name the server's address.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include "esc/base/arena.h"
#include "esc/base/bytes.h"
#include "esc/base/result.h"
#include "esc/wire/api.h"
#include "esc/wire/codec.h"
#include "esc/wire/message.h"
#include "esc/wire/writer.h"

namespace esc::esctl {

using Deadline = std::chrono::steady_clock::time_point;

// An answer together with the bytes and arrays it points into. Movable: the vectors' blocks stay in place.
template <class Message>
struct Reply {
  std::vector<std::byte> frame;
  std::vector<std::byte> block;
  Message message;
};

class Client {
 public:
  // `bootstrap` is HOST:PORT or [IPV6]:PORT.
  [[nodiscard]] static Result<Client> connect(const std::string& bootstrap, Deadline deadline);
  Client(Client&& other) noexcept;
  Client& operator=(Client&&) = delete;
  ~Client();

  // Sends the request at the highest version both sides speak and waits for the answer.
  template <class Response, class Request>
  [[nodiscard]] Result<Reply<Response>> call(const Request& request) {
    static_assert(Request::kApi == Response::kApi);
    const auto version = negotiate(Request::kApi);
    if (!version) return std::unexpected(version.error());
    return call_at<Response>(request, *version);
  }
  // At a version that both are known to speak.
  template <class Response, class Request>
  [[nodiscard]] Result<Reply<Response>> call_at(const Request& request, std::int16_t version) {
    request_.resize(kRequestBytesMax);
    wire::Writer writer(request_);
    wire::encode_request(writer, request, version, ++correlation_id_, "esctl");
    if (writer.overflowed())
      return fail(Errc::too_large, "the request is too large; name fewer topics at once");
    auto frame = exchange(writer.written());
    if (!frame) return std::unexpected(frame.error());
    Reply<Response> reply;
    reply.frame = std::move(*frame);
    // Decoded arrays are a small multiple of their encoding; strings are not copied.
    reply.block.resize(reply.frame.size() * 16 + 64 * 1024);
    Arena arena(reply.block);
    const auto response = wire::parse_response(reply.frame, Request::kApi, version);
    if (!response) return malformed(Request::kApi, response.error());
    if (response->correlation_id != correlation_id_) return out_of_step(Request::kApi);
    auto message = wire::decode<Response>(response->body, version, arena);
    if (!message) return malformed(Request::kApi, message.error());
    reply.message = *message;
    return reply;
  }
  // For this project's own APIs, which no server advertises.
  template <class Response, class Request>
  [[nodiscard]] Result<Reply<Response>> call_private(const Request& request) {
    return call_at<Response>(request, wire::api_info(Request::kApi).max);
  }
  // False when the server does not offer the API at a version we speak.
  [[nodiscard]] bool offers(wire::ApiKey key) const { return negotiate(key).has_value(); }
  [[nodiscard]] const std::string& address() const { return address_; }
  // For a connection that lives longer than one command's patience.
  void set_deadline(Deadline deadline) { deadline_ = deadline; }

 private:
  struct Range {
    std::int16_t key = 0;
    std::int16_t min = 0;
    std::int16_t max = 0;
  };

  Client(int descriptor, std::string address, Deadline deadline)
      : descriptor_(descriptor), address_(std::move(address)), deadline_(deadline) {}

  [[nodiscard]] Status fetch_versions();
  [[nodiscard]] Result<std::int16_t> negotiate(wire::ApiKey key) const;
  [[nodiscard]] Result<std::vector<std::byte>> exchange(ByteView request);
  [[nodiscard]] Status wait_for(short events);
  [[nodiscard]] Status send_all(ByteView bytes);
  [[nodiscard]] Status read_all(ByteSpan bytes);
  [[nodiscard]] std::unexpected<Error> malformed(wire::ApiKey key, const wire::DecodeError& error) const;
  [[nodiscard]] std::unexpected<Error> out_of_step(wire::ApiKey key) const;

  static constexpr std::size_t kRequestBytesMax = 1024 * 1024;
  static constexpr std::uint32_t kResponseBytesMax = 256 * 1024 * 1024;

  int descriptor_ = -1;
  std::string address_;
  Deadline deadline_;
  std::int32_t correlation_id_ = 0;
  std::vector<Range> ranges_;
  std::vector<std::byte> request_;  // kept, as one connection may send many
};

}  // namespace esc::esctl
