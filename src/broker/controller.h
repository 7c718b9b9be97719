// Metadata changes. On the core of group 0 it carries out admin calls one after the other: validate,
// propose, wait for the commit, broadcast to every core, answer when every core has its partitions. On
// every core it brings the core's groups in line with the directory: partitions to create and to delete.
//
//   admin call -> group 0 log -> committed -> broadcast -> each core: directory, partition_create/delete
//                 in its groups' logs -> committed -> all cores done -> answer
#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "esc/broker/broker.h"
#include "esc/wire/error_code.h"

namespace esc::broker {

// One topic of an admin request. Cold: may allocate.
struct TopicOrder {
  enum class Kind : std::uint8_t { create, remove, add_partitions };
  Kind kind = Kind::create;
  std::string name;
  replica::TopicId id{};         // remove by id when `name` is empty
  std::int32_t partitions = -1;  // create: -1 is the default; add_partitions: the new total
  std::int16_t replication_factor = -1;
  TopicOverrides overrides;
  // The outcome.
  wire::ErrorCode code = wire::ErrorCode::none;
  std::string message;
};

struct AdminCall : Call, ListNode<AdminCall> {
  Request* request = nullptr;
  bool validate_only = false;
  std::vector<TopicOrder> orders;
  void (*finish)(Broker&, AdminCall&) = nullptr;  // on the origin; the call is deleted afterwards
  // Of the controller.
  std::size_t cursor = 0;
  Index last_index;
};

// Sends the call to the controller's core; `finish` runs on this core.
void submit_admin_call(Broker& broker, std::unique_ptr<AdminCall> call);

class Controller {
 public:
  explicit Controller(Broker& broker);
  ~Controller();

  // --- on the core of group 0 ---
  void on_metadata(Index index, ByteView command);  // committed or replayed
  void save(std::vector<std::byte>& out) const { master_.save(out); }
  [[nodiscard]] Status load(ByteView state) { return master_.load(state); }
  // Every group leads: tells all cores the whole directory. ready() turns true when they have it.
  void start();
  [[nodiscard]] bool ready() const { return ready_; }
  void enqueue(AdminCall& call) { queue_.push_back(call); }

  // --- on every core ---
  void announce_leadership(GroupId group, Term term);
  void on_partition(GroupId group, replica::Partition& partition);
  std::uint32_t do_work();

 private:
  struct Broadcast;
  struct BroadcastCall;

  void broadcast(Index index, std::vector<std::byte> bytes, bool whole);
  void receive(BroadcastCall& call);
  void plan_reconciliation(BroadcastCall& call);
  [[nodiscard]] bool advance_reconciliation(BroadcastCall& call);
  void broadcast_done(BroadcastCall& call);
  std::uint32_t advance_queue();
  [[nodiscard]] bool propose(AdminCall& call);
  void order_create(TopicOrder& order, std::vector<std::byte>& command);
  void order_remove(TopicOrder& order, std::vector<std::byte>& command);
  void order_add_partitions(TopicOrder& order, std::vector<std::byte>& command);
  [[nodiscard]] std::vector<replica::PartitionAssignment> assign(std::int32_t count) const;

  Broker& broker_;
  replica::Catalog master_;
  bool live_ = false;
  bool ready_ = false;
  IntrusiveList<AdminCall> queue_;
  std::deque<std::pair<Index, std::vector<std::byte>>> committed_;  // not broadcast yet
  std::vector<std::unique_ptr<Broadcast>> broadcasts_;              // under way
  Index finished_;                                                  // broadcasts up to here have ended
  std::vector<BroadcastCall*> reconciling_;                         // received by this core, in order
};

}  // namespace esc::broker
