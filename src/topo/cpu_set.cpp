#include "esc/topo/cpu_set.h"

#include <charconv>

#include "esc/base/assert.h"

namespace esc::topo {
namespace {

std::string_view trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\n'))
    text.remove_suffix(1);
  return text;
}

// One decimal CPU number that uses up all of `text`.
bool parse_cpu(std::string_view text, std::uint32_t& cpu) {
  auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), cpu);
  return error == std::errc{} && end == text.data() + text.size() && cpu < kCpusMax;
}

}  // namespace

Result<CpuSet> CpuSet::parse(std::string_view text) {
  CpuSet set;
  std::string_view rest = trim(text);
  const std::string whole(rest);
  while (!rest.empty()) {
    const std::size_t comma = rest.find(',');
    const std::string_view item = trim(rest.substr(0, comma));
    const bool trailing_comma = comma != std::string_view::npos && comma + 1 == rest.size();
    rest = comma == std::string_view::npos ? std::string_view{} : rest.substr(comma + 1);
    const std::size_t dash = item.find('-');
    std::uint32_t low = 0;
    std::uint32_t high = 0;
    bool valid = !trailing_comma && parse_cpu(item.substr(0, dash), low);
    high = low;
    if (valid && dash != std::string_view::npos)
      valid = parse_cpu(item.substr(dash + 1), high) && low <= high;
    if (!valid) {
      return fail(Errc::invalid_argument, "\"" + whole +
                                              "\" is not a list of CPUs such as \"0-3,8\" (numbers below " +
                                              std::to_string(kCpusMax) + ")");
    }
    for (std::uint32_t cpu = low; cpu <= high; ++cpu) set.add(cpu);
  }
  return set;
}

void CpuSet::add(std::uint32_t cpu) {
  ESC_ASSERT(cpu < kCpusMax);
  bits_.set(cpu);
}

void CpuSet::remove(std::uint32_t cpu) {
  ESC_ASSERT(cpu < kCpusMax);
  bits_.reset(cpu);
}

std::uint32_t CpuSet::first() const {
  ESC_ASSERT(!empty());
  std::uint32_t cpu = 0;
  while (!bits_.test(cpu)) ++cpu;
  return cpu;
}

std::vector<std::uint32_t> CpuSet::to_vector() const {
  std::vector<std::uint32_t> cpus;
  for (std::uint32_t cpu = 0; cpu < kCpusMax; ++cpu) {
    if (bits_.test(cpu)) cpus.push_back(cpu);
  }
  return cpus;
}

std::string CpuSet::to_string() const {
  std::string text;
  for (std::uint32_t cpu = 0; cpu < kCpusMax; ++cpu) {
    if (!bits_.test(cpu)) continue;
    std::uint32_t last = cpu;
    while (last + 1 < kCpusMax && bits_.test(last + 1)) ++last;
    if (!text.empty()) text += ',';
    text += std::to_string(cpu);
    if (last > cpu) text += (last == cpu + 1 ? ',' : '-') + std::to_string(last);
    cpu = last;
  }
  return text;
}

}  // namespace esc::topo
