// A simulated member of the one consumer group: joins, syncs, reads where the group stands, moves on,
// commits. Now and then it sleeps through its session and then commits as if nothing had happened, or is
// replaced.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "client.h"

namespace esc::escsim {

class GroupMember final : public Client {
 public:
  using Client::Client;
  [[nodiscard]] bool quiet() const override { return !asking_; }
  [[nodiscard]] std::uint64_t commits() const { return commits_; }
  // From now on only reads back what is committed; audited() turns true when that has been seen.
  void begin_audit() { step_ = Step::audit; }
  [[nodiscard]] bool audited() const { return audited_; }

 private:
  enum class Step : std::uint8_t { join, sync, fetch, own, audit };

  Nanos work(Nanos now) override;
  Nanos own(Nanos now);
  void find();
  void join();
  void sync();
  void fetch(bool final);
  void commit();
  void heartbeat();
  void leave();
  // The coordinator is elsewhere, or nobody knows. The next one goes on with the members that the last one
  // had, so the step stays.
  void lose_coordinator();
  // What a code of the coordinator means for the next step. True: go on.
  [[nodiscard]] bool judge(wire::ErrorCode code);
  void forget_membership();
  void take_assignment(ByteView assignment);

  Step step_ = Step::join;
  bool asking_ = false;
  Nanos next_ = 0;
  std::int32_t coordinator_ = 0;
  std::string member_;
  std::int32_t generation_ = -1;
  std::vector<std::string> members_;                // when it leads
  std::map<std::int32_t, std::int64_t> positions_;  // of the partitions it owns
  Nanos next_heartbeat_ = 0;
  std::uint64_t commits_ = 0;
  bool audited_ = false;
};

}  // namespace esc::escsim
