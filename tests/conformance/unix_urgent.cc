// MSG_OOB on AF_UNIX streams: unix(7), net/unix/af_unix.c (queue_oob(), manage_oob()).
#include <fcntl.h>
#include <signal.h>
#include <sys/epoll.h>

#include "tests/conformance/unix_support.h"

namespace {

// What recv(2) gives, or the error's name.
std::string Get(const UniqueFd& fd, int flags = 0, size_t room = 100) {
  std::string buffer(room, '\0');
  const ssize_t got = recv(fd.get(), buffer.data(), room, flags | MSG_DONTWAIT);
  if (got < 0) return std::string("<") + ErrnoName(errno) + ">";
  return buffer.substr(0, static_cast<size_t>(got));
}
std::string Urgent(const UniqueFd& fd, int flags = 0) { return Get(fd, MSG_OOB | flags, 1); }
ssize_t SendUrgent(const UniqueFd& fd, std::string_view text) {
  return SendText(fd.get(), text, MSG_OOB);
}
int AtMark(const UniqueFd& fd) {
  int at = -1;
  EXPECT_THAT(ioctl(fd.get(), SIOCATMARK, &at), Returns(0));
  return at;
}
int Waiting(const UniqueFd& fd) {
  int count = -1;
  EXPECT_THAT(ioctl(fd.get(), FIONREAD, &count), Returns(0));
  return count;
}

TEST(UnixUrgent, TheLastByteIsBesideTheStream) {
  UnixPair pair;
  EXPECT_THAT(SendUrgent(pair.a, "hello"), Returns(5));
  EXPECT_EQ(Urgent(pair.b), "o");
  EXPECT_EQ(Get(pair.b), "hell");
  EXPECT_EQ(Get(pair.b), "<EAGAIN>");
}

TEST(UnixUrgent, TakenOnce) {
  UnixPair pair;
  SendUrgent(pair.a, "x");
  EXPECT_EQ(Urgent(pair.b, MSG_PEEK), "x");
  EXPECT_EQ(Urgent(pair.b), "x");
  EXPECT_EQ(Urgent(pair.b), "<EINVAL>");
}

TEST(UnixUrgent, NoneIsThere) {
  UnixPair pair;
  EXPECT_EQ(Urgent(pair.b), "<EINVAL>");
  SendText(pair.a.get(), "plain");
  EXPECT_EQ(Urgent(pair.b), "<EINVAL>");
  EXPECT_EQ(Urgent(pair.b, MSG_PEEK), "<EINVAL>");
}

TEST(UnixUrgent, NothingToSend) {
  UnixPair pair;
  EXPECT_THAT(send(pair.a.get(), "", 0, MSG_OOB), FailsWith(EOPNOTSUPP));
}

TEST(UnixUrgent, ForStreamsOnly) {
  for (const int type : {SOCK_DGRAM, SOCK_SEQPACKET}) {
    UnixPair pair(type);
    EXPECT_THAT(SendUrgent(pair.a, "x"), FailsWith(EOPNOTSUPP));
    EXPECT_EQ(Urgent(pair.b), "<EOPNOTSUPP>");
  }
}

TEST(UnixUrgent, WithoutAConnection) {
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  EXPECT_THAT(send(fd.get(), "x", 1, MSG_OOB | MSG_NOSIGNAL), FailsWith(ENOTCONN));
  EXPECT_EQ(Urgent(fd), "<EINVAL>");
}

TEST(UnixUrgent, ToNobody) {
  UnixPair pair;
  pair.b.reset();
  EXPECT_THAT(send(pair.a.get(), "x", 1, MSG_OOB | MSG_NOSIGNAL), FailsWith(EPIPE));
}

TEST(UnixUrgent, ReadsEndInFrontOfIt) {
  UnixPair pair;
  SendUrgent(pair.a, "ab!");
  SendText(pair.a.get(), "cd");
  EXPECT_EQ(Get(pair.b), "ab");
  // The next passes over it.
  EXPECT_EQ(Get(pair.b), "cd");
  EXPECT_EQ(Urgent(pair.b), "<EINVAL>");
}

TEST(UnixUrgent, ReadsEndWhereItWas) {
  UnixPair pair;
  SendUrgent(pair.a, "ab!");
  SendText(pair.a.get(), "cd");
  EXPECT_EQ(Urgent(pair.b), "!");
  EXPECT_EQ(Get(pair.b), "ab");
  EXPECT_EQ(Get(pair.b), "cd");
}

TEST(UnixUrgent, WaitallEndsThereToo) {
  UnixPair pair;
  SendUrgent(pair.a, "ab!");
  SendText(pair.a.get(), "cd");
  char buffer[8];
  EXPECT_THAT(recv(pair.b.get(), buffer, 4, MSG_WAITALL), Returns(2));
}

TEST(UnixUrgent, OnlyItIsNothingToRead) {
  UnixPair pair;
  SendUrgent(pair.a, "x");
  EXPECT_EQ(Get(pair.b), "<EAGAIN>");
  EXPECT_EQ(Urgent(pair.b), "<EINVAL>");
}

TEST(UnixUrgent, TheEndBehindIt) {
  UnixPair pair;
  SendUrgent(pair.a, "x");
  pair.a.reset();
  EXPECT_EQ(Get(pair.b), "");
}

TEST(UnixUrgent, AnotherOneFreesTheFirst) {
  UnixPair pair;
  SendUrgent(pair.a, "ab");
  SendUrgent(pair.a, "cd");
  EXPECT_EQ(Urgent(pair.b), "d");
  EXPECT_EQ(Get(pair.b), "abc");
  EXPECT_EQ(Get(pair.b), "<EAGAIN>");
}

TEST(UnixUrgent, Inline) {
  UnixPair pair;
  ASSERT_THAT(SetInt(pair.b.get(), SO_OOBINLINE, 1), Returns(0));
  SendUrgent(pair.a, "ab!");
  SendText(pair.a.get(), "cd");
  EXPECT_EQ(Urgent(pair.b), "<EINVAL>");
  EXPECT_EQ(Get(pair.b), "ab");
  EXPECT_EQ(AtMark(pair.b), 1);
  EXPECT_EQ(Get(pair.b), "!cd");
  EXPECT_EQ(AtMark(pair.b), 0);
}

TEST(UnixUrgent, InlineAlone) {
  UnixPair pair;
  ASSERT_THAT(SetInt(pair.b.get(), SO_OOBINLINE, 1), Returns(0));
  SendUrgent(pair.a, "!");
  EXPECT_EQ(Get(pair.b), "!");
}

TEST(UnixUrgent, Peeking) {
  UnixPair pair;
  SendUrgent(pair.a, "ab!");
  SendText(pair.a.get(), "cd");
  EXPECT_EQ(Get(pair.b, MSG_PEEK), "ab");
  EXPECT_EQ(Get(pair.b), "ab");
  EXPECT_EQ(Get(pair.b, MSG_PEEK), "cd");
  EXPECT_EQ(Urgent(pair.b), "!");
  EXPECT_EQ(Get(pair.b), "cd");
}

TEST(UnixUrgent, PeekingInline) {
  UnixPair pair;
  ASSERT_THAT(SetInt(pair.b.get(), SO_OOBINLINE, 1), Returns(0));
  SendUrgent(pair.a, "!");
  SendText(pair.a.get(), "cd");
  EXPECT_EQ(Get(pair.b, MSG_PEEK), "!cd");
  EXPECT_EQ(Get(pair.b), "!cd");
}

TEST(UnixUrgent, TheMark) {
  UnixPair pair;
  EXPECT_EQ(AtMark(pair.b), 0);
  SendUrgent(pair.a, "ab!");
  EXPECT_EQ(AtMark(pair.b), 0);
  Get(pair.b);
  EXPECT_EQ(AtMark(pair.b), 1);
  SendText(pair.a.get(), "cd");
  EXPECT_EQ(AtMark(pair.b), 1);
  Get(pair.b);
  EXPECT_EQ(AtMark(pair.b), 0);
}

TEST(UnixUrgent, TheMarkStaysWhenTheByteIsTaken) {
  UnixPair pair;
  SendUrgent(pair.a, "ab!");
  SendText(pair.a.get(), "cd");
  EXPECT_EQ(Urgent(pair.b), "!");
  EXPECT_EQ(AtMark(pair.b), 0);
  Get(pair.b);
  EXPECT_EQ(AtMark(pair.b), 1);
  EXPECT_EQ(Get(pair.b), "cd");
  EXPECT_EQ(AtMark(pair.b), 0);
}

TEST(UnixUrgent, TakenOneAfterTheOther) {
  UnixPair pair;
  for (const char* byte : {"1", "2", "3"}) {
    EXPECT_THAT(SendUrgent(pair.a, byte), Returns(1));
    EXPECT_EQ(Urgent(pair.b), byte);
  }
  SendText(pair.a.get(), "rest");
  EXPECT_EQ(AtMark(pair.b), 1);
  EXPECT_EQ(Get(pair.b), "rest");
}

TEST(UnixUrgent, CountsAsAByte) {
  UnixPair pair;
  SendUrgent(pair.a, "abc");
  EXPECT_EQ(Waiting(pair.b), 3);
  Urgent(pair.b);
  EXPECT_EQ(Waiting(pair.b), 2);
}

TEST(UnixUrgent, PollShowsIt) {
  UnixPair pair;
  EXPECT_EQ(PollNow(pair.b.get()), POLLOUT);
  SendUrgent(pair.a, "ab");
  EXPECT_EQ(PollNow(pair.b.get()), POLLIN | POLLPRI | POLLOUT);
  Get(pair.b);
  EXPECT_EQ(PollNow(pair.b.get(), POLLPRI), POLLPRI);
  Urgent(pair.b);
  EXPECT_EQ(PollNow(pair.b.get(), POLLPRI), 0);
}

TEST(UnixUrgent, WakesAPoll) {
  UnixPair pair;
  const pid_t child = Start([&] {
    pollfd one{.fd = pair.b.get(), .events = POLLPRI, .revents = 0};
    CHILD_CHECK(poll(&one, 1, -1) == 1 && one.revents == POLLPRI);
    CHILD_CHECK(Urgent(pair.b) == "!");
    return 0;
  });
  SendUrgent(pair.a, "!");
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(UnixUrgent, EdgesOfEpoll) {
  UnixPair pair;
  UniqueFd epoll(epoll_create1(0));
  epoll_event wanted{};
  wanted.events = EPOLLPRI | EPOLLET;
  ASSERT_THAT(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, pair.b.get(), &wanted), Returns(0));
  epoll_event got{};
  EXPECT_THAT(epoll_wait(epoll.get(), &got, 1, 0), Returns(0));
  for (int i = 0; i < 2; i++) {
    SendUrgent(pair.a, "!");
    EXPECT_THAT(epoll_wait(epoll.get(), &got, 1, -1), Returns(1));
    EXPECT_EQ(got.events, static_cast<uint32_t>(EPOLLPRI));
    EXPECT_THAT(epoll_wait(epoll.get(), &got, 1, 0), Returns(0));
    EXPECT_EQ(Urgent(pair.b), "!");
  }
}

TEST(UnixUrgent, SignalsItsOwner) {
  ScopedBlock block({SIGURG});
  UnixPair pair;
  ASSERT_THAT(fcntl(pair.b.get(), F_SETOWN, getpid()), Returns(0));
  SendUrgent(pair.a, "!");
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGURG);
  siginfo_t info{};
  EXPECT_THAT(sigwaitinfo(&set, &info), Returns(SIGURG));
}

