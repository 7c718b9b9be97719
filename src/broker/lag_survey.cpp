#include "lag_survey.h"

#include <algorithm>

#include "esc/wire/record_batch.h"
#include "handlers.h"

namespace esc::broker {
namespace {

// Most batches fit; of a larger one this tells the size.
constexpr std::size_t kFirstReadBytes = 16 * 1024;

}  // namespace

void LagSurvey::take_time(Part& part, LagItem& item, ByteView bytes) {
  const auto batch = wire::BatchView::parse(bytes);
  if (!batch) return;
  const std::int64_t written_ms = batch->log_append_time() ? batch->max_timestamp() : batch->base_timestamp();
  if (written_ms < 0) return;
  item.lag_ms = std::max<std::int64_t>(part.owner->env().clock.wall_ms() - written_ms, 0);
}

void LagSurvey::on_read(store::ReadOp& read, Errc code) {
  auto& part = *static_cast<Part*>(read.context);
  LagItem& item = *part.items[part.cursor];
  part.owner->group(item.group)->unpin();
  const bool larger = code == Errc::ok && read.bytes.empty() && read.first_batch_bytes > read.buffer.size() &&
                      read.first_batch_bytes <= part.scratch.size();
  if (larger && part.owner->group(item.group)->find(item.partition) != nullptr)
    return read_file(part, read.first_batch_bytes);
  if (code == Errc::ok && !read.bytes.empty()) take_time(part, item, read.bytes);
  ++part.cursor;
  go_on(part);
}

void LagSurvey::read_file(Part& part, std::size_t bytes) {
  const LagItem& item = *part.items[part.cursor];
  replica::Group& group = *part.owner->group(item.group);
  part.read = store::ReadOp{};
  part.read.offset = std::max(Offset(item.committed.offset), item.log_start);
  part.read.buffer = part.scratch.first(std::min(bytes, part.scratch.size()));
  part.read.context = &part;
  part.read.done = &LagSurvey::on_read;
  group.pin();
  group.find(item.partition)->log().read(part.read);
}

// False: an asynchronous read has begun.
bool LagSurvey::look_at(Part& part, LagItem& item) {
  replica::Group& group = *part.owner->group(item.group);
  replica::Partition* const partition = group.find(item.partition);
  if (partition == nullptr) {
    item.code = wire::ErrorCode::unknown_topic_or_partition;
    return true;
  }
  item.log_start = partition->log_start_offset();
  item.log_end = partition->high_watermark();
  // What retention has dropped cannot be consumed any more.
  const Offset next = std::max(Offset(item.committed.offset), item.log_start);
  item.lag_events = std::max<std::int64_t>(item.log_end.value() - next.value(), 0);
  if (item.lag_events == 0) {
    item.lag_ms = 0;
    return true;
  }
  if (group.in_tail(*partition, next)) {
    auto read = group.read_tail(*partition, next, {});
    if (read.needed <= part.scratch.size())
      read = group.read_tail(*partition, next, part.scratch.first(read.needed));
    if (read.bytes > 0) take_time(part, item, ByteView(part.scratch).first(read.bytes));
    return true;
  }
  if (part.scratch.empty()) return true;
  read_file(part, kFirstReadBytes);
  return false;
}

void LagSurvey::go_on(Part& part) {
  for (; part.cursor < part.items.size(); ++part.cursor) {
    if (!look_at(part, *part.items[part.cursor])) return;
  }
  part.owner->router().reply(part);
}

void LagSurvey::part_done(Call& base, Broker& broker) {
  auto& part = static_cast<Part&>(base);
  if (!part.scratch.empty()) broker.response_pool().free(part.scratch);
  if (--part.survey->outstanding_ == 0) part.survey->done(broker);
}

void LagSurvey::measure(Broker& broker, std::size_t batch_bytes_max) {
  parts_ = std::vector<Part>(broker.router().cores());
  for (LagItem& item : items) {
    if (!locate(broker.directory().find(item.topic), item.index, item)) continue;
    parts_[broker.core_of(item.group).value()].items.push_back(&item);
  }
  outstanding_ = 1;
  for (std::uint32_t core = 0; core < broker.router().cores(); ++core) {
    Part& part = parts_[core];
    if (part.items.empty()) continue;
    part.scratch = broker.response_pool().allocate(batch_bytes_max);
    part.survey = this;
    part.target = CoreId(core);
    part.run = [](Call& base, Broker& target) {
      auto& run = static_cast<Part&>(base);
      run.owner = &target;
      go_on(run);
    };
    part.done = &LagSurvey::part_done;
    ++outstanding_;
    broker.router().send(part);
  }
  if (--outstanding_ == 0) done(broker);
}

}  // namespace esc::broker
