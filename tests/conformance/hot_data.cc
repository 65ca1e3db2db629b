// Small reads and writes again and again: a kernel may carry their data in other ways than those of
// the first time.
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include <array>
#include <atomic>
#include <thread>

#include "tests/conformance/edge.h"
#include "tests/conformance/support.h"

namespace {

constexpr int kMany = 500;
constexpr size_t kPage = 4096;

std::string Pattern(size_t size) {
  std::string text(size, '\0');
  for (size_t i = 0; i < size; ++i) text[i] = static_cast<char>(i * 7 + i / 251 + 1);
  return text;
}

TEST(HotData, EachSizeArrivesWhole) {
  const std::string data = Pattern(3 * kPage);
  UniqueFd file = OpenTemp(0, data);
  const size_t sizes[] = {1,  7,    8,    31,   32,   33,   63,   64,
                          65, 1000, 4063, 4064, 4095, 4096, 4097, 8192};
  std::vector<char> buffer(3 * kPage);
  for (int i = 0; i < kMany; ++i) {
    const size_t size = sizes[static_cast<size_t>(i) % std::size(sizes)];
    const auto offset = static_cast<size_t>(i % 100);
    std::fill(buffer.begin(), buffer.end(), '#');
    ASSERT_EQ(pread(file.get(), &buffer[offset], size, i % 61), static_cast<ssize_t>(size));
    ASSERT_EQ(memcmp(&buffer[offset], &data[static_cast<size_t>(i % 61)], size), 0) << size;
    ASSERT_EQ(buffer[offset + size], '#');
    ASSERT_TRUE(offset == 0 || buffer[offset - 1] == '#');
  }
}

TEST(HotData, EachSizeIsWrittenWhole) {
  const std::string data = Pattern(3 * kPage);
  UniqueFd file = OpenTemp();
  const size_t sizes[] = {1, 7, 8, 31, 32, 33, 1000, 4095, 4096, 4097, 8192};
  std::vector<char> buffer(3 * kPage);
  for (int i = 0; i < kMany; ++i) {
    const size_t size = sizes[static_cast<size_t>(i) % std::size(sizes)];
    ASSERT_EQ(pwrite(file.get(), data.data() + i % 50, size, 0), static_cast<ssize_t>(size));
    ASSERT_EQ(pread(file.get(), buffer.data(), buffer.size(), 0), static_cast<ssize_t>(size));
    ASSERT_EQ(memcmp(buffer.data(), data.data() + i % 50, size), 0) << size;
    ASSERT_EQ(ftruncate(file.get(), 0), 0);
  }
}

TEST(HotData, LessIsReadAtTheEnd) {
  UniqueFd file = OpenTemp(0, "0123456789");
  char buffer[64];
  for (int i = 0; i < kMany; ++i) {
    memset(buffer, '#', sizeof buffer);
    ASSERT_EQ(pread(file.get(), buffer, sizeof buffer, 4), 6);
    ASSERT_EQ(memcmp(buffer, "456789####", 10), 0);
    ASSERT_EQ(pread(file.get(), buffer, sizeof buffer, 10), 0);
    ASSERT_EQ(pread(file.get(), buffer, 0, 0), 0);
    ASSERT_EQ(buffer[0], '4');
  }
}

TEST(HotData, MemoryThatIsNotThere) {
  const Edge edge;
  Pipe pipe;
  UniqueFd file = OpenTemp(0, "0123456789");
  char buffer[8];
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(write(pipe.write.get(), "abcd", 4), 4);
    if (i % 16 == 0) {
      ASSERT_THAT(read(pipe.read.get(), edge.end(), 4), FailsWith(EFAULT));
      ASSERT_THAT(write(pipe.write.get(), edge.end(), 4), FailsWith(EFAULT));
      ASSERT_THAT(read(file.get(), edge.end(), 4), FailsWith(EFAULT));
      ASSERT_THAT(pwrite(file.get(), edge.end(), 4, 0), FailsWith(EFAULT));
      ASSERT_THAT(pread(file.get(), reinterpret_cast<void*>(-4096L), 4, 0), FailsWith(EFAULT));
    }
    // Nothing is lost.
    ASSERT_EQ(read(pipe.read.get(), buffer, sizeof buffer), 4);
    ASSERT_EQ(memcmp(buffer, "abcd", 4), 0);
    ASSERT_EQ(lseek(file.get(), 0, SEEK_CUR), 0);
  }
}

TEST(HotData, UpToTheEdgeOfMemory) {
  const Edge edge;
  UniqueFd file = OpenTemp(0, "0123456789");
  for (int i = 0; i < kMany; ++i) {
    const size_t size = static_cast<size_t>(i % 10) + 1;
    ASSERT_EQ(pread(file.get(), edge.end() - size, size, 0), static_cast<ssize_t>(size));
    ASSERT_EQ(memcmp(edge.end() - size, "0123456789", size), 0);
    ASSERT_EQ(pwrite(file.get(), edge.end() - size, size, 0), static_cast<ssize_t>(size));
  }
}

TEST(HotData, ReadOnlyMemoryIsNotWrittenTo) {
  const Edge edge;
  strcpy(edge.start(), "constant");
  ASSERT_EQ(mprotect(edge.start(), kPage, PROT_READ), 0);
  UniqueFd file = OpenTemp(0, "0123456789");
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(pwrite(file.get(), edge.start(), 4, 0), 4);
    if (i % 16 == 0) {
      ASSERT_THAT(pread(file.get(), edge.start(), 4, 0), FailsWith(EFAULT));
    }
    ASSERT_STREQ(edge.start(), "constant");
  }
}

