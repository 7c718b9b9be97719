#include "esc/peer/handshake.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>

#include <algorithm>
#include <vector>

#include "esc/base/assert.h"
#include "esc/base/crc32c.h"

namespace esc::peer {

namespace {

constexpr std::uint32_t kHelloMagic = 0x48435345;      // "ESCH"
constexpr std::uint32_t kChallengeMagic = 0x43435345;  // "ESCC"
constexpr std::uint32_t kConfirmMagic = 0x4b435345;    // "ESCK"
constexpr std::size_t kCrcAt = 4;                      // of everything behind it
constexpr std::size_t kBodyAt = 8;
constexpr std::size_t kHelloNonceAt = 40;
constexpr std::size_t kChallengeNonceAt = 32;
constexpr std::size_t kChallengeProofAt = 56;
constexpr std::size_t kConfirmProofAt = 16;
static_assert(kHelloNonceAt + kNonceBytes == kHelloBytes);
static_assert(kChallengeNonceAt + kNonceBytes == kChallengeProofAt);
static_assert(kChallengeProofAt + kProofBytes + 8 == kChallengeBytes);
static_assert(kConfirmProofAt + kProofBytes == kConfirmBytes);

void seal(ByteSpan block, std::uint32_t magic) {
  store_le(block.data(), magic);
  store_le(block.data() + kCrcAt, crc32c(block.subspan(kBodyAt)));
}

bool sealed(ByteView block, std::uint32_t magic) {
  return load_le<std::uint32_t>(block.data()) == magic &&
         load_le<std::uint32_t>(block.data() + kCrcAt) == crc32c(block.subspan(kBodyAt));
}

bool zero(ByteView bytes) {
  return std::ranges::all_of(bytes, [](std::byte b) { return b == std::byte{0}; });
}

std::optional<Refusal> refusal_of(std::uint16_t value) {
  if (value > static_cast<std::uint16_t>(Refusal::removed)) return std::nullopt;
  return static_cast<Refusal>(value);
}

Proof hmac(ByteView key, ByteView message) {
  Proof result;
  unsigned int length = 0;
  const auto* done = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                          reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                          reinterpret_cast<unsigned char*>(result.data()), &length);
  ESC_ASSERT_MSG(done != nullptr && length == kProofBytes, "libcrypto cannot compute HMAC-SHA256");
  return result;
}

}  // namespace

std::string_view cause(Refusal refusal) {
  switch (refusal) {
    case Refusal::none: return "none";
    case Refusal::version: return "no common peer protocol version";
    case Refusal::cluster: return "the nodes belong to different clusters";
    case Refusal::secret: return "the nodes have different cluster secrets";
    case Refusal::unknown_node: return "the dialling node is not a member here";
    case Refusal::wrong_node: return "another node was expected at this address";
    case Refusal::wrong_group: return "the node has no such group";
    case Refusal::direction: return "the node with the lower id dials, not the other one";
    case Refusal::busy: return "the node is shutting down or has too many handshakes going on";
    case Refusal::removed: return "the dialling node was removed from the cluster";
  }
  return "unknown";
}

std::string_view fix(Refusal refusal) {
  switch (refusal) {
    case Refusal::none: return "nothing";
    case Refusal::version: return "run the same or neighbouring releases on all nodes";
    case Refusal::cluster:
      return "set the same cluster.id on all nodes, or correct the peer addresses in cluster.nodes";
    case Refusal::secret: return "set the same cluster.secret on all nodes";
    case Refusal::unknown_node:
      return "add the node: esctl node add; of a cluster that is being founded: the same cluster.nodes on "
             "every node";
    case Refusal::wrong_node: return "correct the peer addresses and ids in cluster.nodes";
    case Refusal::wrong_group: return "set the same number of groups on all nodes";
    case Refusal::direction: return "give every node its own node.id, the same in every cluster.nodes";
    case Refusal::busy: return "nothing; it is tried again";
    case Refusal::removed: return "stop the removed node; to take it in again: esctl node add";
  }
  return "nothing";
}

void encode(const Hello& hello, std::span<std::byte, kHelloBytes> into) {
  std::ranges::fill(into, std::byte{0});
  store_le(into.data() + 8, hello.version_min);
  store_le(into.data() + 10, hello.version_max);
  store_le(into.data() + 12, hello.from.value());
  store_le(into.data() + 16, hello.to.value());
  store_le(into.data() + 20, hello.group.value());
  store_le(into.data() + 24, hello.cluster_id);
  store_le(into.data() + 32, hello.incarnation);
  std::ranges::copy(hello.nonce, into.begin() + kHelloNonceAt);
  seal(into, kHelloMagic);
}

std::optional<Hello> decode_hello(std::span<const std::byte, kHelloBytes> bytes) {
  if (!sealed(bytes, kHelloMagic)) return std::nullopt;
  Hello hello{.version_min = load_le<std::uint16_t>(bytes.data() + 8),
              .version_max = load_le<std::uint16_t>(bytes.data() + 10),
              .from = NodeId(load_le<std::uint32_t>(bytes.data() + 12)),
              .to = NodeId(load_le<std::uint32_t>(bytes.data() + 16)),
              .group = GroupId(load_le<std::uint32_t>(bytes.data() + 20)),
              .cluster_id = load_le<std::uint64_t>(bytes.data() + 24),
              .incarnation = load_le<std::uint64_t>(bytes.data() + 32)};
  std::ranges::copy(bytes.subspan(kHelloNonceAt, kNonceBytes), hello.nonce.begin());
  if (hello.version_min > hello.version_max) return std::nullopt;
  return hello;
}

