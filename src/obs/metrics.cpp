#include "esc/obs/metrics.h"

#include <cctype>
#include <charconv>
#include <new>

#include "esc/base/assert.h"

namespace esc::obs {

// Counter and gauge cells of one scope: whole cache lines, so that two cores never write the same one.
struct alignas(64) Registry::Chunk {
  static constexpr std::size_t kBytes = 1024;
  alignas(64) std::byte storage[kBytes];
  const Scope* owner = nullptr;
  std::size_t used = 0;
};

namespace {

bool is_name(std::string_view name, bool colon_allowed) {
  if (name.empty() || std::isdigit(static_cast<unsigned char>(name.front())) != 0) return false;
  for (const char c : name) {
    const bool letter = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_';
    if (!letter && !(colon_allowed && c == ':')) return false;
  }
  return true;
}

void append_escaped(std::string& out, std::string_view text, bool quotes) {
  for (const char c : text) {
    if (c == '\\') {
      out += "\\\\";
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '"' && quotes) {
      out += "\\\"";
    } else {
      out += c;
    }
  }
}

void render_labels(std::string& out, const Labels& labels) {
  for (const auto& [name, value] : labels) {
    ESC_ASSERT_MSG(is_name(name, false), "label name");
    if (!out.empty()) out += ',';
    out += name;
    out += "=\"";
    append_escaped(out, value, true);
    out += '"';
  }
}

template <class Number>
void append_number(std::string& out, Number value) {
  char text[40];
  const auto [end, error] = std::to_chars(text, text + sizeof text, value);
  out.append(text, end);
}

void append_scaled(std::string& out, std::int64_t value, Unit unit) {
  if (unit == Unit::nanoseconds_as_seconds) return append_number(out, static_cast<double>(value) / 1e9);
  append_number(out, value);
}

// name{labels,extra} and a space.
void append_series(std::string& out, std::string_view name, std::string_view suffix, std::string_view labels,
                   std::string_view extra = {}) {
  out += name;
  out += suffix;
  if (!labels.empty() || !extra.empty()) {
    out += '{';
    out += labels;
    if (!labels.empty() && !extra.empty()) out += ',';
    out += extra;
    out += '}';
  }
  out += ' ';
}

// Upper bounds of the buckets, in the units in which they are recorded: 1, 2.5, 5 per power of ten.
constexpr std::int64_t kFirstNanos = 10'000;
constexpr std::int64_t kLastNanos = 10'000'000'000;
constexpr std::int64_t kLastPlain = 10'000'000;

std::vector<std::int64_t> bounds_of(Unit unit) {
  const bool seconds = unit == Unit::nanoseconds_as_seconds;
  const std::int64_t last = seconds ? kLastNanos : kLastPlain;
  std::vector<std::int64_t> bounds;
  for (std::int64_t decade = seconds ? kFirstNanos : 1; decade <= last; decade *= 10) {
    for (const std::int64_t bound : {decade, decade * 5 / 2, decade * 5}) {
      if (bound <= last) bounds.push_back(bound);
    }
  }
  return bounds;
}

void append_histogram(std::string& out, std::string_view name, std::string_view labels, const Histogram& live,
                      Unit unit) {
  // The count is that of the buckets summed here, so that the lines agree although the writer goes on.
  std::uint64_t below = 0;
  std::size_t at = 0;
  std::string extra;
  const auto bucket = [&] {
    append_series(out, name, "_bucket", labels, extra);
    append_number(out, below);
    out += '\n';
  };
  for (const std::int64_t bound : bounds_of(unit)) {
    while (Histogram::bucket_highest(at) <= bound) below += live.bucket_count(at++);
    extra = "le=\"";
    append_scaled(extra, bound, unit);
    extra += '"';
    bucket();
  }
  while (at < Histogram::kBucketCount) below += live.bucket_count(at++);
  extra = "le=\"+Inf\"";
  bucket();
  append_series(out, name, "_sum", labels);
  append_scaled(out, live.sum(), unit);
  out += '\n';
  append_series(out, name, "_count", labels);
  append_number(out, below);
  out += '\n';
}

void append_header(std::string& out, std::string_view name, std::string_view suffix, std::string_view help,
                   std::string_view type) {
  out += "# HELP ";
  out += name;
  out += suffix;
  out += ' ';
  append_escaped(out, help, false);
  out += "\n# TYPE ";
  out += name;
  out += suffix;
  out += ' ';
  out += type;
  out += '\n';
}

}  // namespace

Registry::Registry() = default;
Registry::~Registry() = default;

Scope::Scope(Registry& registry, Labels common) : registry_(registry), common_(std::move(common)) {}

Scope& Registry::scope(Labels common) {
  const std::lock_guard lock(mutex_);
  scopes_.push_back(std::unique_ptr<Scope>(new Scope(*this, std::move(common))));
  return *scopes_.back();
}

Registry::Family& Registry::family(std::string_view name, std::string_view help, Unit unit) {
  if (const auto found = by_name_.find(name); found != by_name_.end()) {
    ESC_ASSERT_MSG(found->second->unit == unit, "metric registered with two units");
    return *found->second;
  }
  ESC_ASSERT_MSG(is_name(name, true), "metric name");
  Family& family = families_.make();
  family.name = name;
  family.help = help;
  family.unit = unit;
  families_.publish(family);
  by_name_.emplace(family.name, &family);
  return family;
}

void* Registry::allocate(const Scope* owner, std::size_t bytes) {
  for (const auto& chunk : chunks_) {
    if (chunk->owner != owner || Chunk::kBytes - chunk->used < bytes) continue;
    void* cell = chunk->storage + chunk->used;
    chunk->used += bytes;
    return cell;
  }
  chunks_.push_back(std::make_unique<Chunk>());
  chunks_.back()->owner = owner;
  chunks_.back()->used = bytes;
  return chunks_.back()->storage;
}

template <class Cell>
Cell& Scope::find_or_add(std::string_view name, std::string_view help, Unit unit, const Labels& labels) {
  std::string rendered;
  render_labels(rendered, common_);
  render_labels(rendered, labels);
  const std::lock_guard lock(registry_.mutex_);
  Registry::Family& family = registry_.family(name, help, unit);
  if (const Registry::Series* first = family.series.first(); first != nullptr) {
    ESC_ASSERT_MSG(std::holds_alternative<Cell*>(first->cell), "metric registered as two kinds");
  }
  if (const auto found = family.by_labels.find(rendered); found != family.by_labels.end())
    return *std::get<Cell*>(found->second->cell);
  Cell* cell = nullptr;
  if constexpr (std::is_same_v<Cell, Histogram>) {
    registry_.histograms_.push_back(std::make_unique<Histogram>());
    cell = registry_.histograms_.back().get();
  } else {
    static_assert(std::is_trivially_destructible_v<Cell> && sizeof(Cell) == 8);
    cell = new (registry_.allocate(this, sizeof(Cell))) Cell();
  }
  Registry::Series& series = family.series.make();
  series.labels = std::move(rendered);
  series.cell = cell;
  family.series.publish(series);
  family.by_labels.emplace(series.labels, &series);
  return *cell;
}

Counter& Scope::counter(std::string_view name, std::string_view help, const Labels& labels, Unit unit) {
  return find_or_add<Counter>(name, help, unit, labels);
}

Gauge& Scope::gauge(std::string_view name, std::string_view help, const Labels& labels) {
  return find_or_add<Gauge>(name, help, Unit::none, labels);
}

Histogram& Scope::histogram(std::string_view name, std::string_view help, Unit unit, const Labels& labels) {
  return find_or_add<Histogram>(name, help, unit, labels);
}

void Registry::write_series(std::string& out, const Family& family, const Series& series) {
  if (const auto* histogram = std::get_if<Histogram*>(&series.cell))
    return append_histogram(out, family.name, series.labels, **histogram, family.unit);
  const auto* counter = std::get_if<Counter*>(&series.cell);
  const std::int64_t value = counter != nullptr ? static_cast<std::int64_t>((*counter)->value())
                                                : std::get<Gauge*>(series.cell)->value();
  if (counter == nullptr && value == Gauge::kUnknown) return;
  append_series(out, family.name, "", series.labels);
  append_scaled(out, value, family.unit);
  out += '\n';
}

void Registry::write_prometheus(std::string& out) const {
  for (const Family* family = families_.first(); family != nullptr;
       family = GrowingList<Family>::next_of(*family)) {
    const Series* const first = family->series.first();
    if (first == nullptr) continue;
    const bool histogram = std::holds_alternative<Histogram*>(first->cell);
    const std::string_view type = histogram                                       ? "histogram"
                                  : std::holds_alternative<Counter*>(first->cell) ? "counter"
                                                                                  : "gauge";
    append_header(out, family->name, "", family->help, type);
    for (const Series* series = first; series != nullptr; series = GrowingList<Series>::next_of(*series)) {
      write_series(out, *family, *series);
    }
    if (!histogram) continue;
    append_header(out, family->name, "_max", "The largest since the start: " + family->help, "gauge");
    for (const Series* series = first; series != nullptr; series = GrowingList<Series>::next_of(*series)) {
      append_series(out, family->name, "_max", series->labels);
      append_scaled(out, std::get<Histogram*>(series->cell)->max(), family->unit);
      out += '\n';
    }
  }
}

std::uint64_t Registry::counter_total(std::string_view name) const {
  std::uint64_t total = 0;
  for (const Family* family = families_.first(); family != nullptr;
       family = GrowingList<Family>::next_of(*family)) {
    if (family->name != name) continue;
    for (const Series* series = family->series.first(); series != nullptr;
         series = GrowingList<Series>::next_of(*series)) {
      if (const auto* counter = std::get_if<Counter*>(&series->cell)) total += (*counter)->value();
    }
  }
  return total;
}

}  // namespace esc::obs
