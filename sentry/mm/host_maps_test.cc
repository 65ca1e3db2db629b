#include "sentry/mm/host_maps.h"

#include <gtest/gtest.h>

namespace sentry {
namespace {

constexpr char kText[] =
    "00400000-00402000 r-xp 00001000 fe:00 1234                       /bin/true (deleted)\n"
    "00402000-00403000 rw-p 00000000 00:00 0 \n"
    "nonsense\n"
    "7f0000000000-7f0000001000 rw-s 00000000 00:01 77                 /memfd:a b\n"
    "7fff00000000-7fff00002000 r-xp 00000000 00:00 0                  [vdso]";

TEST(HostMaps, ReadsWhatIsALine) {
  const auto ranges = ParseHostMaps(kText);
  ASSERT_EQ(ranges.size(), 4u);
  EXPECT_EQ(ranges[0].begin, 0x400000u);
  EXPECT_EQ(ranges[0].end, 0x402000u);
  EXPECT_TRUE(ranges[0].readable && ranges[0].executable);
  EXPECT_FALSE(ranges[0].writable || ranges[0].shared || ranges[0].special);
  EXPECT_EQ(ranges[0].ino, 1234u);
  EXPECT_EQ(ranges[1].ino, 0u);
  EXPECT_TRUE(ranges[2].shared);
  EXPECT_EQ(ranges[2].ino, 77u);
  EXPECT_TRUE(ranges[3].special);
  EXPECT_TRUE(ParseHostMaps("").empty());
  EXPECT_TRUE(ParseHostMaps("1-\n-2 r\n1-2 rw").empty());
}

TEST(HostMaps, Covers) {
  const auto ranges = ParseHostMaps(kText);
  EXPECT_TRUE(CoversRange(ranges, 0x400000, 0x403000));
  EXPECT_TRUE(CoversRange(ranges, 0x401000, 0x402000));
  EXPECT_TRUE(CoversRange(ranges, 5, 5));
  EXPECT_FALSE(CoversRange(ranges, 0x3ff000, 0x401000));
  EXPECT_FALSE(CoversRange(ranges, 0x402000, 0x404000));
  EXPECT_FALSE(CoversRange(ranges, 0x7fff00002000, 0x7fff00003000));
}

}  // namespace
}  // namespace sentry
