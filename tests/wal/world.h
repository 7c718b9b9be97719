// A log on a simulated disk, with a model of what was written and acknowledged.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "esc/base/crc32c.h"
#include "esc/base/prng.h"
#include "esc/logfmt/entry.h"
#include "esc/logfmt/frame.h"
#include "esc/sim/clock.h"
#include "esc/sim/disk.h"
#include "esc/sim/file_system.h"
#include "esc/wal/log.h"

namespace esc::wal {

struct FreeBytes {
  void operator()(std::byte* bytes) const { std::free(bytes); }
};
using Block = std::unique_ptr<std::byte, FreeBytes>;

inline Block aligned_block(std::size_t bytes) {
  return Block(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, align_up(bytes, kBlockBytes))));
}

// What the test knows of one frame with entries.
struct Written {
  Lsn lsn;
  Term term;
  Index first_index;
  Index last_index;
  std::uint32_t payload_crc = 0;
  std::uint32_t payload_bytes = 0;
  bool acknowledged = false;
  Errc result = Errc::ok;
  bool operator==(const Written& other) const {
    return lsn == other.lsn && term == other.term && first_index == other.first_index &&
           last_index == other.last_index && payload_crc == other.payload_crc &&
           payload_bytes == other.payload_bytes;
  }
};

struct World {
  explicit World(std::uint64_t seed, Options overrides = small_options())
      : prng(seed),
        fs(prng.fork(1)),
        disk(clock, fs, prng.fork(2)),
        files(fs),
        options(std::move(overrides)) {}
  ~World() {
    // As after a power cut: what is in flight never completes.
    disk.crash(sim::CrashKind::process);
    log.reset();
  }

  static Options small_options() {
    Options options;
    options.directory = "/wal";
    options.cluster_id = 77;
    options.node = NodeId{3};
    options.group = GroupId{5};
    options.segment_bytes = 128 * kKiB;
    options.initial_segment_bytes = 64 * kKiB;
    options.bytes_max = 2 * kMiB;
    return options;
  }

  Status open(Index after = Index{0}) {
    recovered.clear();
    auto opened = Log::open(
        files, disk, clock, options, after,
        [this](const RecoveredFrame& frame) -> Status {
          recovered.push_back({frame.lsn, frame.term, frame.first_index, frame.last_index,
                               crc32c(frame.payload), static_cast<std::uint32_t>(frame.payload.size()),
                               true});
          return {};
        },
        report);
    if (!opened) return std::unexpected(opened.error());
    log = std::move(*opened);
    return {};
  }

