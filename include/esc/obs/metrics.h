// Counters, gauges and histograms of the data cores, and their text dump in Prometheus' format.
//
// Each data core registers its metrics once at start through its own Scope (label core="0", ...), keeps
// the references, and increments them with one plain add. A housekeeping thread dumps the Registry at
// any time. Registration and dump take a mutex and allocate: cold only.
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
  void add(std::int64_t n) { set(value() + n); }
  [[nodiscard]] std::int64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::int64_t> value_{0};
};

using Label = std::pair<std::string, std::string>;
using Labels = std::vector<Label>;

// How a histogram's integers are printed: Prometheus wants base units.
enum class Unit : std::uint8_t { none, nanoseconds_as_seconds };

// The metrics of one writing thread. Cells of different scopes never share a cache line.
class Scope {
 public:
  Scope(const Scope&) = delete;
  Scope& operator=(const Scope&) = delete;

  // Names match [a-zA-Z_:][a-zA-Z0-9_:]*, label names [a-zA-Z_][a-zA-Z0-9_]* (asserted; values are free
  // text). Registering the same name and labels again returns the same cell; the kind must agree.
  // Help is kept from the first registration of a name.
  Counter& counter(std::string_view name, std::string_view help, const Labels& labels = {});
  Gauge& gauge(std::string_view name, std::string_view help, const Labels& labels = {});
  // Dumped as a summary (quantiles 0.5, 0.9, 0.99, 0.999) plus <name>_max.
  Histogram& histogram(std::string_view name, std::string_view help, Unit unit, const Labels& labels = {});

 private:
  friend class Registry;
  explicit Scope(class Registry& registry, Labels common);

  template <class Cell>
  Cell& find_or_add(std::string_view name, std::string_view help, Unit unit, const Labels& labels);

  class Registry& registry_;
  Labels common_;
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
  // registration, each family's lines together.
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
  };
  struct Family {
    std::string name;
    std::string help;
    Unit unit = Unit::none;
    std::vector<Series> series;
  };

  Family& family(std::string_view name, std::string_view help, Unit unit);
  void* allocate(const Scope* owner, std::size_t bytes);

  mutable std::mutex mutex_;  // guards everything below; never taken on the data path
  std::deque<std::unique_ptr<Scope>> scopes_;
  std::deque<Family> families_;
  std::vector<std::unique_ptr<Chunk>> chunks_;
  std::vector<std::unique_ptr<Histogram>> histograms_;
};

}  // namespace esc::obs
