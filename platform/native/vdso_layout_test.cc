#include "platform/native/vdso_layout.h"

#include <gtest/gtest.h>
#include <sys/auxv.h>

namespace platform::native {
namespace {

constexpr uint64_t kSize = 0x8000, kFar = 0x7ffd12340000;
constexpr uint64_t kFirst = STUB_REGION_START - kVdsoWindow, kLast = STUB_REGION_START - kSize;

TEST(PlaceVdso, ChoosesAnyPageOfTheWindow) {
  EXPECT_EQ(PlaceVdso(kFar, kSize, 0), kFirst);
  EXPECT_EQ(PlaceVdso(kFar, kSize, 3), kFirst + 0x3000);
  EXPECT_EQ(PlaceVdso(kFar, kSize, 0xfff8), kLast);
}

TEST(PlaceVdso, NeverReachesIntoTheStub) {
  for (uint64_t random = 0xff00; random < 0x10100; ++random) {
    const uint64_t target = PlaceVdso(kFar, kSize, random);
    EXPECT_GE(target, kFirst);
    EXPECT_LE(target + kSize, uint64_t{STUB_REGION_START});
  }
}

TEST(PlaceVdso, IsApartFromWhereItIs) {
  for (const uint64_t from : {kFirst - 0x4000, kFirst, kFirst + 0x1000, kFirst + kSize,
                              kLast - 0x3000, kLast, kLast + 0x4000, uint64_t{STUB_REGION_START}}) {
    for (uint64_t page = from - kSize; page <= from + kSize; page += 0x1000) {
      const uint64_t target = PlaceVdso(from, kSize, (page - kFirst) / 0x1000);
      EXPECT_TRUE(target + kSize <= from || from + kSize <= target) << std::hex << from << target;
      EXPECT_GE(target, kFirst);
      EXPECT_LE(target, kLast);
    }
  }
}

TEST(HostVdso, HoldsTheCodeInAdjacentAreas) {
  const VdsoLayout& layout = HostVdso();
  ASSERT_EQ(layout.areas.empty(), getauxval(AT_SYSINFO_EHDR) == 0);
  if (layout.areas.empty()) GTEST_SKIP() << "this host has no vDSO";
  for (size_t i = 1; i < layout.areas.size(); ++i) {
    EXPECT_EQ(layout.areas[i].start, layout.areas[i - 1].end);
  }
  EXPECT_GE(layout.code, layout.start());
  EXPECT_LT(layout.code, layout.start() + layout.size());
}

}  // namespace
}  // namespace platform::native
