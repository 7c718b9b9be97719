// Memory: what is allocated, and when.
#include <cstdlib>
#include <new>

#include "fixture.h"

// Counts heap allocations of this test program.
namespace {
std::uint64_t g_allocations = 0;
std::uint64_t g_allocated_bytes = 0;
}  // namespace
// Not inlined: the compiler would see malloc paired with delete.
[[gnu::noinline]] void* operator new(std::size_t size) {
  ++g_allocations;
  g_allocated_bytes += size;
  if (void* memory = std::malloc(size)) return memory;
  throw std::bad_alloc();
}
[[gnu::noinline]] void operator delete(void* memory) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept {
  std::free(memory);
}

namespace esc::store::testing {
namespace {

class LimitsTest : public StoreTest {};

TEST_F(LimitsTest, appending_and_reading_allocate_nothing_in_the_steady_state) {
  options_.segment_bytes = 64 * kMiB;
  std::vector<TestBatch> batches;
  std::vector<BatchRef> refs;
  Offset next(0);
  for (int i = 0; i < 2000; ++i) {
    batches.push_back(make_batch(next, 2, 2'000'000 + i, 300));
    next = batches.back().last_offset.next();
  }
  for (const auto& batch : batches) refs.push_back(batch.ref());
  // A disk that needs no memory of its own.
  struct Direct final : io::Disk {
    void submit(io::DiskOp& op) override { pending[count++] = &op; }
    void register_memory(ByteSpan) override {}
    void run() {
      while (count > 0) {
        io::DiskOp& op = *pending[--count];
        op.error = Errc::ok;
        if (op.kind == io::DiskOp::Kind::open) op.file.fd = 1000;
        if (op.kind == io::DiskOp::Kind::read) {
          std::memcpy(op.buffer.data(), image.data() + op.offset, op.buffer.size());
          op.transferred = op.buffer.size();
        }
        if (op.kind == io::DiskOp::Kind::write) {
          std::uint64_t at = op.offset;
          for (const auto& piece : op.pieces) {
            std::memcpy(image.data() + at, piece.iov_base, piece.iov_len);
            at += piece.iov_len;
          }
        }
        op.done(op);
      }
    }
    io::DiskOp* pending[8];
    std::size_t count = 0;
    std::vector<std::byte> image = std::vector<std::byte>(4 * kMiB);
  } direct;
  auto resources = Resources::create(direct, nullptr);
  options_.resources = resources.get();
  auto log = PartitionLog::create(direct, directory_, options_);
  AppendOp append_op;
  append_op.done = [](AppendOp&, Errc error) { ASSERT_EQ(error, Errc::ok); };
  append_op.batches = std::span(refs).first(10);
  log->append(append_op);
  direct.run();
  const std::uint64_t before = g_allocations;
  std::byte buffer[16 * 1024];
  ReadOp read_op;
  read_op.done = [](ReadOp& op, Errc error) {
    ASSERT_EQ(error, Errc::ok);
    ASSERT_FALSE(op.bytes.empty());
  };
  for (std::size_t i = 10; i + 10 <= refs.size(); i += 10) {
    append_op.batches = std::span(refs).subspan(i, 10);
    log->append(append_op);
    direct.run();
    read_op.offset = refs[i - 3].base_offset;
    read_op.buffer = buffer;
    log->read(read_op);
    direct.run();
  }
  EXPECT_EQ(g_allocations, before);
  EXPECT_EQ(log->next_offset(), batches.back().last_offset.next());
}

TEST_F(LimitsTest, ten_thousand_idle_partitions_cost_less_than_two_kibibytes_each) {
  static_assert(sizeof(AppendOp) < 512);
  static_assert(sizeof(ReadOp) < 512);
  const std::uint64_t before = disk_.operations;
  std::vector<std::unique_ptr<PartitionLog>> logs;
  logs.reserve(10'000);
  const std::uint64_t bytes = g_allocated_bytes;
  for (int i = 0; i < 10'000; ++i) logs.push_back(PartitionLog::create(disk_, directory_, options_));
  EXPECT_LE(g_allocated_bytes - bytes, 10'000u * 2048);
  RecordProperty("bytes_each", static_cast<int>((g_allocated_bytes - bytes) / 10'000));
  EXPECT_EQ(disk_.operations, before);
}

}  // namespace
}  // namespace esc::store::testing
