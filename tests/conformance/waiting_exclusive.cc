// Many who wait for one thing: EPOLLEXCLUSIVE, several in one epoll instance, accept(2), read(2).
#include <netinet/in.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>

#include <functional>
#include <memory>

#include "tests/conformance/waiting_support.h"

namespace {

using namespace conformance;

void Nothing(int) {}

// Threads that sleep in a call, in the order of their numbers; a signal ends those that nobody
// wakes.
class Sleepers {
 public:
  using Call = std::function<int(size_t)>;  // -1 with errno, as calls answer.

  Sleepers(size_t count, Call call) : action_(SIGUSR1, Nothing), results_(count) {
    for (size_t i = 0; i < count; ++i) {
      threads_.push_back(std::make_unique<Thread>([this, call, i] {
        const int result = call(i);
        results_[i] = result >= 0 ? result : -errno;
        ++done_;
      }));
      EXPECT_TRUE(threads_.back()->AwaitSleep());
    }
  }
  bool AwaitDone(size_t count) const {
    return Eventually([&] { return done_ >= count; });
  }
  void Interrupt(size_t i) const { syscall(SYS_tgkill, getpid(), threads_[i]->tid(), SIGUSR1); }
  // The results of those that have been woken, the number of those that had to be interrupted.
  struct Outcome {
    std::vector<int> woken;
    size_t interrupted = 0;
  };
  Outcome End() {
    for (size_t i = 0; i < threads_.size(); ++i) Interrupt(i);
    Outcome outcome;
    for (size_t i = 0; i < threads_.size(); ++i) {
      threads_[i]->Join();
      if (results_[i] == -EINTR) {
        ++outcome.interrupted;
      } else {
        outcome.woken.push_back(results_[i]);
      }
    }
    return outcome;
  }
  int result(size_t i) const { return results_[i]; }

