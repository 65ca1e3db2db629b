#include "platform/systrap/fiber.h"

#include <gtest/gtest.h>

#include <cstring>
#include <thread>
#include <vector>

namespace platform::systrap {
namespace {

struct Talk {
  Fiber home;
  std::unique_ptr<Fiber> fiber;
  std::vector<int> said;
  std::thread::id last;
  bool aligned = false;
};

void Count(void* argument) {
  Talk& talk = *static_cast<Talk*>(argument);
  alignas(16) char local[64];
  talk.aligned = reinterpret_cast<uintptr_t>(local) % 16 == 0;
  for (int i = 0;; ++i) {
    std::memset(local, i, sizeof local);
    talk.said.push_back(i);
    talk.last = std::this_thread::get_id();
    Fiber::Switch(*talk.fiber, talk.home);
    if (local[7] != static_cast<char>(i)) talk.said.push_back(-1);
  }
}

TEST(Fiber, GoesOnWhereItLeft) {
  Talk talk;
  talk.fiber = Fiber::Create(&Count, &talk);
  ASSERT_NE(talk.fiber, nullptr);
  for (int i = 0; i < 3; ++i) Fiber::Switch(talk.home, *talk.fiber);
  EXPECT_EQ(talk.said, std::vector<int>({0, 1, 2}));
  EXPECT_TRUE(talk.aligned);
  EXPECT_EQ(talk.last, std::this_thread::get_id());
}

TEST(Fiber, GoesOnOnAnotherThread) {
  Talk talk;
  talk.fiber = Fiber::Create(&Count, &talk);
  ASSERT_NE(talk.fiber, nullptr);
  Fiber::Switch(talk.home, *talk.fiber);
  std::thread::id other;
  std::thread([&] {
    other = std::this_thread::get_id();
    Fiber::Switch(talk.home, *talk.fiber);
  }).join();
  EXPECT_EQ(talk.last, other);
  EXPECT_EQ(talk.said, std::vector<int>({0, 1}));
}

TEST(Fiber, RegistersOfTheCallerStay) {
  Talk talk;
  talk.fiber = Fiber::Create(&Count, &talk);
  ASSERT_NE(talk.fiber, nullptr);
  // More values than there are registers that a call preserves.
  long values[12];
  for (long i = 0; i < 12; ++i) values[i] = i * 1000 + 7;
  long a = values[0], b = values[1], c = values[2], d = values[3], e = values[4], f = values[5],
       g = values[6];
  asm volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f), "+r"(g));
  Fiber::Switch(talk.home, *talk.fiber);
  asm volatile("" : "+r"(a), "+r"(b), "+r"(c), "+r"(d), "+r"(e), "+r"(f), "+r"(g));
  EXPECT_EQ(a + b + c + d + e + f + g, 21 * 1000 + 7 * 7);
}

}  // namespace
}  // namespace platform::systrap
