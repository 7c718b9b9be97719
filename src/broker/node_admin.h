// Changes of the cluster's nodes, on the core of group 0 at the node that leads it: one after the other, each
// a whole list of nodes in group 0's log. A removal takes two of them: `leaving` first, which every group's
// leader answers by taking the node out of its members; and when no group counts it any more, the list
// without it.
//
// Threading: the core of group 0. Memory: one small object per order.
#pragma once

#include <string>
#include <vector>

#include "esc/broker/broker.h"
#include "esc/wire/error_code.h"

namespace esc::broker {

struct NodeOrder : Call, ListNode<NodeOrder> {
  Request* request = nullptr;
  bool remove = false;
  replica::NodeRecord record;  // to remove: only the id
  wire::ErrorCode code = wire::ErrorCode::none;
  std::string message;
  Index index;  // of the proposal; 0: none
};

class NodeAdmin {
 public:
  explicit NodeAdmin(Broker& broker);
  ~NodeAdmin();

  void enqueue(NodeOrder& order) { orders_.push_back(order); }
  // `master`: what group 0 has committed; `known`: up to where every core of this node knows it.
  std::uint32_t do_work(Nanos now, const replica::Catalog& master, Index known);

  // The nodes now: those of the log, or of the configuration as long as the log has none.
  [[nodiscard]] static replica::NodeList current(const replica::Catalog& master,
                                                 const BrokerOptions& options);
  // What is wrong with adding this node to those; empty: nothing. Pure.
  [[nodiscard]] static std::string refuse_add(const replica::NodeList& nodes,
                                              const replica::NodeRecord& added);

 private:
  std::uint32_t answer(const replica::Catalog& master, Index known);
  // False: no room now, try again.
  [[nodiscard]] bool carry_out(NodeOrder& order, const replica::Catalog& master);
  void order_add(NodeOrder& order, replica::NodeList& nodes);
  void order_remove(NodeOrder& order, replica::NodeList& nodes);
  [[nodiscard]] std::string refuse_remove(const replica::NodeList& nodes, NodeId node) const;
  [[nodiscard]] bool propose(const replica::NodeList& nodes, Index& index);
  void finish_removal(Nanos now, const replica::Catalog& master);
  void check_leaving(NodeId node);

  Broker& broker_;
  IntrusiveList<NodeOrder> orders_;
  Index pending_;  // proposed last; the next one waits for it
  Term term_;
  bool checking_ = false;
  NodeId nobody_counts_;  // a node that is leaving, and has left every group
  Nanos next_check_ = 0;
};

}  // namespace esc::broker
