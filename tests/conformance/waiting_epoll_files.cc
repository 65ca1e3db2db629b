// epoll(7): descriptors that come and go, instances in instances, EPOLLEXCLUSIVE.
#include <sys/socket.h>
#include <sys/wait.h>

#include <atomic>
#include <thread>

#include "tests/conformance/waiting_support.h"

namespace {

TEST(EpollFiles, ClosingRemoves) {
  Epoll epoll;
  Pipe pipe;
  Post(pipe.write.get());
  epoll.Add(pipe.read.get(), EPOLLIN, 1);
  EXPECT_EQ(epoll.Wait(), "1:1");
  pipe.read.reset();
  EXPECT_EQ(epoll.Wait(), "");
}

TEST(EpollFiles, ACopyKeepsIt) {
  Epoll epoll;
  Pipe pipe;
  UniqueFd copy(dup(pipe.read.get()));
  epoll.Add(pipe.read.get(), EPOLLIN, 1);
  const int number = pipe.read.get();
  pipe.read.reset();
  Post(pipe.write.get());
  EXPECT_EQ(epoll.Wait(), "1:1");
  // Nothing names it any more.
  EXPECT_THAT(epoll.Del(number), FailsWith(EBADF));
  EXPECT_THAT(epoll.Del(copy.get()), FailsWith(ENOENT));
  EXPECT_EQ(epoll.Wait(), "1:1");
  copy.reset();
  EXPECT_EQ(epoll.Wait(), "");
}

TEST(EpollFiles, TheNumberCanBeUsedAgain) {
  Epoll epoll;
  Pipe pipe;
  UniqueFd copy(dup(pipe.read.get()));
  const int number = pipe.read.get();
  epoll.Add(number, EPOLLIN, 1);
  EventFd event(1);
  ASSERT_THAT(dup2(event.fd(), number), Returns(number));
  EXPECT_THAT(epoll.Del(number), FailsWith(ENOENT));
  EXPECT_THAT(epoll.Add(number, EPOLLIN, 2), Succeeds());
  EXPECT_EQ(epoll.Wait(), "2:1");
  Post(pipe.write.get());
  EXPECT_EQ(epoll.Wait(), "2:1 1:1");
}

TEST(EpollFiles, TwoDescriptorsOfOneDescription) {
  Epoll epoll;
  Pipe pipe;
  UniqueFd copy(dup(pipe.read.get()));
  EXPECT_THAT(epoll.Add(pipe.read.get(), EPOLLIN, 1), Succeeds());
  EXPECT_THAT(epoll.Add(copy.get(), EPOLLIN, 2), Succeeds());
  Post(pipe.write.get());
  EXPECT_EQ(epoll.Wait().size(), std::string("1:1 2:1").size());
  EXPECT_THAT(epoll.Del(copy.get()), Succeeds());
  EXPECT_EQ(epoll.Wait(), "1:1");
}

TEST(EpollFiles, AChildsCopyKeepsIt) {
  Epoll epoll;
  Pipe pipe, go;
  epoll.Add(pipe.read.get(), EPOLLIN, 1);
  const pid_t child = Start([&] {
    Await(go.read.get());
    return 0;
  });
  pipe.read.reset();
  Post(pipe.write.get());
  EXPECT_EQ(epoll.Wait(), "1:1");
  Post(go.write.get());
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(epoll.Wait(), "");
}

TEST(EpollFiles, DeletedEntriesAreSilent) {
  Epoll epoll;
  EventFd event(1);
  epoll.Add(event.fd(), EPOLLIN);
  EXPECT_THAT(epoll.Del(event.fd()), Succeeds());
  EXPECT_EQ(epoll.Wait(), "");
  event.Add();
  EXPECT_EQ(epoll.Wait(), "");
  EXPECT_THAT(epoll.Add(event.fd(), EPOLLIN, 2), Succeeds());
  EXPECT_EQ(epoll.Wait(), "2:1");
}

TEST(EpollFiles, ClosedWhileSomebodyWaits) {
  Epoll epoll;
  EventFd other;
  Pipe pipe;
  epoll.Add(pipe.read.get(), EPOLLIN, 1);
  epoll.Add(other.fd(), EPOLLIN, 2);
  Thread waiter([&] { EXPECT_EQ(epoll.Wait(-1), "2:1"); });
  EXPECT_TRUE(waiter.AwaitSleep());
  pipe.read.reset();
  other.Add();
}

TEST(EpollFiles, TheInstanceIsShared) {
  // A child's changes are the parent's.
  Epoll epoll;
  EventFd event(1);
  EXPECT_THAT(InChild([&] { return epoll.Add(event.fd(), EPOLLIN, 4); }), Exited(0));
  EXPECT_EQ(epoll.Wait(), "4:1");
}

TEST(EpollFiles, ManyComeAndGo) {
  Epoll epoll;
  for (int round = 0; round < 20; ++round) {
    std::vector<EventFd> events(20);
    for (size_t i = 0; i < 20; ++i) epoll.Add(events[i].fd(), EPOLLIN, i);
    events[7].Add();
    EXPECT_EQ(epoll.Wait(), "7:1");
  }
  EXPECT_EQ(epoll.Wait(), "");
}

TEST(EpollNested, ReadyWhenTheInnerOneIs) {
  Epoll inner, outer;
  EventFd event;
  inner.Add(event.fd(), EPOLLIN, 1);
  EXPECT_THAT(outer.Add(inner.fd(), EPOLLIN, 2), Succeeds());
  EXPECT_EQ(outer.Wait(), "");
  event.Add();
  EXPECT_EQ(outer.Wait(), "2:1");
  EXPECT_EQ(outer.Wait(), "2:1");
  EXPECT_EQ(inner.Wait(), "1:1");
  event.Take();
  EXPECT_EQ(outer.Wait(), "");
  EXPECT_EQ(inner.Wait(), "");
}

TEST(EpollNested, Polls) {
  Epoll epoll;
  EventFd event;
  epoll.Add(event.fd(), EPOLLIN);
  EXPECT_EQ(PollOnce(epoll.fd(), POLLIN), 0);
  event.Add();
  EXPECT_EQ(PollOnce(epoll.fd(), POLLIN | POLLOUT), POLLIN);
  EXPECT_EQ(PollOnce(epoll.fd(), POLLRDNORM), POLLRDNORM);
}

TEST(EpollNested, LookingDoesNotChangeTheTurns) {
  Epoll epoll;
  EventFd a(1), b(1);
  epoll.Add(a.fd(), EPOLLIN, 1);
  epoll.Add(b.fd(), EPOLLIN, 2);
  EXPECT_EQ(PollOnce(epoll.fd(), POLLIN), POLLIN);
  EXPECT_EQ(epoll.Wait(0, 1), "1:1");
  EXPECT_EQ(PollOnce(epoll.fd(), POLLIN), POLLIN);
  EXPECT_EQ(epoll.Wait(0, 1), "2:1");
}

TEST(EpollNested, EdgesOfTheOuterOne) {
  Epoll inner, outer;
  EventFd event;
  inner.Add(event.fd(), EPOLLIN);
  outer.Add(inner.fd(), EPOLLIN | EPOLLET, 2);
  event.Add();
  EXPECT_EQ(outer.Wait(), "2:1");
  EXPECT_EQ(outer.Wait(), "");
}

TEST(EpollNested, WakesAWaiter) {
  Epoll inner, outer;
  EventFd event;
  inner.Add(event.fd(), EPOLLIN);
  outer.Add(inner.fd(), EPOLLIN, 3);
  const pid_t child = Start([&] {
    CHILD_CHECK(outer.Wait(-1) == "3:1");
    return 0;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  event.Add();
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(EpollNested, NoLoops) {
  Epoll a, b, c;
  EXPECT_THAT(a.Add(a.fd(), EPOLLIN), FailsWith(EINVAL));
  EXPECT_THAT(a.Add(b.fd(), EPOLLIN), Succeeds());
  EXPECT_THAT(b.Add(a.fd(), EPOLLIN), FailsWith(ELOOP));
  EXPECT_THAT(b.Add(c.fd(), EPOLLIN), Succeeds());
  EXPECT_THAT(c.Add(a.fd(), EPOLLIN), FailsWith(ELOOP));
  EXPECT_THAT(a.Add(c.fd(), EPOLLIN), Succeeds());
}

TEST(EpollNested, FiveLevelsAreEnough) {
  std::vector<Epoll> chain(7);
  // Each watches the one before.
  for (size_t i = 1; i <= 4; ++i) {
    EXPECT_THAT(chain[i].Add(chain[i - 1].fd(), EPOLLIN), Succeeds()) << i;
  }
  EXPECT_THAT(chain[5].Add(chain[4].fd(), EPOLLIN), FailsWith(ELOOP));
}

TEST(EpollNested, ADeletedLinkFreesTheWay) {
  Epoll a, b;
  EXPECT_THAT(a.Add(b.fd(), EPOLLIN), Succeeds());
  EXPECT_THAT(a.Del(b.fd()), Succeeds());
  EXPECT_THAT(b.Add(a.fd(), EPOLLIN), Succeeds());
}

TEST(EpollNested, ClosingTheInnerOne) {
  Epoll outer;
  EventFd event(1);
  {
    Epoll inner;
    inner.Add(event.fd(), EPOLLIN);
    outer.Add(inner.fd(), EPOLLIN, 1);
    EXPECT_EQ(outer.Wait(), "1:1");
  }
  EXPECT_EQ(outer.Wait(), "");
}

TEST(EpollExclusive, Rules) {
  Epoll epoll, inner;
  Pipe pipe;
  EXPECT_THAT(epoll.Add(pipe.read.get(), EPOLLIN | EPOLLEXCLUSIVE | EPOLLONESHOT),
              FailsWith(EINVAL));
  EXPECT_THAT(epoll.Add(pipe.read.get(), EPOLLIN | EPOLLEXCLUSIVE | EPOLLPRI), FailsWith(EINVAL));
  EXPECT_THAT(epoll.Add(inner.fd(), EPOLLIN | EPOLLEXCLUSIVE), FailsWith(EINVAL));
  EXPECT_THAT(epoll.Add(pipe.read.get(), EPOLLIN | EPOLLEXCLUSIVE | EPOLLET | EPOLLWAKEUP),
              Succeeds());
  EXPECT_THAT(epoll.Mod(pipe.read.get(), EPOLLIN), FailsWith(EINVAL));
  EXPECT_THAT(epoll.Mod(pipe.read.get(), EPOLLIN | EPOLLEXCLUSIVE), FailsWith(EINVAL));
  EXPECT_THAT(epoll.Mod(pipe.write.get(), EPOLLIN | EPOLLEXCLUSIVE), FailsWith(EINVAL));
  EXPECT_THAT(epoll.Del(pipe.read.get()), Succeeds());
}

TEST(EpollExclusive, SomebodyIsWoken) {
  Epoll a, b;
  EventFd event;
  a.Add(event.fd(), EPOLLIN | EPOLLEXCLUSIVE, 1);
  b.Add(event.fd(), EPOLLIN | EPOLLEXCLUSIVE, 2);
  event.Add();
  // Exclusive is who sleeps: nobody does, so that both find it.
  EXPECT_EQ(a.Wait(), "1:1");
  EXPECT_EQ(b.Wait(), "2:1");
  event.Take();
  EXPECT_EQ(a.Wait() + b.Wait(), "");
}

TEST(EpollFiles, AnInstanceThatGoesFirst) {
  EventFd event;
  {
    Epoll epoll;
    epoll.Add(event.fd(), EPOLLIN);
  }
  EXPECT_THAT(event.Add(), Succeeds());
  EXPECT_EQ(event.Take(), 1);
}

TEST(EpollFiles, ACopyOfTheInstance) {
  Epoll epoll;
  UniqueFd copy(dup(epoll.fd()));
  EventFd event(1);
  epoll_event wanted = {};
  wanted.events = EPOLLIN;
  EXPECT_THAT(epoll_ctl(copy.get(), EPOLL_CTL_ADD, event.fd(), &wanted), Succeeds());
  EXPECT_EQ(epoll.Wait(), "0:1");
}

TEST(EpollFiles, WatchesItsOwnCopyNever) {
  Epoll epoll;
  UniqueFd copy(dup(epoll.fd()));
  EXPECT_THAT(epoll.Add(copy.get(), EPOLLIN), FailsWith(EINVAL));
}

}  // namespace
