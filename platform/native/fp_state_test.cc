#include "platform/native/fp_state.h"

#include <gtest/gtest.h>

#include <cstring>

namespace platform::native {
namespace {

constexpr size_t kSize = 832;  // x87, SSE and AVX.

template <typename T>
T At(const std::vector<std::byte>& bytes, size_t offset) {
  T value;
  std::memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

template <typename T>
void Put(std::vector<std::byte>& bytes, size_t offset, T value) {
  std::memcpy(bytes.data() + offset, &value, sizeof(T));
}

std::vector<std::byte> Xstate() {
  std::vector<std::byte> state(kSize);
  Put<uint16_t>(state, 0, 0x37f);
  Put<uint32_t>(state, 24, 0x1f80);
  Put<uint64_t>(state, 160, 0x1122334455667788);  // xmm0
  Put<uint64_t>(state, 464, 7);                   // What the host has enabled.
  Put<uint64_t>(state, 512, 7);                   // What is in use.
  Put<uint64_t>(state, 576, 0x99aa);              // The upper half of ymm0.
  return state;
}

TEST(FpState, SignalFrameRoundTrip) {
  const std::vector<std::byte> frame = ToSignalFrame(Xstate());
  EXPECT_EQ(frame.size(), kSize + 4);
  EXPECT_EQ(At<uint32_t>(frame, 464), 0x46505853u);
  EXPECT_EQ(At<uint32_t>(frame, 468), kSize + 4);
  EXPECT_EQ(At<uint64_t>(frame, 472), 7u);
  EXPECT_EQ(At<uint32_t>(frame, 480), kSize);
  EXPECT_EQ(At<uint32_t>(frame, kSize), 0x46505845u);
  const auto back = FromSignalFrame(frame, Xstate());
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, Xstate());
}

TEST(FpState, PlainFxsaveAreaResetsTheRest) {
  std::vector<std::byte> frame(512);
  Put<uint64_t>(frame, 160, uint64_t{5});
  const auto state = FromSignalFrame(frame, Xstate());
  ASSERT_TRUE(state.ok());
  EXPECT_EQ(At<uint64_t>(*state, 160), 5u);
  EXPECT_EQ(At<uint64_t>(*state, 512), 3u);
}

TEST(FpState, WrongMagicCountsAsPlain) {
  std::vector<std::byte> frame = ToSignalFrame(Xstate());
  Put<uint32_t>(frame, kSize, 0u);
  EXPECT_EQ(At<uint64_t>(*FromSignalFrame(frame, Xstate()), 512), 3u);
  frame = ToSignalFrame(Xstate());
  Put<uint32_t>(frame, 480, ~0u);  // Beyond its end.
  EXPECT_EQ(At<uint64_t>(*FromSignalFrame(frame, Xstate()), 512), 3u);
}

TEST(FpState, EmptyIsTheInitialState) {
  const auto state = FromSignalFrame({}, Xstate());
  EXPECT_EQ(At<uint64_t>(*state, 160), 0u);
  EXPECT_EQ(At<uint32_t>(*state, 24), 0x1f80u);
  EXPECT_EQ(At<uint64_t>(*state, 512), 3u);
}

TEST(FpState, ShortFrameIsRefused) {
  EXPECT_EQ(FromSignalFrame(std::vector<std::byte>(100), Xstate()).error(), Errno(EINVAL));
}

}  // namespace
}  // namespace platform::native
