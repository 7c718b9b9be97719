#include "esc/wire/message.h"

#include <gtest/gtest.h>

#include <vector>

#include "all_messages.h"
#include "golden_file.h"
#include "printer.h"

namespace esc::wire::test {
namespace {

std::vector<std::byte> output(1 << 16);
std::vector<std::byte> block(1 << 16);

TEST(FrameSize, accepts_sizes_between_its_limits) {
  EXPECT_EQ(frame_size(parse_hex("00000008"), 100).value(), 8U);
  EXPECT_EQ(frame_size(parse_hex("00000064"), 100).value(), 100U);
  EXPECT_EQ(frame_size(parse_hex("00000065"), 100).error().code, Errc::too_large);
  EXPECT_EQ(frame_size(parse_hex("00000007"), 100).error().code, Errc::corruption);
  EXPECT_EQ(frame_size(parse_hex("ffffffff"), 100).error().code, Errc::corruption);
  EXPECT_EQ(frame_size(parse_hex("000000"), 100).error().code, Errc::torn);
  // A TLS or HTTP client on the plain port announces gigabytes.
  EXPECT_EQ(frame_size(as_bytes("GET "), 100 << 20).error().code, Errc::too_large);
}

TEST(RequestHeader, v1_has_no_tagged_fields) {
  // Fetch v4, correlation id 7, client "ab", body 0xff.
  const auto frame = parse_hex(
      "00010004000000070002"
      "6162ff");
  const auto request = parse_request(frame);
  ASSERT_TRUE(request.has_value()) << request.error().reason;
  EXPECT_EQ(request->api->key, ApiKey::fetch);
  EXPECT_EQ(request->version, 4);
  EXPECT_EQ(request->correlation_id, 7);
  EXPECT_EQ(request->client_id, "ab");
  EXPECT_TRUE(request->version_supported);
  EXPECT_EQ(print_hex(request->body), "ff");
}

TEST(RequestHeader, v2_skips_tagged_fields_and_keeps_the_short_client_id) {
  const auto frame = parse_hex(
      "0001000c000000070002"
      "6162"
      "0105"
      "03aabbcc"
      "ff");
  const auto request = parse_request(frame);
  ASSERT_TRUE(request.has_value()) << request.error().reason;
  EXPECT_EQ(request->client_id, "ab");
  EXPECT_EQ(print_hex(request->body), "ff");
}

TEST(RequestHeader, a_null_client_id_is_not_an_empty_one) {
  EXPECT_FALSE(parse_request(parse_hex("0001000400000007ffff"))->client_id.has_value());
  const auto empty = parse_hex("00010004000000070000");
  EXPECT_EQ(parse_request(empty)->client_id, "");
  EXPECT_FALSE(parse_request(parse_hex("0001000400000007fffe")).has_value());
}

TEST(RequestHeader, an_unknown_api_is_unsupported) {
  EXPECT_EQ(parse_request(parse_hex("03e70000000000070000")).error().code, Errc::unsupported);
}

TEST(RequestHeader, an_unknown_version_still_yields_the_correlation_id) {
  // What a future client sends first: ApiVersions v99 in header v2.
  const auto frame = parse_hex(
      "0012006300000007000261620002610262"
      "00");
  const auto request = parse_request(frame);
  ASSERT_TRUE(request.has_value());
  EXPECT_FALSE(request->version_supported);
  EXPECT_EQ(request->correlation_id, 7);
  EXPECT_EQ(request->client_id, "ab");
}

TEST(RequestHeader, refused_produce_versions_are_not_supported) {
  for (std::int16_t version = 0; version <= 2; ++version)
    EXPECT_FALSE(api_info(ApiKey::produce).supports(version));
  EXPECT_TRUE(api_info(ApiKey::produce).supports(3));
}

TEST(RequestHeader, every_truncation_is_refused) {
  const auto whole = parse_hex(
      "0001000c000000070002"
      "6162"
      "0105"
      "03aabbcc");
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    const std::vector<std::byte> cut(whole.begin(), whole.begin() + static_cast<long>(bytes));
    EXPECT_FALSE(parse_request(cut).has_value()) << bytes;
  }
}

TEST(Message, requests_survive_framing_in_every_version) {
  for_each_message([]<class Message>() {
    if constexpr (Message::kIsRequest) {
      const ApiInfo& api = api_info(Message::kApi);
      for (std::int16_t version = api.min; version <= api.max; ++version) {
        Writer writer(output);
        encode_request(writer, Message{}, version, 42, "client");
        ASSERT_FALSE(writer.overflowed());
        const auto size = frame_size(writer.written(), 1 << 16);
        ASSERT_TRUE(size.has_value());
        ASSERT_EQ(*size + kSizePrefixBytes, writer.total_bytes());
        const auto request = parse_request(writer.written().subspan(kSizePrefixBytes));
        ASSERT_TRUE(request.has_value()) << api.name << version;
        EXPECT_EQ(request->api->key, Message::kApi);
        EXPECT_EQ(request->correlation_id, 42);
        EXPECT_EQ(request->client_id, "client");
        Arena arena(block);
        EXPECT_TRUE(decode<Message>(request->body, version, arena).has_value()) << api.name << version;
      }
    }
  });
}

TEST(Message, responses_survive_framing_in_every_version) {
  for_each_message([]<class Message>() {
    if constexpr (!Message::kIsRequest) {
      const ApiInfo& api = api_info(Message::kApi);
      for (std::int16_t version = api.min; version <= api.max; ++version) {
        Writer writer(output);
        encode_response(writer, Message{}, version, 43);
        const auto response = parse_response(writer.written().subspan(kSizePrefixBytes), api.key, version);
        ASSERT_TRUE(response.has_value());
        EXPECT_EQ(response->correlation_id, 43);
        Arena arena(block);
        EXPECT_TRUE(decode<Message>(response->body, version, arena).has_value()) << api.name << version;
      }
    }
  });
}

TEST(Message, the_api_versions_response_header_is_always_v0) {
  Writer writer(output);
  encode_response(writer, ApiVersionsResponse{}, 3, 9);
  EXPECT_EQ(print_hex(writer.written()),
            "0000000c"
            "00000009"
            "0000"
            "01"
            "00000000"
            "00");
}

TEST(Message, several_messages_share_a_writer) {
  Writer writer(output);
  encode_response(writer, HeartbeatResponse{}, 4, 1);
  const std::size_t first = writer.total_bytes();
  encode_response(writer, HeartbeatResponse{}, 0, 2);
  const auto size = frame_size(writer.written().subspan(first), 1 << 16, 0);
  EXPECT_EQ(first + kSizePrefixBytes + size.value(), writer.total_bytes());
}

TEST(Message, the_size_prefix_counts_gathered_records) {
  const std::vector<std::byte> records(5000, std::byte{7});
  const FetchResponse::Partition partitions[] = {{.records = {.bytes = records}}};
  const FetchResponse::Topic topics[] = {{.topic = "t", .partitions = partitions}};
  std::vector<Split> splits(4);
  Writer writer(output, splits);
  encode_response(writer, FetchResponse{.responses = topics}, 12, 5);
  EXPECT_LT(writer.position(), 200U);
  EXPECT_EQ(frame_size(writer.written(), 1 << 16).value() + kSizePrefixBytes, writer.total_bytes());
}

}  // namespace
}  // namespace esc::wire::test
