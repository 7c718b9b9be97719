#include "esc/topo/cpu_set.h"

#include <gtest/gtest.h>

namespace esc::topo {
namespace {

TEST(CpuSet, parses_and_prints_the_kernels_list_format) {
  for (const char* text : {"", "0", "0-3", "0,2,4", "0-1023", "0-3,8,10-11"}) {
    const auto set = CpuSet::parse(text);
    ASSERT_TRUE(set.has_value()) << text;
    EXPECT_EQ(CpuSet::parse(set->to_string()).value(), *set) << text;
  }
  EXPECT_EQ(CpuSet::parse("0-3,8,10-12\n")->to_string(), "0-3,8,10-12");
  EXPECT_EQ(CpuSet::parse(" 4 , 1 ")->to_string(), "1,4");
}

TEST(CpuSet, refuses_what_is_no_list_and_says_so) {
  for (const char* text :
       {"a", "1-", "-1", "3-1", "1024", "1,,2", "1,", "(null)", "1 2", "0x1", "99999999999"}) {
    const auto set = CpuSet::parse(text);
    ASSERT_FALSE(set.has_value()) << text;
    EXPECT_NE(set.error().message.find("is not a list of CPUs"), std::string::npos);
  }
}

TEST(CpuSet, set_algebra) {
  const CpuSet a{0, 1, 2};
  const CpuSet b{2, 3};
  EXPECT_EQ(a & b, CpuSet{2});
  EXPECT_EQ((a | b).to_string(), "0-3");
  EXPECT_EQ(a - b, (CpuSet{0, 1}));
  EXPECT_TRUE(a.contains_all(CpuSet{0, 2}));
  EXPECT_FALSE(a.contains_all(b));
  EXPECT_TRUE(a.intersects(b));
  EXPECT_EQ(b.first(), 2u);
  EXPECT_EQ(a.count(), 3u);
}

}  // namespace
}  // namespace esc::topo
