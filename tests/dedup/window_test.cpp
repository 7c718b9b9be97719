#include "esc/dedup/window.h"

#include <gtest/gtest.h>

#include <cstring>
#include <map>

#include "esc/base/prng.h"

namespace esc::dedup {
namespace {

Id id_of(std::uint64_t number) {
  std::array<std::byte, 8> bytes;
  store_le(bytes.data(), number);
  return make_id({1, 2}, bytes);
}

// Files as somebody else would keep them. `ready`: answers at once.
class Files final : public EntrySource {
 public:
  bool ready = true;
  int reads = 0;

  const Entry* read(Place place) override {
    ++reads;
    if (!ready) return nullptr;
    const std::vector<std::byte>& file = files_.at(place.generation);
    std::memcpy(&entry_, file.data() + std::size_t{place.position} * kEntryBytes, kEntryBytes);
    return &entry_;
  }
  std::vector<std::byte> checkpoint(Window& window) {
    for (const Unflushed& part : window.take_unflushed()) {
      std::vector<std::byte>& file = files_[part.generation];
      EXPECT_EQ(file.size(), part.file_offset);
      file.insert(file.end(), part.bytes.begin(), part.bytes.end());
    }
    window.drop_flushed();
    for (const std::uint64_t serial : window.take_forgotten()) files_.erase(serial);
    std::vector<std::byte> state;
    window.save(state);
    return state;
  }
  Window restore(const std::vector<std::byte>& state, std::size_t part_entries = 1000) {
    Window window;
    EXPECT_TRUE(window.load(state).has_value());
    for (const Window::File& file : std::vector(window.files())) {
      const ByteView bytes = ByteView(files_.at(file.generation)).first(file.entries * kEntryBytes);
      for (std::size_t at = 0; at < bytes.size(); at += part_entries * kEntryBytes) {
        window.load_entries(file.generation,
                            bytes.subspan(at, std::min(part_entries * kEntryBytes, bytes.size() - at)));
      }
      EXPECT_TRUE(window.finish_loading(file.generation));
    }
    return window;
  }
  std::map<std::uint64_t, std::vector<std::byte>>& files() { return files_; }

