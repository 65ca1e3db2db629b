#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/large_buffer.h"
#include "base/log.h"
#include "base/lru_cache.h"
#include "base/ref.h"
#include "base/result.h"
#include "base/slab.h"
#include "base/unique_fd.h"

namespace {

Result<int> Half(int n) {
  if (n % 2 != 0) return Errno(EINVAL);
  return n / 2;
}

Result<int> Quarter(int n) { return Half(TRY(Half(n))); }

TEST(Result, PropagatesTheFirstError) {
  EXPECT_EQ(*Quarter(8), 2);
  EXPECT_EQ(Quarter(6).error(), Errno(EINVAL));
}

TEST(Result, MovesItsValueOut) {
  Result<std::unique_ptr<int>> boxed = std::make_unique<int>(3);
  const std::unique_ptr<int> taken = *std::move(boxed);
  EXPECT_EQ(*taken, 3);
}

struct Counted : RefCounted {
  explicit Counted(int* deaths) : deaths(deaths) {}
  ~Counted() override { ++*deaths; }
  int* deaths;
};

TEST(Ref, DeletesWithTheLastReference) {
  int deaths = 0;
  {
    Ref<Counted> first = MakeRef<Counted>(&deaths);
    Ref<RefCounted> second = first;
    EXPECT_EQ(first->ref_count(), 2u);
    first = nullptr;
    EXPECT_EQ(deaths, 0);
  }
  EXPECT_EQ(deaths, 1);
}

TEST(UniqueFd, ClosesOnce) {
  int raw;
  {
    UniqueFd fd(open("/dev/null", O_RDONLY | O_CLOEXEC));
    raw = fd.get();
    UniqueFd moved = std::move(fd);
    EXPECT_FALSE(fd.valid());  // NOLINT: a moved-from UniqueFd is empty by contract.
    EXPECT_EQ(fcntl(raw, F_GETFD), FD_CLOEXEC);
  }
  EXPECT_EQ(fcntl(raw, F_GETFD), -1);
}

class LogTest : public testing::Test {
 protected:
  void SetUp() override { ASSERT_EQ(pipe2(fds_, O_CLOEXEC | O_NONBLOCK), 0); }
  void TearDown() override {
    logging::Configure(STDERR_FILENO, logging::Format::kText, logging::Level::kWarning);
    close(fds_[0]);
    close(fds_[1]);
  }
  std::string Drain() {
    char buffer[4096];
    const ssize_t n = read(fds_[0], buffer, sizeof(buffer));
    return n > 0 ? std::string(buffer, static_cast<size_t>(n)) : std::string();
  }
  int fds_[2];
};

TEST_F(LogTest, FormatsNothingBelowItsLevel) {
  logging::Configure(fds_[1], logging::Format::kText, logging::Level::kWarning);
  int evaluated = 0;
  LOG_DEBUG("%d", ++evaluated);
  EXPECT_EQ(evaluated, 0);
  EXPECT_EQ(Drain(), "");
  LOG_WARNING("%d", ++evaluated);
  EXPECT_EQ(Drain(), "sandbox: 1\n");
}

TEST_F(LogTest, EscapesJson) {
  logging::Configure(fds_[1], logging::Format::kJson, logging::Level::kInfo);
  LOG_INFO("a \"b\"\n");
  EXPECT_THAT(Drain(), testing::StartsWith(
                           "{\"level\":\"info\",\"msg\":\"a \\\"b\\\"\\u000a\",\"time\":\"2"));
}

TEST(LruCache, KeepsWhatWasUsedLast) {
  LruCache<int, std::shared_ptr<int>> cache(100);
  for (int i = 0; i < 10; ++i) cache.Insert(i, std::make_shared<int>(i), 10);
  EXPECT_EQ(cache.cost(), 100u);
  ASSERT_NE(cache.Find(0), nullptr);  // Used, so that 1 is next.
  cache.Insert(10, std::make_shared<int>(10), 10);
  EXPECT_EQ(cache.cost(), 100u);
  EXPECT_EQ(cache.Find(1), nullptr);
  EXPECT_EQ(*cache.Find(0), 0);
  EXPECT_EQ(*cache.Take(10), 10);
  EXPECT_EQ(cache.Take(10), nullptr);
  cache.Insert(2, std::make_shared<int>(22), 30);  // Instead of the first one.
  EXPECT_EQ(*cache.Find(2), 22);
  EXPECT_LE(cache.cost(), 100u);
  cache.Insert(11, std::make_shared<int>(11), 51);
  EXPECT_EQ(cache.Find(11), nullptr);
  cache.Clear();
  EXPECT_EQ(cache.cost(), 0u);
}

TEST(Slab, ObjectsOfAllSizesAreTheirOwn) {
  struct Object {
    char* at;
    size_t size;
    char mark;
  };
  std::vector<Object> objects;
  uint32_t random = 1;
  for (int i = 0; i < 50'000; ++i) {
    random = random * 1664525 + 1013904223;
    const size_t size = 8 + random / 7 % (Slab::kMostSize - 7);
    if (objects.size() > 3000) {
      std::swap(objects[random / 3 % objects.size()], objects.back());
      const Object gone = objects.back();
      objects.pop_back();
      for (size_t k = 0; k < gone.size; ++k) ASSERT_EQ(gone.at[k], gone.mark);
      Slab::Free(gone.at);
    }
    const char mark = static_cast<char>(i);
    auto* at = static_cast<char*>(Slab::Allocate(size));
    ASSERT_EQ(reinterpret_cast<uintptr_t>(at) % 8, 0u);
    memset(at, mark, size);
    objects.push_back({at, size, mark});
  }
  for (const Object& object : objects) Slab::Free(object.at);
}

TEST(Slab, ServesThreads) {
  std::vector<std::thread> threads;
  for (char mark = 1; mark <= 4; ++mark) {
    threads.emplace_back([mark] {
      std::vector<char*> mine;
      for (int round = 0; round < 200; ++round) {
        for (int i = 0; i < 200; ++i) {
          mine.push_back(static_cast<char*>(Slab::Allocate(72)));
          memset(mine.back(), mark, 72);
        }
        for (char* at : mine) {
          ASSERT_EQ(at[71], mark);
          Slab::Free(at);
        }
        mine.clear();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
}

// A wrong class of sizes would be written over, which the next block of malloc's shows.
TEST(LargeBuffer, BlocksAreAsLargeAsAskedForAndTheirOwn) {
  const size_t sizes[] = {1,    2049,       4096 + 64, 4096 + 65,
                          8192, 16384 + 56, 32769,     LargeBuffer::kSize};
  for (int round = 0; round < 3; ++round) {
    std::vector<std::pair<char*, size_t>> blocks;
    for (int i = 0; i < 40; ++i) {
      for (const size_t size : sizes) {
        blocks.emplace_back(static_cast<char*>(LargeBuffer::Allocate(size)), size);
        memset(blocks.back().first, static_cast<char>(blocks.size()), size);
      }
    }
    for (size_t i = 0; i < blocks.size(); ++i) {
      const auto [bytes, size] = blocks[i];
      EXPECT_EQ(bytes[0], static_cast<char>(i + 1));
      EXPECT_EQ(bytes[size - 1], static_cast<char>(i + 1));
      LargeBuffer::Free(bytes, size);
    }
    if (round == 1) LargeBuffer::Trim();
  }
  LargeBuffer::Trim();
}

}  // namespace
