// The list of keys in escd.toml(5) is generated from the table; this keeps it current.
// After a change of the table: ESC_UPDATE_MANUAL=1 build/dev/tests/test_app --gtest_filter='Manual.*'
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "../../src/app/config_key.h"

namespace esc::app {
namespace {

constexpr std::string_view kBegin = "# KEYS\n";
constexpr std::string_view kEnd = "\n# SEE ALSO\n";

std::string key_list() {
  std::string text;
  const Config defaults;
  for (const ConfigKey& key : config_keys()) {
    text += "\n**" + std::string(key.path) + "**\n:   " + std::string(key.meaning) + "\n    Accepts " +
            accepted_values(key) + ". Default: " + print_key(defaults, key) + ".\n";
  }
  return text;
}

TEST(Manual, escd_toml_lists_every_key_with_what_it_accepts) {
  // The compiler names this file relative to the build directory, where tests run.
  const auto page = std::filesystem::path(__FILE__).parent_path() / "../../docs/man/escd.toml.5.md";
  std::ifstream in(page);
  if (!in) GTEST_SKIP() << "not run in the build directory: " << page << " is not there";
  const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
  const std::size_t begin = text.find(kBegin);
  const std::size_t end = text.find(kEnd);
  ASSERT_NE(begin, std::string::npos);
  ASSERT_NE(end, std::string::npos);
  const std::string expected = text.substr(0, begin + kBegin.size()) + key_list() + text.substr(end);
  if (std::getenv("ESC_UPDATE_MANUAL") != nullptr) {
    std::ofstream(page) << expected;
    return;
  }
  EXPECT_EQ(text, expected) << "run again with ESC_UPDATE_MANUAL=1";
}

}  // namespace
}  // namespace esc::app
