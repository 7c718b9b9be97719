// A log with several voters behind it: terms change, suffixes are replaced, commit indexes advance, snapshots
// reset it. Beside it a naive model: the list of everything written, replayed from the start for each
// question.
#pragma once

#include <map>
#include <optional>

#include "world.h"

namespace esc::wal {

// Body of an entry: a function of index and term, so that a wrong entry is never taken for the right one.
inline std::vector<std::byte> body_of(Index index, Term term) {
  Prng content(index.value() * 1'000'003 + term.value());
  std::vector<std::byte> body(content.below(3000));
  for (std::byte& b : body) b = static_cast<std::byte>(content.next());
  return body;
}

using NaiveLog = std::map<Index, Term>;

struct RaftWorld : World {
  // One frame with entries, or a reset, in the order of writing.
  struct Step {
    bool reset = false;
    Lsn lsn;  // of frames with entries
    Term term;
    Index first;
    Index last;
    bool durable = false;
  };

  explicit RaftWorld(std::uint64_t seed, Options overrides = small_options())
      : World(seed, std::move(overrides)) {}

  // What the log holds after the first `count` steps.
  [[nodiscard]] NaiveLog replay(std::size_t count, Index* log_end = nullptr) const {
    NaiveLog naive;
    Index last{0};
    for (std::size_t i = 0; i < count; ++i) {
      const Step& step = steps[i];
      if (step.reset) {
        naive.clear();
      } else {
        naive.erase(naive.lower_bound(step.first), naive.end());
        for (Index index = step.first; index <= step.last; ++index) naive[index] = step.term;
      }
      last = step.last;
    }
    if (log_end != nullptr) *log_end = last;
    return naive;
  }
  [[nodiscard]] std::size_t durable_steps() const {
    std::size_t count = 0;
    while (count < steps.size() && steps[count].durable) ++count;
    return count;
  }
  [[nodiscard]] Index durable_end() const {
    Index last{0};
    (void)replay(durable_steps(), &last);
    return last;
  }

  static std::vector<std::byte> payload_of(Index first, Index last, Term term) {
    std::vector<std::byte> payload;
    for (Index index = first; index <= last; ++index) {
      const auto body = body_of(index, term);
      const std::size_t at = payload.size();
      payload.resize(at + logfmt::entry_bytes(body.size()));
      logfmt::EntryHeader header;
      header.size = static_cast<std::uint32_t>(body.size());
      header.kind = logfmt::EntryKind::batch;
      header.index = index.value();
      logfmt::store_entry_header(payload.data() + at, header);
      std::copy(body.begin(), body.end(), payload.begin() + static_cast<std::ptrdiff_t>(at) + 32);
    }
    return payload;
  }

  // Entries [first, first + count) of the present term; false when the log accepts nothing any more.
  bool write(Index first, std::uint64_t count, int turns_max = 100'000) {
    const Index last = first + (count - 1);
    const auto payload = payload_of(first, last, term);
    const std::uint32_t bytes = logfmt::frame_bytes(static_cast<std::uint32_t>(payload.size()));
    for (int i = 0; !log->can_write(bytes); ++i) {
      if (i == turns_max || log->failed()) return false;
      turn();
    }
    auto pending = std::make_unique<Pending>();
    pending->memory = aligned_block(bytes);
    std::copy(payload.begin(), payload.end(), pending->memory.get() + logfmt::kFrameHeaderBytes);
    FrameWrite& frame = pending->frame;
    frame.frame = pending->memory.get();
    frame.payload_bytes = static_cast<std::uint32_t>(payload.size());
    frame.term = term;
    frame.first_index = first;
    frame.last_index = last;
    frame.context = this;
    frame.done = [](FrameWrite& done, Errc error) {
      auto& world = *static_cast<RaftWorld*>(done.context);
      for (Step& step : world.steps)
        if (!step.reset && step.lsn == done.lsn) step.durable = error == Errc::ok;
      std::erase_if(world.in_flight, [&done](const auto& p) { return &p->frame == &done; });
    };
    log->write(frame);
    steps.push_back({.lsn = frame.lsn, .term = term, .first = first, .last = last});
    in_flight.push_back(std::move(pending));
    end = last;
    return true;
  }
  void write_and_drain(Index first, std::uint64_t count) {
    ASSERT_TRUE(write(first, count));
    drain();
  }
  void reset_to(Index index, Term of) {
    steps.push_back({.reset = true, .term = of, .first = index.next(), .last = index});
    end = index;
    reset_pending = true;
    log->reset(
        index, of,
        [](void* context, Errc error) {
          auto& world = *static_cast<RaftWorld*>(context);
          world.reset_pending = false;
          if (error != Errc::ok) return;
          for (Step& step : world.steps)
            if (step.reset && step.last == world.end_of_reset()) step.durable = true;
        },
        this);
  }
  [[nodiscard]] Index end_of_reset() const {
    for (auto step = steps.rbegin(); step != steps.rend(); ++step)
      if (step->reset) return step->last;
    return Index{0};
  }

