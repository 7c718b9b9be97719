// Record batches for tests.
#pragma once

#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "esc/wire/record_batch.h"
#include "golden_file.h"

namespace esc::wire::test {

inline constexpr std::int64_t kTestTime = 1'700'000'000'000;

// Codec name to batch, as another implementation made it (golden/generate_batches.py).
inline std::map<std::string, std::vector<std::byte>> golden_batches() {
  std::ifstream file(std::string(ESC_GOLDEN_DIR) + "/record_batches.txt");
  std::map<std::string, std::vector<std::byte>> batches;
  std::string name;
  std::string hex;
  while (file >> name >> hex) batches[name] = parse_hex(hex);
  return batches;
}

// An uncompressed batch of `count` records with keys, one millisecond apart.
inline std::vector<std::byte> make_batch(int count = 3, const BatchOptions& options = {}) {
  std::vector<std::byte> buffer(1 << 16);
  BatchBuilder builder(buffer, options);
  for (int i = 0; i < count; ++i) {
    const std::string key = "key-" + std::to_string(i);
    const std::string value = "value-" + std::to_string(i);
    (void)builder.append(kTestTime + i, as_bytes(key), as_bytes(value));
  }
  const ByteView batch = builder.finish();
  return {batch.begin(), batch.end()};
}

}  // namespace esc::wire::test
