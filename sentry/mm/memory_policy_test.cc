#include "sentry/mm/memory_policy.h"

#include <gtest/gtest.h>

namespace sentry {
namespace {

constexpr MemoryPolicy kBind{.mode = 2, .nodes = 1}, kPreferred{.mode = 1, .nodes = 1};

TEST(MemoryPolicies, CutsAndRemoves) {
  MemoryPolicies policies;
  ASSERT_TRUE(policies.Set(0x1000, 0x5000, kBind).ok());
  ASSERT_TRUE(policies.Set(0x2000, 0x3000, kPreferred).ok());
  EXPECT_EQ(policies.At(0x1fff), kBind);
  EXPECT_EQ(policies.At(0x2000), kPreferred);
  EXPECT_EQ(policies.At(0x3000), kBind);
  EXPECT_EQ(policies.At(0x5000), std::nullopt);
  ASSERT_TRUE(policies.Set(0x2800, 0x4000, {}).ok());
  EXPECT_EQ(policies.At(0x2000), kPreferred);
  EXPECT_EQ(policies.At(0x2800), std::nullopt);
  EXPECT_EQ(policies.FirstIn(0x2800, 0x4001), kBind);
  EXPECT_EQ(policies.FirstIn(0, 0x1000), std::nullopt);
  MemoryPolicies copy;
  copy.CopyFrom(policies);
  EXPECT_EQ(copy.At(0x4fff), kBind);
}

TEST(MemoryPolicies, AreBounded) {
  MemoryPolicies policies;
  uint64_t at = 0;
  while (policies.Set(at, at + 1, kBind).ok()) at += 2;
  EXPECT_LT(at, 10000u);
}

}  // namespace
}  // namespace sentry
