// Simulated Kafka clients: what producers and consumers share, that is finding the leaders.
//
// A client is a host of its own with one loop. It asks any node for metadata, follows the leaders it is told,
// and asks again after an error, a closed connection or a time-out.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "esc/base/prng.h"
#include "esc/wire/api/fetch.h"
#include "esc/wire/api/list_offsets.h"
#include "esc/wire/error_code.h"
#include "esc/wire/record_batch.h"
#include "host.h"
#include "kafka_link.h"

namespace esc::escsim {

class Client {
 public:
  Client(World& world, std::uint32_t host_number, std::string name, Prng prng);
  virtual ~Client();
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  void start() { loop_->start(); }
  // Nothing new is begun; answers that are still out are awaited.
  void stop() { stopping_ = true; }
  [[nodiscard]] virtual bool quiet() const = 0;
  // For the report of a stuck phase.
  [[nodiscard]] std::string state() const;

 protected:
  static constexpr Nanos kCallTimeout = 1500 * kMillisecond;

  // One turn of the client's own logic; returns when it wants the next one at the latest.
  virtual Nanos work(Nanos now) = 0;
  // The link to the partition's leader; null while nobody is known (metadata are being asked for).
  [[nodiscard]] KafkaLink* leader_link(std::int32_t partition);
  // Whether they have the same leader, as far as is known.
  [[nodiscard]] bool led_together(std::int32_t partition, std::int32_t other) const;
  // In which the leader leads, as the newest metadata had it; -1: not to be told to anybody.
  [[nodiscard]] std::int32_t epoch_of(std::int32_t partition) const;
  // What is known about the leader was wrong.
  void forget_leaders() { leaders_.clear(); }
  [[nodiscard]] bool stopping() const { return stopping_; }
  // Asks any node about the topic.
  void call_metadata(std::int16_t version, KafkaLink::Answer answer);
  [[nodiscard]] KafkaLink* any_link();
  [[nodiscard]] KafkaLink* link_to(std::int32_t node);

  World& world_;
  std::string_view topic_ = kTopic;
  const std::string name_;
  Prng prng_;
  sim::HostClock host_clock_;
  std::unique_ptr<sim::SimLoop> loop_;

 private:
  void run();
  void ask_metadata();

  sim::FileSystem files_;
  std::map<std::int32_t, std::unique_ptr<KafkaLink>> links_;  // by node
  std::vector<std::unique_ptr<KafkaLink>> closing_;
  std::map<std::int32_t, std::int32_t> leaders_;  // partition -> node
  std::map<std::int32_t, std::int32_t> epochs_;   // partition -> the newest that was told
  bool asking_ = false;
  Nanos ask_at_ = 0;
  bool stopping_ = false;
};

// Creates the topic, then rests.
class Admin final : public Client {
 public:
  using Client::Client;
  [[nodiscard]] bool quiet() const override { return created_; }

 private:
  Nanos work(Nanos now) override;
  bool created_ = false;
  bool asking_ = false;
  Nanos next_ = 0;
};

// Sends numbered records to some partitions; tells the model what was acknowledged.
class Sender : public Client {
 public:
  using Client::Client;
  [[nodiscard]] virtual std::uint64_t acknowledged() const = 0;

 protected:
  // A batch of fresh records, numbered from `next_number` on, as the model knows them from now on.
  struct Batch {
    std::vector<std::byte> bytes;
    std::vector<std::uint64_t> numbers;
  };
  [[nodiscard]] Batch make_batch(std::uint64_t& next_number, const wire::BatchOptions& options);
  void send(std::int32_t partition, ByteView batch, KafkaLink::Answer answer);
  // Several partitions of one leader in one request.
  struct Part {
    std::int32_t partition = 0;
    Batch batch;
  };
  void send(std::span<const Part> parts, KafkaLink::Answer answer);
  // The partition's part of a Produce answer; nothing when it is malformed, which is a failure.
  struct Outcome {
    wire::ErrorCode code;
    std::int64_t base_offset;
  };
  [[nodiscard]] std::optional<Outcome> outcome(ByteView body);
  // Of each part, in their order.
  [[nodiscard]] std::optional<std::vector<Outcome>> outcomes(ByteView body, std::span<const Part> parts);
  void tell_acknowledged(std::int32_t partition, std::int64_t base_offset,
                         const std::vector<std::uint64_t>& numbers);

  std::vector<std::byte> scratch_ = std::vector<std::byte>(16 * 1024);  // a batch while it is built
  std::vector<std::byte> value_;
};

// Sends each record once.
class Producer final : public Sender {
 public:
  Producer(World& world, std::uint32_t host_number, std::string name, Prng prng, std::uint64_t first_number);
  [[nodiscard]] bool quiet() const override { return in_flight_ == 0; }
  [[nodiscard]] std::uint64_t acknowledged() const override { return acknowledged_; }

 private:
  Nanos work(Nanos now) override;
  void send_batches(std::int32_t partition);
  void on_answer(std::span<const Part> parts, const ByteView* body);
  void on_outcome(const Part& part, const Outcome& result);

