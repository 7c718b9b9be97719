// The only file that knows toml++ (slow to compile). Everything it reads ends in `set_key`.
#include <fmt/format.h>

#include <toml++/toml.h>

#include <algorithm>
#include <optional>
#include <sstream>
#include <vector>

#include "config_key.h"

namespace esc::app {
namespace {

constexpr std::size_t kConfigBytesMax = 1 << 20;  // more is not a configuration but a mistake
constexpr std::size_t kProblemsMax = 20;          // enough to fix in one go

std::string printed(const toml::node& node) {
  std::ostringstream out;
  if (const auto* text = node.as_string()) {
    out << toml_quoted(text->get());
  } else if (const auto* integer = node.as_integer()) {
    out << integer->get();
  } else if (const auto* boolean = node.as_boolean()) {
    out << (boolean->get() ? "true" : "false");
  } else if (const auto* real = node.as_floating_point()) {
    out << real->get();
  } else {
    out << "(" << node.type() << ")";
  }
  std::string text = out.str();
  if (text.size() > 80) text = text.substr(0, 77) + "...";
  return text;
}

RawValue raw_value(const toml::node& node) {
  RawValue raw{.printed = printed(node)};
  if (const auto* text = node.as_string()) {
    raw.type = RawValue::Type::text;
    raw.text = text->get();
  } else if (const auto* integer = node.as_integer()) {
    raw.type = RawValue::Type::integer;
    raw.integer = integer->get();
  } else if (const auto* boolean = node.as_boolean()) {
    raw.type = RawValue::Type::boolean;
    raw.boolean = boolean->get();
  }
  return raw;
}

// cluster.nodes as an array of tables, turned into its one-line form. Unset with a problem when an entry is
// not what it should be; the parts themselves are checked where the one-line form is read.
std::optional<std::string> nodes_in_one_line(const toml::array& nodes, std::string& problem) {
  std::string text;
  for (std::size_t i = 0; i < nodes.size(); ++i) {
    const auto* entry = nodes.get(i)->as_table();
    const auto refuse = [&](std::string why) {
      problem = fmt::format("entry {}: {}", i + 1, why);
      return std::nullopt;
    };
    if (entry == nullptr) return refuse("not a table");
    for (const auto& [name, node] : *entry) {
      if (name.str() != "id" && name.str() != "peer" && name.str() != "kafka")
        return refuse(fmt::format("unknown key {}", name.str()));
    }
    const auto* id = entry->get_as<std::int64_t>("id");
    if (id == nullptr) return refuse("id is missing or not an integer");
    const auto* peer = entry->get_as<std::string>("peer");
    if (peer == nullptr) return refuse("peer is missing or not a text in quotes");
    const auto* kafka = entry->get_as<std::string>("kafka");
    if (kafka == nullptr) return refuse("kafka is missing or not a text in quotes");
    text += fmt::format("{}{}={}/{}", text.empty() ? "" : ",", id->get(), peer->get(), kafka->get());
  }
  return text;
}

// True when keys exist below `path`, that is, when it names a section.
bool is_section(std::string_view path) {
  return std::ranges::any_of(config_keys(), [&](const ConfigKey& key) {
    return key.path.size() > path.size() && key.path.starts_with(path) && key.path[path.size()] == '.';
  });
}

class Reader {
 public:
  Reader(Config& config, std::string_view origin) : config_(config), origin_(origin) {}

  void read(const toml::table& table, const std::string& prefix) {
    for (const auto& [name, node] : table) {
      const std::string path =
          prefix.empty() ? std::string(name.str()) : prefix + "." + std::string(name.str());
      if (is_section(path)) {
        const auto* section = node.as_table();
        if (section != nullptr) {
          read(*section, path);
        } else {
          problem(node, fmt::format("{} = {}: this is a section; write [{}] and its keys below", path,
                                    printed(node), path));
        }
        continue;
      }
      read_key(path, node);
    }
  }

  [[nodiscard]] Status status() {
    if (problems_.empty()) return {};
    // toml++ walks tables by name; people read files from the top.
    std::ranges::stable_sort(problems_, {}, [](const auto& problem) { return problem.first; });
    std::string message;
    for (std::size_t i = 0; i < problems_.size() && i < kProblemsMax; ++i) {
      if (i > 0) message += '\n';
      message += problems_[i].second;
    }
    if (problems_.size() > kProblemsMax)
      message += fmt::format("\n(and {} more)", problems_.size() - kProblemsMax);
    return fail(Errc::invalid_argument, std::move(message));
  }

 private:
  void read_key(const std::string& path, const toml::node& node) {
    const auto keys = config_keys();
    const auto key = std::ranges::find(keys, std::string_view(path), &ConfigKey::path);
    if (key == keys.end()) {
      problem(node, fmt::format("{}: {}", path, unknown_key_message(path)));
      return;
    }
    RawValue value = raw_value(node);
    if (const auto* nodes = node.as_array(); nodes != nullptr && key->kind == KeyKind::node_list) {
      std::string why;
      auto text = nodes_in_one_line(*nodes, why);
      if (!text) {
        problem(node, fmt::format("{}: {}; accepted: {}", path, why, accepted_values(*key)));
        return;
      }
      value.type = RawValue::Type::text;
      value.text = std::move(*text);
    }
    if (auto status = set_key(config_, *key, value, false); !status) {
      problem(node, fmt::format("{} = {}: {}", path, shown(*key, value.printed), status.error().message));
    }
  }

  void problem(const toml::node& node, std::string_view what) {
    const auto line = node.source().begin.line;
    problems_.emplace_back(line, fmt::format("{}:{}: {}", origin_, line, what));
  }

  Config& config_;
  std::string_view origin_;
  std::vector<std::pair<std::uint32_t, std::string>> problems_;
};

}  // namespace

Status apply_config_text(Config& config, std::string_view toml_text, std::string_view origin) {
  if (toml_text.size() > kConfigBytesMax) {
    return fail(Errc::too_large, fmt::format("{}: {} bytes is too long for a configuration (at most {})",
                                             origin, toml_text.size(), kConfigBytesMax));
  }
  toml::table table;
  try {
    table = toml::parse(toml_text);
  } catch (const toml::parse_error& error) {
    return fail(Errc::invalid_argument, fmt::format("{}:{}: not valid TOML: {}", origin,
                                                    error.source().begin.line, error.description()));
  }
  // A refused text leaves the configuration as it was.
  Config changed = config;
  Reader reader(changed, origin);
  reader.read(table, "");
  if (auto status = reader.status(); !status) return status;
  config = std::move(changed);
  return {};
}

}  // namespace esc::app