void encode(const Challenge& challenge, std::span<std::byte, kChallengeBytes> into) {
  std::ranges::fill(into, std::byte{0});
  store_le(into.data() + 8, static_cast<std::uint16_t>(challenge.refusal));
  store_le(into.data() + 10, challenge.version);
  store_le(into.data() + 12, challenge.version_min);
  store_le(into.data() + 14, challenge.version_max);
  store_le(into.data() + 16, challenge.cluster_id);
  store_le(into.data() + 24, challenge.incarnation);
  std::ranges::copy(challenge.nonce, into.begin() + kChallengeNonceAt);
  std::ranges::copy(challenge.proof, into.begin() + kChallengeProofAt);
  seal(into, kChallengeMagic);
}

std::optional<Challenge> decode_challenge(std::span<const std::byte, kChallengeBytes> bytes) {
  if (!sealed(bytes, kChallengeMagic)) return std::nullopt;
  const auto refusal = refusal_of(load_le<std::uint16_t>(bytes.data() + 8));
  if (!refusal) return std::nullopt;
  Challenge challenge{.refusal = *refusal,
                      .version = load_le<std::uint16_t>(bytes.data() + 10),
                      .version_min = load_le<std::uint16_t>(bytes.data() + 12),
                      .version_max = load_le<std::uint16_t>(bytes.data() + 14),
                      .cluster_id = load_le<std::uint64_t>(bytes.data() + 16),
                      .incarnation = load_le<std::uint64_t>(bytes.data() + 24)};
  std::ranges::copy(bytes.subspan(kChallengeNonceAt, kNonceBytes), challenge.nonce.begin());
  std::ranges::copy(bytes.subspan(kChallengeProofAt, kProofBytes), challenge.proof.begin());
  if (!zero(bytes.subspan(kChallengeProofAt + kProofBytes))) return std::nullopt;
  return challenge;
}

void encode(const Confirm& confirm, std::span<std::byte, kConfirmBytes> into) {
  std::ranges::fill(into, std::byte{0});
  store_le(into.data() + 8, static_cast<std::uint16_t>(confirm.refusal));
  std::ranges::copy(confirm.proof, into.begin() + kConfirmProofAt);
  seal(into, kConfirmMagic);
}

std::optional<Confirm> decode_confirm(std::span<const std::byte, kConfirmBytes> bytes) {
  if (!sealed(bytes, kConfirmMagic)) return std::nullopt;
  const auto refusal = refusal_of(load_le<std::uint16_t>(bytes.data() + 8));
  if (!refusal || !zero(bytes.subspan(10, kConfirmProofAt - 10))) return std::nullopt;
  Confirm confirm{.refusal = *refusal};
  std::ranges::copy(bytes.subspan(kConfirmProofAt, kProofBytes), confirm.proof.begin());
  return confirm;
}

std::uint16_t common_version(const Hello& hello, std::uint16_t version_min, std::uint16_t version_max) {
  const std::uint16_t highest = std::min(hello.version_max, version_max);
  return highest >= std::max(hello.version_min, version_min) ? highest : std::uint16_t{0};
}

Proof prove(ByteView secret, Role role, const Hello& hello, const Challenge& challenge) {
  constexpr std::string_view kDiallerLabel = "escd peer dialler  ";
  constexpr std::string_view kAcceptorLabel = "escd peer acceptor ";
  static_assert(kDiallerLabel.size() == kAcceptorLabel.size());
  std::array<std::byte, kHelloBytes> hello_bytes;
  std::array<std::byte, kChallengeBytes> challenge_bytes;
  encode(hello, hello_bytes);
  encode(challenge, challenge_bytes);
  std::array<std::byte, kDiallerLabel.size() + (kHelloBytes - kBodyAt) + (kChallengeProofAt - kBodyAt)> said;
  auto end =
      std::ranges::copy(as_bytes(role == Role::dialler ? kDiallerLabel : kAcceptorLabel), said.begin()).out;
  end = std::ranges::copy(ByteView(hello_bytes).subspan(kBodyAt), end).out;
  end = std::ranges::copy(ByteView(challenge_bytes).subspan(kBodyAt, kChallengeProofAt - kBodyAt), end).out;
  ESC_ASSERT(end == said.end());
  return hmac(secret, said);
}

bool equal(const Proof& a, const Proof& b) {
  return CRYPTO_memcmp(a.data(), b.data(), kProofBytes) == 0;
}

Nonce make_nonce(ByteView secret, std::span<const std::uint64_t> seeds) {
  constexpr std::string_view kLabel = "escd peer nonce ";
  std::vector<std::byte> said(kLabel.size());
  std::ranges::copy(as_bytes(kLabel), said.begin());
  const auto bytes = std::as_bytes(seeds);
  said.insert(said.end(), bytes.begin(), bytes.end());
  const Proof digest = hmac(secret, said);
  Nonce nonce;
  std::ranges::copy(std::span(digest).first<kNonceBytes>(), nonce.begin());
  return nonce;
}

}  // namespace esc::peer
