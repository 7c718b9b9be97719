#include "esc/dedup/window.h"

#include <algorithm>
#include <cstring>

#include "esc/base/assert.h"

namespace esc::dedup {
namespace {

// Of a window. More would forget in smaller steps and cost more per lookup: each has an index of its own.
constexpr std::int64_t kSlices = 4;
constexpr std::int64_t kSliceMsMin = 1000;
constexpr std::uint64_t kSliceEntriesMin = 1024;
constexpr std::uint8_t kStateVersion = 1;
constexpr std::size_t kFileStateBytes = 8 + 8 + 8 + 4 + 4;

}  // namespace

Found Window::find(Id id, WallMs now, const Limits& limits, EntrySource& source) const {
  const WallMs time = std::max(now, time_);
  Found found;
  for (auto at = generations_.rbegin(); at != generations_.rend(); ++at) {
    const Generation& generation = **at;
    if (generation.newest_time() + limits.window_ms <= time) break;
    const bool settled = generation.probe(id, [&](std::uint32_t position) {
      const Entry* entry = generation.entry(position);
      if (entry == nullptr) entry = source.read({generation.serial(), position});
      if (entry == nullptr) {
        found.state = Found::State::unknown;
        return true;
      }
      if (entry->id != id) return false;
      if (generation.time_of(*entry) + limits.window_ms > time) {
        found = {Found::State::duplicate, generation.offset_of(*entry)};
      }
      return true;  // what older slices have of this id is older still
    });
    if (settled) break;
  }
  return found;
}

std::int64_t Window::slice_ms() const {
  return std::max(kSliceMsMin, limits_.window_ms / kSlices);
}

std::uint32_t Window::slice_entries_max() const {
  const std::uint64_t ids = limits_.bytes_max / kBytesPerId / kSlices;
  return static_cast<std::uint32_t>(std::clamp<std::uint64_t>(ids, kSliceEntriesMin, kGenerationEntriesMax));
}

void Window::begin(WallMs time, const Limits& limits) {
  time_ = std::max(time_, time);
  limits_ = limits;
  while (!generations_.empty() && generations_.front()->newest_time() + limits_.window_ms <= time_) {
    expired_ += generations_.front()->count();
    forget_oldest();
  }
}

void Window::insert(Id id, Offset offset) {
  const bool fits = !generations_.empty() && generations_.back()->accepts(offset, time_) &&
                    generations_.back()->count() < slice_entries_max() &&
                    time_ - generations_.back()->base_time() < slice_ms();
  if (!fits) generations_.push_back(std::make_unique<Generation>(next_serial_++, offset, time_));
  generations_.back()->insert(id, offset, time_);
  ++ids_;
  while (ids_ * kBytesPerId > limits_.bytes_max && generations_.size() > 1) {
    evicted_ += generations_.front()->count();
    forget_oldest();
  }
}

void Window::forget_oldest() {
  ids_ -= generations_.front()->count();
  forgotten_.push_back(generations_.front()->serial());
  generations_.erase(generations_.begin());
}

void Window::clear() {
  while (!generations_.empty()) forget_oldest();
}

std::uint64_t Window::memory_bytes() const {
  std::uint64_t bytes = 0;
  for (const auto& generation : generations_) bytes += generation->memory_bytes();
  return bytes;
}

std::vector<Unflushed> Window::take_unflushed() {
  std::vector<Unflushed> parts;
  for (const auto& generation : generations_) generation->take_unflushed(parts);
  return parts;
}

void Window::drop_flushed() {
  for (const auto& generation : generations_) {
    if (generation != generations_.back() && generation->flushed() == generation->count())
      generation->drop_entries();
  }
}

std::vector<std::uint64_t> Window::take_forgotten() {
  return std::exchange(forgotten_, {});
}

std::vector<std::uint64_t> Window::live() const {
  std::vector<std::uint64_t> serials;
  for (const auto& generation : generations_) serials.push_back(generation->serial());
  return serials;
}

void Window::save(std::vector<std::byte>& out) const {
  ByteWriter writer(out);
  writer.number(kStateVersion);
  writer.number(time_);
  writer.number(limits_.window_ms);
  writer.number(limits_.bytes_max);
  writer.number(next_serial_);
  writer.number(static_cast<std::uint32_t>(generations_.size()));
  for (const auto& generation : generations_) {
    ESC_ASSERT(generation->flushed() == generation->count());
    writer.number(generation->serial());
    writer.number(generation->base_offset().value());
    writer.number(generation->base_time());
    writer.number(generation->count());
    writer.number(generation->flushed_crc());
  }
}

Status Window::load(ByteView state) {
  ESC_ASSERT(generations_.empty());
  ByteReader reader(state);
  if (reader.number<std::uint8_t>() != kStateVersion)
    return fail(Errc::unsupported, "the remembered event ids have an unknown version");
  time_ = reader.number<WallMs>();
  limits_.window_ms = reader.number<std::int64_t>();
  limits_.bytes_max = reader.number<std::uint64_t>();
  next_serial_ = reader.number<std::uint64_t>();
  const std::uint32_t count = reader.count(kFileStateBytes);
  for (std::uint32_t i = 0; i < count; ++i) {
    const auto serial = reader.number<std::uint64_t>();
    const Offset base_offset(reader.number<std::int64_t>());
    const auto base_time = reader.number<WallMs>();
    const auto entries = reader.number<std::uint32_t>();
    const auto crc = reader.number<std::uint32_t>();
    const bool ordered = generations_.empty() || serial > generations_.back()->serial();
    if (!ordered || serial >= next_serial_ || entries == 0 || entries > kGenerationEntriesMax)
      return fail(Errc::corruption, "the list of slices of event ids makes no sense");
    generations_.push_back(std::make_unique<Generation>(serial, base_offset, base_time));
    files_.push_back({serial, entries, crc});
  }
  if (!reader.at_end()) return fail(Errc::corruption, "the state of the event ids has a wrong length");
  return {};
}

Result<std::vector<Window::File>> Window::files_of(ByteView state) {
  Window window;
  if (Status status = window.load(state); !status) return std::unexpected(std::move(status.error()));
  return std::move(window.files_);
}

Generation* Window::find_generation(std::uint64_t serial) const {
  for (const auto& generation : generations_) {
    if (generation->serial() == serial) return generation.get();
  }
  return nullptr;
}

void Window::load_entries(std::uint64_t serial, ByteView bytes) {
  Generation* const generation = find_generation(serial);
  ESC_ASSERT(generation != nullptr && bytes.size() % kEntryBytes == 0);
  std::array<Entry, 512> entries;
  while (!bytes.empty()) {
    const std::size_t some = std::min(bytes.size() / kEntryBytes, entries.size());
    std::memcpy(entries.data(), bytes.data(), some * kEntryBytes);
    generation->load(std::span(entries).first(some));
    bytes = bytes.subspan(some * kEntryBytes);
    ids_ += some;
  }
}

bool Window::finish_loading(std::uint64_t serial) {
  const Generation* const generation = find_generation(serial);
  const auto file = std::find_if(files_.begin(), files_.end(),
                                 [&](const File& candidate) { return candidate.generation == serial; });
  ESC_ASSERT(generation != nullptr && file != files_.end());
  const bool whole = generation->count() == file->entries && generation->flushed_crc() == file->crc;
  files_.erase(file);
  if (whole) drop_flushed();
  return whole;
}

}  // namespace esc::dedup
