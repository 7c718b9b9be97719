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

void append_summary(std::string& out, std::string_view name, std::string_view labels, const Histogram& live,
                    Unit unit) {
  const auto snapshot = std::make_unique<Histogram>(live);
  struct Quantile {
    double percent;
    std::string_view label;
  };
  static constexpr Quantile kQuantiles[] = {{50, "quantile=\"0.5\""},
                                            {90, "quantile=\"0.9\""},
                                            {99, "quantile=\"0.99\""},
                                            {99.9, "quantile=\"0.999\""}};
  for (const auto& [percent, label] : kQuantiles) {
    append_series(out, name, "", labels, label);
    append_scaled(out, snapshot->percentile(percent), unit);
    out += '\n';
  }
  append_series(out, name, "_sum", labels);
  append_scaled(out, snapshot->sum(), unit);
  out += '\n';
  append_series(out, name, "_count", labels);
  append_number(out, snapshot->count());
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
  for (Family& family : families_) {
    if (family.name != name) continue;
    ESC_ASSERT_MSG(family.unit == unit, "metric registered with two units");
    return family;
  }
  ESC_ASSERT_MSG(is_name(name, true), "metric name");
  families_.push_back({.name = std::string(name), .help = std::string(help), .unit = unit, .series = {}});
  return families_.back();
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
  if (!family.series.empty()) {
    ESC_ASSERT_MSG(std::holds_alternative<Cell*>(family.series.front().cell),
                   "metric registered as two kinds");
  }
  for (const Registry::Series& series : family.series) {
    if (series.labels == rendered) return *std::get<Cell*>(series.cell);
  }
  Cell* cell = nullptr;
  if constexpr (std::is_same_v<Cell, Histogram>) {
    registry_.histograms_.push_back(std::make_unique<Histogram>());
    cell = registry_.histograms_.back().get();
  } else {
    static_assert(std::is_trivially_destructible_v<Cell> && sizeof(Cell) == 8);
    cell = new (registry_.allocate(this, sizeof(Cell))) Cell();
  }
  family.series.push_back({.labels = std::move(rendered), .cell = cell});
  return *cell;
}

Counter& Scope::counter(std::string_view name, std::string_view help, const Labels& labels) {
  return find_or_add<Counter>(name, help, Unit::none, labels);
}

Gauge& Scope::gauge(std::string_view name, std::string_view help, const Labels& labels) {
  return find_or_add<Gauge>(name, help, Unit::none, labels);
}

Histogram& Scope::histogram(std::string_view name, std::string_view help, Unit unit, const Labels& labels) {
  return find_or_add<Histogram>(name, help, unit, labels);
}

void Registry::write_prometheus(std::string& out) const {
  const std::lock_guard lock(mutex_);
  for (const Family& family : families_) {
    if (family.series.empty()) continue;
    const Cell& kind = family.series.front().cell;
    const bool summary = std::holds_alternative<Histogram*>(kind);
    const std::string_view type = summary                                  ? "summary"
                                  : std::holds_alternative<Counter*>(kind) ? "counter"
                                                                           : "gauge";
    append_header(out, family.name, "", family.help, type);
    for (const Series& series : family.series) {
      if (const auto* histogram = std::get_if<Histogram*>(&series.cell)) {
        append_summary(out, family.name, series.labels, **histogram, family.unit);
        continue;
      }
      append_series(out, family.name, "", series.labels);
      if (const auto* counter = std::get_if<Counter*>(&series.cell)) append_number(out, (*counter)->value());
      if (const auto* gauge = std::get_if<Gauge*>(&series.cell)) append_number(out, (*gauge)->value());
      out += '\n';
    }
    if (!summary) continue;
    append_header(out, family.name, "_max", family.help, "gauge");
    for (const Series& series : family.series) {
      append_series(out, family.name, "_max", series.labels);
      append_scaled(out, std::get<Histogram*>(series.cell)->max(), family.unit);
      out += '\n';
    }
  }
}

std::uint64_t Registry::counter_total(std::string_view name) const {
  const std::lock_guard lock(mutex_);
  std::uint64_t total = 0;
  for (const Family& family : families_) {
    if (family.name != name) continue;
    for (const Series& series : family.series) {
      if (const auto* counter = std::get_if<Counter*>(&series.cell)) total += (*counter)->value();
    }
  }
  return total;
}

}  // namespace esc::obs
