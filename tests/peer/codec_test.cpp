#include <gtest/gtest.h>

#include <algorithm>
#include <map>

#include "esc/base/crc32c.h"
#include "esc/base/prng.h"
#include "messages.h"

namespace esc::peer::test {
namespace {

constexpr std::uint32_t kLimit = 1 << 20;

std::string hex(ByteView bytes) {
  static constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  for (const std::byte b : bytes) {
    text += kDigits[std::to_integer<unsigned>(b) >> 4];
    text += kDigits[std::to_integer<unsigned>(b) & 15];
  }
  return text;
}

HeaderView view(const std::vector<std::byte>& bytes) {
  return HeaderView(bytes.data(), kHeaderBytes);
}

void repair(std::vector<std::byte>& header) {
  store_le(header.data() + 4, crc32c(ByteView(header).subspan(8)));
}

std::string error_of(std::vector<std::byte> header) {
  repair(header);
  const auto decoded = decode(view(header), kLimit);
  return decoded ? "" : std::string(decoded.error());
}

const Sample& sample(const std::string& name) {
  static const std::vector<Sample> samples = every_message();
  return *std::ranges::find(samples, name, &Sample::name);
}

TEST(Codec, bytes_are_these) {
  // Without trailing zeros. The checksum in bytes 4 to 7 is checked by decoding.
  const std::map<std::string, std::string> golden = {
      {"append_entries",
       "4553434d........"
       "01010000810000009192939401000000020000000300000007000000000000001211000000000000222100000000000032310"
       "000000000005251000000000000626100000000000072710000000000004241"},
      {"append_entries of a configuration",
       "4553434d........"
       "01010000810000009192939401000000020000000300000007000000000000001211000000000000222100000000000032310"
       "0000000000052510000000000006261000000000000727100000000000001000000010301000100000002000000050000000"
       "4"},
      {"append_entries probe",
       "4553434d........"
       "01010000000000000000000001000000020000000300000007000000000000001211000000000000222100000000000032310"
       "00000000000525100000000000062610000000000007271"},
      {"append_reply",
       "4553434d........"
       "01020000000000000000000001000000020000000300000007000000000000001211000000000000222100000000000032310"
       "0000000000042410000000000005251000000000000626100000000000001"},
      {"heartbeat",
       "4553434d........"
       "010300000000000000000000010000000200000003000000070000000000000012110000000000002221"},
      {"heartbeat_reply",
       "4553434d........"
       "010400000000000000000000010000000200000003000000070000000000000012110000000000002221000000000000323"
       "1"},
      {"vote_request",
       "4553434d........"
       "01050000000000000000000001000000020000000300000007000000000000001211000000000000222100000000000001"},
      {"vote_reply", "4553434d........01060000000000000000000001000000020000000300000007000000000000000001"},
      {"timeout_now", "4553434d........01070000000000000000000001000000020000000300000007"},
      {"install_snapshot",
       "4553434d........"
       "010800000000000000000000010000000200000003000000070000000000000012110000000000002221"},
      {"snapshot_failed", "4553434d........01090000000000000000000001000000020000000300000007"},
      {"service", "4553434d........0120020181000000919293940100000002000000030000001817161514131211"}};
  for (const Sample& each : every_message()) {
    const PayloadInfo payload =
        each.may_have_payload ? PayloadInfo{.bytes = 0x81, .crc = 0x94939291} : PayloadInfo{};
    std::string text = hex(encoded(each, payload));
    text.replace(8, 8, "........");
    text.resize(text.find_last_not_of('0') + 1);
    text.resize((text.size() + 1) / 2 * 2, '0');
    ASSERT_TRUE(golden.contains(each.name)) << each.name;
    EXPECT_EQ(text, golden.at(each.name)) << each.name;
  }
}

TEST(Codec, what_is_decoded_is_what_was_encoded) {
  for (const Sample& each : every_message()) {
    const PayloadInfo payload =
        each.may_have_payload ? PayloadInfo{.bytes = kLimit, .crc = 5} : PayloadInfo{};
    const std::vector<std::byte> bytes = encoded(each, payload);
    const auto decoded = decode(view(bytes), kLimit);
    ASSERT_TRUE(decoded) << each.name << ": " << decoded.error();
    EXPECT_EQ(decoded->route, kRoute);
    EXPECT_EQ(decoded->payload.bytes, payload.bytes);
    EXPECT_EQ(decoded->payload.crc, payload.crc);
    EXPECT_EQ(encoded_again(*decoded), bytes) << each.name;
  }
}

TEST(Codec, fields_keep_their_values) {
  const auto append = decode(view(encoded(sample("append_entries of a configuration"))), kLimit);
  ASSERT_TRUE(append);
  const auto& message = std::get<raft::Message>(append->message);
  EXPECT_EQ(message.from, kRoute.from);
  EXPECT_EQ(message.to, kRoute.to);
  EXPECT_EQ(message.term, Term(7));
  const auto& body = std::get<raft::AppendEntries>(message.payload);
  EXPECT_EQ(body.prev_index, Index(0x1112));
  EXPECT_EQ(body.prev_term, Term(0x2122));
  EXPECT_EQ(body.entries_term, Term(0x3132));
  EXPECT_EQ(body.bytes, 0x5152u);
  EXPECT_EQ(body.commit, Index(0x6162));
  EXPECT_EQ(body.round, 0x7172u);
  EXPECT_EQ(body.configuration, configuration_entry().configuration);
  const auto reply = decode(view(encoded(sample("append_reply"))), kLimit);
  ASSERT_TRUE(reply);
  const auto& answer = std::get<raft::AppendReply>(std::get<raft::Message>(reply->message).payload);
  EXPECT_TRUE(answer.accepted);
  EXPECT_EQ(answer.durable, Index(0x2122));
  EXPECT_EQ(answer.hint_term, Term(0x5152));
  const auto service = decode(view(encoded(sample("service"))), kLimit);
  ASSERT_TRUE(service);
  EXPECT_EQ(std::get<Service>(service->message), (Service{.kind = 0x0102, .tag = 0x1112131415161718}));
}

TEST(Codec, the_largest_configuration_fits) {
  raft::AppendEntries append = entries();
  append.count = 1;
  append.configuration.emplace();
  for (std::uint32_t i = 1; i <= raft::kVotersMax; ++i) append.configuration->voters.push_back(NodeId(i));
  for (std::uint32_t i = 0; i < raft::kLearnersMax; ++i)
    append.configuration->learners.push_back(NodeId(100 + i));
  const auto decoded = decode(view(encoded({.name = {}, .message = message(append)})), kLimit);
  ASSERT_TRUE(decoded) << decoded.error();
  const auto& body = std::get<raft::AppendEntries>(std::get<raft::Message>(decoded->message).payload);
  EXPECT_EQ(body.configuration, append.configuration);
}

TEST(Codec, any_changed_bit_is_noticed) {
  for (const Sample& each : every_message()) {
    const std::vector<std::byte> good = encoded(each);
    for (std::size_t bit = 0; bit < kHeaderBytes * 8; ++bit) {
      std::vector<std::byte> bad = good;
      bad[bit / 8] ^= std::byte{1} << (bit % 8);
      EXPECT_FALSE(decode(view(bad), kLimit)) << each.name << " bit " << bit;
    }
  }
}

// With the checksum right again, what is accepted says exactly one thing.
TEST(Codec, random_headers_with_a_right_checksum_are_refused_or_canonical) {
  Prng prng(1);
  const std::vector<Sample> samples = every_message();
  std::size_t accepted = 0;
  for (int round = 0; round < 100'000; ++round) {
    std::vector<std::byte> bytes = encoded(samples[prng.below(samples.size())]);
    for (std::uint64_t changes = 1 + prng.below(3); changes > 0; --changes)
      bytes[8 + prng.below(140)] =
          static_cast<std::byte>(prng.chance(1, 2) ? prng.below(4) : prng.below(256));
    repair(bytes);
    const auto decoded = decode(view(bytes), kLimit);
    if (!decoded) continue;
    ++accepted;
    ASSERT_EQ(encoded_again(*decoded), bytes);
  }
  EXPECT_GT(accepted, 1000u);
}

TEST(Codec, says_what_is_wrong) {
  const auto changed = [](const std::string& name, std::size_t at, std::uint8_t value) {
    std::vector<std::byte> bytes = encoded(sample(name));
    bytes[at] = static_cast<std::byte>(value);
    return error_of(std::move(bytes));
  };
  EXPECT_EQ(changed("heartbeat", 0, 0), "no message magic");
  EXPECT_EQ(changed("heartbeat", 8, 2), "a version that was not agreed on");
  EXPECT_EQ(changed("heartbeat", 9, 0), "an unknown message type");
  EXPECT_EQ(changed("heartbeat", 9, 10), "an unknown message type");
  EXPECT_EQ(changed("heartbeat", 9, 255), "an unknown message type");
  EXPECT_EQ(changed("heartbeat", 10, 1), "reserved bytes that are not zero");
  EXPECT_EQ(changed("heartbeat", 12, 1), "a payload behind a message without entries");
  EXPECT_EQ(changed("append_entries probe", 12, 1), "a payload behind a message without entries");
  EXPECT_EQ(changed("heartbeat", 16, 1), "a checksum without a payload");
  EXPECT_EQ(changed("service", 15, 1), "a payload above the limit");
  EXPECT_EQ(changed("heartbeat", 191, 1), "reserved bytes that are not zero");
  EXPECT_EQ(changed("vote_reply", 41, 2), "a flag that is neither 0 nor 1");
  EXPECT_EQ(changed("append_entries of a configuration", 88, 2),
            "a configuration that does not travel alone");
  EXPECT_EQ(changed("append_entries of a configuration", 93, 0),
            "a configuration with an impossible number of members");
  EXPECT_EQ(changed("append_entries of a configuration", 93, 8),
            "a configuration with an impossible number of members");
  EXPECT_EQ(changed("append_entries of a configuration", 94, 5),
            "a configuration with an impossible number of members");
  EXPECT_EQ(changed("append_entries of a configuration", 96, 2), "members that are not ascending");
  EXPECT_EQ(changed("append_entries of a configuration", 96, 0), "members that are not ascending");
  EXPECT_EQ(changed("append_entries of a configuration", 108, 5),
            "a configuration with a member that is voter and learner");
  std::vector<std::byte> overflow = encoded(sample("append_entries"));
  store_le(overflow.data() + 40, ~std::uint64_t{0} - 5);
  EXPECT_EQ(error_of(overflow), "an index range that overflows");
}

}  // namespace
}  // namespace esc::peer::test
