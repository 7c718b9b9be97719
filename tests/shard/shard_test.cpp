// A whole data core allocates nothing for a produced batch or a fetch once it is warm: a real loop, real
// files and sockets, a global operator new that counts.
#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "allocation_counter.h"
#include "esc/io/loop_waker.h"
#include "esc/io/posix_files.h"
#include "esc/shard/shard.h"
#include "esc/wire/api/create_topics.h"
#include "esc/wire/api/fetch.h"
#include "esc/wire/api/produce.h"
#include "esc/wire/codec.h"
#include "esc/wire/message.h"
#include "esc/wire/record_batch.h"
#include "io/loop_fixture.h"
#include "io/peer.h"

namespace esc::shard::test {
namespace {

// One node of one core, driven by the test's thread.
struct OneCore {
  explicit OneCore(std::uint64_t wal_segment_bytes) : loop(io::test::make_loop()), mesh(1, 1024, waker) {
    waker.add(*loop);
    ShardOptions options;
    options.idle = Idle::park;
    options.data_directory = options.wal_directory = directory.path();
    options.listen_host = "127.0.0.1";
    options.group.members.voters.push_back(NodeId(1));
    options.group.node = NodeId(1);
    options.group.checkpoint_interval = kSecond * 3600;
    options.group.wal.segment_bytes = wal_segment_bytes;
    options.group.wal.bytes_max = 4 * wal_segment_bytes;
    options.broker.node = NodeId(1);
    options.broker.cluster_id = "test";
    options.broker.receive_buffers = io::LoopOptions{}.receive_buffers;
    options.broker.nodes = {{NodeId(1), "127.0.0.1", 9092}};
    shard = std::make_unique<Shard>(options, *loop, files, mesh, obs::LogSource(), registry.scope(), control);
    EXPECT_TRUE(shard->start()) << control.failure();
    EXPECT_TRUE(control.release_recovered(1));
    EXPECT_TRUE(turn_until([&] { return control.listen_port.load() != 0; }));
  }
  ~OneCore() {
    control.stop = true;
    while (shard->step()) {
    }
  }
  OneCore(const OneCore&) = delete;
  OneCore& operator=(const OneCore&) = delete;

  template <class F>
  [[nodiscard]] bool turn_until(F&& reached) {
    for (const Nanos end = loop->now() + 10 * kSecond; !reached();) {
      if (loop->now() > end || !shard->step()) return false;
    }
    return true;
  }

  io::test::TemporaryDirectory directory;
  std::unique_ptr<io::UringLoop> loop;
  io::LoopWaker waker;
  Mesh mesh;
  io::PosixFiles files;
  obs::Registry registry;
  NodeControl control;
  std::unique_ptr<Shard> shard;
};

// A client connection without memory of its own: requests are encoded before, answers are read and counted.
class Client {
 public:
  explicit Client(OneCore& core) : core_(core), peer_(static_cast<std::uint16_t>(core.control.listen_port)) {
    EXPECT_TRUE(peer_.connected());
  }

  template <class Message>
  static std::vector<std::byte> encode(const Message& message, std::int16_t version) {
    std::vector<std::byte> room(256 * kKiB);
    wire::Writer writer(room);
    wire::encode_request(writer, message, version, 7, std::nullopt);
    room.resize(writer.position());
    return room;
  }

  // Sends and turns the core until the whole answer is here. Empty: it did not come.
  ByteView call(ByteView request) {
    if (::send(peer_.fd(), request.data(), request.size(), MSG_NOSIGNAL) !=
        static_cast<ssize_t>(request.size()))
      return {};
    std::size_t have = 0;
    const auto whole = [&] {
      const ssize_t some = ::recv(peer_.fd(), answer_.data() + have, answer_.size() - have, MSG_DONTWAIT);
      if (some > 0) have += static_cast<std::size_t>(some);
      return have >= 4 && have == 4 + load_be<std::uint32_t>(answer_.data());
    };
    if (!core_.turn_until(whole)) return {};
    return ByteView(answer_).subspan(4, have - 4);
  }