TEST(UnixUrgent, FlagsOfTheMessage) {
  UnixPair pair;
  SendUrgent(pair.a, "!");
  const Received got = Receive(pair.b.get(), 10, MSG_OOB);
  EXPECT_EQ(got.data, "!");
  EXPECT_EQ(got.flags, MSG_OOB);
}

TEST(UnixUrgent, NoRoomForIt) {
  UnixPair pair;
  SendUrgent(pair.a, "!");
  EXPECT_THAT(recv(pair.b.get(), nullptr, 0, MSG_OOB), Returns(1));
  EXPECT_EQ(Urgent(pair.b), "<EINVAL>");
}

TEST(UnixUrgent, WithFiles) {
  UnixPair pair;
  Pipe pipe;
  EXPECT_THAT(SendFds(pair.a.get(), "a!", {pipe.write.get()}, MSG_OOB), Returns(2));
  const Received got = Receive(pair.b.get());
  EXPECT_EQ(got.data, "a");
  EXPECT_EQ(got.fds.size(), 1u);
  EXPECT_EQ(Urgent(pair.b), "!");
}

TEST(UnixUrgent, ReadPastWithItsFiles) {
  UnixPair pair;
  Pipe pipe;
  EXPECT_THAT(SendFds(pair.a.get(), "!", {pipe.write.get()}, MSG_OOB), Returns(1));
  pipe.write.reset();
  EXPECT_EQ(Get(pair.b), "<EAGAIN>");
  char byte;
  EXPECT_THAT(read(pipe.read.get(), &byte, 1), Returns(0));
}

// Bytes of their own take memory: there is an end to them.
TEST(UnixUrgent, FillsTheBuffer) {
  UnixPair pair;
  int sent = 0;
  while (send(pair.a.get(), "!", 1, MSG_OOB | MSG_DONTWAIT) == 1) sent++;
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_GT(sent, 10);
  EXPECT_EQ(Waiting(pair.b), sent);
  EXPECT_EQ(Urgent(pair.b), "!");
}

}  // namespace
