#include "connection_table.h"

#include "esc/base/assert.h"
#include "tag.h"

namespace esc::io {

ConnectionTable::ConnectionTable(std::uint32_t connections_max, std::uint64_t& growths)
    : connections_max_(connections_max), growths_(growths) {
  ESC_ASSERT(connections_max < kTagSlotsMax);
  slabs_.reserve((connections_max + kSlabSlots - 1) / kSlabSlots);
  if (connections_max > 0) add_slab();
}

void ConnectionTable::add_slab() {
  slabs_.push_back(std::make_unique<Connection[]>(kSlabSlots));
  const std::uint32_t first = slots_made_;
  for (std::uint32_t i = kSlabSlots; i-- > 0;) {
    if (first + i >= connections_max_) continue;
    Connection& connection = slabs_.back()[i];
    connection.slot = first + i;
    connection.generation = 1;
    connection.next_free = first_free_;
    first_free_ = connection.slot;
    ++slots_made_;
  }
}

Connection* ConnectionTable::take(ConnectionHandler& handler, int fd) {
  if (first_free_ == UINT32_MAX) {
    if (slots_made_ == connections_max_) return nullptr;
    add_slab();
    ++growths_;
  }
  Connection& connection = at(first_free_);
  ESC_ASSERT(!connection.open);
  first_free_ = connection.next_free;
  connection.handler = &handler;
  connection.fd = fd;
  connection.open = true;
  connection.connected = false;
  connection.closing = false;
  connection.detaching = false;
  connection.paused = false;
  connection.zero_copy = false;
  connection.close_reason = Errc::closed;
  ++open_;
  return &connection;
}

void ConnectionTable::put_back(Connection& connection) {
  ESC_ASSERT(connection.open);
  ESC_ASSERT(!connection.kernel_busy());
  ESC_ASSERT(!connection.sending);
  ESC_ASSERT(!connection.linked());
  connection.open = false;
  connection.handler = nullptr;
  connection.fd = -1;
  ++connection.generation;
  connection.next_free = first_free_;
  first_free_ = connection.slot;
  --open_;
}

Connection& ConnectionTable::at(std::uint32_t slot) {
  ESC_ASSERT(slot < slots_made_);
  return slabs_[slot / kSlabSlots][slot % kSlabSlots];
}

Connection* ConnectionTable::find(ConnectionId id) {
  if (id.slot >= slots_made_) return nullptr;
  Connection& connection = at(id.slot);
  return connection.open && connection.generation == id.generation ? &connection : nullptr;
}

GatherBlock& GatherPool::take() {
  if (first_free_ == nullptr) {
    add_slab();
    ++growths_;
  }
  GatherBlock& block = *first_free_;
  first_free_ = block.next;
  block.next = nullptr;
  block.count = 0;
  return block;
}

void GatherPool::add_slab() {
  slabs_.push_back(std::make_unique<GatherBlock[]>(kSlabBlocks));
  for (std::uint32_t i = 0; i < kSlabBlocks; ++i) put_back(slabs_.back()[i]);
}

}  // namespace esc::io
