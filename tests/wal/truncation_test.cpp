// Superseded suffixes, commit indexes and resets: written, recovered, recycled. ESC_LONG=1 runs many more
// seeds.
#include <gtest/gtest.h>

#include "raft_world.h"

namespace esc::wal {
namespace {

// A life of a follower at random, with crashes; after each, the log is a prefix of what was written that
// holds everything durable, and reads give the right bytes.
void run_raft_life(std::uint64_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  RaftWorld w(seed);
  Prng dice = Prng(seed).fork(7);
  w.options.depth = static_cast<std::uint32_t>(1 + dice.below(3));
  w.options.watermark_after = dice.chance(1, 2) ? kMillisecond : 50 * kMillisecond;
  Index commit{0};
  Index checkpoint{0};
  for (int life = 0; life < 5; ++life) {
    const auto opened = w.open_raft(checkpoint);
    ASSERT_TRUE(opened) << opened.error().message;
    ASSERT_NO_FATAL_FAILURE(w.check_raft(checkpoint));
    ASSERT_LE(w.report.commit, std::max(commit, checkpoint));
    commit = std::max(w.report.commit, checkpoint);
    w.log->set_commit(commit);
    w.log->release_through(checkpoint);
    const std::uint64_t actions = 10 + dice.below(80);
    for (std::uint64_t i = 0; i < actions; ++i) {
      const std::uint64_t draw = dice.below(24);
      if (draw < 11) {
        ASSERT_TRUE(w.write(w.end.next(), 1 + dice.below(6)));
      } else if (draw < 14) {  // a new leader corrects the end
        w.term = w.term.next();
        const std::uint64_t open_entries = w.end - commit;
        const Index first = commit + 1 + dice.below(open_entries + 1);
        if (dice.chance(1, 2)) w.log->discard_from(first);
        ASSERT_TRUE(w.write(first, 1 + dice.below(4)));
      } else if (draw < 17) {
        const Index durable = std::min(w.durable_end(), w.end);
        if (durable > commit && w.in_flight.empty()) {
          commit = commit + 1 + dice.below(durable - commit);
          w.log->set_commit(commit);
        }
      } else if (draw < 19) {
        if (!w.reset_pending) checkpoint = std::max(checkpoint, commit);
        if (dice.chance(1, 2)) w.log->release_through(checkpoint);
      } else if (draw < 20 && dice.chance(1, 4)) {
        if (!w.reset_pending) {
          w.term = w.term.next();
          const Index snapshot =
              std::max(w.end, commit) + dice.below(20) + 1 - dice.below(2) * ((w.end - commit) / 2);
          checkpoint = commit = std::max(checkpoint, snapshot);
          w.reset_to(snapshot, w.term);
        }
      } else if (draw < 21) {
        w.turn_for(static_cast<Nanos>(dice.below(20)) * kMillisecond);
      } else if (draw < 23) {
        const Index from = w.log->first_available();
        if (w.end >= from) {
          const Index first = from + dice.below(w.end - from + 1);
          ASSERT_NO_FATAL_FAILURE(
              w.check_read(first, first + dice.below(40), (16 + dice.below(16)) * kBlockBytes));
        }
      } else {
        w.turn();
      }
    }
    for (std::uint64_t i = dice.below(30); i > 0; --i) w.turn();
    w.crash_raft(dice.chance(1, 3) ? sim::CrashKind::process : sim::CrashKind::power);
  }
}

TEST(Truncation, the_log_after_any_crash_is_what_a_naive_reader_makes_of_the_frames) {
  for (std::uint64_t seed = 1; seed <= (long_run() ? 20'000U : 300U); ++seed)
    ASSERT_NO_FATAL_FAILURE(run_raft_life(seed));
}

}  // namespace
}  // namespace esc::wal
