// Counters, gauges and histograms of the data cores, and their text dump in Prometheus' format.
//
// Each data core registers its metrics once at start through its own Scope (label core="0", ...), keeps
// the references, and increments them with one plain add. Registration takes a mutex and allocates: cold
// only. A housekeeping thread dumps the Registry at any time, and takes no lock for it: families and series
// are only ever added, so a core that registers one late never waits for a dump.
//
// Threading: a Counter, Gauge or Histogram has one writing thread; every thread may read.
// Ownership: the Registry owns all cells; references stay valid for its lifetime.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include "esc/obs/histogram.h"

namespace esc::obs {

// A count that only grows.
class Counter {
 public:
  void add(std::uint64_t n = 1) {
    // One writer, so a load and a store suffice: no locked instruction.
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  [[nodiscard]] std::uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

// A level that goes up and down.
class Gauge {
 public:
  void set(std::int64_t value) { value_.store(value, std::memory_order_relaxed); }
  // Nothing is known: the series is left out of the dump until the next set(). Sums and alarms over the other
  // series stay right, as no stand-in value would leave them.
  static constexpr std::int64_t kUnknown = INT64_MIN;
  void set_unknown() { set(kUnknown); }
  void add(std::int64_t n) { set(value() + n); }
  [[nodiscard]] std::int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

using Label = std::pair<std::string, std::string>;
using Labels = std::vector<Label>;

// How integers are printed: Prometheus wants base units.
enum class Unit : std::uint8_t { none, nanoseconds_as_seconds };

// The metrics of one writing thread. Cells of different scopes never share a cache line.
class Scope {
 public:
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  // Names match [a-zA-Z_:][a-zA-Z0-9_:]*, label names [a-zA-Z_][a-zA-Z0-9_]* (asserted; values are free
  // text). Registering the same name and labels again returns the same cell; the kind must agree.
  // Help is kept from the first registration of a name.
  Counter& counter(std::string_view name, std::string_view help, const Labels& labels = {},
                   Unit unit = Unit::none);
  Gauge& gauge(std::string_view name, std::string_view help, const Labels& labels = {});
  // Dumped as a histogram (bounds 1, 2.5, 5 per power of ten: of seconds from 10 microseconds to 10, else
  // from 1 to 10 million; a bound is exact to 0.8 %) plus the gauge <name>_max, the largest since the start.
  Histogram& histogram(std::string_view name, std::string_view help, Unit unit, const Labels& labels = {});

 private:
  friend class Registry;
  explicit Scope(class Registry& registry, Labels common);

  template <class Cell>
  Cell& find_or_add(std::string_view name, std::string_view help, Unit unit, const Labels& labels);

  class Registry& registry_;
  Labels common_;
};

// Grows at its end, under somebody's mutex; walked without it. Nodes have a `next` of their own and stay
// where they are.
template <class Node>
class GrowingList {
 public:
  // A node that nobody sees before publish(); one at a time.
  [[nodiscard]] Node& make() { return nodes_.emplace_back(); }
  void publish(Node& node) {
    std::atomic<const Node*>& link = last_ == nullptr ? first_ : last_->next;
    link.store(&node, std::memory_order_release);  // pairs with first() and next_of()
    last_ = &node;
  }
  [[nodiscard]] const Node* first() const { return first_.load(std::memory_order_acquire); }
  [[nodiscard]] static const Node* next_of(const Node& node) {
    return node.next.load(std::memory_order_acquire);
  }

 private:
  std::deque<Node> nodes_;
  std::atomic<const Node*> first_{nullptr};
  Node* last_ = nullptr;
};

class Registry {
 public:
  Registry();
  ~Registry();
  Registry(const Registry&) = delete;
  Registry& operator=(const Registry&) = delete;

  // A new scope whose metrics all carry `common` labels.
  [[nodiscard]] Scope& scope(Labels common = {});

  // Appends every metric in Prometheus' text exposition format 0.0.4, families in order of their first
  // registration, each family's lines together. Any thread; no lock.
  void write_prometheus(std::string& out) const;

  // Sum of a counter over all scopes and labels; 0 when unknown. For tests and tools.
  [[nodiscard]] std::uint64_t counter_total(std::string_view name) const;

 private:
  friend class Scope;
  struct Chunk;
  using Cell = std::variant<Counter*, Gauge*, Histogram*>;
  struct Series {
    std::string labels;  // rendered: core="0",topic="a"
    Cell cell;
    std::atomic<const Series*> next{nullptr};
  };
  struct Family {
    std::string name;
    std::string help;
    Unit unit = Unit::none;
    GrowingList<Series> series;
    std::unordered_map<std::string_view, const Series*> by_labels;  // registration only
    std::atomic<const Family*> next{nullptr};
  };

  Family& family(std::string_view name, std::string_view help, Unit unit);
  void* allocate(const Scope* owner, std::size_t bytes);

  static void write_series(std::string& out, const Family& family, const Series& series);

  std::mutex mutex_;  // of registration: guards everything below but the walk through families_
  std::deque<std::unique_ptr<Scope>> scopes_;
  GrowingList<Family> families_;
  std::unordered_map<std::string_view, Family*> by_name_;
  std::vector<std::unique_ptr<Chunk>> chunks_;
  std::vector<std::unique_ptr<Histogram>> histograms_;
};

}  // namespace esc::obs
