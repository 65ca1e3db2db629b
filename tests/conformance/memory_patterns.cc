// What runtimes do with memory all day: allocators, collectors, threads, shared rings.
#include <sched.h>
#include <sys/wait.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/conformance/memory_support.h"

namespace {

// glibc's arenas: a 64 MiB heap aligned to its size, of which little is accessible.
TEST(Pattern, AlignedArena) {
  constexpr size_t kHeap = 64 << 20;
  char* const at =
      static_cast<char*>(mmap(nullptr, 2 * kHeap, PROT_NONE, kPrivate | MAP_NORESERVE, -1, 0));
  ASSERT_THAT(static_cast<void*>(at), Succeeds());
  char* const heap =
      reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(at) + kHeap - 1) & ~(kHeap - 1));
  munmap(at, static_cast<size_t>(heap - at));  // EINVAL when there is nothing.
  munmap(heap + kHeap, static_cast<size_t>(at + 2 * kHeap - (heap + kHeap)));
  for (size_t top = 0; top < kHeap; top += kHeap / 32) {
    ASSERT_THAT(mprotect(heap + top, kHeap / 32, kReadWrite), Returns(0));
    heap[top] = 'h';
  }
  // Trimming: the tail becomes inaccessible again and is given back.
  ASSERT_THAT(
      mmap(heap + kHeap / 2, kHeap / 2, PROT_NONE, kPrivate | MAP_NORESERVE | MAP_FIXED, -1, 0),
      Succeeds());
  EXPECT_EQ(heap[0], 'h');
  EXPECT_FALSE(Readable(heap + kHeap / 2));
  munmap(heap, kHeap);
}

// Go: arenas at chosen hints, mapped PROT_NONE, committed by mapping over, scavenged.
TEST(Pattern, ReserveAtAHintAndCommitByMappingOver) {
  constexpr size_t kArena = 64 << 20;
  void* const hint = reinterpret_cast<void*>(uintptr_t{0xc000000000});
  char* const at = static_cast<char*>(mmap(hint, kArena, PROT_NONE, kPrivate, -1, 0));
  ASSERT_EQ(at, hint);
  for (size_t chunk = 0; chunk < kArena; chunk += kArena / 4) {
    ASSERT_THAT(mmap(at + chunk, kArena / 4, kReadWrite, kPrivate | MAP_FIXED, -1, 0),
                Returns(static_cast<void*>(at + chunk)));
    at[chunk] = 'g';
  }
  EXPECT_THAT(madvise(at, kArena / 4, MADV_NOHUGEPAGE), Returns(0));
  EXPECT_THAT(madvise(at, kArena / 4, MADV_DONTNEED), Returns(0));
  EXPECT_EQ(at[0], 0);
  EXPECT_EQ(at[kArena / 4], 'g');
  // Two neighbours of a kind have become one mapping.
  EXPECT_THAT(munmap(at, kArena), Returns(0));
}

// The JVM: one large reservation, committed and uncommitted from both ends, guard pages by
// protection, and a page whose protection stops all threads at their next look.
TEST(Pattern, SafepointPolling) {
  static std::atomic<int> inside;
  static std::atomic<bool> closed;
  static char* polled;
  inside = 0;
  closed = false;
  Mapping page(kPage, PROT_READ);
  polled = page.get();
  ScopedAction action(SIGSEGV, [](int, siginfo_t* info, void*) {
    if (info->si_addr != polled) _exit(9);
    ++inside;
    while (closed) sched_yield();
    --inside;
  });
  std::atomic<bool> done{false};
  std::vector<std::thread> threads;
  for (int i = 0; i < 3; ++i) {
    threads.emplace_back([&] {
      while (!done) (void)*const_cast<volatile char*>(page.get());
    });
  }
  for (int round = 0; round < 20; ++round) {
    closed = true;
    EXPECT_THAT(mprotect(page.get(), kPage, PROT_NONE), Returns(0));
    EXPECT_TRUE(Eventually([&] { return inside == 3; }));
    EXPECT_THAT(mprotect(page.get(), kPage, PROT_READ), Returns(0));
    closed = false;
    EXPECT_TRUE(Eventually([&] { return inside == 0; }));
  }
  done = true;
  for (std::thread& thread : threads) thread.join();
}

