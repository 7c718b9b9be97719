// The listener on loopback, with well-mannered clients and with others.
#include "esc/ops/http_server.h"

#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include "client.h"

namespace esc::ops::test {
namespace {

constexpr char kTlsHello[] = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 and so on\r\n\r\n";
constexpr std::size_t kLargeBytes = std::size_t{16} * 1024 * 1024;  // more than two socket buffers hold

class HttpServerTest : public ::testing::Test {
 protected:
  void serve(HttpLimits limits = {}) {
    std::vector<HttpPage> pages;
    pages.push_back({.path = "/hello", .meaning = "says hello", .make = [this]() -> HttpAnswer {
                       ++made;
                       return {.content_type = "text/plain", .body = "hello\n"};
                     }});
    pages.push_back({.path = "/busy", .meaning = "is never there", .make = []() -> HttpAnswer {
                       return {.status = 503, .content_type = "application/json", .body = "{}\n"};
                     }});
    pages.push_back({.path = "/large", .meaning = "is long", .make = []() -> HttpAnswer {
                       return {.content_type = "text/plain", .body = std::string(kLargeBytes, 'x')};
                     }});
    auto started = HttpServer::start({.host = "127.0.0.1", .port = 0, .limits = limits}, std::move(pages));
    ASSERT_TRUE(started) << started.error().message;
    server = std::move(*started);
  }
  [[nodiscard]] Client client(int receive_buffer_bytes = 0) const {
    return Client(server->port(), receive_buffer_bytes);
  }
  void expect_alive() const {
    EXPECT_EQ(client().get("/hello").status, 200) << "the server does not serve any more";
  }