TEST(HotData, MemoryThatComesAndGoes) {
  const Edge edge;
  UniqueFd file = OpenTemp(0, "0123456789");
  std::atomic<bool> done{false};
  std::thread other([&] {
    while (!done) {
      mprotect(edge.start(), kPage, PROT_NONE);
      mprotect(edge.start(), kPage, PROT_READ | PROT_WRITE);
    }
  });
  int right = 0;
  for (int i = 0; i < kMany || right < 100; ++i) {
    ssize_t result = pread(file.get(), edge.start(), 8, 0);
    if (result != 8 && (result != -1 || errno != EFAULT)) ADD_FAILURE() << result << " " << errno;
    if (result == 8) ++right;
    result = pwrite(file.get(), edge.start() + 100, 8, 100);
    if (result != 8 && (result != -1 || errno != EFAULT)) ADD_FAILURE() << result << " " << errno;
  }
  done = true;
  other.join();
}

TEST(HotData, SignalsLoseNothing) {
  static std::atomic<int> alarms;
  alarms = 0;
  ScopedAction action(
      SIGALRM, [](int) { alarms = alarms + 1; }, SA_RESTART);
  const itimerval often{.it_interval = {0, 900}, .it_value = {0, 900}}, never{};
  setitimer(ITIMER_REAL, &often, nullptr);
  Pipe pipe;
  const std::string data = Pattern(kPage);
  std::vector<char> buffer(kPage);
  for (int i = 0; i < kMany || alarms < 30; ++i) {
    const size_t size = static_cast<size_t>(i) % 4095 + 1;
    ASSERT_EQ(write(pipe.write.get(), data.data(), size), static_cast<ssize_t>(size));
    memset(buffer.data(), 0, size);
    ASSERT_EQ(read(pipe.read.get(), buffer.data(), size), static_cast<ssize_t>(size));
    ASSERT_EQ(memcmp(buffer.data(), data.data(), size), 0) << i;
  }
  setitimer(ITIMER_REAL, &never, nullptr);
}

TEST(HotData, WaitsForOthers) {
  Pipe there, back;
  std::thread other([&] {
    uint64_t value;
    while (read(there.read.get(), &value, sizeof value) == sizeof value) {
      ++value;
      if (write(back.write.get(), &value, sizeof value) != sizeof value) return;
    }
  });
  for (uint64_t i = 0; i < kMany; ++i) {
    ASSERT_EQ(write(there.write.get(), &i, sizeof i), static_cast<ssize_t>(sizeof i));
    uint64_t answer = 0;
    ASSERT_EQ(read(back.read.get(), &answer, sizeof answer), static_cast<ssize_t>(sizeof answer));
    ASSERT_EQ(answer, i + 1);
  }
  there.write.reset();
  other.join();
}

TEST(HotData, ThroughObjectsOfOtherKinds) {
  UniqueFd event(eventfd(0, 0));
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_DGRAM, 0, pair), 0);
  UniqueFd one(pair[0]), two(pair[1]);
  for (uint64_t i = 1; i <= kMany; ++i) {
    uint64_t value = 0;
    ASSERT_EQ(write(event.get(), &i, sizeof i), 8);
    ASSERT_EQ(read(event.get(), &value, sizeof value), 8);
    ASSERT_EQ(value, i);
    ASSERT_EQ(write(one.get(), &i, 3), 3);
    value = 0;
    ASSERT_EQ(read(two.get(), &value, 8), 3);  // The datagram's.
    ASSERT_EQ(value, i & 0xffffff);
    ASSERT_THAT(read(event.get(), &value, 4), FailsWith(EINVAL));
  }
}

// A shared buffer between two processes.
TEST(HotData, SharedMemoryIsSharedAtOnce) {
  auto* shared = static_cast<char*>(
      mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(shared, MAP_FAILED);
  Pipe there, back;
  const pid_t child = Start([&] {
    for (int i = 0; i < kMany; ++i) {
      if (!Await(there.read.get())) return 1;
      if (shared[0] != static_cast<char>('a' + i % 26)) return 2;
      if (!Post(back.write.get())) return 3;
    }
    return 0;
  });
  UniqueFd file = OpenTemp(0, "abcdefghijklmnopqrstuvwxyz");
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(pread(file.get(), shared, 1, i % 26), 1);
    ASSERT_TRUE(Post(there.write.get()));
    ASSERT_TRUE(Await(back.read.get()));
  }
  EXPECT_EQ(Wait(child), 0);
  munmap(shared, kPage);
}

// With the direction flag set, as nobody should do and nothing forbids.
extern "C" long backwards_pread(long fd, void* buffer, size_t size, long offset);
extern "C" long backwards_pwrite(long fd, const void* buffer, size_t size, long offset);
asm(R"(
    .text
    .globl backwards_pread, backwards_pwrite
backwards_pread:
    mov %rcx, %r10
    std
    mov $17, %eax
    syscall
    cld
    ret
backwards_pwrite:
    mov %rcx, %r10
    std
    mov $18, %eax
    syscall
    cld
    ret
)");

TEST(HotData, TheDirectionFlagIsTheProgramsOwn) {
  const std::string data = Pattern(200);
  UniqueFd file = OpenTemp();
  std::array<char, 200> buffer;
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(backwards_pwrite(file.get(), data.data(), data.size(), 0), 200);
    buffer.fill('#');
    ASSERT_EQ(backwards_pread(file.get(), buffer.data(), buffer.size(), 0), 200);
    ASSERT_EQ(memcmp(buffer.data(), data.data(), data.size()), 0);
  }
}

}  // namespace
