// Metadata changes. On the core of group 0, at the node that leads it, admin calls are carried out one after
// the other: validate, propose, wait for the commit, answer when every core of this node has applied the
// change and the groups led here have their partitions. Groups that other nodes lead follow by themselves.
// Every node applies group 0's log and broadcasts it to its cores.
//
//   admin call -> group 0 log -> committed, on every node -> broadcast -> each core: directory, Reconciler
//              -> groups led here are in line -> answer
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "admin_call.h"
#include "admin_relay.h"
#include "esc/broker/broker.h"
#include "node_admin.h"
#include "node_watch.h"
#include "reconciler.h"

namespace esc::broker {

class Controller {
 public:
  explicit Controller(Broker& broker);
  ~Controller();

  // --- on the core of group 0 ---
  void on_metadata(Index index, ByteView command);  // committed or replayed
  void save(std::vector<std::byte>& out) const { master_.save(out); }
  [[nodiscard]] Status load(ByteView state);
  // Every core is up: tells all of them the whole directory. ready() turns true when they have it.
  void start();
  [[nodiscard]] bool ready() const { return ready_; }
  [[nodiscard]] Nanos started_at() const { return started_at_; }
  void enqueue(AdminCall& call) { queue_.push_back(call); }
  [[nodiscard]] NodeAdmin& node_admin() { return node_admin_; }
  // A message of another node's controller.
  void on_service(NodeId from, peer::Service service, ByteView payload);

  // --- on every core ---
  // `leader` 0: nobody known. Tells every core.
  void announce_leader(GroupId group, NodeId leader, Term term);
  void on_partition(GroupId group, replica::Partition& partition);
  std::uint32_t do_work(Nanos now);

 private:
  struct Broadcast;
  struct BroadcastCall;
  struct Change {
    Index index;
    std::vector<std::byte> bytes;  // a command, or the whole catalog
    bool whole = false;
  };

  void broadcast(Change change);
  void tell_partitions(const TopicView& view);
  void receive(BroadcastCall& call);
  void broadcast_done(BroadcastCall& call);
  void watch_nodes(Nanos now);
  void adopt_nodes();
  void compare_nodes();
  std::uint32_t advance_queue();
  std::uint32_t relay_work(Nanos now);
  [[nodiscard]] AdminRelay::Hooks relay_hooks();
  [[nodiscard]] bool hand_over(AdminCall& call);
  [[nodiscard]] bool propose(AdminCall& call);
  void refuse_rest(AdminCall& call);
  void pass_on(const AdminCall& call);
  void on_wishes(ByteView payload);

  Broker& broker_;
  replica::Catalog master_;
  Reconciler reconciler_;
  NodeWatch watch_;
  NodeAdmin node_admin_;
  std::uint64_t nodes_version_ = 0;  // of the directory, as this core's groups know it
  std::vector<NodeId> watched_;      // kept for its memory
  Nanos next_watch_ = 0;
  bool live_ = false;
  bool ready_ = false;
  Nanos started_at_ = 0;
  IntrusiveList<AdminCall> queue_;
  AdminRelay relay_;                                    // of calls that another node has to carry out
  std::map<std::string, Nanos, std::less<>> wishes_;    // topics asked of the leader, until when not again
  std::uint32_t wishes_in_queue_ = 0;                   // of other nodes
  std::deque<Change> changes_;                          // not broadcast yet
  std::vector<std::unique_ptr<Broadcast>> broadcasts_;  // under way
  Index finished_;                                      // broadcasts up to here have ended
  std::deque<BroadcastCall*> received_;                 // by this core, not answered yet
};

}  // namespace esc::broker