  std::uint64_t next_number_;
  std::uint32_t in_flight_ = 0;
  std::uint64_t acknowledged_ = 0;
  Nanos next_send_ = 0;
};

// Repeats every batch until it is acknowledged, as clients with enable.idempotence do: in order, at most five
// of a partition at once. None of its records may stand twice, and in the end all stand once.
class IdempotentProducer final : public Sender {
 public:
  IdempotentProducer(World& world, std::uint32_t host_number, std::string name, Prng prng,
                     std::uint64_t first_number);
  [[nodiscard]] bool quiet() const override { return unresolved_ == 0; }
  [[nodiscard]] std::uint64_t acknowledged() const override { return acknowledged_; }

 private:
  struct Pending {
    Batch batch;
    bool in_flight = false;
    bool sent_as_oldest = false;
  };
  struct Lane {  // of one partition
    std::int32_t next_sequence = 0;
    std::deque<Pending> pending;  // by sequence
    std::uint64_t first = 0;      // number of pending.front() since the start
    Nanos not_before = 0;
  };
  Nanos work(Nanos now) override;
  void ask_id();
  void begin_batch(std::int32_t partition);
  void send_lane(std::int32_t partition);
  void on_answer(std::int32_t partition, std::uint64_t ticket, const ByteView* body);

  std::uint64_t next_number_;
  std::int64_t id_ = -1;
  bool asking_id_ = false;
  Nanos ask_id_at_ = 0;
  std::vector<Lane> lanes_;
  std::uint64_t unresolved_ = 0;
  std::uint64_t acknowledged_ = 0;
  Nanos next_send_ = 0;
};

// What the producers of events have sent of late, by partition: any of them may send it again.
struct EventPool {
  std::vector<std::deque<std::uint64_t>> recent;
};

// Sends events, each with its number as event id, and sends those of late again, its own and others', whether
// they were acknowledged or not. Each may stand once, and what was acknowledged must stand.
class EventProducer final : public Sender {
 public:
  EventProducer(World& world, std::uint32_t host_number, std::string name, Prng prng,
                std::uint64_t first_number, std::shared_ptr<EventPool> pool);
  [[nodiscard]] bool quiet() const override { return in_flight_ == 0; }
  [[nodiscard]] std::uint64_t acknowledged() const override { return acknowledged_; }

 private:
  Nanos work(Nanos now) override;
  [[nodiscard]] Batch make_events(std::int32_t partition);
  void send_batch(std::int32_t partition);
  void on_answer(std::int32_t partition, const std::vector<std::uint64_t>& numbers, const ByteView* body);

  std::uint64_t next_number_;
  std::shared_ptr<EventPool> pool_;
  std::uint32_t in_flight_ = 0;
  std::uint64_t acknowledged_ = 0;
  Nanos next_send_ = 0;
};

// Reads every partition from the start, for ever, as clients do: all that a leader has in one request, within
// limits of all sizes; now and then from somewhere else, for a while.
class Consumer final : public Client {
 public:
  Consumer(World& world, std::uint32_t host_number, std::string name, Prng prng);
  [[nodiscard]] bool quiet() const override { return !asking_; }
  // Starts again from offset 0.
  void rewind();
  // All partitions were read up to the high watermark the leader told.
  [[nodiscard]] bool at_end() const;
  [[nodiscard]] const std::vector<std::int64_t>& positions() const { return positions_; }

 private:
  // One Fetch.
  struct Wanted {
    std::int32_t partition = 0;
    std::int64_t offset = 0;
    std::int32_t epoch = -1;
  };
  struct Question {
    std::vector<Wanted> wanted;
    std::vector<Wanted> passing;  // of the topic that comes and goes
    bool passing_first = false;
    bool elsewhere = false;
    std::uint64_t round = 0;
  };
  Nanos work(Nanos now) override;
  [[nodiscard]] Question choose(std::int32_t first);
  void wander();
  void ask(KafkaLink& link, Question question);
  void on_answer(const Question& asked, const ByteView* body);
  void take(const Question& asked, const Wanted& wanted, const wire::FetchResponse::Partition& result);
  void take_passing(const Wanted& wanted, const wire::FetchResponse::Partition& result);
  void judge(const Wanted& wanted, const wire::FetchResponse::Partition& result);
  // Where the log begins, where it ends, or where a time is; `offset` is the time then.
  void ask_offsets(KafkaLink& link, std::int32_t first);
  void on_offsets(const std::vector<Wanted>& asked, const ByteView* body);
  void judge_offset(const Wanted& asked, const wire::ListOffsetsResponse::Partition& result);

  std::vector<std::int64_t> positions_;
  std::vector<std::int64_t> watermarks_;  // -1: not told yet
  std::vector<std::int64_t> reached_;     // the furthest of every round
  std::vector<std::int64_t> elsewhere_;
  std::int64_t wandering_ = 0;  // fetches from there
  std::uint64_t round_ = 0;     // answers to fetches before a rewind are ignored
  bool asking_ = false;
  std::int32_t next_partition_ = 0;
  Nanos next_ = 0;
};

}  // namespace esc::escsim
