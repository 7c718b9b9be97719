#include "esc/peer/handshake.h"

#include <gtest/gtest.h>

#include <array>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "esc/base/crc32c.h"

namespace esc::peer::test {
namespace {

constexpr std::string_view kSecret = "sesame";

template <class Bytes>
Bytes rising(unsigned first) {
  Bytes result;
  for (std::size_t i = 0; i < result.size(); ++i) result[i] = static_cast<std::byte>(first + i);
  return result;
}
Nonce nonce(unsigned first) {
  return rising<Nonce>(first);
}
Proof proof_bytes(unsigned first) {
  return rising<Proof>(first);
}

Hello hello() {
  return {.version_min = 1,
          .version_max = 3,
          .from = NodeId(4),
          .to = NodeId(5),
          .group = GroupId(6),
          .cluster_id = 0x1112131415161718,
          .incarnation = 0x2726252423222120,
          .nonce = nonce(40)};
}

Challenge challenge() {
  return {.refusal = Refusal::none,
          .version = 2,
          .version_min = 2,
          .version_max = 7,
          .cluster_id = 0x1112131415161718,
          .incarnation = 0x4746454443424140,
          .nonce = nonce(72),
          .proof = proof_bytes(128)};
}

std::string hex(ByteView bytes) {
  std::string text;
  for (const std::byte b : bytes) {
    text += "0123456789abcdef"[std::to_integer<unsigned>(b) >> 4];
    text += "0123456789abcdef"[std::to_integer<unsigned>(b) & 15];
  }
  return text;
}

template <std::size_t N>
std::string without_checksum(std::array<std::byte, N> block) {
  EXPECT_EQ(load_le<std::uint32_t>(block.data() + 4), crc32c(ByteView(block).subspan(8)));
  return hex(block).replace(8, 8, "........");
}

TEST(Handshake, bytes_are_these) {
  std::array<std::byte, kHelloBytes> hello_bytes;
  encode(hello(), hello_bytes);
  EXPECT_EQ(without_checksum(hello_bytes),
            "45534348........0100030004000000050000000600000018171615141312112021222324252627"
            "28292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f");
  std::array<std::byte, kChallengeBytes> challenge_bytes;
  encode(challenge(), challenge_bytes);
  EXPECT_EQ(without_checksum(challenge_bytes),
            "45534343........"
            "00000200020007001817161514131211404142434445464748494a4b4c4d4e4f505152535455565758595a5b5c5d5e5f"
            "808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f0000000000000000");
  std::array<std::byte, kConfirmBytes> confirm_bytes;
  encode(Confirm{.refusal = Refusal::secret, .proof = proof_bytes(128)}, confirm_bytes);
  EXPECT_EQ(
      without_checksum(confirm_bytes),
      "4553434b........0300000000000000808182838485868788898a8b8c8d8e8f909192939495969798999a9b9c9d9e9f");
}

TEST(Handshake, what_is_decoded_is_what_was_encoded) {
  std::array<std::byte, kHelloBytes> hello_bytes;
  encode(hello(), hello_bytes);
  EXPECT_EQ(decode_hello(hello_bytes), hello());
  std::array<std::byte, kChallengeBytes> challenge_bytes;
  encode(challenge(), challenge_bytes);
  EXPECT_EQ(decode_challenge(challenge_bytes), challenge());
  std::array<std::byte, kConfirmBytes> confirm_bytes;
  const Confirm confirm{.refusal = Refusal::none, .proof = proof_bytes(9)};
  encode(confirm, confirm_bytes);
  EXPECT_EQ(decode_confirm(confirm_bytes), confirm);
}

TEST(Handshake, any_changed_bit_is_noticed) {
  std::array<std::byte, kHelloBytes> hello_bytes;
  encode(hello(), hello_bytes);
  for (std::size_t bit = 0; bit < kHelloBytes * 8; ++bit) {
    auto bad = hello_bytes;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(decode_hello(bad)) << bit;
  }
  std::array<std::byte, kChallengeBytes> challenge_bytes;
  encode(challenge(), challenge_bytes);
  for (std::size_t bit = 0; bit < kChallengeBytes * 8; ++bit) {
    auto bad = challenge_bytes;
    bad[bit / 8] ^= std::byte{1} << (bit % 8);
    EXPECT_FALSE(decode_challenge(bad)) << bit;
  }
}

TEST(Handshake, unknown_refusals_and_reserved_bytes_are_malformed_even_with_a_right_checksum) {
  std::array<std::byte, kConfirmBytes> confirm_bytes;
  encode(Confirm{}, confirm_bytes);
  for (const std::size_t at : {std::size_t{9}, std::size_t{10}, std::size_t{15}}) {
    auto bad = confirm_bytes;
    bad[at] = std::byte{1};
    store_le(bad.data() + 4, crc32c(ByteView(bad).subspan(8)));
    EXPECT_FALSE(decode_confirm(bad)) << at;
  }
  std::array<std::byte, kHelloBytes> hello_bytes;
  Hello backwards = hello();
  std::swap(backwards.version_min, backwards.version_max);
  encode(backwards, hello_bytes);
  EXPECT_FALSE(decode_hello(hello_bytes));
}

TEST(Handshake, the_highest_common_version_is_chosen) {
  EXPECT_EQ(common_version(hello(), 1, 1), 1);
  EXPECT_EQ(common_version(hello(), 2, 9), 3);
  EXPECT_EQ(common_version(hello(), 3, 3), 3);
  EXPECT_EQ(common_version(hello(), 4, 9), 0);
}

TEST(Handshake, a_proof_fits_one_secret_role_and_conversation_only) {
  const Proof proof = prove(as_bytes(kSecret), Role::dialler, hello(), challenge());
  EXPECT_TRUE(equal(proof, prove(as_bytes(kSecret), Role::dialler, hello(), challenge())));
  std::vector<Proof> others;
  others.push_back(prove(as_bytes("sesamf"), Role::dialler, hello(), challenge()));
  others.push_back(prove(as_bytes(kSecret), Role::acceptor, hello(), challenge()));
  const auto with_hello = [&](auto&& change) {
    Hello other = hello();
    change(other);
    others.push_back(prove(as_bytes(kSecret), Role::dialler, other, challenge()));
  };
  with_hello([](Hello& h) { h.from = NodeId(9); });
  with_hello([](Hello& h) { h.to = NodeId(9); });
  with_hello([](Hello& h) { h.group = GroupId(9); });
  with_hello([](Hello& h) { h.cluster_id = 9; });
  with_hello([](Hello& h) { h.version_max = 9; });
  with_hello([](Hello& h) { h.incarnation = 9; });
  with_hello([](Hello& h) { h.nonce.back() ^= std::byte{1}; });
  const auto with_challenge = [&](auto&& change) {
    Challenge other = challenge();
    change(other);
    others.push_back(prove(as_bytes(kSecret), Role::dialler, hello(), other));
  };
  with_challenge([](Challenge& c) { c.version = 3; });
  with_challenge([](Challenge& c) { c.incarnation = 9; });
  with_challenge([](Challenge& c) { c.nonce.back() ^= std::byte{1}; });
  for (std::size_t i = 0; i < others.size(); ++i) EXPECT_FALSE(equal(proof, others[i])) << i;
  // The acceptor's proof is not part of what is proved.
  Challenge unproved = challenge();
  unproved.proof = {};
  EXPECT_TRUE(equal(proof, prove(as_bytes(kSecret), Role::dialler, hello(), unproved)));
}

// RFC 2104 by another implementation: Python's hmac over the documented bytes.
TEST(Handshake, the_proof_is_the_documented_hmac) {
  EXPECT_EQ(hex(prove(as_bytes(kSecret), Role::dialler, hello(), challenge())),
            "2bfeec0c88829f034defc7ded171175abc4157105c7e5ee9b433530eaaa3e001");
  EXPECT_EQ(hex(prove(as_bytes(kSecret), Role::acceptor, hello(), challenge())),
            "11d7da8cfab5c6456163bc5d617b15c15f0d82ef39d0b3c078fe0648450e09c4");
}

TEST(Handshake, nonces_differ) {
  std::set<Nonce> seen;
  for (std::uint64_t i = 0; i < 100; ++i) {
    const std::array<std::uint64_t, 2> seeds = {7, i};
    EXPECT_TRUE(seen.insert(make_nonce(as_bytes(kSecret), seeds)).second);
  }
}

TEST(Handshake, every_refusal_names_cause_and_fix) {
  std::set<std::string_view> causes;
  for (std::uint16_t code = 0; code <= static_cast<std::uint16_t>(Refusal::busy); ++code) {
    EXPECT_TRUE(causes.insert(cause(static_cast<Refusal>(code))).second);
    EXPECT_FALSE(fix(static_cast<Refusal>(code)).empty());
  }
}

}  // namespace
}  // namespace esc::peer::test
