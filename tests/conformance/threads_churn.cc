// Short-lived threads, one after the other: what a kernel may shorten in their births and ends is
// never seen. Numbers are told before anybody can look, signals find who has just been made, and
// robust locks of those who go are given up.
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <atomic>
#include <thread>
#include <vector>

#include "tests/conformance/support.h"

namespace {

// Enough for any short cut to be taken.
constexpr int kMany = 600;

constexpr unsigned long kThread = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                                  CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_SETTID |
                                  CLONE_CHILD_CLEARTID;

// Waits until the kernel has cleared a thread's number.
void AwaitEnd(const std::atomic<int>& tid) {
  while (const int now = tid.load()) {
    syscall(SYS_futex, &tid, FUTEX_WAIT, now, nullptr, nullptr, 0);
  }
}

// A thread without the C library: looks at what clone(2) has told, and ends.
struct Bare {
  std::atomic<int> parent_tid = 0;
  std::atomic<int> child_tid = 0;
  long seen_parent = -1, seen_child = -1, tid = -1, mask = -1;
};

int RunBare(void* argument) {
  Bare& bare = *static_cast<Bare*>(argument);
  bare.seen_parent = bare.parent_tid.load();
  bare.seen_child = bare.child_tid.load();
  long tid, mask = 0;
  const long size = 8;
  asm volatile("syscall" : "=a"(tid) : "a"(SYS_gettid) : "rcx", "r11", "memory");
  register long r10 asm("r10") = size;
  long result;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(SYS_rt_sigprocmask), "D"(SIG_BLOCK), "S"(nullptr), "d"(&mask), "r"(r10)
               : "rcx", "r11", "memory");
  bare.mask = result == 0 ? mask : -1;
  bare.tid = tid;
  return 0;
}

TEST(ThreadChurn, NumbersAreToldBeforeTheThreadRuns) {
  constexpr size_t kStack = 64 * 1024;
  char* stack = static_cast<char*>(
      mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(stack, MAP_FAILED);
  std::vector<long> mistakes;
  for (int i = 0; i < kMany; ++i) {
    Bare bare;
    bare.child_tid = -1;  // Set by the kernel, and cleared in the end.
    const int tid = clone(RunBare, stack + kStack, static_cast<int>(kThread), &bare,
                          &bare.parent_tid, nullptr, &bare.child_tid);
    ASSERT_GT(tid, 0);
    AwaitEnd(bare.child_tid);
    if (bare.seen_parent != tid || bare.seen_child != tid || bare.tid != tid ||
        bare.parent_tid != tid) {
      mistakes.push_back(i);
    }
  }
  EXPECT_TRUE(mistakes.empty()) << mistakes.size() << " of " << kMany;
  EXPECT_THAT(munmap(stack, kStack), Returns(0));
}

TEST(ThreadChurn, TheMaskIsInherited) {
  constexpr size_t kStack = 64 * 1024;
  char* stack = static_cast<char*>(
      mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(stack, MAP_FAILED);
  int mistakes = 0;
  for (int i = 0; i < kMany; ++i) {
    sigset_t set, old;
    sigemptyset(&set);
    const int signal = SIGRTMIN + i % 8;
    sigaddset(&set, signal);
    ASSERT_THAT(pthread_sigmask(SIG_SETMASK, &set, &old), Returns(0));
    Bare bare;
    bare.child_tid = -1;
    const int tid = clone(RunBare, stack + kStack, static_cast<int>(kThread), &bare,
                          &bare.parent_tid, nullptr, &bare.child_tid);
    ASSERT_THAT(pthread_sigmask(SIG_SETMASK, &old, nullptr), Returns(0));
    ASSERT_GT(tid, 0);
    AwaitEnd(bare.child_tid);
    mistakes += bare.mask != long{1} << (signal - 1);
  }
  EXPECT_EQ(mistakes, 0);
  EXPECT_THAT(munmap(stack, kStack), Returns(0));
}

std::atomic<int> g_handled;
thread_local int t_handled;

TEST(ThreadChurn, ASignalFindsAThreadThatHasJustBeenMade) {
  g_handled = 0;
  ScopedAction action(SIGUSR2, [](int) {
    ++t_handled;
    ++g_handled;
  });
  int own = 0;
  for (int i = 0; i < kMany; ++i) {
    static std::atomic<int> handled;
    handled = 0;
    pthread_t thread;
    ASSERT_EQ(pthread_create(
                  &thread, nullptr,
                  [](void*) -> void* {
                    while (t_handled == 0) sched_yield();
                    handled = t_handled;
                    return nullptr;
                  },
                  nullptr),
              0);
    ASSERT_EQ(pthread_kill(thread, SIGUSR2), 0);
    ASSERT_EQ(pthread_join(thread, nullptr), 0);
    own += handled;
  }
  EXPECT_EQ(own, kMany);
  EXPECT_EQ(g_handled, kMany);
}

TEST(ThreadChurn, RobustLocksAreGivenUp) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  static pthread_mutex_t mutex;
  ASSERT_EQ(pthread_mutex_init(&mutex, &attributes), 0);
  int given_up = 0;
  for (int i = 0; i < kMany; ++i) {
    std::thread([] { pthread_mutex_lock(&mutex); }).join();
    const int result = pthread_mutex_lock(&mutex);
    given_up += result == EOWNERDEAD;
    if (result == EOWNERDEAD) pthread_mutex_consistent(&mutex);
    ASSERT_EQ(pthread_mutex_unlock(&mutex), 0);
  }
  EXPECT_EQ(given_up, kMany);
  pthread_mutex_destroy(&mutex);
  pthread_mutexattr_destroy(&attributes);
}

// As RobustLocksAreGivenUp, where the whole process is killed.
TEST(ThreadChurn, RobustLocksOfAProcessAreGivenUpAfterManyThreads) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  auto* mutex = static_cast<pthread_mutex_t*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(mutex, MAP_FAILED);
  ASSERT_EQ(pthread_mutex_init(mutex, &attributes), 0);
  Pipe ready;
  const pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < kMany / 2; ++i) std::thread([] {}).join();
    std::thread([&] {
      pthread_mutex_lock(mutex);
      if (write(ready.write.get(), "x", 1) != 1) _exit(1);
      for (;;) pause();
    }).join();
    _exit(1);
  }
  char byte;
  ASSERT_THAT(read(ready.read.get(), &byte, 1), Returns(1));
  ASSERT_THAT(kill(child, SIGKILL), Returns(0));
  int status = 0;
  ASSERT_THAT(waitpid(child, &status, 0), Returns(child));
  EXPECT_TRUE(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  EXPECT_EQ(pthread_mutex_lock(mutex), EOWNERDEAD);
  EXPECT_THAT(munmap(mutex, 4096), Returns(0));
}