 private:
  OneCore& core_;
  io::test::Peer peer_;
  std::vector<std::byte> answer_ = std::vector<std::byte>(4 * kMiB);
};

std::vector<std::byte> create_topic() {
  const std::array topics = {
      wire::CreateTopicsRequest::Topic{.name = "orders", .num_partitions = 2, .replication_factor = -1}};
  wire::CreateTopicsRequest request;
  request.topics = topics;
  request.timeout_ms = 5000;
  return Client::encode(request, 7);
}

std::vector<std::byte> produce(std::int32_t partition) {
  std::vector<std::byte> buffer(64 * kKiB);
  wire::BatchBuilder builder(buffer);
  const std::vector<std::byte> value(512, std::byte{'x'});
  for (int i = 0; i < 64; ++i) EXPECT_TRUE(builder.append(1'700'000'000'000 + i, std::nullopt, value));
  const std::array partitions = {
      wire::ProduceRequest::Partition{.index = partition, .records = wire::NullableBytes(builder.finish())}};
  const std::array topics = {wire::ProduceRequest::Topic{.name = "orders", .partition_data = partitions}};
  wire::ProduceRequest request;
  request.acks = -1;
  request.timeout_ms = 5000;
  request.topic_data = topics;
  return Client::encode(request, 9);
}

std::vector<std::byte> fetch(std::int64_t offset) {
  const std::array partitions = {
      wire::FetchRequest::Partition{.partition = 0, .fetch_offset = offset, .partition_max_bytes = 1 << 20}};
  const std::array topics = {wire::FetchRequest::Topic{.topic = "orders", .partitions = partitions}};
  wire::FetchRequest request;
  request.max_wait_ms = 100;
  request.min_bytes = 1;
  request.max_bytes = 1 << 20;
  request.topics = topics;
  return Client::encode(request, 12);
}

TEST(ShardAllocation, produce_and_fetch_of_a_warm_core_allocate_nothing) {
  OneCore core(64 * kMiB);
  Client client(core);
  ASSERT_FALSE(client.call(create_topic()).empty());
  const std::array produces = {produce(0), produce(1)};
  constexpr int kWarm = 200;
  constexpr int kCounted = 200;
  std::vector<std::vector<std::byte>> fetches;
  for (int i = 0; i < kWarm + kCounted; ++i) fetches.push_back(fetch(std::int64_t{i} * 64));
  std::uint64_t before = 0;
  for (int i = 0; i < kWarm + kCounted; ++i) {
    if (i == kWarm) before = allocations.load();
    for (const auto& request : produces) ASSERT_FALSE(client.call(request).empty());
    // The answer holds the batch that was just produced: some 34 kB.
    ASSERT_GT(client.call(fetches[static_cast<std::size_t>(i)]).size(), 32'000U);
  }
  EXPECT_GT(before, 500U);  // they are counted
  EXPECT_EQ(allocations.load() - before, 0U) << "in " << kCounted << " rounds of two batches and a fetch";
}

TEST(ShardBackPressure, a_log_at_its_own_limit_makes_producers_wait_for_the_checkpoint) {
  OneCore core(4 * kMiB);
  Client client(core);
  ASSERT_FALSE(client.call(create_topic()).empty());
  const std::vector<std::byte> request = produce(0);
  for (int i = 0; i < 1200; ++i) {  // 40 MB through a log of 16
    const ByteView answer = client.call(request);
    // Correlation id, tags, topics, its name, partitions, index, then the error code.
    ASSERT_EQ(answer.size(), 53U);
    ASSERT_EQ(load_be<std::int16_t>(answer.data() + 18), 0) << "batch " << i;
  }
  EXPECT_GE(core.shard->groups()[0]->stats().checkpoints, 2U);
}

}  // namespace
}  // namespace esc::shard::test
