// One core of a node: a real broker over real groups, on a simulated disk and clock, with one client whose
// bytes go in and come out by hand. Whether the groups lead is the test's choice: alone they do, as members
// of three without links they never do.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <set>
#include <vector>

#include "esc/broker/broker.h"
#include "esc/broker/lifecycle.h"
#include "esc/sim/clock.h"
#include "esc/sim/disk.h"
#include "esc/sim/file_system.h"
#include "esc/store/resources.h"
#include "esc/wire/api/create_topics.h"
#include "esc/wire/codec.h"
#include "esc/wire/message.h"

namespace esc::broker::test {

// What the broker sends to the first connection is collected.
class FakeNet final : public io::Net {
 public:
  explicit FakeNet(sim::SimClock& clock) : clock_(clock) {}
  Result<std::uint16_t> listen(const std::string&, std::uint16_t, io::AcceptHandler&) override {
    return 9092;
  }
  void stop_listening() override {}
  std::expected<io::ConnectionId, Errc> adopt(io::AcceptedSocket, io::ConnectionHandler& handler) override {
    handlers_.push_back(&handler);
    return io::ConnectionId{static_cast<std::uint32_t>(handlers_.size() - 1), 1};
  }
  std::expected<io::ConnectionId, Errc> connect(const std::string&, std::uint16_t,
                                                io::ConnectionHandler&) override {
    return std::unexpected(Errc::unsupported);
  }
  void send(io::ConnectionId id, std::span<const struct iovec> pieces) override {
    for (const auto& piece : pieces) {
      if (id.slot != 0) break;
      const auto* bytes = static_cast<const std::byte*>(piece.iov_base);
      sent.insert(sent.end(), bytes, bytes + piece.iov_len);
    }
    clock_.schedule(clock_.now(), [handler = handlers_[id.slot]] { handler->on_sent(); });
  }
  void pause_receive(io::ConnectionId) override {}
  void resume_receive(io::ConnectionId) override {}
  void release(io::ReceiveLoan) override {}
  void close(io::ConnectionId id) override {
    closed.insert(id.slot);
    clock_.schedule(clock_.now(), [handler = handlers_[id.slot]] { handler->on_closed(Errc::closed); });
  }
  void detach(io::ConnectionId) override {}
  void receive(ByteView bytes, std::size_t connection = 0) { handlers_[connection]->on_received(bytes, {0}); }

  std::vector<std::byte> sent;
  std::set<std::uint32_t> closed;

 private:
  sim::SimClock& clock_;
  std::vector<io::ConnectionHandler*> handlers_;
};

inline constexpr std::uint32_t kGroups = 2;
inline constexpr std::uint64_t kRingBytes = 4 * kMiB;

struct World final : replica::GroupListener, Router {
  // `voters` 1: this node leads; 3: it never does.
  explicit World(std::uint32_t voters)
      : prng(7),
        fs(prng.fork(1)),
        disk(clock, fs, prng.fork(2)),
        files(fs),
        net(clock),
        env{disk, files, net, clock, prng},
        resources(store::Resources::create(disk, &files)),
        memory(static_cast<std::byte*>(std::aligned_alloc(kBlockBytes, kGroups * kRingBytes))) {
    BrokerOptions options;
    options.cluster_id = "test";
    options.groups = kGroups;
    options.request_pool_bytes = options.response_pool_bytes = 8 * kMiB;
    for (std::uint32_t id = 1; id <= 3; ++id)
      options.nodes.push_back({.node = NodeId(id), .host = "host" + std::to_string(id), .port = 9092});
    broker = std::make_unique<Broker>(env, obs::LogSource(), registry.scope(), options, *this);
    for (std::uint32_t id = 0; id < kGroups; ++id) open_group(GroupId(id), voters);
    start_controller(*broker);
    broker->adopt({});
  }
  ~World() override {
    disk.crash(sim::CrashKind::process);
    groups.clear();
    resources.reset();
    std::free(memory);
  }
  World(const World&) = delete;
  World& operator=(const World&) = delete;

  void open_group(GroupId id, std::uint32_t voters) {
    replica::GroupOptions options;
    const std::string directory = "/group-" + std::to_string(id.value());
    options.id = id;
    for (std::uint32_t node = 1; node <= voters; ++node) options.members.voters.push_back(NodeId(node));
    options.data_directory = directory;
    options.wal.directory = directory + "/wal";
    options.wal.group = id;
    options.wal.segment_bytes = 4 * kMiB;
    options.wal.bytes_max = 32 * kMiB;
    options.store.resources = resources.get();
    options.ring_memory = ByteSpan(memory + id.value() * kRingBytes, kRingBytes);
    ASSERT_TRUE(files.make_directories(options.wal.directory).has_value());
    auto opened = replica::Group::open(env, {}, options, *this, [this] { step(); });
    ASSERT_TRUE(opened.has_value()) << opened.error().message;
    groups.push_back(std::move(*opened));
    broker->add_group(*groups.back());
  }

