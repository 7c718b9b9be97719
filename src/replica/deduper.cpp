#include "deduper.h"

#include <algorithm>

#include "esc/wire/event_id.h"

namespace esc::replica {
namespace {

// What a window asks of the group's files.
class Source final : public dedup::EntrySource {
 public:
  Source(IdFiles& files, PartitionId partition) : files_(files), partition_(partition) {}
  const dedup::Entry* read(dedup::Place place) override { return files_.read(partition_, place); }

 private:
  IdFiles& files_;
  PartitionId partition_;
};

}  // namespace

std::expected<Sifted, Errc> Deduper::sift(Partition& partition, PartitionIds& ids, Offset next,
                                          ByteView batch, const BatchIds& given, WallMs now) {
  if (drop_size_ < given.ids.size()) {
    drop_size_ = std::max<std::size_t>(given.ids.size(), 1024);
    drop_ = std::make_unique<bool[]>(drop_size_);
  }
  Sifted sifted;
  const auto known = find_committed(partition.id(), ids, given, now, sifted);
  if (!known) return std::unexpected(known.error());
  if (!*known) return std::unexpected(Errc::busy);
  find_pending(ids, next, given, sifted);
  if (sifted.duplicates == 0) {
    sifted.batch = batch;
  } else if (sifted.duplicates < given.ids.size()) {
    const auto rest = rewrite(batch, given.ids.size());
    if (!rest) {
      take_back(ids);
      return std::unexpected(rest.error());
    }
    sifted.batch = *rest;
  }
  return sifted;
}

// False: something has to be read first.
std::expected<bool, Errc> Deduper::find_committed(PartitionId partition, const PartitionIds& ids,
                                                  const BatchIds& given, WallMs now, Sifted& sifted) {
  for (const dedup::Id& id : given.ids) {
    ids.window.prefetch(id);
    ids.pending.prefetch(id);
  }
  Source source(files_, partition);
  bool known = true;
  for (std::size_t i = 0; i < given.ids.size(); ++i) {
    drop_[i] = false;
    if (given.ids[i].none()) continue;
    const dedup::Found found = ids.window.find(given.ids[i], now, given.limits, source);
    if (found.state == dedup::Found::State::unknown) known = false;
    if (found.state != dedup::Found::State::duplicate) continue;
    drop_[i] = true;
    ++sifted.duplicates;
    if (i == 0) sifted.first_original = found.original;
    sifted.newest_original = std::max(sifted.newest_original, found.original);
  }
  if (const Errc code = files_.take_read_error(); code != Errc::ok) {
    files_.settle();
    return std::unexpected(Errc::io_error);
  }
  if (known) files_.settle();
  return known;
}

void Deduper::find_pending(PartitionIds& ids, Offset next, const BatchIds& given, Sifted& sifted) {
  kept_.clear();
  for (std::size_t i = 0; i < given.ids.size(); ++i) {
    if (drop_[i]) continue;
    const dedup::Id id = given.ids[i];
    const Offset offset = next + static_cast<std::int64_t>(kept_.size());
    const auto held = id.none() ? std::nullopt : ids.pending.insert(id, offset);
    if (!held) {
      kept_.push_back(id);
      continue;
    }
    drop_[i] = true;
    ++sifted.duplicates;
    if (i == 0) sifted.first_original = *held;
    sifted.newest_original = std::max(sifted.newest_original, *held);
  }
}

void Deduper::take_back(PartitionIds& ids) {
  for (const dedup::Id& id : kept_) ids.pending.erase(id);
}

// Rare: a producer that sends again. Buffers grow to what the largest such batch needs and stay.
std::expected<ByteView, Errc> Deduper::rewrite(ByteView batch_bytes, std::size_t records) {
  const wire::BatchView batch = *wire::BatchView::parse(batch_bytes);
  const auto plain = records_.of(batch);
  if (!plain) return plain;
  if (batch.codec() != wire::Codec::none && plain_.size() < plain->size()) plain_.resize(plain->size());
  const std::size_t out_bytes =
      wire::kBatchHeaderBytes + wire::compressed_bytes_max(batch.codec(), plain->size());
  if (out_.size() < out_bytes) out_.resize(out_bytes);
  return wire::remove_records(batch, *plain, {drop_.get(), records}, {.plain = plain_, .out = out_});
}

}  // namespace esc::replica
