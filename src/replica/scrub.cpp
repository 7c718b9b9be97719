#include "scrub.h"

#include <algorithm>

#include "esc/replica/group.h"
#include "esc/wire/record_batch.h"

namespace esc::replica {
namespace {

constexpr Nanos kFirstPassAfter = 2 * kSecond;  // the start has enough to read
constexpr Nanos kPassEvery = 24 * 3600 * kSecond;
constexpr std::size_t kStepBytes = 256 * kKiB;
constexpr std::uint64_t kBytesPerSecond = 8 * kMiB;

}  // namespace

std::uint32_t Scrub::do_work(Nanos now) {
  now_ = now;
  if (next_ == 0) next_ = now + kFirstPassAfter;
  if (reading_ || now < next_) return 0;
  if (!under_way_) begin_pass();
  while (partition_ <= last_ && (group_.find(partition_) == nullptr || offset_ >= end_))
    take(partition_.next());
  if (partition_ > last_) {
    end_pass();
  } else {
    read();
  }
  return 1;
}

void Scrub::begin_pass() {
  under_way_ = true;
  started_ = now_;
  bytes_ = 0;
  damaged_ = 0;
  partition_ = last_ = PartitionId(0);
  for (const Partition* partition : group_.partitions()) last_ = std::max(last_, partition->id());
  take(partition_);
}

void Scrub::take(PartitionId id) {
  partition_ = id;
  const Partition* const partition = group_.find(id);
  if (partition == nullptr) return;
  offset_ = partition->log().log_start_offset();
  end_ = partition->log().next_offset();
}

void Scrub::end_pass() {
  under_way_ = false;
  buffer_ = {};
  next_ = now_ + kPassEvery;
  log_.info("scrubbed", {{"group", group_.id()},
                         {"bytes", bytes_},
                         {"damaged", damaged_},
                         {"seconds", (now_ - started_) / kSecond}});
}

void Scrub::read() {
  if (buffer_.empty()) buffer_.resize(kStepBytes);
  store::PartitionLog& log = group_.find(partition_)->log();
  offset_ = std::max(offset_, log.log_start_offset());  // retention may have been faster
  if (offset_ >= log.next_offset()) {
    offset_ = end_;
    return;
  }
  op_ = {};
  op_.offset = offset_;
  op_.buffer = buffer_;
  op_.context = this;
  op_.done = [](store::ReadOp& op, Errc code) { static_cast<Scrub*>(op.context)->on_read(code); };
  reading_ = true;
  group_.pin();
  log.read(op_);
}

void Scrub::on_read(Errc code) {
  group_.unpin();
  reading_ = false;
  const Partition* const partition = group_.find(partition_);
  if (partition == nullptr) return;  // deleted meanwhile
  if (code == Errc::ok && op_.bytes.empty() && op_.first_batch_bytes > buffer_.size()) {
    buffer_.resize(op_.first_batch_bytes);
    return;
  }
  if (code == Errc::out_of_range || code == Errc::not_found) return;  // the log starts later now
  if (code != Errc::ok || op_.bytes.empty()) {
    if (code != Errc::ok && code != Errc::closed) complain(partition->log().last_error());
    if (code == Errc::corruption) group_.report_damage(partition->log().last_error());
    offset_ = end_;  // the rest of the partition is learned again, too
    return;
  }
  wire::BatchIterator batches(op_.bytes);
  while (const auto batch = batches.next()) offset_ = std::max(offset_, Offset(batch->next_offset()));
  bytes_ += op_.bytes.size();
  next_ = now_ + static_cast<Nanos>(op_.bytes.size() * static_cast<std::uint64_t>(kSecond) / kBytesPerSecond);
}

void Scrub::complain(std::string_view what) const {
  log_.error("scrub_found", {{"group", group_.id()},
                             {"partition", partition_},
                             {"what", what},
                             {"fix",
                              "see docs/PLAYBOOK.md: of three nodes the group is learned again "
                              "by itself; of two, restore this node from the other"}});
}

}  // namespace esc::replica