  std::atomic<int> made{0};
  std::unique_ptr<HttpServer> server;
};

TEST_F(HttpServerTest, answers_a_page_with_its_type_length_and_date) {
  serve();
  const Response response = client().get("/hello");
  EXPECT_EQ(response.status, 200);
  EXPECT_EQ(response.body, "hello\n");
  EXPECT_TRUE(response.has("Content-Type: text/plain\r\n")) << response.head;
  EXPECT_TRUE(response.has("Content-Length: 6\r\n")) << response.head;
  EXPECT_TRUE(response.has("Date: ")) << response.head;
  EXPECT_TRUE(response.has(" GMT\r\n")) << response.head;
  EXPECT_TRUE(response.has("Cache-Control: no-store\r\n")) << response.head;
}

TEST_F(HttpServerTest, passes_on_the_status_of_a_page) {
  serve();
  const Response response = client().get("/busy");
  EXPECT_EQ(response.status, 503);
  EXPECT_EQ(response.body, "{}\n");
}

TEST_F(HttpServerTest, ignores_a_query_and_takes_a_whole_address) {
  serve();
  EXPECT_EQ(client().get("/hello?verbose=1").status, 200);
  EXPECT_EQ(client().get("http://node:1/hello").status, 200);
  EXPECT_EQ(client().get("http://node:1").status, 404);
}

TEST_F(HttpServerTest, answers_head_with_the_length_and_no_body) {
  serve();
  Client head = client();
  const Response response = head.send("HEAD /hello HTTP/1.1\r\nHost: n\r\n\r\n").receive(true);
  EXPECT_EQ(response.status, 200);
  EXPECT_TRUE(response.has("Content-Length: 6\r\n")) << response.head;
  EXPECT_EQ(head.get("/hello").body, "hello\n") << "the next response begins where the head ended";
  EXPECT_EQ(client().send("HEAD /none HTTP/1.1\r\nHost: n\r\n\r\n").receive(true).status, 404);
}

TEST_F(HttpServerTest, lists_the_pages_to_who_asks_for_another) {
  serve();
  for (const char* path : {"/", "/hell", "/hello/", "/Hello", "/none", "*", "/%68ello"}) {
    const Response response = client().get(path);
    EXPECT_EQ(response.status, 404) << path;
    EXPECT_NE(response.body.find("/hello     says hello\n"), std::string::npos) << response.body;
    EXPECT_NE(response.body.find("/busy"), std::string::npos) << response.body;
  }
}

TEST_F(HttpServerTest, names_the_methods_to_who_uses_another) {
  serve();
  for (const std::string method : {"POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW"}) {
    const Response response = client().send(method + " /hello HTTP/1.1\r\nHost: n\r\n\r\n").receive();
    EXPECT_EQ(response.status, 405) << method;
    EXPECT_TRUE(response.has("Allow: GET, HEAD\r\n")) << response.head;
  }
  EXPECT_EQ(made, 0);
}

TEST_F(HttpServerTest, does_not_read_bodies_and_closes_after_a_request_with_one) {
  serve();
  Client sized = client();
  sized.send("POST /hello HTTP/1.1\r\nHost: n\r\nContent-Length: 50000\r\n\r\n" + std::string(50'000, 'b'));
  EXPECT_EQ(sized.receive().status, 405);
  EXPECT_TRUE(sized.closed_within(3000));
  Client chunked = client();
  chunked.send("GET /hello HTTP/1.1\r\nHost: n\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nGET /\r\n0\r\n\r\n");
  EXPECT_EQ(chunked.receive().status, 200);
  EXPECT_TRUE(chunked.closed_within(3000)) << "a body must not be taken for the next request";
  EXPECT_EQ(made, 1);
}

TEST_F(HttpServerTest, keeps_a_connection_and_answers_pipelined_requests_in_order) {
  serve();
  Client one = client();
  std::string requests;
  for (int i = 0; i < 20; ++i) {
    requests += "GET /hello HTTP/1.1\r\nHost: n\r\n\r\nGET /none HTTP/1.1\r\nHost: n\r\n\r\n";
  }
  one.send(requests);
  for (int i = 0; i < 20; ++i) {
    EXPECT_EQ(one.receive().status, 200);
    EXPECT_EQ(one.receive().status, 404);
  }
  EXPECT_EQ(one.get("/hello").status, 200);
}

TEST_F(HttpServerTest, closes_when_the_client_asks_for_it_or_speaks_http_1_0) {
  serve();
  Client asks = client();
  asks.send("GET /hello HTTP/1.1\r\nHost: n\r\nConnection: close\r\n\r\n");
  EXPECT_EQ(asks.receive().status, 200);
  EXPECT_TRUE(asks.closed_within(3000));
  Client old = client();
  old.send("GET /hello HTTP/1.0\r\n\r\n");
  EXPECT_EQ(old.receive().status, 200);
  EXPECT_TRUE(old.closed_within(3000));
}

TEST_F(HttpServerTest, answers_who_has_ended_sending) {
  serve();
  Client half = client();
  half.send("GET /hello HTTP/1.1\r\nHost: n\r\n\r\n");
  half.end_sending();
  EXPECT_EQ(half.receive().body, "hello\n");
  EXPECT_TRUE(half.closed_within(3000));
}

TEST_F(HttpServerTest, refuses_nonsense_with_400_and_closes) {
  serve();
  const std::string zeros(100, '\0');
  for (const std::string& bytes :
       {std::string(kTlsHello, sizeof kTlsHello - 1), std::string("hello\r\n\r\n"), zeros + "\r\n\r\n",
        std::string("GET /hello HTTP/9.9\r\n\r\n"), std::string("GET /hello HTTP/2.0\r\n\r\n"),
        std::string("GET  HTTP/1.1\r\nHost: n\r\n\r\n"),
        std::string("GET /hello HTTP/1.1\r\nHost : n\r\n\r\n"), std::string("GET /hello HTTP/1.1\r\n\r\n"),
        std::string("GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        std::string("GET /hello HTTP/1.1\r\nHost: n\r\nContent-Length: -1\r\n\r\n"),
        std::string("GET /hello HTTP/1.1\r\nHost: n\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n")}) {
    Client rude = client();
    EXPECT_EQ(rude.send(bytes).receive().status, 400) << bytes;
    EXPECT_TRUE(rude.closed_within(3000)) << bytes;
  }
  EXPECT_EQ(made, 0);
  expect_alive();
}

TEST_F(HttpServerTest, refuses_a_header_over_its_limit_with_431) {
  serve({.header_bytes_max = 2048});
  Client many = client();
  std::string fields;
  for (int i = 0; i < 5000; ++i) fields += "X-Field-" + std::to_string(i) + ": value\r\n";
  EXPECT_EQ(many.send("GET /hello HTTP/1.1\r\nHost: n\r\n" + fields + "\r\n").receive().status, 431);
  EXPECT_TRUE(many.closed_within(3000));
  Client long_line = client();
  EXPECT_EQ(long_line.send("GET /" + std::string(100'000, 'a')).receive().status, 431);
  EXPECT_TRUE(long_line.closed_within(3000));
  expect_alive();
}

TEST_F(HttpServerTest, closes_connections_that_send_no_whole_request_in_time) {
  serve({.request_timeout = 200 * kMillisecond});
  Client silent = client();
  Client half = client();
  half.send("GET /hel");
  Client slow = client();
  bool slow_ended = false;
  const auto began = std::chrono::steady_clock::now();
  for (const char c : std::string("GET /hello HTTP/1.1\r\nHost: n\r\n")) {
    slow.send(std::string(1, c));
    if (slow.closed_within(30)) {
      slow_ended = true;
      break;
    }
  }
  EXPECT_TRUE(slow_ended) << "a byte now and then must not buy more time";
  EXPECT_GE(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(150));
  EXPECT_TRUE(silent.closed_within(3000));
  EXPECT_TRUE(half.closed_within(3000));
  expect_alive();
}

TEST_F(HttpServerTest, serves_others_while_a_client_takes_its_response_slowly_then_drops_it) {
  serve({.response_timeout = 1 * kSecond});
  Client slow = client(4096);
  slow.send("GET /large HTTP/1.1\r\nHost: n\r\n\r\n");
  const auto began = std::chrono::steady_clock::now();
  for (int i = 0; i < 50; ++i) EXPECT_EQ(client().get("/hello").status, 200);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::milliseconds(900));
  std::this_thread::sleep_for(std::chrono::milliseconds(1200));
  EXPECT_EQ(slow.receive().status, 0) << "the rest of the response never came";
  EXPECT_TRUE(slow.closed_within(3000));
  EXPECT_EQ(client().get("/large").body.size(), kLargeBytes) << "who reads gets all of it";
}

TEST_F(HttpServerTest, takes_as_many_connections_as_it_may_and_tells_the_others) {
  serve({.connections_max = 64});
  std::vector<Client> clients;
  clients.reserve(200);
  for (int i = 0; i < 200; ++i) {
    clients.push_back(client());
    ASSERT_TRUE(clients.back().connected()) << i;
  }
  int served = 0;
  int told = 0;
  for (Client& one : clients) {
    const int status = one.get("/hello").status;
    served += status == 200 ? 1 : 0;
    told += status == 503 ? 1 : 0;
  }
  EXPECT_EQ(served, 64);
  EXPECT_EQ(told, 200 - 64);
  clients.clear();
  // The server hears of the ends in its own time.
  int status = 0;
  for (int i = 0; i < 100 && status != 200; ++i) {
    status = client().get("/hello").status;
    if (status != 200) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(status, 200) << "places become free again";
}

TEST_F(HttpServerTest, ends_at_once_with_clients_in_every_state) {
  serve();
  Client idle = client();
  EXPECT_EQ(idle.get("/hello").status, 200);
  Client half = client();
  half.send("GET /hel");
  Client slow = client(4096);
  slow.send("GET /large HTTP/1.1\r\nHost: n\r\n\r\n");
  const std::uint16_t port = server->port();
  const auto began = std::chrono::steady_clock::now();
  server.reset();
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(1));
  EXPECT_TRUE(idle.closed_within(1000));
  EXPECT_TRUE(half.closed_within(1000));
  EXPECT_FALSE(Client(port).connected());
}

TEST_F(HttpServerTest, prepares_its_thread_before_anything_else) {
  std::atomic<bool> prepared{false};
  std::atomic<bool> prepared_first{false};
  std::vector<HttpPage> pages;
  pages.push_back({.path = "/p", .meaning = "", .make = [&]() -> HttpAnswer {
                     prepared_first = prepared.load();
                     return {};
                   }});
  auto started = HttpServer::start(
      {.host = "localhost", .port = 0, .prepare_thread = [&] { prepared = true; }}, std::move(pages));
  ASSERT_TRUE(started) << started.error().message;
  EXPECT_EQ(Client((*started)->port()).get("/p").status, 200);
  EXPECT_TRUE(prepared_first);
}

TEST_F(HttpServerTest, says_why_it_cannot_listen_and_what_to_do) {
  serve();
  const auto taken = HttpServer::start({.host = "127.0.0.1", .port = server->port()}, {});
  ASSERT_FALSE(taken);
  EXPECT_EQ(taken.error().code, Errc::already_exists);
  EXPECT_NE(taken.error().message.find("127.0.0.1:" + std::to_string(server->port())), std::string::npos);
  EXPECT_NE(taken.error().message.find("choose another port"), std::string::npos) << taken.error().message;
  const auto foreign = HttpServer::start({.host = "192.0.2.1", .port = 0}, {});
  ASSERT_FALSE(foreign);
  EXPECT_NE(foreign.error().message.find("no such address"), std::string::npos) << foreign.error().message;
  const auto unknown = HttpServer::start({.host = "no.such.name.invalid", .port = 0}, {});
  ASSERT_FALSE(unknown);
  EXPECT_EQ(unknown.error().code, Errc::invalid_argument) << unknown.error().message;
}

}  // namespace
}  // namespace esc::ops::test
