// Threads: clone(2) with CLONE_THREAD as pthreads use it, exec and exit among them, directed signals.
#include <linux/sched.h>
#include <pthread.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <atomic>
#include <set>
#include <thread>

#include "tests/conformance/support.h"

namespace {

TEST(Threads, RunAndJoin) {
  std::atomic<int> sum = 0;
  std::vector<std::thread> threads;
  for (int i = 1; i <= 20; ++i) threads.emplace_back([&sum, i] { sum += i; });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(sum, 210);
}

TEST(Threads, ManyInARow) {
  int count = 0;
  for (int i = 0; i < 200; ++i) std::thread([&] { ++count; }).join();
  EXPECT_EQ(count, 200);
}

TEST(Threads, IdsDifferAndThePidDoesNot) {
  std::atomic<pid_t> tid = 0, pid = 0;
  std::thread([&] {
    tid = gettid();
    pid = getpid();
  }).join();
  EXPECT_EQ(pid, getpid());
  EXPECT_NE(tid, gettid());
  EXPECT_EQ(gettid(), getpid());
}

thread_local int t_value = 5;
thread_local std::string t_text = "initial";

TEST(Threads, LocalVariables) {
  t_value = 6;
  int seen = 0;
  std::string text;
  std::thread([&] {
    seen = t_value++;
    text = t_text;
  }).join();
  EXPECT_EQ(seen, 5);
  EXPECT_EQ(text, "initial");
  EXPECT_EQ(t_value, 6);
  t_value = 5;
}

TEST(Threads, ShareDescriptorsAndDirectory) {
  int fd = -1;
  std::thread([&] { fd = open("/dev/null", O_RDONLY); }).join();
  EXPECT_THAT(fcntl(fd, F_GETFD), Returns(0));
  close(fd);
}

TEST(Threads, MutexExcludes) {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  long counter = 0;
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 20'000; ++n) {
        pthread_mutex_lock(&mutex);
        ++counter;
        pthread_mutex_unlock(&mutex);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(counter, 80'000);
}

TEST(Threads, ConditionVariablePingPong) {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
  int turn = 0;
  const auto play = [&](int mine) {
    for (int i = 0; i < 500; ++i) {
      pthread_mutex_lock(&mutex);
      while (turn != mine) pthread_cond_wait(&changed, &mutex);
      turn = 1 - mine;
      pthread_cond_signal(&changed);
      pthread_mutex_unlock(&mutex);
    }
  };
  std::thread other(play, 1);
  play(0);
  other.join();
  EXPECT_EQ(turn, 0);
}

TEST(Threads, ConditionVariableTimesOut) {
  pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
  pthread_cond_t never = PTHREAD_COND_INITIALIZER;
  timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_nsec += 20'000'000;
  if (until.tv_nsec >= 1'000'000'000) ++until.tv_sec, until.tv_nsec -= 1'000'000'000;
  pthread_mutex_lock(&mutex);
  EXPECT_EQ(pthread_cond_timedwait(&never, &mutex, &until), ETIMEDOUT);
  pthread_mutex_unlock(&mutex);
}

TEST(Threads, BarrierBetweenProcesses) {
  auto* barrier = static_cast<pthread_barrier_t*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  ASSERT_THAT(static_cast<void*>(barrier), Succeeds());
  pthread_barrierattr_t attributes;
  pthread_barrierattr_init(&attributes);
  pthread_barrierattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_barrier_init(barrier, &attributes, 2);
  const pid_t child = Start([&] {
    for (int i = 0; i < 100; ++i) pthread_barrier_wait(barrier);
    return 0;
  });
  for (int i = 0; i < 100; ++i) pthread_barrier_wait(barrier);
  EXPECT_THAT(Wait(child), Exited(0));
  munmap(barrier, 4096);
}

TEST(Threads, BlockedReaderDoesNotStopOthers) {
  Pipe pipe;
  std::thread reader([&] { EXPECT_TRUE(Await(pipe.read.get())); });
  int count = 0;
  for (int i = 0; i < 1000; ++i) count += getppid() != 0;
  EXPECT_TRUE(Post(pipe.write.get()));
  reader.join();
  EXPECT_GE(count, 0);
}

TEST(Threads, SpinningThreadDoesNotStopOthers) {
  std::atomic<bool> stop = false;
  std::thread spinner([&] {
    while (!stop.load(std::memory_order_relaxed)) {
    }
  });
  EXPECT_THAT(InChild([] { return 4; }), Exited(4));
  stop = true;
  spinner.join();
}

TEST(Threads, ForkFromOneCopiesOnlyIt) {
  Pipe gate;
  std::thread other([&] { Await(gate.read.get()); });
  pid_t child = 0;
  std::thread([&] {
    child = Start([] {
      CHILD_CHECK(gettid() == getpid());
      return 6;
    });
  }).join();
  EXPECT_THAT(Wait(child), Exited(6));
  EXPECT_TRUE(Post(gate.write.get()));
  other.join();
}

TEST(Threads, ExitGroupEndsAll) {
  Pipe gate;
  EXPECT_THAT(InChild([&] {
    std::thread([&] { Await(gate.read.get()); }).detach();
    std::thread([] { for (;;) {} }).detach();
    std::thread([] { syscall(SYS_exit_group, 17); }).detach();
    for (;;) pause();
    return 0;
  }), Exited(17));
}

TEST(Threads, LeaderMayExitFirst) {
  const pid_t child = Start([] {
    const pid_t leader = gettid();
    static pid_t s_leader;
    s_leader = leader;
    pthread_t thread;
    pthread_create(&thread, nullptr, [](void*) -> void* {
      CHILD_CHECK(WaitForState(s_leader, 'Z'));
      CHILD_CHECK(getpid() == s_leader);
      syscall(SYS_exit_group, 23);
      return nullptr;
    }, nullptr);
    syscall(SYS_exit, 1);
    return 0;
  });
  EXPECT_THAT(Wait(child), Exited(23));
}

TEST(Threads, ExitOfTheLastOneIsTheStatus) {
  EXPECT_THAT(InChild([] {
    static std::atomic<pid_t> tid;
    std::thread([] {
      tid = gettid();
      syscall(SYS_exit, 3);
    }).detach();
    CHILD_CHECK(Eventually([] { return tid != 0 && StateOf(tid) == 0; }));
    syscall(SYS_exit, 5);
    return 0;
  }), Exited(5));
  EXPECT_THAT(InChild([] {
    std::thread([] {
      CHILD_CHECK(WaitForState(getpid(), 'Z'));
      syscall(SYS_exit, 3);
    }).detach();
    syscall(SYS_exit, 5);
    return 0;
  }), Exited(3));
}

TEST(Threads, FatalSignalEndsAll) {
  EXPECT_THAT(InChild([] {
    std::thread([] { for (;;) pause(); }).detach();
    std::thread([] { *reinterpret_cast<volatile int*>(8) = 1; }).detach();
    for (;;) pause();
    return 0;
  }), Killed(SIGSEGV));
}

TEST(Threads, ExecFromANonLeader) {
  Pipe out(O_CLOEXEC);
  const pid_t child = Start([&] {
    dup2(out.write.get(), 1);
    std::thread([] { for (;;) pause(); }).detach();
    std::thread([] {
      execl(Helper("show_static").c_str(), "x", "pids", nullptr);
      _exit(200);
    }).detach();
    for (;;) pause();
    return 0;
  });
  out.write.reset();
  // The thread that called takes over the identity of the leader.
  EXPECT_EQ(ReadAll(out.read.get()), std::to_string(child) + " " + std::to_string(getpid()) + " " +
                                         std::to_string(child) + "\n");
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Threads, FailedExecLeavesThemRunning) {
  Pipe gate;
  int result = 0;
  std::thread other([&] { result = Await(gate.read.get()) ? 1 : 2; });
  std::thread([] { EXPECT_THAT(execl("/nonexistent", "x", nullptr), FailsWith(ENOENT)); }).join();
  EXPECT_TRUE(Post(gate.write.get()));
  other.join();
  EXPECT_EQ(result, 1);
}

TEST(Threads, StopStopsAll) {
  auto* counter = static_cast<std::atomic<long>*>(
      mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
  const pid_t child = Start([&] {
    std::thread([&] { for (;;) ++*counter; }).detach();
    for (;;) pause();
    return 0;
  });
  EXPECT_TRUE(Eventually([&] { return *counter > 1000; }));
  kill(child, SIGSTOP);
  EXPECT_THAT(Wait(child, WUNTRACED), Stopped(SIGSTOP));
  const long stopped = *counter;
  const timespec pause = {0, 20'000'000};
  nanosleep(&pause, nullptr);
  EXPECT_EQ(*counter, stopped);
  kill(child, SIGCONT);
  EXPECT_TRUE(Eventually([&] { return *counter > stopped; }));
  kill(child, SIGKILL);
  EXPECT_THAT(Wait(child), Killed(SIGKILL));
  munmap(counter, 4096);
}

std::atomic<pid_t> g_handled_by;
void RecordThread(int) { g_handled_by = gettid(); }

TEST(ThreadSignals, DirectedAtOne) {
  ScopedAction action(SIGUSR1, RecordThread);
  g_handled_by = 0;
  std::atomic<bool> stop = false;
  std::atomic<pid_t> tid = 0;
  std::thread target([&] {
    tid = gettid();
    while (!stop) {
      const timespec pause = {0, 1'000'000};
      nanosleep(&pause, nullptr);
    }
  });
  EXPECT_TRUE(Eventually([&] { return tid != 0; }));
  EXPECT_THAT(syscall(SYS_tgkill, getpid(), tid.load(), SIGUSR1), Returns(0));
  EXPECT_TRUE(Eventually([] { return g_handled_by != 0; }));
  EXPECT_EQ(g_handled_by, tid);
  stop = true;
  target.join();
}

TEST(ThreadSignals, ProcessWideGoesToWhoeverAllowsIt) {
  ScopedAction action(SIGUSR1, RecordThread);
  g_handled_by = 0;
  std::atomic<bool> stop = false;
  std::atomic<pid_t> tid = 0;
  std::thread willing([&] {
    tid = gettid();
    while (!stop) {
      const timespec pause = {0, 1'000'000};
      nanosleep(&pause, nullptr);
    }
  });
  EXPECT_TRUE(Eventually([&] { return tid != 0; }));
  {
    ScopedBlock block({SIGUSR1});
    EXPECT_THAT(kill(getpid(), SIGUSR1), Returns(0));
    EXPECT_TRUE(Eventually([] { return g_handled_by != 0; }));
    EXPECT_EQ(g_handled_by, tid);
  }
  stop = true;
  willing.join();
}

TEST(ThreadSignals, MasksAreInheritedAndSeparate) {
  ScopedBlock block({SIGUSR2});
  std::thread([] {
    sigset_t now;
    pthread_sigmask(SIG_BLOCK, nullptr, &now);
    EXPECT_EQ(sigismember(&now, SIGUSR2), 1);
    const sigset_t set = SetOf({SIGHUP});
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
  }).join();
  sigset_t now;
  pthread_sigmask(SIG_BLOCK, nullptr, &now);
  EXPECT_EQ(sigismember(&now, SIGHUP), 0);
}

TEST(ThreadSignals, DirectedPendingStaysWithItsThread) {
  ScopedBlock block({SIGUSR1});
  EXPECT_THAT(syscall(SYS_tgkill, getpid(), gettid(), SIGUSR1), Returns(0));
  std::thread([] {
    sigset_t pending;
    sigpending(&pending);
    EXPECT_EQ(sigismember(&pending, SIGUSR1), 0);
  }).join();
  const sigset_t set = SetOf({SIGUSR1});
  int signal = 0;
  EXPECT_THAT(sigwait(&set, &signal), Returns(0));
}

TEST(ThreadSignals, SpinningThreadIsInterrupted) {
  static std::atomic<bool> hit;
  hit = false;
  ScopedAction action(SIGUSR1, [](int) { hit = true; });
  std::atomic<pid_t> tid = 0;
  std::thread spinner([&] {
    tid = gettid();
    while (!hit.load(std::memory_order_relaxed)) {
    }
  });
  EXPECT_TRUE(Eventually([&] { return tid != 0; }));
  EXPECT_THAT(syscall(SYS_tgkill, getpid(), tid.load(), SIGUSR1), Returns(0));
  spinner.join();
  EXPECT_TRUE(hit);
}

TEST(ThreadSignals, Cancellation) {
  pthread_t thread;
  Pipe pipe;
  int fd = pipe.read.get();
  ASSERT_EQ(pthread_create(&thread, nullptr, [](void* fd) -> void* {
    char byte;
    EXPECT_THAT(read(*static_cast<int*>(fd), &byte, 1), Returns(0)) << "not cancelled";
    return nullptr;
  }, &fd), 0);
  EXPECT_EQ(pthread_cancel(thread), 0);
  void* result = nullptr;
  EXPECT_EQ(pthread_join(thread, &result), 0);
  EXPECT_EQ(result, PTHREAD_CANCELED);
}

TEST(Clone, ClearTidWakesAFutex) {
  // What pthread_join waits on: the kernel clears the word and wakes it when the thread ends.
  alignas(16) static char stack[64 << 10];
  static std::atomic<int> tid_word;
  tid_word = 1;
  const int flags = CLONE_VM | CLONE_FS | CLONE_FILES | CLONE_SIGHAND | CLONE_THREAD |
                    CLONE_SYSVSEM | CLONE_PARENT_SETTID | CLONE_CHILD_CLEARTID;
  pid_t tid = 0;
  const int child = clone([](void*) -> int { syscall(SYS_exit, 0); return 0; },
                          stack + sizeof stack, flags, nullptr, &tid, nullptr, &tid_word);
  ASSERT_GT(child, 0);
  EXPECT_EQ(tid, child);
  EXPECT_TRUE(Eventually([] { return tid_word == 0; }));
}

TEST(Clone3, ThreadsAndProcesses) {
  clone_args args = {};
  args.exit_signal = SIGCHLD;
  const long child = syscall(SYS_clone3, &args, sizeof args);
  if (child == 0) _exit(14);
  ASSERT_GT(child, 0);
  EXPECT_THAT(Wait(child), Exited(14));
  args.flags = CLONE_THREAD;
  EXPECT_THAT(syscall(SYS_clone3, &args, sizeof args), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_clone3, &args, 8), FailsWith(EINVAL));
}

TEST(ProcTask, ListsTheThreads) {
  Pipe gate;
  std::atomic<pid_t> tid = 0;
  std::thread other([&] {
    tid = gettid();
    Await(gate.read.get());
  });
  EXPECT_TRUE(Eventually([&] { return tid != 0; }));
  const std::string path = "/proc/self/task/" + std::to_string(tid);
  EXPECT_THAT(access(path.c_str(), F_OK), Returns(0));
  EXPECT_TRUE(Post(gate.write.get()));
  other.join();
  EXPECT_TRUE(Eventually([&] { return access(path.c_str(), F_OK) != 0; }));
}

}  // namespace
