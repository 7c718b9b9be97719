// Merges the sources in their order: defaults, profile, file, command line.
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iterator>

#include "config_key.h"
#include "esc/app/config.h"
#include "esc/base/assert.h"

namespace esc::app {
namespace {

Result<std::string> read_file(const std::string& path, std::string_view what) {
  errno = 0;
  std::ifstream in(path, std::ios::binary);
  std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  if (!in.is_open() || in.bad()) {
    const int error = errno == 0 ? EIO : errno;
    return fail(errc_from_errno(error),
                fmt::format("{} {} cannot be read: {}", what, path, std::strerror(error)));
  }
  return text;
}

bool is_path(std::string_view profile) {
  return profile.find('/') != std::string_view::npos || profile.ends_with(".toml");
}

// A profile tunes; it must not smuggle in addresses or directories.
Status apply_profile(Config& config, const std::string& name) {
  std::string text;
  std::string origin;
  if (is_path(name)) {
    auto file = read_file(name, "profile");
    if (!file) return std::unexpected(file.error());
    text = std::move(*file);
    origin = name;
  } else if (const auto builtin = builtin_profile(name)) {
    text = *builtin;
    origin = fmt::format("profile {}", name);
  } else {
    std::string names;
    for (const auto known : builtin_profile_names())
      names += fmt::format("{}{}", names.empty() ? "" : ", ", known);
    return fail(Errc::invalid_argument,
                fmt::format("profile = {}: unknown; accepted: {}, or a path that ends in .toml",
                            toml_quoted(name), names));
  }
  const Config before = config;
  if (auto status = apply_config_text(config, text, origin); !status) return status;
  for (const ConfigKey& key : config_keys()) {
    const bool tunes = key.path.starts_with("tuning.") || key.path == "groups";
    if (!tunes && print_key(before, key) != print_key(config, key)) {
      return fail(Errc::invalid_argument,
                  fmt::format("{}: {} cannot be set by a profile; put it into the configuration file", origin,
                              key.path));
    }
  }
  config.profile = name;
  return {};
}

// The profile a file asks for has to be applied before the rest of that file.
Result<std::string> profile_named_in(const std::string& text, const std::string& origin) {
  Config probe;
  probe.profile.clear();
  if (auto status = apply_config_text(probe, text, origin); !status) return std::unexpected(status.error());
  return probe.profile;
}

Status apply_override(Config& config, const Override& setting) {
  const auto keys = config_keys();
  const auto key = std::ranges::find(keys, std::string_view(setting.key), &ConfigKey::path);
  if (key == keys.end()) {
    return fail(Errc::invalid_argument,
                fmt::format("{}: {}: {}", setting.origin, setting.key, unknown_key_message(setting.key)));
  }
  RawValue value{.type = RawValue::Type::text, .text = setting.value, .printed = toml_quoted(setting.value)};
  if (auto status = set_key(config, *key, value, true); !status) {
    return fail(Errc::invalid_argument, fmt::format("{} ({}) = {}: {}", setting.origin, key->path,
                                                    shown(*key, value.printed), status.error().message));
  }
  return {};
}

// What [cluster] implies for other keys, and the secret from its file.
Status complete_cluster(Config& config) {
  ClusterConfig& cluster = config.cluster;
  if (!cluster.configured()) return {};
  if (const ClusterNode* own = cluster.find(config.node.id); own != nullptr && !config.kafka.listen_is_set) {
    config.kafka.listen = own->kafka;
  }
  if (cluster.secret_file.empty()) return {};
  if (!cluster.secret.empty()) {
    return fail(Errc::invalid_argument,
                "cluster.secret and cluster.secret_file are both set: keep the one that is meant");
  }
  auto text = read_file(cluster.secret_file, "cluster.secret_file");
  if (!text) return std::unexpected(text.error());
  while (!text->empty() && (text->back() == '\n' || text->back() == '\r')) text->pop_back();
  if (text->empty()) {
    return fail(Errc::invalid_argument, fmt::format("cluster.secret_file = {}: the file holds no secret",
                                                    toml_quoted(cluster.secret_file)));
  }
  cluster.secret = std::move(*text);
  return {};
}

}  // namespace

Result<Config> load_config(const ConfigSources& sources) {
  Config config;
  std::string file_text;
  std::string profile = config.profile;
  if (sources.config_file) {
    auto text = read_file(*sources.config_file, "configuration file");
    if (!text) return std::unexpected(text.error());
    file_text = std::move(*text);
    auto named = profile_named_in(file_text, *sources.config_file);
    if (!named) return std::unexpected(named.error());
    if (!named->empty()) profile = *named;
  }
  if (sources.profile) profile = *sources.profile;
  if (auto status = apply_profile(config, profile); !status) return std::unexpected(status.error());
  if (sources.config_file) {
    if (auto status = apply_config_text(config, file_text, *sources.config_file); !status) {
      return std::unexpected(status.error());
    }
    config.profile = profile;
  }
  for (const Override& setting : sources.overrides) {
    if (auto status = apply_override(config, setting); !status) return std::unexpected(status.error());
  }
  if (config.wal_dir.empty()) config.wal_dir = config.data_dir;
  if (auto status = complete_cluster(config); !status) return std::unexpected(status.error());
  if (auto status = validate(config); !status) return std::unexpected(status.error());
  return config;
}

std::string format_config(const Config& config) {
  std::string text;
  std::string section;
  for (const ConfigKey& key : config_keys()) {
    const std::size_t dot = key.path.rfind('.');
    const std::string_view parent =
        dot == std::string_view::npos ? std::string_view{} : key.path.substr(0, dot);
    if (parent != section) {
      section = parent;
      text += fmt::format("\n[{}]\n", section);
    }
    const std::string_view name = dot == std::string_view::npos ? key.path : key.path.substr(dot + 1);
    text += fmt::format("# {}\n# Accepts {}.\n{} = {}\n", key.meaning, accepted_values(key), name,
                        print_key(config, key));
  }
  return text;
}

topo::PlacementRequest placement_request(const Config& config) {
  return {.cores = config.tuning.cores,
          .pin = config.tuning.pin,
          .idle = config.tuning.idle,
          .cpu_list = config.tuning.cpu_list,
          .housekeeping_cpus = config.tuning.housekeeping_cpu_list};
}

std::string_view to_string(LogLevel level) {
  switch (level) {
    case LogLevel::error: return "error";
    case LogLevel::warn: return "warn";
    case LogLevel::info: return "info";
    case LogLevel::debug: return "debug";
  }
  ESC_UNREACHABLE("log level");
}

std::string_view to_string(LogFormat format) {
  switch (format) {
    case LogFormat::text: return "text";
    case LogFormat::json: return "json";
  }
  ESC_UNREACHABLE("log format");
}

}  // namespace esc::app
