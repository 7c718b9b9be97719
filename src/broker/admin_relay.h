// Admin calls of a node that does not lead group 0: asked of the node that does, so that a client may come to
// any. Many clients send what changes a topic's configuration to whichever node they like.
//
//   client -> this node --kServiceAdmin--> leader of group 0: carried out as its own
//   client <- this node <--kServiceAdminDone-- outcomes, and up to where group 0's log must be applied here
//
// Messages may be lost, with the link or the leader. Changes of a configuration come to the same however
// often they are made, and are asked again of whoever leads. Whatever else may have been done is asked once;
// the client is told that the outcome is not known.
//
// Threading: the core of group 0. Pure: links, time and leaders are told. Memory: the calls, which are their
// requests'; of other nodes at most kForOthersMax, with their answers.
#pragma once

#include <deque>
#include <functional>
#include <vector>

#include "admin_call.h"
#include "esc/base/intrusive_list.h"
#include "esc/peer/codec.h"

namespace esc::broker {

class AdminRelay {
 public:
  static constexpr Nanos kLeaderPatience = 2 * kSecond;   // until somebody leads group 0
  static constexpr Nanos kAnswerPatience = 30 * kSecond;  // until the leader has answered: its link is up
  static constexpr Nanos kAskAgainAfter = 20 * kMillisecond;
  static constexpr std::size_t kOrdersMax = 1000;  // in one message
  static constexpr std::size_t kForOthersMax = 256;

  // The world outside.
  struct Hooks {
    // False: not now, or no link.
    std::function<bool(NodeId to, peer::Service service, ByteView payload)> send;
    std::function<bool(NodeId)> linked;
    std::function<void(AdminCall&)> carry_out;  // here: this node leads
    std::function<void(AdminCall&)> reply;      // its orders have outcomes
  };
  struct View {
    Nanos now = 0;
    NodeId leader;         // of group 0, another node; 0: nobody known
    bool leading = false;  // this node leads group 0
    bool shutting_down = false;
    Index known;  // of group 0's log, by every core here
  };

  // Tags of a process must not be those of the one before it: they begin above `tags_from`.
  AdminRelay(Hooks hooks, std::uint64_t tags_from) : hooks_(std::move(hooks)), last_tag_(tags_from) {}
  ~AdminRelay();

  // A call of this node's clients; orders that are settled, or have a code, stay as they are.
  void take(AdminCall& call, Nanos now);
  std::uint32_t do_work(const View& view);
  // kServiceAdminDone.
  void on_outcomes(std::uint64_t tag, ByteView payload);

  // --- at the leader ---
  // kServiceAdmin: the call of another node, to be carried out here and brought to answer(). Null: there are
  // too many, or it does not decode.
  [[nodiscard]] std::unique_ptr<AdminCall> accept(NodeId from, std::uint64_t tag, ByteView payload);
  void answer(const AdminCall& call);

 private:
  struct Answer {
    NodeId to;
    std::uint64_t tag = 0;
    std::vector<std::byte> payload;
  };
  // True: the call has left this list.
  [[nodiscard]] bool advance(AdminCall& call, const View& view);
  void ask(AdminCall& call, const View& view);
  // The link or the leader is gone before there was an answer.
  void lost(AdminCall& call, Nanos now);

  Hooks hooks_;
  IntrusiveList<AdminCall> waiting_;
  std::uint64_t last_tag_;
  Nanos last_now_ = 0;
  std::size_t for_others_ = 0;  // accepted, not answered
  std::deque<Answer> answers_;  // that the link had no room for yet
};

}  // namespace esc::broker
