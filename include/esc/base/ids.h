// Strong integer types: an Offset cannot be passed where an Index is meant.
//
// `Strong` is ordered, hashable, incrementable and explicitly convertible; nothing more. Use
// `.value()` at the edges (wire, disk, printing).
#pragma once

#include <compare>
#include <cstddef>
#include <cstdint>
#include <functional>

namespace esc {

template <class Tag, class Rep>
class Strong {
 public:
  using rep = Rep;
  constexpr Strong() = default;
  constexpr explicit Strong(Rep value) : value_(value) {}
  [[nodiscard]] constexpr Rep value() const { return value_; }
  constexpr auto operator<=>(const Strong&) const = default;
  constexpr Strong& operator++() {
    ++value_;
    return *this;
  }
  [[nodiscard]] constexpr Strong next() const { return Strong(static_cast<Rep>(value_ + 1)); }
  [[nodiscard]] constexpr Strong prev() const { return Strong(static_cast<Rep>(value_ - 1)); }
  // Distance and displacement in the representation's unit.
  friend constexpr Strong operator+(Strong a, Rep n) { return Strong(static_cast<Rep>(a.value_ + n)); }
  friend constexpr Strong operator-(Strong a, Rep n) { return Strong(static_cast<Rep>(a.value_ - n)); }
  friend constexpr Rep operator-(Strong a, Strong b) { return static_cast<Rep>(a.value_ - b.value_); }

 private:
  Rep value_{};
};

using Term = Strong<struct TermTag, std::uint64_t>;        // Raft term; 0 = none
using Index = Strong<struct IndexTag, std::uint64_t>;      // Raft log index; 0 = before the first entry
using Offset = Strong<struct OffsetTag, std::int64_t>;     // Kafka record offset within a partition
using Lsn = Strong<struct LsnTag, std::uint64_t>;          // WAL frame sequence number; 0 = none
using NodeId = Strong<struct NodeIdTag, std::uint32_t>;    // cluster member; 0 = none
using GroupId = Strong<struct GroupIdTag, std::uint32_t>;  // Raft group
using CoreId = Strong<struct CoreIdTag, std::uint32_t>;    // index of a data core, dense from 0
// Cluster-wide dense number of a topic partition, allocated by group 0, never reused.
using PartitionId = Strong<struct PartitionIdTag, std::uint32_t>;

}  // namespace esc

template <class Tag, class Rep>
struct std::hash<esc::Strong<Tag, Rep>> {
  std::size_t operator()(esc::Strong<Tag, Rep> id) const noexcept { return std::hash<Rep>{}(id.value()); }
};