TEST(Pattern, CommitAndUncommitFromBothEnds) {
  constexpr size_t kHeap = 256 << 20, kStep = 1 << 20;
  Mapping heap(kHeap, PROT_NONE, kPrivate | MAP_NORESERVE);
  for (size_t i = 0; i < 16; ++i) {
    char* const low = heap.get() + i * kStep;
    char* const high = heap.get() + kHeap - (i + 1) * kStep;
    for (char* const at : {low, high}) {
      ASSERT_THAT(mmap(at, kStep, kReadWrite, kPrivate | MAP_NORESERVE | MAP_FIXED, -1, 0),
                  Succeeds());
      at[kStep - 1] = 'j';
    }
  }
  for (size_t i = 0; i < 16; ++i) {
    ASSERT_THAT(
        mmap(heap.get() + i * kStep, kStep, PROT_NONE, kPrivate | MAP_NORESERVE | MAP_FIXED, -1, 0),
        Succeeds());
  }
  EXPECT_FALSE(Readable(heap.get()));
  EXPECT_EQ(heap[kHeap - 1], 'j');
}

// A ring that is mapped twice in a row, so that what wraps around is contiguous.
TEST(Pattern, MirroredRing) {
  constexpr size_t kRing = 16 * kPage;
  UniqueFd fd = Memfd(kRing);
  Mapping room(2 * kRing, PROT_NONE);
  for (const size_t at : {size_t{0}, kRing}) {
    ASSERT_THAT(mmap(room.get() + at, kRing, kReadWrite, MAP_SHARED | MAP_FIXED, fd.get(), 0),
                Succeeds());
  }
  memcpy(room.get() + kRing - 5, "wraparound", 10);
  EXPECT_EQ(memcmp(room.get(), "round", 5), 0);
}

// A JIT: one view to write, another to execute.
TEST(Pattern, WriteAndExecuteThroughTwoViews) {
  UniqueFd fd = Memfd(kPage);
  Mapping writable(kPage, kReadWrite, MAP_SHARED, fd.get());
  Mapping executable(kPage, PROT_READ | PROT_EXEC, MAP_SHARED, fd.get());
  for (unsigned char value = 1; value < 20; ++value) {
    const unsigned char code[] = {0xb8, value, 0, 0, 0, 0xc3};  // mov $value,%eax; ret
    memcpy(writable.get(), code, sizeof code);
    __builtin___clear_cache(executable.get(), executable.get() + sizeof code);
    EXPECT_EQ(reinterpret_cast<int (*)()>(executable.get())(), value);
  }
}

TEST(Pattern, FastReuseOfManyMappings) {
  std::vector<void*> maps;
  for (int i = 0; i < 2000; ++i) {
    void* at = mmap(nullptr, kPage * static_cast<size_t>(1 + i % 7), kReadWrite, kPrivate, -1, 0);
    ASSERT_THAT(at, Succeeds());
    *static_cast<int*>(at) = i;
    maps.push_back(at);
  }
  for (int i = 0; i < 2000; ++i) {
    ASSERT_EQ(*static_cast<int*>(maps[static_cast<size_t>(i)]), i);
    munmap(maps[static_cast<size_t>(i)], kPage * static_cast<size_t>(1 + i % 7));
  }
}

