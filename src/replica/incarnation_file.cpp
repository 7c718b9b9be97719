#include "incarnation_file.h"

#include "checkpoint_format.h"
#include "esc/base/byte_codec.h"
#include "esc/base/crc32c.h"

namespace esc::replica {
namespace {

constexpr std::uint64_t kMagic = 0x314e434943534545;  // "EESCICN1"
constexpr std::uint32_t kVersion = 1;
constexpr std::uint32_t kVersionSeat = 2;
constexpr int kFounded = 1;
constexpr int kLost = 2;
constexpr int kSeatWanted = 4;
constexpr int kSeatTaken = 8;

}  // namespace

void encode_incarnation_file(const IncarnationFile& file, std::vector<std::byte>& out) {
  const std::size_t start = out.size();
  ByteWriter writer(out);
  writer.number(kMagic);
  const bool taken = file.seat.state == Seat::State::taken;
  const bool wanted = file.seat.state == Seat::State::wanted;
  writer.number(taken || wanted ? kVersionSeat : kVersion);
  writer.number(file.incarnation.value());
  writer.number(static_cast<std::uint8_t>((file.founded ? kFounded : 0) | (file.lost ? kLost : 0) |
                                          (wanted ? kSeatWanted : 0) | (taken ? kSeatTaken : 0)));
  encode_configuration(file.pledged, writer);
  if (taken) {
    writer.number(file.seat.through.value());
    writer.number(file.seat.term.value());
  }
  writer.number(crc32c(ByteView(out).subspan(start)));
}

raft::Incarnation draw_incarnation(Prng& prng) {
  raft::Incarnation drawn;
  while (drawn == raft::Incarnation(0)) drawn = raft::Incarnation(prng.next());
  return drawn;
}

Result<IncarnationFile> decode_incarnation_file(ByteView bytes, const std::string& path) {
  const auto damaged = [&](const std::string& what) {
    return fail(Errc::corruption, path + " is damaged (" + what +
                                      "): it says which member of the cluster the data beside it belong to; "
                                      "restore it from a copy, or replace this group's data from its peers");
  };
  if (bytes.size() < 4) return damaged("it is too short");
  const ByteView checked = bytes.first(bytes.size() - 4);
  if (load_le<std::uint32_t>(bytes.data() + checked.size()) != crc32c(checked))
    return damaged("checksum mismatch");
  ByteReader reader(checked);
  if (reader.number<std::uint64_t>() != kMagic) return damaged("it is no such file");
  const auto version = reader.number<std::uint32_t>();
  if (version != kVersion && version != kVersionSeat) {
    return fail(Errc::unsupported, path + " has format version " + std::to_string(version) +
                                       ", this build reads versions 1 and 2: use the build that wrote it");
  }
  IncarnationFile file;
  file.incarnation = raft::Incarnation(reader.number<std::uint64_t>());
  const auto flags = reader.number<std::uint8_t>();
  file.founded = (flags & kFounded) != 0;
  file.lost = (flags & kLost) != 0;
  const bool seat = version == kVersionSeat;
  if (seat && (flags & kSeatWanted) != 0) file.seat.state = Seat::State::wanted;
  const auto pledged = decode_configuration(reader);
  if (seat && (flags & kSeatTaken) != 0) {
    file.seat.state = Seat::State::taken;
    file.seat.through = Index(reader.number<std::uint64_t>());
    file.seat.term = Term(reader.number<std::uint64_t>());
  }
  if (!pledged || !reader.at_end() || file.incarnation == raft::Incarnation(0) ||
      (file.founded && pledged->voters.empty()))
    return damaged("its contents make no sense");
  file.pledged = *pledged;
  return file;
}

}  // namespace esc::replica