  // Opens and follows the visitor's contract; `shown` is what a replica would hold.
  Status open_raft(Index after) {
    shown.clear();
    shown_end = after;
    bool entries_right = true;
    auto opened = Log::open(
        files, disk, clock, options, after,
        [&](const RecoveredFrame& frame) -> Status {
          if (frame.kind == RecoveredFrame::Kind::reset) {
            shown.clear();
            shown_end = std::max(frame.last_index, after);
            return {};
          }
          shown.erase(shown.lower_bound(frame.first_index), shown.end());
          for (Index i = std::max(frame.first_index, after.next()); i <= frame.last_index; ++i)
            shown[i] = frame.term;
          shown_end = std::max(frame.last_index, after);
          const auto expected = payload_of(frame.first_index, frame.last_index, frame.term);
          entries_right &=
              std::equal(frame.payload.begin(), frame.payload.end(), expected.begin(), expected.end());
          EXPECT_LE(frame.commit, frame.last_index);
          return {};
        },
        report);
    if (!opened) return std::unexpected(opened.error());
    EXPECT_TRUE(entries_right);
    log = std::move(*opened);
    return {};
  }
  void crash_raft(sim::CrashKind kind) {
    crash(kind);
    reset_pending = false;
  }

  // After open_raft: a prefix of the steps was accepted, at least the durable ones; what is shown and
  // reported is the naive log of that prefix. The model goes on from there.
  void check_raft(Index after) {
    std::size_t count = 0;
    while (count < steps.size()) {
      const Step& step = steps[count];
      const bool later = std::any_of(steps.begin() + static_cast<std::ptrdiff_t>(count), steps.end(),
                                     [&](const Step& s) { return !s.reset && s.lsn <= report.last_lsn; });
      if (!later && !(step.reset && step.last <= report.reset_index)) break;
      ++count;
    }
    // A reset whose segment was recycled cannot be told from one that never was, but then frames follow it,
    // or nothing is left of what came before it either.
    const bool nothing = report.last_index == Index{0};
    while (nothing && count < steps.size() && steps[count].reset && steps[count].last <= after) ++count;
    ASSERT_GE(count, durable_steps());
    steps.resize(count);
    for (Step& step : steps) step.durable = true;
    NaiveLog expected = replay(count, &end);
    std::erase_if(expected, [after](const auto& entry) { return entry.first <= after; });
    ASSERT_EQ(shown, expected);
    const bool empty = report.last_index == Index{0};  // all of it released, only control frames left
    if (!empty) {
      ASSERT_EQ(report.last_index, end);
    }
    if (!expected.empty()) {
      ASSERT_EQ(report.last_term, expected.rbegin()->second);
      ASSERT_LE(report.first_index, expected.begin()->first);
    }
    end = std::max(end, after);
    ASSERT_EQ(log->last_index(), end);
  }

  // Reads [first, last_max] into a buffer of `bytes`, and compares with the naive log.
  void check_read(Index first, Index last_max, std::size_t bytes) {
    const Block buffer = aligned_block(bytes);
    EntryRead read;
    read.first = first;
    read.last_max = last_max;
    read.buffer = ByteSpan(buffer.get(), bytes);
    std::optional<Errc> result;
    read.context = &result;
    read.done = [](EntryRead& done, Errc error) { *static_cast<std::optional<Errc>*>(done.context) = error; };
    const bool there = log->has(first);
    log->read(read);
    ASSERT_FALSE(result) << "never from inside";
    for (int i = 0; i < 10'000 && !result; ++i) turn();
    ASSERT_TRUE(result);
    if (!there) {
      ASSERT_EQ(*result, Errc::not_found);
      return;
    }
    ASSERT_EQ(*result, Errc::ok) << read.detail;
    ASSERT_GE(read.last, first);
    ASSERT_LE(read.last, last_max);
    const NaiveLog naive = replay(steps.size());
    for (Index i = first; i <= read.last; ++i) ASSERT_EQ(naive.at(i), read.term) << i.value();
    const auto expected = payload_of(first, read.last, read.term);
    ASSERT_TRUE(std::equal(read.entries.begin(), read.entries.end(), expected.begin(), expected.end()));
  }

  std::vector<Step> steps;
  Index end;  // last index of the log as written
  bool reset_pending = false;
  NaiveLog shown;
  Index shown_end;
};

}  // namespace esc::wal