TEST(Pattern, ThreadsMapAndUnmapAtOnce) {
  std::atomic<int> wrong{0};
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&wrong, t] {
      UniqueFd fd = Memfd(kPage);
      const char mine = static_cast<char>('a' + t);
      wrong += pwrite(fd.get(), &mine, 1, 0) != 1;
      for (int i = 0; i < 200; ++i) {
        char* const file =
            static_cast<char*>(mmap(nullptr, kPage, PROT_READ, MAP_SHARED, fd.get(), 0));
        char* const memory = static_cast<char*>(mmap(nullptr, kPage, kReadWrite, kPrivate, -1, 0));
        if (file == MAP_FAILED || memory == MAP_FAILED) {
          ++wrong;
          continue;
        }
        wrong += *file != mine;
        *memory = mine;
        munmap(file, kPage);
        munmap(memory, kPage);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
}

TEST(Pattern, ManyFilesUnderOneNumber) {
  // Each round the number means another file, as with an editor or a package manager.
  for (int i = 0; i < 300; ++i) {
    UniqueFd fd = Memfd(kPage);
    ASSERT_THAT(pwrite(fd.get(), &i, sizeof i, 0), Returns(sizeof i));
    Mapping map(kPage, PROT_READ, MAP_PRIVATE, fd.get());
    int seen;
    memcpy(&seen, map.get(), sizeof seen);
    ASSERT_EQ(seen, i);
  }
}

TEST(Pattern, FixedMappingsOverAReservationLeaveNothingBehind) {
  constexpr size_t kPages = 400;
  Mapping room(kPages * kPage, PROT_NONE);
  for (size_t i = 0; i < kPages; ++i) {
    UniqueFd fd = Memfd(kPage);
    const int value = static_cast<int>(i);
    ASSERT_THAT(pwrite(fd.get(), &value, sizeof value, 0), Returns(sizeof value));
    ASSERT_THAT(mmap(room.page(i), kPage, PROT_READ, MAP_SHARED | MAP_FIXED, fd.get(), 0),
                Succeeds());
  }
  for (size_t i = 0; i < kPages; ++i) {
    int seen;
    memcpy(&seen, room.page(i), sizeof seen);
    ASSERT_EQ(seen, static_cast<int>(i));
    ASSERT_THAT(munmap(room.page(i), kPage), Returns(0));
  }
}

TEST(ForkMemory, WritesAreTheWritersOwn) {
  constexpr size_t kPages = 256;
  Mapping map(kPages * kPage);
  for (size_t i = 0; i < kPages; ++i) map.page(i)[0] = 'p';
  Pipe ready, go;
  const pid_t child = Start([&] {
    for (size_t i = 0; i < kPages; i += 2) map.page(i)[0] = 'c';
    CHILD_CHECK(Post(ready.write.get()) && Await(go.read.get()));
    for (size_t i = 0; i < kPages; ++i) CHILD_CHECK(map.page(i)[0] == (i % 2 == 0 ? 'c' : 'p'));
    return 0;
  });
  ASSERT_TRUE(Await(ready.read.get()));
  for (size_t i = 0; i < kPages; ++i) {
    ASSERT_EQ(map.page(i)[0], 'p');
    map.page(i)[0] = 'P';
  }
  EXPECT_TRUE(Post(go.write.get()));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(ForkMemory, GrandchildrenShareWhatIsShared) {
  Mapping shared(kPage, kReadWrite, kShared), own(kPage);
  EXPECT_THAT(InChild([&] {
                own[0] = 1;
                return WEXITSTATUS(InChild([&] {
                  shared[0] = static_cast<char>(own[0] + 1);
                  return 0;
                }));
              }),
              Exited(0));
  EXPECT_EQ(shared[0], 2);
  EXPECT_EQ(own[0], 0);
}

int VforkBody(void* at) {
  static_cast<char*>(at)[0] = 'v';
  void* const made = mmap(nullptr, kPage, kReadWrite, kPrivate, -1, 0);
  memcpy(static_cast<char*>(at) + 8, &made, sizeof made);
  *static_cast<char*>(made) = 'm';
  return 0;
}

TEST(ForkMemory, CloneVmIsTheSameMemory) {
  Mapping map(kPage), stack(64 * kPage);
  const pid_t child =
      clone(VforkBody, stack.get() + 64 * kPage, CLONE_VM | CLONE_VFORK | SIGCHLD, map.get());
  ASSERT_GT(child, 0);
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(map[0], 'v');
  char* made;
  memcpy(&made, map.get() + 8, sizeof made);
  EXPECT_EQ(*made, 'm');
  munmap(made, kPage);
}

}  // namespace