 private:
  std::map<std::uint64_t, std::vector<std::byte>> files_;
  Entry entry_;
};

constexpr Limits kMinute{.window_ms = 60'000, .bytes_max = 64 * kMiB};

void commit(Window& window, std::uint64_t number, std::int64_t offset, WallMs time,
            const Limits& limits = kMinute) {
  window.begin(time, limits);
  window.insert(id_of(number), Offset(offset));
}

bool duplicate(const Window& window, std::uint64_t number, WallMs now, Files& files,
               const Limits& limits = kMinute) {
  return window.find(id_of(number), now, limits, files).state == Found::State::duplicate;
}

TEST(Window, an_id_is_a_duplicate_exactly_until_its_window_ends) {
  Window window;
  Files files;
  EXPECT_FALSE(duplicate(window, 1, 1000, files));
  commit(window, 1, 41, 1000);
  const Found found = window.find(id_of(1), 1000, kMinute, files);
  EXPECT_EQ(found.state, Found::State::duplicate);
  EXPECT_EQ(found.original, Offset(41));
  EXPECT_TRUE(duplicate(window, 1, 60'999, files));
  EXPECT_FALSE(duplicate(window, 1, 61'000, files));
  EXPECT_FALSE(duplicate(window, 2, 1000, files));
}

TEST(Window, time_is_the_logs_and_never_goes_back) {
  Window window;
  Files files;
  commit(window, 1, 0, 100'000);
  commit(window, 2, 1, 40'000);  // a leader whose clock is behind
  EXPECT_TRUE(duplicate(window, 2, 159'999, files));
  EXPECT_FALSE(duplicate(window, 2, 160'000, files));
}

TEST(Window, an_id_that_returns_after_its_window_counts_from_then) {
  Window window;
  Files files;
  const Limits second{.window_ms = 500, .bytes_max = 64 * kMiB};
  commit(window, 1, 10, 1000, second);
  commit(window, 1, 11, 1600, second);  // in the same slice
  const Found found = window.find(id_of(1), 2000, second, files);
  EXPECT_EQ(found.state, Found::State::duplicate);
  EXPECT_EQ(found.original, Offset(11));
}

TEST(Window, ids_leave_by_whole_slices_when_their_window_has_passed) {
  Window window;
  for (int i = 0; i < 100; ++i) commit(window, static_cast<std::uint64_t>(i), i, 1000 + i * 1000);
  EXPECT_GE(window.ids(), 60U);
  EXPECT_LE(window.ids(), 60U + 15);
  EXPECT_EQ(window.ids() + window.expired(), 100U);
  EXPECT_EQ(window.evicted(), 0U);
  EXPECT_LE(window.generations(), 10U);
}

TEST(Window, bytes_max_forgets_the_oldest_early_and_says_so) {
  Window window;
  Files files;
  const Limits small{.window_ms = 60'000, .bytes_max = kBytesMin};
  const auto capacity = static_cast<std::int64_t>(kBytesMin / kBytesPerId);
  for (std::int64_t i = 0; i < 2 * capacity; ++i)
    commit(window, static_cast<std::uint64_t>(i), i, 1000, small);
  EXPECT_LE(window.ids() * kBytesPerId, kBytesMin);
  EXPECT_GE(window.ids() * kBytesPerId, kBytesMin * 3 / 4);
  EXPECT_GT(window.evicted(), 0U);
  EXPECT_FALSE(duplicate(window, 0, 1000, files, small));
  EXPECT_TRUE(duplicate(window, static_cast<std::uint64_t>(2 * capacity - 1), 1000, files, small));
  EXPECT_LE(window.memory_bytes(), kBytesMin * 5 / 4);
}

TEST(Window, sealed_slices_leave_memory_once_they_are_in_files) {
  Window window;
  Files files;
  for (int i = 0; i < 40'000; ++i) commit(window, static_cast<std::uint64_t>(i), i, 1000 + i);
  const std::uint64_t before = window.memory_bytes();
  static_cast<void>(files.checkpoint(window));
  EXPECT_LT(window.memory_bytes(), before * 3 / 4);
  EXPECT_TRUE(duplicate(window, 5, 41'000, files));
  EXPECT_EQ(files.reads, 1);
  EXPECT_TRUE(duplicate(window, 39'999, 41'000, files));  // in the slice that is being filled
  EXPECT_EQ(files.reads, 1);
}

TEST(Window, a_miss_does_not_touch_the_files) {
  Window window;
  Files files;
  for (int i = 0; i < 100'000; ++i) commit(window, static_cast<std::uint64_t>(i), i, 1000 + i / 4);
  static_cast<void>(files.checkpoint(window));
  for (std::uint64_t i = 0; i < 100'000; ++i) ASSERT_FALSE(duplicate(window, 1'000'000 + i, 30'000, files));
  EXPECT_LE(files.reads, 2);
}

TEST(Window, what_is_not_known_yet_is_said_to_be_unknown) {
  Window window;
  Files files;
  for (int i = 0; i < 20'000; ++i) commit(window, static_cast<std::uint64_t>(i), i, 1000 + i);
  static_cast<void>(files.checkpoint(window));
  files.ready = false;
  EXPECT_EQ(window.find(id_of(3), 21'000, kMinute, files).state, Found::State::unknown);
  files.ready = true;
  EXPECT_EQ(window.find(id_of(3), 21'000, kMinute, files).state, Found::State::duplicate);
}

TEST(Window, state_that_is_damaged_or_of_another_file_is_refused) {
  Window window;
  Files files;
  for (int i = 0; i < 5000; ++i) commit(window, static_cast<std::uint64_t>(i), i, 1000 + i * 5);
  const auto state = files.checkpoint(window);
  for (std::size_t size = 0; size < state.size(); ++size) {
    Window other;
    EXPECT_FALSE(other.load(ByteView(state).first(size)).has_value()) << size;
  }
  Window other;
  ASSERT_TRUE(other.load(state).has_value());
  auto damaged = files.files().begin()->second;
  damaged[100] ^= std::byte{1};
  other.load_entries(files.files().begin()->first, damaged);
  EXPECT_FALSE(other.finish_loading(files.files().begin()->first));
}

// The naive twin: every id with its last commit, asked in log time. With checkpoints and restarts in between,
// and with windows that shrink (what has left a window does not come back when it grows).
TEST(Window, agrees_with_a_map_across_checkpoints_and_restarts) {
  for (std::uint64_t seed = 1; seed <= 6; ++seed) {
    Prng prng(seed);
    Window window;
    Files files;
    std::map<std::uint64_t, std::pair<std::int64_t, WallMs>> twin;  // offset, time
    Limits limits{.window_ms = 5000 * prng.between(1, 10), .bytes_max = 1 * kGiB};
    WallMs time = 1'000'000;
    WallMs log_time = 0;
    std::int64_t offset = 0;
    for (int step = 0; step < 30'000; ++step) {
      time += prng.between(-3, 12);
      log_time = std::max(log_time, time);
      const std::uint64_t number = prng.below(1 + 6000 * prng.below(4));
      const auto known = twin.find(number);
      const bool expected = known != twin.end() && known->second.second + limits.window_ms > log_time;
      const Found found = window.find(id_of(number), time, limits, files);
      ASSERT_EQ(found.state == Found::State::duplicate, expected) << "seed " << seed << " step " << step;
      if (expected) {
        ASSERT_EQ(found.original, Offset(known->second.first));
      } else {
        commit(window, number, offset, time, limits);
        twin[number] = {offset, log_time};
      }
      ++offset;
      if (prng.chance(1, 3000)) limits.window_ms = std::max<std::int64_t>(5000, limits.window_ms / 2);
      if (prng.chance(1, 700)) {
        const auto state = files.checkpoint(window);
        if (prng.chance(1, 2)) window = files.restore(state, 1 + prng.below(500));
      }
    }
    ASSERT_EQ(window.evicted(), 0U);
  }
}

// Two replicas that checkpoint at different times still hold the same.
TEST(Window, is_a_function_of_the_log_alone) {
  Prng prng(3);
  Window one;
  Window two;
  Files files_of_one;
  Files files_of_two;
  const Limits limits{.window_ms = 8000, .bytes_max = 2 * kBytesMin};
  for (int i = 0; i < 200'000; ++i) {
    commit(one, static_cast<std::uint64_t>(i), i, i / 10, limits);
    commit(two, static_cast<std::uint64_t>(i), i, i / 10, limits);
    if (prng.chance(1, 5000)) static_cast<void>(files_of_two.checkpoint(two));
  }
  EXPECT_EQ(files_of_one.checkpoint(one), files_of_two.checkpoint(two));
  EXPECT_EQ(files_of_one.files(), files_of_two.files());
}

}  // namespace
}  // namespace esc::dedup
