// The golden messages of tests/wire/golden (see generate.py there).
#pragma once

#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "esc/base/bytes.h"

namespace esc::wire::test {

struct Golden {
  std::string message;  // "FetchRequest"
  std::int16_t version = 0;
  std::string variant;
  std::vector<std::byte> bytes;
  std::string text;
  [[nodiscard]] std::string name() const { return message + " v" + std::to_string(version) + " " + variant; }
};

inline std::vector<std::byte> parse_hex(const std::string& hex) {
  std::vector<std::byte> bytes;
  for (std::size_t i = 0; i + 1 < hex.size(); i += 2) {
    bytes.push_back(static_cast<std::byte>(std::stoi(hex.substr(i, 2), nullptr, 16)));
  }
  return bytes;
}

// Empty when the file does not exist.
inline std::vector<Golden> load_goldens(const std::string& api) {
  std::ifstream file(std::string(ESC_GOLDEN_DIR) + "/" + api + ".txt");
  std::vector<Golden> goldens;
  Golden golden;
  std::string hex;
  while (file >> golden.message >> golden.version >> golden.variant) {
    file.ignore();
    std::getline(file, hex);
    std::getline(file, golden.text);
    golden.bytes = parse_hex(hex);
    goldens.push_back(golden);
  }
  return goldens;
}

}  // namespace esc::wire::test