  // One turn of the loop: background work, then the next event.
  void turn() {
    if (log) log->do_work(clock.now());
    if (!clock.step()) clock.run_for(100 * kMicrosecond);
  }
  void turn_for(Nanos duration) {
    for (const Nanos end = clock.now() + duration; clock.now() < end;) turn();
  }
  void drain() {
    for (int i = 0; i < 100'000 && !log->idle(); ++i) turn();
    ASSERT_TRUE(log->idle());
  }

  // Submits one frame of `entries` entries as soon as the log accepts it; false when it never does.
  bool append(std::uint32_t entries, std::uint32_t body_bytes, int turns_max = 100'000) {
    const auto payload_bytes = static_cast<std::uint32_t>(entries * logfmt::entry_bytes(body_bytes));
    const std::uint32_t bytes = logfmt::frame_bytes(payload_bytes);
    for (int i = 0; !log->can_write(bytes); ++i) {
      if (i == turns_max || log->failed()) return false;
      turn();
    }
    auto pending = std::make_unique<Pending>();
    pending->memory = aligned_block(bytes);
    fill(pending->memory.get() + logfmt::kFrameHeaderBytes, entries, body_bytes);
    FrameWrite& frame = pending->frame;
    frame.frame = pending->memory.get();
    frame.payload_bytes = payload_bytes;
    frame.term = term;
    frame.first_index = next_index;
    next_index = next_index + entries;
    frame.last_index = next_index.prev();
    frame.context = this;
    frame.done = [](FrameWrite& done, Errc error) {
      static_cast<World*>(done.context)->acknowledge(done.lsn, error);
    };
    log->write(frame);
    written.push_back({frame.lsn, frame.term, frame.first_index, frame.last_index,
                       crc32c({frame.frame + logfmt::kFrameHeaderBytes, payload_bytes}), payload_bytes});
    in_flight.push_back(std::move(pending));
    return true;
  }
  void append_and_drain(std::uint32_t entries, std::uint32_t body_bytes) {
    ASSERT_TRUE(append(entries, body_bytes));
    drain();
  }
  void save_hard_state(HardState state) {
    saved = state;
    hard_state_pending = true;
    log->save_hard_state(
        state,
        [](void* context, Errc error) {
          auto& world = *static_cast<World*>(context);
          world.hard_state_pending = false;
          world.hard_state_result = error;
          if (error == Errc::ok) world.durable_state = world.saved;
        },
        this);
  }

  void crash(sim::CrashKind kind) {
    disk.crash(kind);
    log.reset();
    in_flight.clear();
    hard_state_pending = false;
  }

  // After reopening with `after`: what was recovered is a prefix of what was written, and holds every
  // acknowledged frame. The model continues from there.
  void check_recovered(Index after) {
    std::vector<Written> expected;
    for (const Written& frame : written)
      if (frame.last_index > after) expected.push_back(frame);
    ASSERT_LE(recovered.size(), expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      if (i < recovered.size()) {
        ASSERT_TRUE(recovered[i] == expected[i]) << "frame " << i << " LSN " << recovered[i].lsn.value();
      } else {
        ASSERT_FALSE(expected[i].acknowledged) << "lost LSN " << expected[i].lsn.value();
      }
    }
    // Unacknowledged but recovered frames are durable from now on.
    std::erase_if(written, [&](const Written& frame) {
      return frame.last_index > after &&
             std::none_of(recovered.begin(), recovered.end(), [&](const Written& r) { return r == frame; });
    });
    for (Written& frame : written) frame.acknowledged = true;
    next_index = written.empty() ? Index{1} : written.back().last_index.next();
    next_index = std::max(next_index, after.next());
  }

  struct Pending {
    Block memory;
    FrameWrite frame;
  };

  void acknowledge(Lsn lsn, Errc error) {
    acknowledgements.push_back(lsn);
    for (Written& frame : written)
      if (frame.lsn == lsn && !frame.acknowledged) {
        frame.result = error;
        frame.acknowledged = error == Errc::ok;
      }
    // Completions come in LSN order, so the oldest pending frame is the one.
    ASSERT_FALSE(in_flight.empty());
    ASSERT_EQ(in_flight.front()->frame.lsn, lsn);
    in_flight.erase(in_flight.begin());
  }
  // The same entries always have the same bytes: a rewritten tail then differs from the dropped one only
  // where the format makes it differ.
  void fill(std::byte* to, std::uint32_t entries, std::uint32_t body_bytes) {
    Prng content(next_index.value());
    for (std::uint32_t i = 0; i < entries; ++i) {
      logfmt::EntryHeader header;
      header.size = body_bytes;
      header.kind = logfmt::EntryKind::batch;
      header.partition = 9;
      header.index = (next_index + i).value();
      logfmt::store_entry_header(to, header);
      for (std::uint32_t b = 0; b < body_bytes; ++b)
        to[logfmt::kEntryHeaderBytes + b] = static_cast<std::byte>(content.next());
      logfmt::zero_entry_padding(to, body_bytes);
      to += logfmt::entry_bytes(body_bytes);
    }
  }

  Prng prng;
  sim::SimClock clock;
  sim::FileSystem fs;
  sim::SimDisk disk;
  sim::SimFiles files;
  Options options;
  RecoveryReport report;
  std::vector<Written> recovered;
  std::vector<Written> written;
  std::vector<Lsn> acknowledgements;
  std::vector<std::unique_ptr<Pending>> in_flight;
  std::unique_ptr<Log> log;
  Term term{1};
  Index next_index{1};
  HardState saved;
  HardState durable_state;
  bool hard_state_pending = false;
  Errc hard_state_result = Errc::ok;
};

inline bool long_run() {
  return std::getenv("ESC_LONG") != nullptr;
}

}  // namespace esc::wal