struct RobustHead {
  void* next;
  long offset;
  void* pending;
};

TEST(ThreadChurn, EachThreadHasARobustListOfItsOwn) {
  int mistakes = 0;
  for (int i = 0; i < kMany; ++i) {
    std::atomic<int> stage = 0;
    std::atomic<pid_t> tid = 0;
    std::atomic<RobustHead*> own = nullptr;
    std::thread thread([&] {
      RobustHead* head = nullptr;
      size_t size = 0;
      if (syscall(SYS_get_robust_list, 0, &head, &size) != 0 || size != sizeof(RobustHead))
        head = nullptr;
      own = head;
      tid = gettid();
      stage = 1;
      stage.notify_all();
      stage.wait(1);
    });
    stage.wait(0);
    RobustHead* seen = nullptr;
    size_t size = 0;
    if (syscall(SYS_get_robust_list, tid.load(), &seen, &size) != 0) seen = nullptr;
    RobustHead* mine = nullptr;
    if (syscall(SYS_get_robust_list, 0, &mine, &size) != 0) mine = nullptr;
    mistakes += seen == nullptr || seen != own || seen == mine || seen->next != seen;
    stage = 2;
    stage.notify_all();
    thread.join();
  }
  EXPECT_EQ(mistakes, 0);
}

// From one call, so that it is one that is made again and again.
[[gnu::noinline]] long SetList(RobustHead* head, size_t size) {
  long result;
  asm volatile("mov $273, %%eax\n syscall"
               : "=a"(result)
               : "D"(head), "S"(size)
               : "rcx", "r11", "memory");
  return result;
}

