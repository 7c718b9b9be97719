// Connection slots and gather blocks: slabs that grow to their high-water mark and are never freed
// before the loop, so addresses are stable and the data path does not allocate in steady state.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "connection.h"

namespace esc::io {

class ConnectionTable {
 public:
  // `growths` counts slabs added after the first.
  ConnectionTable(std::uint32_t connections_max, std::uint64_t& growths);

  // nullptr when all slots are used.
  [[nodiscard]] Connection* take(ConnectionHandler& handler, int fd);
  // Ends the slot's generation: ids handed out before are stale from now on.
  void put_back(Connection& connection);
  // nullptr when the id is stale.
  [[nodiscard]] Connection* find(ConnectionId id);
  [[nodiscard]] Connection& at(std::uint32_t slot);
  [[nodiscard]] std::uint32_t open() const { return open_; }
  template <class F>
  void for_each_open(F&& f) {
    for (std::uint32_t slot = 0; slot < slots_made_; ++slot) {
      if (at(slot).open) f(at(slot));
    }
  }

 private:
  static constexpr std::uint32_t kSlabSlots = 256;
  void add_slab();

  const std::uint32_t connections_max_;
  std::uint64_t& growths_;
  std::uint32_t slots_made_ = 0;
  std::uint32_t open_ = 0;
  std::uint32_t first_free_ = UINT32_MAX;
  std::vector<std::unique_ptr<Connection[]>> slabs_;
};

class GatherPool {
 public:
  // `growths` counts slabs added after the first.
  explicit GatherPool(std::uint64_t& growths) : growths_(growths) { add_slab(); }

  [[nodiscard]] GatherBlock& take();
  void put_back(GatherBlock& block) {
    block.next = first_free_;
    first_free_ = &block;
  }

 private:
  static constexpr std::uint32_t kSlabBlocks = 64;
  void add_slab();

  std::uint64_t& growths_;
  GatherBlock* first_free_ = nullptr;
  std::vector<std::unique_ptr<GatherBlock[]>> slabs_;
};

}  // namespace esc::io
