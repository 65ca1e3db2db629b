// Waiting again and again, and what servers do around it: a kernel may answer these calls in other
// ways than the first time, and a thread that waits may be woken in others.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <array>
#include <atomic>
#include <vector>

#include "tests/conformance/edge.h"
#include "tests/conformance/support.h"

namespace {

constexpr int kMany = 500;

struct Pair {
  explicit Pair(int type = SOCK_STREAM) {
    int fds[2] = {-1, -1};
    EXPECT_EQ(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
    ours.reset(fds[0]);
    theirs.reset(fds[1]);
  }
  UniqueFd ours, theirs;
};

struct Epoll {
  int Control(int operation, int fd, uint32_t events) {
    epoll_event event{.events = events, .data = {.fd = fd}};
    return epoll_ctl(file.get(), operation, fd, &event);
  }
  UniqueFd file{epoll_create1(EPOLL_CLOEXEC)};
};

TEST(HotWaits, TwoProcessesTakeTurns) {
  Pair pair;
  const pid_t child = fork();
  if (child == 0) {
    pair.ours.reset();
    char buffer[16384];
    for (;;) {
      const ssize_t size = recv(pair.theirs.get(), buffer, sizeof buffer, 0);
      if (size <= 0) _exit(size == 0 ? 0 : 1);
      if (send(pair.theirs.get(), buffer, static_cast<size_t>(size), 0) != size) _exit(2);
    }
  }
  pair.theirs.reset();
  char buffer[64];
  for (int i = 0; i < 4 * kMany; ++i) {
    ASSERT_EQ(send(pair.ours.get(), &i, sizeof i, 0), static_cast<ssize_t>(sizeof i));
    ASSERT_EQ(recv(pair.ours.get(), buffer, sizeof buffer, 0), static_cast<ssize_t>(sizeof i));
    ASSERT_EQ(memcmp(buffer, &i, sizeof i), 0);
  }
  pair.ours.reset();
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(HotWaits, ManyProcessesWaitForOneThatCalls) {
  constexpr int kWaiters = 24;
  std::vector<pid_t> children;
  Pipe start, done;
  for (int i = 0; i < kWaiters; ++i) {
    const pid_t child = fork();
    if (child == 0) {
      start.write.reset();
      char byte = 0;
      // Busy before it waits.
      for (int n = 0; n < kMany; ++n) {
        if (fcntl(start.read.get(), F_GETFL) < 0) _exit(1);
      }
      if (read(start.read.get(), &byte, 1) != 0) _exit(2);
      _exit(write(done.write.get(), "x", 1) == 1 ? 0 : 3);
    }
    children.push_back(child);
  }
  start.read.reset();
  for (int n = 0; n < kMany; ++n) ASSERT_GE(fcntl(start.write.get(), F_GETFL), 0);
  start.write.reset();
  char byte = 0;
  for (int i = 0; i < kWaiters; ++i) ASSERT_EQ(read(done.read.get(), &byte, 1), 1);
  for (const pid_t child : children) EXPECT_THAT(Wait(child), Exited(0));
}

TEST(HotWaits, TimeoutsEnd) {
  Epoll epoll;
  Pipe pipe;
  ASSERT_EQ(epoll.Control(EPOLL_CTL_ADD, pipe.read.get(), EPOLLIN), 0);
  epoll_event event{};
  for (int i = 0; i < 200; ++i) ASSERT_EQ(epoll_wait(epoll.file.get(), &event, 1, i % 3), 0);
  pollfd poll_one{.fd = pipe.read.get(), .events = POLLIN, .revents = 0};
  for (int i = 0; i < 100; ++i) ASSERT_EQ(poll(&poll_one, 1, 1), 0);
}

volatile sig_atomic_t alarms = 0;
void CountAlarm(int) { alarms = alarms + 1; }

TEST(HotWaits, ASignalEndsThem) {
  const ScopedAction action(SIGALRM, CountAlarm);
  Epoll epoll;
  Pipe pipe;
  Pair pair;
  ASSERT_EQ(epoll.Control(EPOLL_CTL_ADD, pipe.read.get(), EPOLLIN), 0);
  epoll_event event{};
  char byte = 0;
  // Again and again: one may come just in front of the call.
  const itimerval often{.it_interval = {.tv_sec = 0, .tv_usec = 3000},
                        .it_value = {.tv_sec = 0, .tv_usec = 300}};
  ASSERT_EQ(setitimer(ITIMER_REAL, &often, nullptr), 0);
  for (int i = 0; i < 30; ++i) {
    ASSERT_THAT(epoll_wait(epoll.file.get(), &event, 1, 30'000), FailsWith(EINTR));
    ASSERT_THAT(recv(pair.ours.get(), &byte, 1, 0), FailsWith(EINTR));
    ASSERT_THAT(read(pipe.read.get(), &byte, 1), FailsWith(EINTR));
  }
  const itimerval none{};
  ASSERT_EQ(setitimer(ITIMER_REAL, &none, nullptr), 0);
  EXPECT_GE(alarms, 90);
}

TEST(HotWaits, ARestartedOneGoesOn) {
  Pipe pipe;
  const pid_t parent = getpid();
  const ScopedAction action(SIGUSR1, CountAlarm, SA_RESTART);
  const pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < kMany; ++i) {
      kill(parent, SIGUSR1);
      if (i % 2 == 0 && write(pipe.write.get(), "x", 1) != 1) _exit(1);
    }
    _exit(0);
  }
  char byte = 0;
  for (int i = 0; i < kMany / 2; ++i) ASSERT_EQ(read(pipe.read.get(), &byte, 1), 1);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(HotWaits, WhoWaitsCanBeKilled) {
  for (const bool stopped : {false, true}) {
    for (int i = 0; i < 10; ++i) {
      Pair pair;
      const pid_t child = fork();
      if (child == 0) {
        char buffer[8];
        for (;;) {
          if (recv(pair.theirs.get(), buffer, sizeof buffer, 0) != 1) _exit(1);
          if (send(pair.theirs.get(), "b", 1, 0) != 1) _exit(2);
        }
      }
      char byte = 0;
      for (int n = 0; n < 100; ++n) {
        ASSERT_EQ(send(pair.ours.get(), "a", 1, 0), 1);
        ASSERT_EQ(recv(pair.ours.get(), &byte, 1, 0), 1);
      }
      if (stopped) {
        ASSERT_EQ(kill(child, SIGSTOP), 0);
        int status = 0;
        ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
        ASSERT_TRUE(WIFSTOPPED(status));
        ASSERT_EQ(send(pair.ours.get(), "a", 1, 0), 1);
        ASSERT_THAT(recv(pair.ours.get(), &byte, 1, MSG_DONTWAIT), FailsWith(EAGAIN));
        ASSERT_EQ(kill(child, SIGCONT), 0);
        ASSERT_EQ(recv(pair.ours.get(), &byte, 1, 0), 1);
      }
      ASSERT_EQ(kill(child, SIGKILL), 0);
      EXPECT_THAT(Wait(child), Killed(SIGKILL));
    }
  }
}

// It calls all the time, and so do others: whoever answers them has more to do than to wait for it.
TEST(HotWaits, StoppedWhileItCalls) {
  for (int i = 0; i < 10; ++i) {
    Pair pair;
    const pid_t child = fork();
    if (child == 0) {
      char byte = 0;
      for (int n = 0; n < kMany; ++n) {
        if (fcntl(pair.theirs.get(), F_GETFL) < 0) _exit(1);
      }
      // By its own hand, in the midst of a call.
      kill(getpid(), SIGSTOP);
      for (int n = 0; n < kMany; ++n) {
        if (fcntl(pair.theirs.get(), F_GETFL) < 0) _exit(2);
      }
      _exit(recv(pair.theirs.get(), &byte, 1, 0) == 1 && byte == 'a' ? 3 : 4);
    }
    for (int n = 0; n < kMany; ++n) ASSERT_GE(fcntl(pair.ours.get(), F_GETFL), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
    ASSERT_TRUE(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
    for (int n = 0; n < kMany; ++n) ASSERT_GE(fcntl(pair.ours.get(), F_GETFL), 0);
    ASSERT_EQ(waitpid(child, &status, WUNTRACED | WNOHANG), 0);
    if (i % 3 == 2) {
      ASSERT_EQ(kill(child, SIGKILL), 0);
      EXPECT_THAT(Wait(child), Killed(SIGKILL));
      continue;
    }
    ASSERT_EQ(kill(child, SIGCONT), 0);
    ASSERT_EQ(waitpid(child, &status, WCONTINUED), child);
    ASSERT_TRUE(WIFCONTINUED(status));
    ASSERT_EQ(send(pair.ours.get(), "a", 1, 0), 1);
    EXPECT_THAT(Wait(child), Exited(3));
  }
}

TEST(HotWaits, StoppedAgainAndAgainFromOutside) {
  Pair pair;
  const pid_t child = fork();
  if (child == 0) {
    pair.ours.reset();
    char byte = 0;
    while (recv(pair.theirs.get(), &byte, 1, MSG_DONTWAIT) != 0) continue;
    _exit(5);
  }
  pair.theirs.reset();
  for (int i = 0; i < 100; ++i) {
    ASSERT_EQ(kill(child, SIGSTOP), 0);
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
    ASSERT_TRUE(WIFSTOPPED(status));
    for (int n = 0; n < 20; ++n) ASSERT_GE(fcntl(pair.ours.get(), F_GETFL), 0);
    ASSERT_EQ(kill(child, SIGCONT), 0);
  }
  pair.ours.reset();
  EXPECT_THAT(Wait(child), Exited(5));
}

// All threads stand still, each in a call of its own or between two.
TEST(HotWaits, AStopOfThreadsThatCall) {
  Pipe go, out;
  const pid_t child = fork();
  if (child == 0) {
    go.write.reset();
    for (int t = 0; t < 3; ++t) {
      new Thread([&] {
        for (;;) fcntl(go.read.get(), F_GETFL);
      });
    }
    char byte = 0;
    while (read(go.read.get(), &byte, 1) == 1) {
      if (write(out.write.get(), "x", 1) != 1) _exit(1);
    }
    _exit(6);
  }
  go.read.reset();
  char byte = 0;
  for (int i = 0; i < 30; ++i) {
    int status = 0;
    ASSERT_EQ(write(go.write.get(), "x", 1), 1);
    ASSERT_EQ(read(out.read.get(), &byte, 1), 1);
    ASSERT_EQ(kill(child, SIGSTOP), 0);
    ASSERT_EQ(waitpid(child, &status, WUNTRACED), child);
    ASSERT_TRUE(WIFSTOPPED(status));
    ASSERT_EQ(kill(child, SIGCONT), 0);
    ASSERT_EQ(waitpid(child, &status, WCONTINUED), child);
  }
  go.write.reset();
  EXPECT_THAT(Wait(child), Exited(6));
}

// The parent waits for the child's execve or end, while others call.
TEST(HotWaits, AParentOfVforkWaitsAmongOthersThatCall) {
  Pipe pipe;
  std::atomic<bool> done = false;
  Thread other([&] {
    while (!done) fcntl(pipe.read.get(), F_GETFL);
  });
  for (int i = 0; i < 50; ++i) {
    for (int n = 0; n < 50; ++n) ASSERT_GE(fcntl(pipe.write.get(), F_GETFL), 0);
    const pid_t child = vfork();
    if (child == 0) {
      for (int n = 0; n < 50; ++n) fcntl(pipe.write.get(), F_GETFL);
      if (i % 4 == 0) kill(getpid(), SIGKILL);
      _exit(i % 100);
    }
    if (i % 4 == 0) {
      ASSERT_THAT(Wait(child), Killed(SIGKILL));
    } else {
      ASSERT_THAT(Wait(child), Exited(i % 100));
    }
  }
  done = true;
  other.Join();
}

TEST(HotWaits, AnotherThreadEndsTheProcess) {
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(InChild([] {
                  static Pipe pipe;
                  static std::atomic<int> waiting;
                  for (int n = 0; n < 3; ++n) {
                    new Thread([] {
                      char byte;
                      for (int k = 0; k < 200; ++k) fcntl(pipe.read.get(), F_GETFL);
                      ++waiting;
                      (void)!read(pipe.read.get(), &byte, 1);
                    });
                  }
                  while (waiting < 3) sched_yield();
                  for (int k = 0; k < 200; ++k) fcntl(pipe.read.get(), F_GETFL);
                  return 5;
                }),
                Exited(5));
  }
}

TEST(HotWaits, WhatIsReceivedIntoMemoryThatIsNotThere) {
  const Edge edge;
  Pair pair;
  char buffer[16];
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(send(pair.ours.get(), "abcd", 4, 0), 4);
    if (i % 8 == 0) {
      ASSERT_THAT(recv(pair.theirs.get(), edge.end(), 4, 0), FailsWith(EFAULT));
      ASSERT_THAT(send(pair.ours.get(), edge.end(), 4, 0), FailsWith(EFAULT));
    }
    if (i % 8 == 1) {
      // There is less than there is room for, and only that has to be there.
      char* const last = edge.end() - 4;
      ASSERT_EQ(recv(pair.theirs.get(), last, 4096, 0), 4);
      ASSERT_EQ(memcmp(last, "abcd", 4), 0);
      continue;
    }
    ASSERT_EQ(recv(pair.theirs.get(), buffer, sizeof buffer, 0), 4);
    ASSERT_EQ(memcmp(buffer, "abcd", 4), 0);
  }
}

TEST(HotWaits, LargeBuffersAndSmallMessages) {
  Pair pair;
  std::vector<char> in(100'000), out(100'000);
  for (size_t i = 0; i < out.size(); ++i) out[i] = static_cast<char>(i * 13 + i / 253);
  const size_t sizes[] = {1, 100, 4095, 4096, 4097, 9000, 60'000};
  for (int i = 0; i < kMany; ++i) {
    const size_t size = sizes[static_cast<size_t>(i) % std::size(sizes)];
    ASSERT_EQ(send(pair.ours.get(), out.data() + i, size, 0), static_cast<ssize_t>(size));
    std::fill(in.begin(), in.begin() + 70'000, '#');
    size_t got = 0;
    while (got < size) {
      const ssize_t n = recv(pair.theirs.get(), in.data() + got, 65'536, 0);
      ASSERT_GT(n, 0);
      got += static_cast<size_t>(n);
    }
    ASSERT_EQ(got, size);
    ASSERT_EQ(memcmp(in.data(), out.data() + i, size), 0);
    ASSERT_EQ(in[size], '#');
  }
}

TEST(HotWaits, DatagramsKeepTheirBoundsAndSenders) {
  Pair pair(SOCK_DGRAM);
  char buffer[64];
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(sendto(pair.ours.get(), "abcdefgh", 8, 0, nullptr, 0), 8);
    ASSERT_EQ(send(pair.ours.get(), "xy", 2, 0), 2);
    sockaddr_storage from{};
    socklen_t size = sizeof from;
    auto* const address = reinterpret_cast<sockaddr*>(&from);
    ASSERT_EQ(recvfrom(pair.theirs.get(), buffer, 4, MSG_TRUNC, address, &size), 8);
    ASSERT_EQ(memcmp(buffer, "abcd", 4), 0);
    ASSERT_EQ(recv(pair.theirs.get(), buffer, sizeof buffer, 0), 2);
    ASSERT_EQ(memcmp(buffer, "xy", 2), 0);
  }
}

TEST(HotWaits, EventsThatAreTold) {
  constexpr int kFiles = 40;
  Epoll epoll;
  std::vector<UniqueFd> files;
  for (int i = 0; i < kFiles; ++i) {
    files.emplace_back(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    ASSERT_EQ(epoll.Control(EPOLL_CTL_ADD, files.back().get(), EPOLLIN), 0);
  }
  std::array<epoll_event, 400> events;
  const uint64_t one = 1;
  for (int i = 0; i < kMany; ++i) {
    const int fd = files[static_cast<size_t>(i % kFiles)].get();
    ASSERT_EQ(write(fd, &one, sizeof one), 8);
    for (const int room : {1, 16, 341, 342, 400}) {
      std::fill(events.begin(), events.end(), epoll_event{});
      ASSERT_EQ(epoll_wait(epoll.file.get(), events.data(), room, -1), 1);
      ASSERT_EQ(events[0].events, uint32_t{EPOLLIN});
      ASSERT_EQ(events[0].data.fd, fd);
      ASSERT_EQ(events[1].events, 0u);
    }
    ASSERT_EQ(epoll.Control(EPOLL_CTL_MOD, fd, EPOLLOUT), 0);
    ASSERT_EQ(epoll_wait(epoll.file.get(), events.data(), 16, 0), 1);
    ASSERT_EQ(events[0].events, uint32_t{EPOLLOUT});
    ASSERT_EQ(epoll_ctl(epoll.file.get(), EPOLL_CTL_DEL, fd, nullptr), 0);
    ASSERT_EQ(epoll_wait(epoll.file.get(), events.data(), 16, 0), 0);
    uint64_t value = 0;
    ASSERT_EQ(read(fd, &value, sizeof value), 8);
    ASSERT_EQ(epoll.Control(EPOLL_CTL_ADD, fd, EPOLLIN), 0);
  }
}

TEST(HotWaits, EventsAndMemoryThatIsNotThere) {
  const Edge edge;
  Epoll epoll;
  UniqueFd file(eventfd(1, EFD_CLOEXEC));
  auto* const nowhere = reinterpret_cast<epoll_event*>(edge.end());
  epoll_event event{};
  ASSERT_EQ(epoll.Control(EPOLL_CTL_ADD, file.get(), EPOLLIN | EPOLLONESHOT), 0);
  const auto end = reinterpret_cast<uintptr_t>(edge.end());
  for (int i = 0; i < kMany; ++i) {
    if (i % 16 == 0) {
      ASSERT_THAT(epoll_ctl(epoll.file.get(), EPOLL_CTL_MOD, file.get(), nowhere),
                  FailsWith(EFAULT));
      ASSERT_THAT(epoll_ctl(epoll.file.get(), EPOLL_CTL_MOD, file.get(), nullptr),
                  FailsWith(EFAULT));
      // What could not be told is not lost, although it would have been told only once.
      ASSERT_THAT(epoll_wait(epoll.file.get(), nowhere, 1, 0), FailsWith(EFAULT));
      ASSERT_THAT(epoll_wait(epoll.file.get(), &event, 0, 0), FailsWith(EINVAL));
      ASSERT_THAT(epoll_wait(epoll.file.get(), &event, -1, 0), FailsWith(EINVAL));
      ASSERT_THAT(epoll_wait(epoll.file.get(), &event, INT_MAX, 0), FailsWith(EINVAL));
      // Room for more than there is memory.
      auto* const last = reinterpret_cast<epoll_event*>(end - sizeof(epoll_event));
      ASSERT_EQ(epoll_wait(epoll.file.get(), last, 300, 0), 1);
    } else {
      ASSERT_EQ(epoll_wait(epoll.file.get(), &event, 1, 0), 1);
    }
    ASSERT_EQ(epoll_wait(epoll.file.get(), &event, 1, 0), 0);
    ASSERT_EQ(epoll.Control(EPOLL_CTL_MOD, file.get(), EPOLLIN | EPOLLONESHOT), 0);
  }
}

// The fourth argument is in a register that the host uses for its own calls.
TEST(HotWaits, RegistersStayWhatTheyAre) {
  Pair pair;
  const pid_t child = fork();
  if (child == 0) {
    pair.ours.reset();
    char byte = 0;
    while (recv(pair.theirs.get(), &byte, 1, 0) == 1) {
      if (send(pair.theirs.get(), &byte, 1, 0) != 1) _exit(1);
    }
    _exit(0);
  }
  pair.theirs.reset();
  char byte = 'a';
  for (int i = 0; i < kMany; ++i) {
    ASSERT_EQ(send(pair.ours.get(), &byte, 1, 0), 1);
    long result = SYS_recvfrom;
    register long r10 asm("r10") = 0;
    register long r8 asm("r8") = 0;
    register long r9 asm("r9") = 0;
    long rdi = pair.ours.get(), rdx = 1;
    char* rsi = &byte;
    asm volatile("syscall"
                 : "+a"(result), "+r"(r10), "+r"(r8), "+r"(r9), "+D"(rdi), "+S"(rsi), "+d"(rdx)
                 :
                 : "rcx", "r11", "memory");
    const bool same = (r10 | r8 | r9) == 0 && rdx == 1;  // At once: others use them, too.
    ASSERT_TRUE(same);
    ASSERT_EQ(result, 1);
    ASSERT_EQ(rdi, pair.ours.get());
    ASSERT_EQ(rsi, &byte);
  }
  pair.ours.reset();
  EXPECT_THAT(Wait(child), Exited(0));
}

}  // namespace
