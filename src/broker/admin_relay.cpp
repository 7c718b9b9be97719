#include "admin_relay.h"

#include <algorithm>

#include "esc/base/byte_codec.h"
#include "esc/broker/lifecycle.h"

namespace esc::broker {
namespace {

using Kind = TopicOrder::Kind;
using Operation = ConfigChange::Operation;

constexpr std::size_t kPayloadBytesMax = 1024 * 1024;  // what a link takes in one message, and some less
constexpr std::size_t kMessageBytesMax = 512;          // of an outcome
constexpr Nanos kTryAgainAfter = kMillisecond;         // the link has one message of ours at a time

bool open(const TopicOrder& order) {
  return !order.settled;
}

void settle(TopicOrder& order, wire::ErrorCode code, std::string message) {
  order.code = code;
  order.message = std::move(message);
  order.settled = true;
}

void settle_all(AdminCall& call, wire::ErrorCode code, std::string_view message) {
  for (TopicOrder& order : call.orders) {
    if (open(order)) settle(order, code, std::string(message));
  }
}

// Twice is as good as once.
bool repeatable(const TopicOrder& order) {
  return order.kind == Kind::configure;
}

// --- messages, see docs/PROTOCOL.md -------------------------------------------------------------------

void encode(ByteWriter& writer, const TopicOrder& order) {
  writer.number(static_cast<std::uint8_t>(order.kind));
  writer.number(static_cast<std::uint8_t>(order.replaces_all));
  writer.number(order.replication_factor);
  writer.number(order.partitions);
  writer.bytes(order.id);
  writer.text(order.name);
  writer.number(static_cast<std::uint32_t>(order.overrides.size()));
  for (const auto& [key, value] : order.overrides) {
    writer.text(key);
    writer.text(value);
  }
  writer.number(static_cast<std::uint32_t>(order.changes.size()));
  for (const ConfigChange& change : order.changes) {
    writer.number(static_cast<std::uint8_t>(change.operation));
    writer.text(change.key);
    writer.text(change.value);
  }
}

template <class T>
T limited(ByteReader& reader, T last, bool& valid) {
  const auto value = reader.number<std::uint8_t>();
  valid = valid && value <= static_cast<std::uint8_t>(last);
  return static_cast<T>(value);
}

bool decode(ByteReader& reader, TopicOrder& order) {
  bool valid = true;
  order.kind = limited(reader, Kind::configure, valid);
  order.replaces_all = reader.number<std::uint8_t>() != 0;
  order.replication_factor = reader.number<std::int16_t>();
  order.partitions = reader.number<std::int32_t>();
  const ByteView id = reader.bytes(order.id.size());
  std::copy(id.begin(), id.end(), order.id.begin());
  order.name = reader.text();
  const std::uint32_t overrides = reader.count(2 * sizeof(std::uint32_t));
  for (std::uint32_t i = 0; i < overrides && !reader.failed(); ++i) {
    std::string key = reader.text();
    order.overrides.emplace_back(std::move(key), reader.text());
  }
  const std::uint32_t changes = reader.count(1 + 2 * sizeof(std::uint32_t));
  for (std::uint32_t i = 0; i < changes && !reader.failed(); ++i) {
    ConfigChange& change = order.changes.emplace_back();
    change.operation = limited(reader, Operation::subtract, valid);
    change.key = reader.text();
    change.value = reader.text();
  }
  return valid && !reader.failed();
}

struct Outcome {
  wire::ErrorCode code = wire::ErrorCode::none;
  std::int32_t partitions = 0;
  replica::TopicId id{};
  std::string name;
  std::string message;
};

void encode(ByteWriter& writer, const TopicOrder& order, bool with_name) {
  writer.number(static_cast<std::int16_t>(order.code));
  writer.number(order.partitions);
  writer.bytes(order.id);
  writer.text(with_name ? std::string_view(order.name) : std::string_view());
  writer.text(std::string_view(order.message).substr(0, kMessageBytesMax));
}

Outcome decode_outcome(ByteReader& reader) {
  Outcome outcome;
  outcome.code = static_cast<wire::ErrorCode>(reader.number<std::int16_t>());
  outcome.partitions = reader.number<std::int32_t>();
  const ByteView id = reader.bytes(outcome.id.size());
  std::copy(id.begin(), id.end(), outcome.id.begin());
  outcome.name = reader.text();
  outcome.message = reader.text();
  return outcome;
}

// The next orders that fit into a message. One that fits into none is settled.
std::vector<std::byte> encode_orders(AdminCall& call) {
  std::vector<std::byte> payload;
  std::vector<std::byte> one;
  ByteWriter writer(payload);
  writer.number(static_cast<std::uint8_t>(call.validate_only));
  call.asked_orders = 0;
  for (TopicOrder& order : call.orders) {
    if (!open(order)) continue;
    one.clear();
    ByteWriter of_one(one);
    encode(of_one, order);
    if (one.size() > kPayloadBytesMax / 2) {
      settle(order, wire::ErrorCode::not_controller,
             "too large to be passed on: ask the node that is the controller, see controller_id in the "
             "metadata");
      continue;
    }
    if (payload.size() + one.size() > kPayloadBytesMax || call.asked_orders == AdminRelay::kOrdersMax) break;
    writer.bytes(one);
    ++call.asked_orders;
  }
  return payload;
}

}  // namespace

AdminRelay::~AdminRelay() {
  while (!waiting_.empty()) waiting_.pop_front();
}

void AdminRelay::take(AdminCall& call, Nanos now) {
  for (TopicOrder& order : call.orders) order.settled = order.settled || order.code != wire::ErrorCode::none;
  call.asked = NodeId(0);
  call.ask_at = now;
  call.find_until = now + kLeaderPatience;
  call.deadline = now + kAnswerPatience;
  waiting_.push_back(call);
}

std::uint32_t AdminRelay::do_work(const View& view) {
  std::uint32_t work = 0;
  last_now_ = view.now;
  IntrusiveList<AdminCall> still;
  while (!waiting_.empty()) {
    AdminCall& call = waiting_.pop_front();
    if (advance(call, view)) {
      ++work;
    } else {
      still.push_back(call);
    }
  }
  while (!still.empty()) waiting_.push_back(still.pop_front());
  for (std::size_t count = answers_.size(); count > 0; --count) {
    Answer answer = std::move(answers_.front());
    answers_.pop_front();
    // One whose link is down has nobody to go to: that node asks again, or says that it does not know.
    if (!hooks_.linked(answer.to)) continue;
    const peer::Service service{.kind = kServiceAdminDone, .tag = answer.tag};
    if (hooks_.send(answer.to, service, answer.payload)) {
      ++work;
    } else {
      answers_.push_back(std::move(answer));
    }
  }
  return work;
}

bool AdminRelay::advance(AdminCall& call, const View& view) {
  const bool asked_in_vain =
      call.asked != NodeId(0) && (call.asked != view.leader || !hooks_.linked(call.asked));
  if (asked_in_vain) lost(call, view.now);
  if (view.shutting_down) settle_all(call, wire::ErrorCode::not_controller, "this node is being stopped");
  if (std::ranges::none_of(call.orders, open)) {
    const bool patient = view.now < call.deadline && !view.shutting_down;
    if (call.last_index > view.known && patient) return false;
    hooks_.reply(call);
    return true;
  }
  if (call.asked != NodeId(0)) {
    if (view.now >= call.deadline)
      settle_all(call, wire::ErrorCode::request_timed_out,
                 "the node that leads group 0 has not answered: look whether the change was made");
    return false;
  }
  if (view.leading) {
    hooks_.carry_out(call);
    return true;
  }
  if (view.now >= call.find_until) {
    settle_all(call, wire::ErrorCode::not_controller, "no node that leads group 0 has taken the change");
  } else if (view.leader != NodeId(0) && view.now >= call.ask_at) {
    ask(call, view);
  }
  return false;
}

void AdminRelay::ask(AdminCall& call, const View& view) {
  const std::vector<std::byte> payload = encode_orders(call);
  if (call.asked_orders == 0) return;
  call.tag = ++last_tag_;
  if (hooks_.send(view.leader, {.kind = kServiceAdmin, .tag = call.tag}, payload)) {
    call.asked = view.leader;
    call.deadline = view.now + kAnswerPatience;
  } else {
    call.ask_at = view.now + kTryAgainAfter;
  }
}

void AdminRelay::lost(AdminCall& call, Nanos now) {
  call.asked = NodeId(0);
  call.ask_at = now;
  call.find_until = now + kLeaderPatience;
  std::size_t left = call.asked_orders;
  for (TopicOrder& order : call.orders) {
    if (left == 0) return;
    if (!open(order)) continue;
    --left;
    if (repeatable(order)) continue;
    settle(order, wire::ErrorCode::request_timed_out,
           "the node that led group 0 was lost before it answered: look whether the change was made");
  }
}

void AdminRelay::on_outcomes(std::uint64_t tag, ByteView payload) {
  AdminCall* found = nullptr;
  waiting_.for_each([&](AdminCall& call) {
    if (call.asked != NodeId(0) && call.tag == tag) found = &call;
  });
  if (found == nullptr) return;  // it was given up, or asked of another node
  AdminCall& call = *found;
  ByteReader reader(payload);
  const Index index(reader.number<std::uint64_t>());
  std::vector<Outcome> outcomes;
  while (!reader.failed() && !reader.at_end() && outcomes.size() < call.asked_orders)
    outcomes.push_back(decode_outcome(reader));
  if (!reader.at_end() || outcomes.size() != call.asked_orders) return;  // the deadline ends it
  call.asked = NodeId(0);
  call.last_index = std::max(call.last_index, index);
  auto outcome = outcomes.begin();
  for (TopicOrder& order : call.orders) {
    if (outcome == outcomes.end()) break;
    if (!open(order)) continue;
    Outcome& told = *outcome++;
    // It led no longer: whoever does is asked.
    if (told.code == wire::ErrorCode::not_controller && repeatable(order)) {
      call.ask_at = last_now_ + kAskAgainAfter;
      continue;
    }
    order.id = told.id;
    order.partitions = told.partitions;
    if (order.name.empty()) order.name = std::move(told.name);
    settle(order, told.code, std::move(told.message));
  }
}

// --- at the leader --------------------------------------------------------------------------------------

std::unique_ptr<AdminCall> AdminRelay::accept(NodeId from, std::uint64_t tag, ByteView payload) {
  if (for_others_ == kForOthersMax) return nullptr;
  auto call = std::make_unique<AdminCall>();
  ByteReader reader(payload);
  call->validate_only = reader.number<std::uint8_t>() != 0;
  while (!reader.at_end()) {
    if (call->orders.size() == kOrdersMax || !decode(reader, call->orders.emplace_back())) return nullptr;
    TopicOrder& order = call->orders.back();
    order.unnamed = order.name.empty();
  }
  if (call->orders.empty()) return nullptr;
  call->for_node = from;
  call->tag = tag;
  ++for_others_;
  return call;
}

void AdminRelay::answer(const AdminCall& call) {
  ESC_ASSERT(for_others_ > 0);
  --for_others_;
  Answer& answer = answers_.emplace_back();
  answer.to = call.for_node;
  answer.tag = call.tag;
  ByteWriter writer(answer.payload);
  writer.number(call.last_index.value());
  for (const TopicOrder& order : call.orders) encode(writer, order, order.unnamed);
}

}  // namespace esc::broker
