// A client whose topic comes and goes: it creates the topic, produces and reads, deletes it while its own
// batches are on their way, and creates it again under the same name. Every life of the topic is another
// topic to the model: it begins at offset 0, and nothing of an earlier one may ever be seen in it.
#pragma once

#include "client.h"
#include "esc/wire/types.h"

namespace esc::escsim {

class Tenant final : public Sender {
 public:
  Tenant(World& world, std::uint32_t host_number, std::string name, Prng prng, std::uint64_t first_number);
  // Stopped, and nothing that was asked for is still on its way.
  [[nodiscard]] bool quiet() const override;
  [[nodiscard]] std::uint64_t acknowledged() const override { return acknowledged_; }
  // Creations and deletions that were answered.
  [[nodiscard]] std::uint64_t changes() const { return changes_; }

  // Asks which topic there is now, and reads all of it. Only when all nodes have come to rest.
  void begin_audit();
  [[nodiscard]] bool audited() const;
  // Tells the model what was read.
  void report() const;

 private:
  enum class Step : std::uint8_t { create, use, remove, identify, audit };
  Nanos work(Nanos now) override;
  [[nodiscard]] Nanos use(Nanos now);
  void create();
  void remove();
  void identify();
  void changed(wire::ErrorCode code, wire::ErrorCode already, Step next);
  void produce(std::int32_t partition);
  void fetch(std::int32_t partition);
  void on_fetched(std::int32_t partition, const ByteView* body);
  void take(std::int32_t partition, ByteView records);

  std::uint64_t next_number_;
  Step step_ = Step::create;
  bool asking_ = false;  // for a change of the topic, or which one it is
  bool fetching_ = false;
  Nanos next_ = 0;
  Nanos next_send_ = 0;
  Nanos lost_at_ = 0;  // the answer to a change: it may come true later
  std::uint32_t in_flight_ = 0;
  std::uint64_t acknowledged_ = 0;
  std::uint64_t changes_ = 0;
  std::vector<std::int64_t> positions_;
  // Of the audit.
  std::optional<wire::Uuid> id_;  // none: there is no topic
  bool identified_ = false;
  std::vector<std::int64_t> watermarks_;
};

}  // namespace esc::escsim