  // replica::GroupListener, as a shard does it
  void on_metadata(GroupId, Index index, ByteView command) override {
    broker::on_metadata(*broker, index, command);
  }
  void on_coordinator(GroupId group, Index index, WallMs timestamp, ByteView command) override {
    broker::on_coordinator(*broker, group, index, timestamp, command);
  }
  void save_metadata(GroupId group, std::vector<std::byte>& out) override {
    broker::save_metadata(*broker, group, out);
  }
  Status load_metadata(GroupId group, ByteView state) override {
    return broker::load_metadata(*broker, group, state);
  }
  void on_partition(GroupId group, replica::Partition& partition) override {
    broker::on_partition(*broker, group, partition);
  }
  void on_leading(GroupId group, Term term) override { announce_leader(*broker, group, NodeId(1), term); }
  void on_leader_changed(GroupId group, NodeId leader, Term term) override {
    announce_leader(*broker, group, leader == NodeId(1) ? NodeId(0) : leader, term);
  }
  void on_service(GroupId, NodeId, peer::Service, ByteView) override {}
  void on_failed(GroupId, const std::string& what) override { ADD_FAILURE() << what; }

  // Router of a single core
  void send(Call& call) override {
    call.origin = CoreId(0);
    call.run(call, *broker);
  }
  void reply(Call& call) override { call.done(call, *broker); }
  [[nodiscard]] std::uint32_t cores() const override { return 1; }
  [[nodiscard]] CoreId self() const override { return CoreId(0); }

  // To the next event, but never over what the groups wait for.
  void step() { clock.run_until(std::min(clock.next_at(), clock.now() + kMillisecond)); }
  void turn() {
    broker->do_work(clock.now());
    for (const auto& group : groups) group->do_work(clock.now());
    step();
  }
  template <class F>
  [[nodiscard]] bool turn_until(F&& reached, int turns = 50'000) {
    for (; !reached(); --turns) {
      if (turns == 0) return false;
      turn();
    }
    return true;
  }
  void turn_for(Nanos duration) {
    for (const Nanos end = clock.now() + duration; clock.now() < end;) turn();
  }
  void lead() {
    ASSERT_TRUE(turn_until([&] { return groups[0]->leading() && groups[1]->leading(); }));
  }

  // Sends a request.
  template <class Message>
  void ask(const Message& message, std::int16_t version) {
    std::vector<std::byte> room(64 * kKiB);
    wire::Writer writer(room);
    wire::encode_request(writer, message, version, 1, std::nullopt);
    net.sent.clear();
    room.resize(writer.position());
    requests.push_back(std::move(room));  // the broker reads it in place
    net.receive(requests.back());
  }
  [[nodiscard]] bool answered() const { return !net.sent.empty(); }
  // Decodes the answer that has come; views live until the next one.
  template <class Message>
  Message answer(std::int16_t version) {
    received = net.sent;
    const auto frame = wire::parse_response(ByteView(received).subspan(4), Message::kApi, version);
    EXPECT_TRUE(frame.has_value());
    arena_block.resize(kMiB);
    arena = Arena(arena_block);
    auto decoded = wire::decode<Message>(frame->body, version, arena);
    EXPECT_TRUE(decoded.has_value());
    return *decoded;
  }
  template <class Answer, class Message>
  Answer call(const Message& message, std::int16_t version) {
    ask(message, version);
    EXPECT_TRUE(turn_until([&] { return answered(); }));
    return answer<Answer>(version);
  }

  wire::ErrorCode create_topic(std::string_view name, std::int16_t replication, std::int32_t partitions = 1) {
    const std::array topics = {wire::CreateTopicsRequest::Topic{
        .name = name, .num_partitions = partitions, .replication_factor = replication}};
    wire::CreateTopicsRequest request;
    request.topics = topics;
    return call<wire::CreateTopicsResponse>(request, 7).topics[0].error_code;
  }
  // This node leads, and has the topic.
  void lead_with_topic(std::string_view name, std::int32_t partitions) {
    lead();
    ASSERT_EQ(create_topic(name, -1, partitions), wire::ErrorCode::none);
  }

  // As if group 0 had committed it.
  void apply_metadata(const std::vector<std::byte>& command) {
    broker::on_metadata(*broker, Index(++metadata_index), command);
    broker->do_work(clock.now());
  }
  void apply_topic(const std::string& name, std::vector<std::uint32_t> partitions) {
    replica::Topic topic;
    topic.name = name;
    for (std::size_t i = 0; i < name.size() && i < topic.id.size(); ++i) topic.id[i] = std::byte(name[i]);
    for (const std::uint32_t id : partitions) topic.partitions.push_back({PartitionId(id), GroupId(1)});
    std::vector<std::byte> command;
    replica::Catalog::encode_create_topic(topic, command);
    apply_metadata(command);
  }
  void apply_deletion(const std::string& name) {
    std::vector<std::byte> command;
    replica::Catalog::encode_delete_topic(broker->directory().find(name)->topic->id, command);
    apply_metadata(command);
  }

  Prng prng;
  sim::SimClock clock;
  sim::FileSystem fs;
  sim::SimDisk disk;
  sim::SimFiles files;
  FakeNet net;
  io::Env env;
  obs::Registry registry;
  std::unique_ptr<store::Resources> resources;
  std::byte* memory;
  std::unique_ptr<Broker> broker;
  std::vector<std::unique_ptr<replica::Group>> groups;
  std::vector<std::vector<std::byte>> requests;
  std::vector<std::byte> received;
  std::vector<std::byte> arena_block;
  Arena arena{{}};
  std::uint64_t metadata_index = 1'000;  // above everything the group's own log has
};

}  // namespace esc::broker::test
