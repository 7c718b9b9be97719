#include "esc/base/crc32c.h"

#include <gtest/gtest.h>

namespace esc {
namespace {

// The check value of CRC-32C in RFC 3720 B.4 and in every catalogue.
TEST(Crc32c, matches_the_published_check_value) {
  EXPECT_EQ(crc32c(as_bytes("123456789")), 0xE3069283u);
}

TEST(Crc32c, continues_over_pieces) {
  const auto whole = crc32c(as_bytes("hello, durable world"));
  EXPECT_EQ(crc32c(as_bytes("durable world"), crc32c(as_bytes("hello, "))), whole);
}

TEST(Crc32c, of_nothing_is_zero) {
  EXPECT_EQ(crc32c({}), 0u);
}

}  // namespace
}  // namespace esc
