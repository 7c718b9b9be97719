#include "esc/wire/codec.h"

#include <gtest/gtest.h>

#include <vector>

#include "all_messages.h"
#include "golden_file.h"
#include "printer.h"
#include "random_message.h"

namespace esc::wire::test {
namespace {

std::vector<std::byte> block_a(4 << 20);
std::vector<std::byte> block_b(4 << 20);
std::vector<std::byte> output(1 << 20);

TEST(Codec, random_messages_survive_the_round_trip) {
  for_each_message([]<class Message>() {
    const ApiInfo& api = api_info(Message::kApi);
    Prng prng(2026);
    for (std::int16_t version = api.min; version <= api.max; ++version) {
      for (int round = 0; round < 30; ++round) {
        Arena source(block_a);
        Message message;
        RandomFiller(prng, source, version).fill_struct(message);
        Writer writer(output);
        encode(writer, message, version);
        ASSERT_FALSE(writer.overflowed());
        Arena arena(block_b);
        const auto back = decode<Message>(writer.written(), version, arena);
        ASSERT_TRUE(back.has_value())
            << message_name<Message>() << " v" << version << ": " << back.error().reason;
        EXPECT_EQ(print_struct(*back, version), print_struct(message, version)) << message_name<Message>();
      }
    }
  });
}

TEST(Codec, versions_outside_the_table_are_refused) {
  for_each_message([]<class Message>() {
    const ApiInfo& api = api_info(Message::kApi);
    for (const int version : {-1, api.min - 1, api.max + 1, 32767}) {
      Arena arena(block_a);
      const auto message = decode<Message>({}, static_cast<std::int16_t>(version), arena);
      ASSERT_FALSE(message.has_value());
      EXPECT_EQ(message.error().code, Errc::unsupported);
    }
    Writer writer(output);
    encode(writer, Message{}, static_cast<std::int16_t>(api.max + 1));
    EXPECT_TRUE(writer.overflowed());
  });
}

TEST(Codec, an_absurd_array_count_is_refused_before_allocation) {
  // ListOffsets v1: replica id, then 2^31-1 topics.
  const auto bytes = parse_hex("ffffffff7fffffff00000000");
  Arena arena(block_a);
  const auto message = decode<ListOffsetsRequest>(bytes, 1, arena);
  ASSERT_FALSE(message.has_value());
  EXPECT_EQ(message.error().code, Errc::torn);
  EXPECT_EQ(arena.used(), 0U);
}

TEST(Codec, a_count_is_held_against_the_smallest_encoding_of_its_items) {
  // Metadata v0: two topic names in three bytes; each takes at least two.
  const auto bytes = parse_hex("00000002000000");
  Arena arena(block_a);
  EXPECT_FALSE(decode<MetadataRequest>(bytes, 0, arena).has_value());
  EXPECT_EQ(arena.used(), 0U);
}

TEST(Codec, an_exhausted_arena_is_too_large) {
  const auto bytes = parse_hex("00000001000161");
  std::vector<std::byte> tiny(8);
  Arena arena(tiny);
  const auto message = decode<MetadataRequest>(bytes, 0, arena);
  ASSERT_FALSE(message.has_value());
  EXPECT_EQ(message.error().code, Errc::too_large);
}

TEST(Codec, null_is_refused_where_the_version_has_none) {
  Arena arena(block_a);
  // Metadata v0 topics may be empty, not null; v1 may.
  const auto null_array = parse_hex("ffffffff");
  const auto v0 = decode<MetadataRequest>(null_array, 0, arena);
  ASSERT_FALSE(v0.has_value());
  EXPECT_EQ(v0.error().code, Errc::corruption);
  const auto v1 = decode<MetadataRequest>(null_array, 1, arena);
  ASSERT_TRUE(v1.has_value());
  EXPECT_FALSE(v1->topics.has_value());
}

TEST(Codec, negative_lengths_are_refused) {
  Arena arena(block_a);
  EXPECT_FALSE(decode<MetadataRequest>(parse_hex("fffffffe"), 1, arena).has_value());
  EXPECT_FALSE(decode<MetadataRequest>(parse_hex("00000001fffe"), 1, arena).has_value());
}

TEST(Codec, unknown_tagged_fields_are_skipped) {
  // ApiVersions v3 request: "a", "b", one tagged field with tag 1000 of three bytes.
  const auto bytes = parse_hex(
      "026102620"
      "1e80703aabbcc");
  Arena arena(block_a);
  const auto message = decode<ApiVersionsRequest>(bytes, 3, arena);
  ASSERT_TRUE(message.has_value()) << message.error().reason;
  EXPECT_EQ(message->client_software_name, "a");
  EXPECT_EQ(message->client_software_version, "b");
}

TEST(Codec, a_known_tagged_field_must_fill_its_size) {
  // ApiVersions v3 response: no error, no keys, no throttle, tag 1 (int64) with a size of 9 bytes.
  const auto bytes = parse_hex(
      "000001000000000101090000000000000001"
      "00");
  Arena arena(block_a);
  const auto message = decode<ApiVersionsResponse>(bytes, 3, arena);
  ASSERT_FALSE(message.has_value());
  EXPECT_EQ(message.error().code, Errc::corruption);
}

TEST(Codec, a_tagged_field_longer_than_the_message_is_refused) {
  Arena arena(block_a);
  EXPECT_FALSE(decode<ApiVersionsRequest>(parse_hex("0261026201e807ffffffff0f"), 3, arena).has_value());
  EXPECT_FALSE(decode<ApiVersionsRequest>(parse_hex("02610262ffffffff0f"), 3, arena).has_value());
}

TEST(Codec, varints_beyond_32_bits_are_refused) {
  Arena arena(block_a);
  EXPECT_FALSE(decode<ApiVersionsRequest>(parse_hex("ffffffffffff0f"), 3, arena).has_value());
  EXPECT_FALSE(decode<ApiVersionsRequest>(parse_hex("ffffffff7f"), 3, arena).has_value());
}

TEST(Codec, strings_keep_to_the_limit_of_their_length_field) {
  const std::string longest(32767, 'x');
  const std::string longer(32768, 'x');
  for (const std::int16_t version : {std::int16_t{3}, std::int16_t{9}}) {
    ProduceRequest request{.transactional_id = longest};
    Writer fits(output);
    encode(fits, request, version);
    EXPECT_FALSE(fits.overflowed());
    request.transactional_id = longer;
    Writer refused(output);
    encode(refused, request, version);
    EXPECT_TRUE(refused.overflowed());
  }
}

TEST(Codec, a_null_is_written_as_empty_where_the_version_has_none) {
  Writer writer(output);
  encode(writer, MetadataRequest{}, 0);
  EXPECT_EQ(print_hex(writer.written()), "00000000");
}

TEST(Writer, gathers_records_without_copying_them) {
  const std::vector<std::byte> first(100, std::byte{1});
  const std::vector<std::byte> second(50, std::byte{2});
  const ByteView pieces[] = {first, second};
  FetchResponse::Partition partitions[] = {{.partition_index = 0, .records = {.pieces = pieces}},
                                           {.partition_index = 1, .records = {.bytes = second}}};
  const FetchResponse::Topic topics[] = {{.topic = "t", .partitions = partitions}};
  const FetchResponse response{.responses = topics};
  for (const std::int16_t version : {std::int16_t{4}, std::int16_t{11}, std::int16_t{12}}) {
    Writer copied(output);
    encode(copied, response, version);

    std::vector<std::byte> buffer(1000);
    std::vector<Split> splits(8);
    Writer gathered(buffer, splits);
    encode(gathered, response, version);
    ASSERT_FALSE(gathered.overflowed());
    ASSERT_EQ(gathered.splits().size(), 3U);
    EXPECT_EQ(gathered.splits()[0].bytes.data(), first.data());
    EXPECT_EQ(gathered.splits()[0].position, gathered.splits()[1].position);
    EXPECT_EQ(gathered.total_bytes(), copied.total_bytes());
    std::string joined;
    gathered.for_each_piece([&](ByteView piece) { joined += print_hex(piece); });
    EXPECT_EQ(joined, print_hex(copied.written()));
  }
}

TEST(Writer, copies_what_is_short_or_finds_no_split) {
  const std::vector<std::byte> large(100, std::byte{1});
  const std::vector<std::byte> small(10, std::byte{2});
  std::vector<Split> splits(1);
  Writer writer(output, splits, 64);
  writer.put_external(small);
  writer.put_external(large);
  writer.put_external(large);
  EXPECT_EQ(writer.splits().size(), 1U);
  EXPECT_EQ(writer.position(), 110U);
  EXPECT_EQ(writer.total_bytes(), 210U);
}

TEST(ApiVersions, advertises_what_the_broker_implements) {
  const ApiKey implemented[] = {ApiKey::produce, ApiKey::fetch};
  Arena arena(block_a);
  const auto ranges = advertised_versions(implemented, arena);
  ASSERT_EQ(ranges.size(), 2U);
  EXPECT_EQ(ranges[0].min_version, 0);  // refused, but librdkafka wants to see it
  EXPECT_EQ(ranges[0].max_version, 9);
  EXPECT_EQ(ranges[1].api_key, 1);
  EXPECT_EQ(ranges[1].min_version, 4);
}

TEST(ApiVersions, checks_the_client_software_as_kip_511_asks) {
  for (const String good : {"a", "apache-kafka-java", "3.7.0", "librdkafka", "A-1.b"}) {
    EXPECT_TRUE(valid_client_software(good)) << good;
  }
  for (const String bad : {"", "-a", "a-", ".1", "a b", "a_b", "\xc3\xa4"}) {
    EXPECT_FALSE(valid_client_software(bad)) << bad;
  }
}

TEST(ErrorCodeNames, are_kafkas) {
  EXPECT_EQ(to_string(ErrorCode::none), "NONE");
  EXPECT_EQ(to_string(ErrorCode::not_leader_or_follower), "NOT_LEADER_OR_FOLLOWER");
  EXPECT_EQ(to_string(static_cast<ErrorCode>(12345)), "UNKNOWN");
}

}  // namespace
}  // namespace esc::wire::test