 private:
  ScopedAction action_;
  std::vector<std::atomic<int>> results_;
  std::atomic<size_t> done_ = 0;
  std::vector<std::unique_ptr<Thread>> threads_;
};

int WaitOnce(int epoll) {
  epoll_event event = {};
  return epoll_wait(epoll, &event, 1, -1);
}

struct Listener {
  explicit Listener(int family) : fd(socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    if (family == AF_UNIX) {
      const sa_family_t unnamed = AF_UNIX;  // The kernel finds a name.
      EXPECT_THAT(bind(fd.get(), reinterpret_cast<const sockaddr*>(&unnamed), sizeof unnamed),
                  Returns(0));
    }
    EXPECT_THAT(listen(fd.get(), 64), Returns(0));
    EXPECT_THAT(getsockname(fd.get(), reinterpret_cast<sockaddr*>(&name), &size), Returns(0));
  }
  UniqueFd Connect() const {
    UniqueFd client(socket(name.ss_family, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_THAT(connect(client.get(), reinterpret_cast<const sockaddr*>(&name), size), Returns(0));
    return client;
  }
  UniqueFd fd;
  sockaddr_storage name = {};
  socklen_t size = sizeof(name);
};

TEST(EpollExclusive, OneOfManyInstancesIsWoken) {
  std::vector<Epoll> epolls(3);
  EventFd event;
  for (const Epoll& epoll : epolls) epoll.Add(event.fd(), EPOLLIN | EPOLLEXCLUSIVE);
  Sleepers sleepers(3, [&](size_t i) { return WaitOnce(epolls[i].fd()); });
  event.Add();  // Nobody takes it: the others would find it, too.
  EXPECT_TRUE(sleepers.AwaitDone(1));
  const Sleepers::Outcome outcome = sleepers.End();
  EXPECT_EQ(outcome.woken, std::vector<int>{1});
  EXPECT_EQ(outcome.interrupted, 2u);
}

TEST(EpollExclusive, ThoseWithoutTheFlagAreWokenBesides) {
  std::vector<Epoll> epolls(4);
  EventFd event;
  for (size_t i = 0; i < 4; ++i) epolls[i].Add(event.fd(), EPOLLIN | (i < 2 ? EPOLLEXCLUSIVE : 0u));
  Sleepers sleepers(4, [&](size_t i) { return WaitOnce(epolls[i].fd()); });
  event.Add();
  EXPECT_TRUE(sleepers.AwaitDone(3));
  EXPECT_EQ(sleepers.End().interrupted, 1u);
  EXPECT_EQ(sleepers.result(2), 1);
  EXPECT_EQ(sleepers.result(3), 1);
}

TEST(EpollExclusive, EachEventWakesAnother) {
  for (const int family : {AF_INET, AF_UNIX}) {
    const Listener listener(family);
    std::vector<Epoll> epolls(3);
    for (const Epoll& epoll : epolls) epoll.Add(listener.fd.get(), EPOLLIN | EPOLLEXCLUSIVE);
    Sleepers sleepers(3, [&](size_t i) { return WaitOnce(epolls[i].fd()); });
    std::vector<UniqueFd> clients;
    for (size_t i = 1; i <= 3; ++i) {
      clients.push_back(listener.Connect());
      EXPECT_TRUE(sleepers.AwaitDone(i)) << family;
    }
    EXPECT_EQ(sleepers.End().interrupted, 0u) << family;
  }
}

// An instance that is told and goes away leaves what it has not taken to the next one.
TEST(EpollExclusive, AnOwnerThatEndsKeepsNothing) {
  for (const int family : {AF_INET, AF_UNIX}) {
    const Listener listener(family);
    Epoll second;
    std::vector<UniqueFd> clients;
    {
      Epoll first;
      first.Add(listener.fd.get(), EPOLLIN | EPOLLEXCLUSIVE);
      second.Add(listener.fd.get(), EPOLLIN | EPOLLEXCLUSIVE);
      clients.push_back(listener.Connect());
      EXPECT_EQ(WaitOnce(first.fd()), 1);
      const UniqueFd accepted(accept(listener.fd.get(), nullptr, nullptr));
      EXPECT_TRUE(accepted.valid());
    }
    Sleepers sleepers(1, [&](size_t) { return WaitOnce(second.fd()); });
    clients.push_back(listener.Connect());
    EXPECT_TRUE(sleepers.AwaitDone(1)) << family;
    EXPECT_EQ(sleepers.End().woken, std::vector<int>{1}) << family;
  }
}

TEST(EpollExclusive, TheEndIsForEverybody) {
  std::vector<Epoll> epolls(3);
  Pipe pipe;
  for (const Epoll& epoll : epolls) epoll.Add(pipe.read.get(), EPOLLIN | EPOLLEXCLUSIVE);
  Sleepers sleepers(3, [&](size_t i) { return WaitOnce(epolls[i].fd()); });
  pipe.write.reset();
  EXPECT_TRUE(sleepers.AwaitDone(3));
  EXPECT_EQ(sleepers.End().interrupted, 0u);
}

TEST(EpollShared, AnEdgeWakesOneThread) {
  Epoll epoll;
  EventFd event;
  epoll.Add(event.fd(), EPOLLIN | EPOLLET);
  Sleepers sleepers(3, [&](size_t) { return WaitOnce(epoll.fd()); });
  event.Add();
  EXPECT_TRUE(sleepers.AwaitDone(1));
  EXPECT_EQ(sleepers.End().interrupted, 2u);
}

TEST(EpollShared, ALevelThatStaysWakesAll) {
  Epoll epoll;
  EventFd event;
  epoll.Add(event.fd(), EPOLLIN);
  Sleepers sleepers(3, [&](size_t) { return WaitOnce(epoll.fd()); });
  event.Add();
  EXPECT_TRUE(sleepers.AwaitDone(3));
  EXPECT_EQ(sleepers.End().interrupted, 0u);
}

TEST(EpollShared, EachOfManyEventsFindsAThread) {
  Epoll epoll;
  std::vector<EventFd> events(4);
  for (const EventFd& event : events) epoll.Add(event.fd(), EPOLLIN | EPOLLONESHOT);
  Sleepers sleepers(4, [&](size_t) { return WaitOnce(epoll.fd()); });
  for (const EventFd& event : events) event.Add();
  EXPECT_TRUE(sleepers.AwaitDone(4));
  EXPECT_EQ(sleepers.End().interrupted, 0u);
}

// What is read while nobody waits may come again: a thread that sleeps hears of it.
TEST(EpollShared, ALevelThatIsTakenAwayComesBack) {
  Epoll epoll;
  EventFd event;
  epoll.Add(event.fd(), EPOLLIN);
  for (int round = 0; round < 50; ++round) {
    event.Add();
    EXPECT_EQ(epoll.Wait(), "0:1");
    EXPECT_EQ(event.Take(), 1);
    Sleepers sleepers(1, [&](size_t) { return WaitOnce(epoll.fd()); });
    event.Add();
    EXPECT_TRUE(sleepers.AwaitDone(1));
    EXPECT_EQ(sleepers.End().woken, std::vector<int>{1});
    EXPECT_EQ(event.Take(), 1);
  }
}

TEST(AcceptShared, EachConnectionFindsAThread) {
  for (const int family : {AF_INET, AF_UNIX}) {
    const Listener listener(family);
    Sleepers sleepers(6, [&](size_t) { return accept(listener.fd.get(), nullptr, nullptr); });
    std::vector<UniqueFd> clients;
    for (int i = 0; i < 5; ++i) clients.push_back(listener.Connect());
    EXPECT_TRUE(sleepers.AwaitDone(5)) << family;
    const Sleepers::Outcome outcome = sleepers.End();
    EXPECT_EQ(outcome.interrupted, 1u) << family;
    for (const int fd : outcome.woken) EXPECT_THAT(close(fd), Returns(0));
  }
}

// Connections that wait for room in the queue are let in by those that leave it.
TEST(AcceptShared, AShortQueueServesAll) {
  const Listener listener(AF_UNIX);
  EXPECT_THAT(listen(listener.fd.get(), 0), Returns(0));
  for (int round = 0; round < 20; ++round) {
    Sleepers sleepers(4, [&](size_t) { return accept(listener.fd.get(), nullptr, nullptr); });
    std::vector<UniqueFd> clients;
    for (int i = 0; i < 4; ++i) clients.push_back(listener.Connect());
    EXPECT_TRUE(sleepers.AwaitDone(4));
    for (const int fd : sleepers.End().woken) EXPECT_THAT(close(fd), Returns(0));
  }
}

// Who is interrupted while it is woken leaves the connection to the next one.
TEST(AcceptShared, AnInterruptedThreadLosesNothing) {
  const Listener listener(AF_INET);
  for (int round = 0; round < 100; ++round) {
    Sleepers sleepers(2, [&](size_t) { return accept(listener.fd.get(), nullptr, nullptr); });
    const UniqueFd first = listener.Connect();
    sleepers.Interrupt(0);
    EXPECT_TRUE(sleepers.AwaitDone(1));
    // One of them has it, or will.
    UniqueFd second;
    if (sleepers.result(0) != -EINTR) second = listener.Connect();
    ASSERT_TRUE(sleepers.AwaitDone(2)) << round;
    for (const int fd : sleepers.End().woken) EXPECT_THAT(close(fd), Returns(0));
  }
}

TEST(AcceptShared, TheEndIsForEverybody) {
  const Listener listener(AF_INET);
  Sleepers sleepers(3, [&](size_t) { return accept(listener.fd.get(), nullptr, nullptr); });
  EXPECT_THAT(shutdown(listener.fd.get(), SHUT_RD), Returns(0));
  EXPECT_TRUE(sleepers.AwaitDone(3));
  EXPECT_EQ(sleepers.End().woken, std::vector<int>(3, -EINVAL));
}

TEST(ReadShared, WhatOneLeavesIsForTheNext) {
  Pipe pipe;
  for (int round = 0; round < 50; ++round) {
    Sleepers sleepers(4, [&](size_t) {
      char byte = 0;
      return static_cast<int>(read(pipe.read.get(), &byte, 1));
    });
    ASSERT_THAT(write(pipe.write.get(), "abcd", 4), Returns(4));
    ASSERT_TRUE(sleepers.AwaitDone(4)) << round;
    EXPECT_EQ(sleepers.End().woken, std::vector<int>(4, 1));
  }
}

TEST(ReadShared, ABadAddressLeavesItToTheNext) {
  Pipe pipe;
  Sleepers sleepers(2, [&](size_t i) {
    char byte = 0;
    return static_cast<int>(read(pipe.read.get(), i == 0 ? nullptr : &byte, 1));
  });
  ASSERT_THAT(write(pipe.write.get(), "a", 1), Returns(1));
  ASSERT_TRUE(sleepers.AwaitDone(2));
  EXPECT_EQ(sleepers.End().woken, (std::vector<int>{-EFAULT, 1}));
}

TEST(ReadShared, AnInterruptedThreadLosesNothing) {
  Pipe pipe;
  for (int round = 0; round < 100; ++round) {
    Sleepers sleepers(2, [&](size_t) {
      char byte = 0;
      return static_cast<int>(read(pipe.read.get(), &byte, 1));
    });
    ASSERT_THAT(write(pipe.write.get(), "a", 1), Returns(1));
    sleepers.Interrupt(0);
    EXPECT_TRUE(sleepers.AwaitDone(1));
    if (sleepers.result(0) != -EINTR) {
      ASSERT_THAT(write(pipe.write.get(), "b", 1), Returns(1));
    }
    ASSERT_TRUE(sleepers.AwaitDone(2)) << round;
    sleepers.End();
  }
}

TEST(ReadShared, TheEndIsForEverybody) {
  Pipe pipe;
  Sleepers sleepers(3, [&](size_t) {
    char byte = 0;
    return static_cast<int>(read(pipe.read.get(), &byte, 1));
  });
  pipe.write.reset();
  EXPECT_TRUE(sleepers.AwaitDone(3));
  EXPECT_EQ(sleepers.End().woken, std::vector<int>(3, 0));
}

}  // namespace
