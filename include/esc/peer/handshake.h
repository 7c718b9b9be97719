// How two nodes of a cluster make sure of each other before anything else is said on a link.
//
//   dialler  -> Hello      who I am, whom I want, which versions I speak, a nonce
//   acceptor -> Challenge  the version, a nonce, proof that it knows the cluster's secret; or a refusal
//   dialler  -> Confirm    its own proof; or a refusal
//
// A proof is HMAC-SHA256 under the secret of a role label and everything said in Hello and Challenge, so it
// fits one link, one direction and one pair of nonces only. Messages after the handshake are not signed:
// whoever can write into an established TCP stream is kept out by the network (TLS, later), not by this.
// Byte by byte in docs/PROTOCOL.md, "Between nodes".
//
// Pure; decoding gives nullopt for anything malformed (magic, checksum, reserved bytes, unknown codes).
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "esc/base/bytes.h"
#include "esc/base/ids.h"

namespace esc::peer {

inline constexpr std::size_t kHelloBytes = 64;
inline constexpr std::size_t kChallengeBytes = 96;
inline constexpr std::size_t kConfirmBytes = 48;
inline constexpr std::size_t kNonceBytes = 24;
inline constexpr std::size_t kProofBytes = 32;

using Nonce = std::array<std::byte, kNonceBytes>;
using Proof = std::array<std::byte, kProofBytes>;

// Why a link is refused. Values are the protocol.
enum class Refusal : std::uint16_t {
  none = 0,
  version = 1,       // no common protocol version
  cluster = 2,       // the nodes belong to different clusters
  secret = 3,        // the proof does not fit
  unknown_node = 4,  // the dialler is not among the acceptor's peers
  wrong_node = 5,    // the dialler wanted another node than this one
  wrong_group = 6,   // the acceptor has no such group
  direction = 7,     // the lower node id dials
  busy = 8,          // too many handshakes at once, or shutting down
  removed = 9,       // the dialler was taken out of the cluster
};
// For the log: what is wrong, and what to do about it. Literals.
[[nodiscard]] std::string_view cause(Refusal refusal);
[[nodiscard]] std::string_view fix(Refusal refusal);

struct Hello {
  std::uint16_t version_min = 0;
  std::uint16_t version_max = 0;
  NodeId from{};
  NodeId to{};
  GroupId group{};
  std::uint64_t cluster_id = 0;
  std::uint64_t incarnation = 0;  // of the dialler's data of this group
  Nonce nonce{};
  bool operator==(const Hello&) const = default;
};

struct Challenge {
  Refusal refusal = Refusal::none;
  std::uint16_t version = 0;      // chosen; 0 with a refusal
  std::uint16_t version_min = 0;  // what the acceptor speaks
  std::uint16_t version_max = 0;
  std::uint64_t cluster_id = 0;   // the acceptor's
  std::uint64_t incarnation = 0;  // of the acceptor's data; 0 with a refusal
  Nonce nonce{};
  Proof proof{};
  bool operator==(const Challenge&) const = default;
};

struct Confirm {
  Refusal refusal = Refusal::none;
  Proof proof{};
  bool operator==(const Confirm&) const = default;
};

void encode(const Hello& hello, std::span<std::byte, kHelloBytes> into);
void encode(const Challenge& challenge, std::span<std::byte, kChallengeBytes> into);
void encode(const Confirm& confirm, std::span<std::byte, kConfirmBytes> into);
[[nodiscard]] std::optional<Hello> decode_hello(std::span<const std::byte, kHelloBytes> bytes);
[[nodiscard]] std::optional<Challenge> decode_challenge(std::span<const std::byte, kChallengeBytes> bytes);
[[nodiscard]] std::optional<Confirm> decode_confirm(std::span<const std::byte, kConfirmBytes> bytes);

// The highest version both sides speak, or 0.
[[nodiscard]] std::uint16_t common_version(const Hello& hello, std::uint16_t version_min,
                                           std::uint16_t version_max);

enum class Role : std::uint8_t { dialler, acceptor };
// `challenge.proof` is not part of what is signed.
[[nodiscard]] Proof prove(ByteView secret, Role role, const Hello& hello, const Challenge& challenge);
// In constant time.
[[nodiscard]] bool equal(const Proof& a, const Proof& b);
// A nonce nobody without the secret can foresee, distinct as long as `seeds` differ.
[[nodiscard]] Nonce make_nonce(ByteView secret, std::span<const std::uint64_t> seeds);

}  // namespace esc::peer
