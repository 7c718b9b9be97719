#include "node_operator.h"

#include <iterator>

namespace esc::escsim {
namespace {

constexpr Nanos kRetry = 20 * kMillisecond;
constexpr std::int16_t kVersion = 0;

}  // namespace

Nanos NodeOperator::work(Nanos now) {
  using Request = wire::AlterNodesRequest;
  if (asking_) return INT64_MAX;
  if (next_ == 0) next_ = now + prng_.between(200, 1500) * kMillisecond;
  if (stopping()) {
    if (touched_.empty()) return INT64_MAX;
    if (now < next_ && next_ < now + kRetry) return next_;
    ask(Request::kAdd, *touched_.begin());
    return INT64_MAX;
  }
  if (now < next_) return next_;
  // Two voters at least stay, so that nobody can be the last one that has everything.
  const bool enough = out_.size() == (world_.scenario.nodes - 1) / 2;
  const auto node = static_cast<std::uint32_t>(prng_.between(1, world_.scenario.nodes));
  if (enough || (!out_.empty() && prng_.chance(1, 2))) {
    ask(Request::kAdd, *std::next(out_.begin(), static_cast<std::ptrdiff_t>(prng_.below(out_.size()))));
  } else {
    touched_.insert(node);
    known_ = doubtful_.insert(node).second;
    ask(Request::kRemove, node);
  }
  return INT64_MAX;
}

void NodeOperator::ask(std::int8_t action, std::uint32_t node) {
  asking_ = true;
  committed_ = world_.model.committed_end(GroupId(0));
  const std::string address = sim::address_of(node);
  wire::AlterNodesRequest request;
  request.action = action;
  request.node_id = static_cast<std::int32_t>(node);
  request.host = request.peer_host = address;
  request.port = kKafkaPort;
  request.peer_port = kPeerPort;
  any_link()->call(request, kVersion, kCallTimeout, [this, action, node](const ByteView* body) {
    asking_ = false;
    next_ = loop_->now() + kRetry;
    if (body == nullptr) return;
    const Decoded<wire::AlterNodesResponse> answer(*body, kVersion);
    if (!answer) return world_.model.fail(name_ + ": malformed answer");
    answered(action, node, answer->error_code);
  });
}

void NodeOperator::answered(std::int8_t action, std::uint32_t node, wire::ErrorCode code) {
  if (code == wire::ErrorCode::not_controller) return;
  const bool adds = action == wire::AlterNodesRequest::kAdd;
  if (!adds && known_) doubtful_.erase(node);
  world_.trace.event(name_, "{} node {}: {}", adds ? "adds" : "removes", node, wire::to_string(code));
  if (code == wire::ErrorCode::none) {
    // Also what is as it was asked for is committed once more.
    if (world_.model.committed_end(GroupId(0)) <= committed_)
      world_.model.fail(name_ + ": a change is answered, and nothing was committed since it was asked for");
    if (adds) {
      out_.erase(node);
      // What was answered holds: it need not be asked for again.
      if (stopping() || !doubtful_.contains(node)) touched_.erase(node);
    } else {
      out_.insert(node);
    }
    next_ = loop_->now() + prng_.between(0, adds ? 2000 : 1500) * kMillisecond;
  } else if (adds) {
    world_.model.fail(name_ + ": an addition is refused");
  } else {
    next_ = loop_->now() + prng_.between(50, 300) * kMillisecond;
  }
}

}  // namespace esc::escsim