TEST(ThreadChurn, ARobustListIsWhatWasSetLast) {
  int mistakes = 0;
  std::thread([&] {
    RobustHead* before = nullptr;
    size_t size = 0;
    mistakes += syscall(SYS_get_robust_list, 0, &before, &size) != 0;
    std::vector<RobustHead> heads(64);
    for (RobustHead& head : heads) head = {&head, 0, nullptr};
    for (int i = 0; i < 8 * kMany; ++i) {
      RobustHead* head = &heads[static_cast<size_t>(i) % heads.size()];
      mistakes += SetList(head, sizeof(RobustHead)) != 0;
      if (i % 16 == 0) mistakes += SetList(head, 23) != -EINVAL;
      if (i % 8 != 0) continue;
      RobustHead* got = nullptr;
      mistakes += syscall(SYS_get_robust_list, 0, &got, &size) != 0 || got != head;
    }
    mistakes += SetList(before, sizeof(RobustHead)) != 0;
  }).join();
  EXPECT_EQ(mistakes, 0);
}

TEST(ThreadChurn, WhoForksHasNoList) {
  // set_robust_list(2) is the thread's own; a child of fork begins without, and glibc sets its own.
  std::thread([] {
    for (int i = 0; i < kMany / 4; ++i) SetList(nullptr, sizeof(RobustHead));
    static RobustHead head = {&head, 0, nullptr};
    EXPECT_EQ(SetList(&head, sizeof(RobustHead)), 0);
    const pid_t child = static_cast<pid_t>(syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0));
    if (child == 0) {
      RobustHead* got = &head;
      size_t size = 0;
      if (syscall(SYS_get_robust_list, 0, &got, &size) != 0) _exit(1);
      _exit(got == nullptr ? 0 : 2);
    }
    int status = 0;
    EXPECT_THAT(waitpid(child, &status, 0), Returns(child));
    EXPECT_EQ(status, 0);
    RobustHead* got = nullptr;
    size_t size = 0;
    EXPECT_THAT(syscall(SYS_get_robust_list, 0, &got, &size), Returns(0));
    EXPECT_EQ(got, &head);
    SetList(nullptr, sizeof(RobustHead));
  }).join();
}

TEST(ThreadChurn, ManyAtOnceFromManyThreads) {
  std::atomic<int> ran = 0;
  std::vector<std::thread> makers;
  for (int i = 0; i < 8; ++i) {
    makers.emplace_back([&] {
      for (int j = 0; j < kMany / 8; ++j) {
        std::thread one([&] { ++ran; });
        std::thread two([&] { ++ran; });
        one.join();
        two.join();
      }
    });
  }
  for (std::thread& maker : makers) maker.join();
  EXPECT_EQ(ran, 8 * (kMany / 8) * 2);
}

TEST(ThreadChurn, AProcessEndsWhileItsThreadsAreMade) {
  for (int i = 0; i < 20; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      std::atomic<int> made = 0;
      std::thread maker([&] {
        for (;;) {
          std::thread([] {}).join();
          ++made;
          made.notify_all();
        }
      });
      for (int seen = 0; seen < 20 + i; seen = made.load()) made.wait(seen);
      _exit(7);
    }
    int status = 0;
    ASSERT_THAT(waitpid(child, &status, 0), Returns(child));
    EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 7);
  }
}

TEST(ThreadChurn, AProcessIsStoppedAndContinuedWhileItsThreadsAreMade) {
  Pipe progress;
  const pid_t child = fork();
  if (child == 0) {
    for (;;) {
      std::thread([] {}).join();
      if (write(progress.write.get(), "x", 1) != 1) _exit(1);
    }
  }
  char bytes[64];
  for (int i = 0; i < 20; ++i) {
    ASSERT_GT(read(progress.read.get(), bytes, sizeof bytes), 0);
    ASSERT_THAT(kill(child, SIGSTOP), Returns(0));
    int status = 0;
    ASSERT_THAT(waitpid(child, &status, WUNTRACED), Returns(child));
    ASSERT_TRUE(WIFSTOPPED(status));
    ASSERT_THAT(kill(child, SIGCONT), Returns(0));
    ASSERT_THAT(waitpid(child, &status, WCONTINUED), Returns(child));
    ASSERT_TRUE(WIFCONTINUED(status));
  }
  ASSERT_THAT(kill(child, SIGKILL), Returns(0));
  int status = 0;
  EXPECT_THAT(waitpid(child, &status, 0), Returns(child));
}

}  // namespace
