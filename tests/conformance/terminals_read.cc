// Reading and writing: lines, VMIN and VTIME, limits, flow control, readiness.
#include <sys/epoll.h>
#include <sys/uio.h>

#include "tests/conformance/terminals_support.h"

namespace {

TEST(CanonicalRead, OneLineAtATime) {
  Pty pty;
  pty.Type("one\ntwo\n");
  EXPECT_EQ(pty.Line(), "one\n");
  EXPECT_EQ(pty.Line(), "two\n");
}

TEST(CanonicalRead, TheRestOfALineStays) {
  Pty pty;
  pty.Type("abcdef\n");
  EXPECT_EQ(pty.Line(2), "ab");
  EXPECT_EQ(pty.Line(3), "cde");
  EXPECT_EQ(pty.Line(), "f\n");
}

TEST(CanonicalRead, EndOfFileBehindAFullReadIsSwallowed) {
  Pty pty;
  pty.Type("abc\004next\n");
  EXPECT_EQ(pty.Line(3), "abc");
  EXPECT_EQ(pty.Line(), "next\n");
}

TEST(CanonicalRead, TwoEndsOfFileEnd) {
  Pty pty;
  pty.Type("abc\004\004");
  EXPECT_EQ(pty.Line(), "abc");
  EXPECT_EQ(pty.Line(), "");
}

TEST(CanonicalRead, AnUnfinishedLineIsNotThere) {
  Pty pty;
  pty.Type("abc");
  EXPECT_EQ(pty.Shown(3), "abc");
  EXPECT_EQ(PollNow(pty.slave.get(), POLLIN), 0);
  EXPECT_EQ(pty.Pending(), 0);
  ASSERT_THAT(fcntl(pty.slave.get(), F_SETFL, O_RDWR | O_NONBLOCK), Returns(0));
  char byte;
  EXPECT_THAT(read(pty.slave.get(), &byte, 1), FailsWith(EAGAIN));
}

TEST(CanonicalRead, FionreadCountsLinesWithoutEof) {
  Pty pty;
  pty.Type("ab\ncd\004ef");
  EXPECT_TRUE(Eventually([&] { return pty.Pending() == 5; })) << pty.Pending();
}

TEST(CanonicalRead, ALineHasAtMost4096Bytes) {
  Pty pty;
  pty.Change([](termios& t) { t.c_lflag &= ~ECHO; });
  pty.Type(std::string(4090, 'x') + "0123456789\n");
  const std::string line = pty.Line();
  EXPECT_EQ(line.size(), 4096u);
  EXPECT_EQ(line.substr(4088), "xx01234\n");
  pty.Type("next\n");
  EXPECT_EQ(pty.Line(), "next\n");
}

TEST(CanonicalRead, AFullBufferOfLinesKeepsTheRestWaiting) {
  Pty pty;
  pty.Change([](termios& t) { t.c_lflag &= ~ECHO; });
  std::string typed;
  for (int i = 0; i < 60; ++i) typed += std::string(99, static_cast<char>('a' + i % 26)) + "\n";
  pty.Type(typed);
  std::string got;
  while (got.size() < typed.size()) {
    const std::string line = pty.Line();
    ASSERT_EQ(line.size(), 100u);
    got += line;
  }
  EXPECT_EQ(got, typed);
}

TEST(CanonicalRead, ScatteredOverVectors) {
  Pty pty;
  pty.Type("abcdef\n");
  ASSERT_TRUE(WaitReadable(pty.slave.get()));
  char first[2], second[10];
  iovec vectors[] = {{first, 2}, {second, 10}};
  ASSERT_THAT(readv(pty.slave.get(), vectors, 2), Returns(7));
  EXPECT_EQ(std::string(first, 2) + std::string(second, 5), "abcdef\n");
}

TEST(CanonicalRead, NothingIsAskedFor) {
  Pty pty;
  char byte;
  EXPECT_THAT(read(pty.slave.get(), &byte, 0), Returns(0));
}

TEST(CanonicalRead, FaultsAreReported) {
  void* volatile address = reinterpret_cast<void*>(8);
  void* const nowhere = address;
  Pty pty;
  pty.Type("ab\n");
  ASSERT_TRUE(WaitReadable(pty.slave.get()));
  EXPECT_THAT(read(pty.slave.get(), nowhere, 3), FailsWith(EFAULT));
  EXPECT_THAT(write(pty.slave.get(), nowhere, 3), FailsWith(EFAULT));
  EXPECT_THAT(write(pty.master.get(), nowhere, 3), FailsWith(EFAULT));
}

TEST(CanonicalRead, NoPositions) {
  Pty pty;
  char byte = 0;
  EXPECT_THAT(lseek(pty.slave.get(), 0, SEEK_SET), FailsWith(ESPIPE));
  EXPECT_THAT(pread(pty.slave.get(), &byte, 1, 0), FailsWith(ESPIPE));
  EXPECT_THAT(pwrite(pty.master.get(), &byte, 1, 0), FailsWith(ESPIPE));
}

TEST(CanonicalRead, InterruptedBySignal) {
  static Pipe done;
  Pty pty;
  const pid_t child = Start([&] {
    struct sigaction action = {};
    action.sa_handler = [](int) {};
    sigaction(SIGUSR1, &action, nullptr);
    Post(done.write.get());
    char byte;
    return read(pty.slave.get(), &byte, 1) == -1 && errno == EINTR ? 0 : 1;
  });
  ASSERT_TRUE(Await(done.read.get()));
  // One of the signals finds it in the call.
  int status = -1;
  EXPECT_TRUE(Eventually([&] {
    kill(child, SIGUSR1);
    return waitpid(child, &status, WNOHANG) == child;
  }));
  EXPECT_THAT(status, Exited(0));
}

// Without lines: termios(3), the four cases.
TEST(RawRead, MinimumOfOne) {
  Pty pty;
  pty.MakeRaw(1, 0);
  pty.Type("abc");
  EXPECT_EQ(pty.Line(2), "ab");
  EXPECT_EQ(pty.Line(), "c");
}

TEST(RawRead, WaitsForTheMinimum) {
  Pty pty;
  pty.MakeRaw(4, 0);
  Pipe got;
  const pid_t child = Start([&] {
    char bytes[10];
    const ssize_t n = read(pty.slave.get(), bytes, sizeof bytes);
    return static_cast<int>(n);
  });
  pty.Type("ab");
  WaitForState(child, 'S');
  EXPECT_THAT(waitpid(child, nullptr, WNOHANG), Returns(0));
  pty.Type("cd");
  EXPECT_THAT(Wait(child), Exited(4));
}

TEST(RawRead, ASmallBufferNeedsNoMinimum) {
  Pty pty;
  pty.MakeRaw(100, 0);
  pty.Type("ab");
  char bytes[2];
  EXPECT_THAT(read(pty.slave.get(), bytes, 2), Returns(2));
}

TEST(RawRead, PollKnowsTheMinimum) {
  Pty pty;
  pty.MakeRaw(3, 0);
  pty.Type("ab");
  EXPECT_TRUE(Eventually([&] { return pty.Pending() == 2; }));
  EXPECT_EQ(PollNow(pty.slave.get(), POLLIN), 0);
  pty.Type("c");
  EXPECT_TRUE(PollsEventually(pty.slave.get(), POLLIN));
}

TEST(RawRead, PollForgetsTheMinimumWithATime) {
  Pty pty;
  pty.MakeRaw(3, 1);
  pty.Type("a");
  EXPECT_TRUE(PollsEventually(pty.slave.get(), POLLIN));
}

TEST(RawRead, NonblockingTakesWhatIsThere) {
  Pty pty;
  pty.MakeRaw(10, 0);
  ASSERT_THAT(fcntl(pty.slave.get(), F_SETFL, O_RDWR | O_NONBLOCK), Returns(0));
  char bytes[10];
  EXPECT_THAT(read(pty.slave.get(), bytes, sizeof bytes), FailsWith(EAGAIN));
  pty.Type("ab");
  EXPECT_TRUE(Eventually([&] { return pty.Pending() == 2; }));
  EXPECT_THAT(read(pty.slave.get(), bytes, sizeof bytes), Returns(2));
}

TEST(RawRead, NoMinimumNoTime) {
  Pty pty;
  pty.MakeRaw(0, 0);
  char bytes[10];
  EXPECT_THAT(read(pty.slave.get(), bytes, sizeof bytes), Returns(0));
  pty.Type("ab");
  EXPECT_TRUE(Eventually([&] { return pty.Pending() == 2; }));
  EXPECT_THAT(read(pty.slave.get(), bytes, sizeof bytes), Returns(2));
}

TEST(RawRead, NoMinimumNoTimeNonblocking) {
  Pty pty;
  pty.MakeRaw(0, 0);
  ASSERT_THAT(fcntl(pty.slave.get(), F_SETFL, O_RDWR | O_NONBLOCK), Returns(0));
  char byte;
  EXPECT_THAT(read(pty.slave.get(), &byte, 1), Returns(0));
}

TEST(RawRead, TimeForTheFirstByte) {
  Pty pty;
  pty.MakeRaw(0, 2);
  char bytes[10];
  const int64_t before = NowMs();
  EXPECT_THAT(read(pty.slave.get(), bytes, sizeof bytes), Returns(0));
  EXPECT_GE(NowMs() - before, 190);
  pty.Type("a");
  EXPECT_THAT(read(pty.slave.get(), bytes, sizeof bytes), Returns(1));
}

TEST(RawRead, TimeForTheFirstByteNonblocking) {
  Pty pty;
  pty.MakeRaw(0, 2);
  ASSERT_THAT(fcntl(pty.slave.get(), F_SETFL, O_RDWR | O_NONBLOCK), Returns(0));
  char byte;
  EXPECT_THAT(read(pty.slave.get(), &byte, 1), FailsWith(EAGAIN));
}

TEST(RawRead, TimeBetweenBytes) {
  Pty pty;
  pty.MakeRaw(5, 2);
  pty.Type("abc");
  char bytes[10];
  EXPECT_THAT(read(pty.slave.get(), bytes, sizeof bytes), Returns(3));
}

TEST(RawRead, TimeBetweenBytesWaitsForTheFirst) {
  Pty pty;
  pty.MakeRaw(2, 1);
  const pid_t child = Start([&] {
    char bytes[10];
    return static_cast<int>(read(pty.slave.get(), bytes, sizeof bytes));
  });
  WaitForState(child, 'S');
  pty.Type("xy");
  EXPECT_THAT(Wait(child), Exited(2));
}

TEST(RawRead, ManyBytes) {
  Pty pty;
  pty.MakeRaw();
  std::string sent;
  for (int i = 0; i < 50000; ++i) sent += static_cast<char>(i * 7);
  const pid_t child = Start([&] {
    size_t done = 0;
    while (done < sent.size()) {
      const ssize_t n = write(pty.master.get(), sent.data() + done, sent.size() - done);
      CHILD_CHECK(n > 0);
      done += static_cast<size_t>(n);
    }
    return 0;
  });
  EXPECT_TRUE(Pty::ReadExactly(pty.slave.get(), sent.size()) == sent);
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Modes, LeavingCanonicalModeShowsWhatIsThere) {
  Pty pty;
  pty.Type("abc");
  EXPECT_EQ(pty.Shown(3), "abc");
  pty.Change([](termios& t) { t.c_lflag &= ~ICANON; });
  EXPECT_EQ(pty.Line(), "abc");
}

TEST(Modes, EnteringCanonicalModeEndsALine) {
  Pty pty;
  pty.MakeRaw();
  pty.Type("abc");
  EXPECT_TRUE(Eventually([&] { return pty.Pending() == 3; }));
  pty.Change([](termios& t) { t.c_lflag |= ICANON; });
  EXPECT_EQ(pty.Line(), "abc");
}

TEST(Modes, FlushingSetThrowsInputAway) {
  Pty pty;
  pty.Type("abc\n");
  ASSERT_TRUE(WaitReadable(pty.slave.get()));
  termios modes = pty.Get();
  ASSERT_THAT(tcsetattr(pty.slave.get(), TCSAFLUSH, &modes), Returns(0));
  EXPECT_EQ(pty.Pending(), 0);
  pty.Type("x\n");
  EXPECT_EQ(pty.Line(), "x\n");
}

TEST(Modes, DrainingSetKeepsInput) {
  Pty pty;
  pty.Type("abc\n");
  ASSERT_TRUE(WaitReadable(pty.slave.get()));
  termios modes = pty.Get();
  ASSERT_THAT(tcsetattr(pty.slave.get(), TCSADRAIN, &modes), Returns(0));
  EXPECT_EQ(pty.Line(), "abc\n");
}

TEST(Flush, Input) {
  Pty pty;
  pty.Type("abc\n");
  ASSERT_TRUE(WaitReadable(pty.slave.get()));
  EXPECT_THAT(tcflush(pty.slave.get(), TCIFLUSH), Returns(0));
  EXPECT_EQ(PollNow(pty.slave.get(), POLLIN), 0);
}

TEST(Flush, OutputLeavesInput) {
  Pty pty;
  pty.Type("abc\n");
  ASSERT_TRUE(WaitReadable(pty.slave.get()));
  EXPECT_THAT(tcflush(pty.slave.get(), TCOFLUSH), Returns(0));
  EXPECT_EQ(pty.Line(), "abc\n");
}

TEST(Flush, UnknownQueue) {
  Pty pty;
  EXPECT_THAT(ioctl(pty.slave.get(), TCFLSH, 3), FailsWith(EINVAL));
}

TEST(Flow, StopAndStartByTheProgram) {
  Pty pty;
  ASSERT_THAT(tcflow(pty.slave.get(), TCOOFF), Returns(0));
  EXPECT_EQ(PollNow(pty.slave.get(), POLLOUT), 0);
  ASSERT_THAT(fcntl(pty.slave.get(), F_SETFL, O_RDWR | O_NONBLOCK), Returns(0));
  EXPECT_THAT(write(pty.slave.get(), "x", 1), FailsWith(EAGAIN));
  ASSERT_THAT(tcflow(pty.slave.get(), TCOON), Returns(0));
  EXPECT_EQ(PollNow(pty.slave.get(), POLLOUT), POLLOUT);
  EXPECT_THAT(write(pty.slave.get(), "x", 1), Returns(1));
}

TEST(Flow, StopAndStartByCharacters) {
  Pty pty;
  pty.Type("\023");
  EXPECT_TRUE(Eventually([&] { return PollNow(pty.slave.get(), POLLOUT) == 0; }));
  const pid_t child = Start([&] { return write(pty.slave.get(), "out", 3) == 3 ? 0 : 1; });
  WaitForState(child, 'S');
  EXPECT_EQ(PollNow(pty.master.get(), POLLIN), 0);
  pty.Type("\021");
  EXPECT_EQ(pty.Shown(3), "out");
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Flow, AnyCharacterStarts) {
  Pty pty;
  pty.Change([](termios& t) {
    t.c_iflag |= IXANY;
    t.c_lflag &= ~ECHO;
  });
  pty.Type("\023");
  EXPECT_TRUE(Eventually([&] { return PollNow(pty.slave.get(), POLLOUT) == 0; }));
  pty.Type("x");
  EXPECT_TRUE(PollsEventually(pty.slave.get(), POLLOUT));
}

TEST(Flow, CharactersDoNotStartWhatTheProgramStopped) {
  Pty pty;
  ASSERT_THAT(tcflow(pty.slave.get(), TCOOFF), Returns(0));
  pty.Type("\021a\n");
  EXPECT_EQ(pty.Line(), "a\n");
  EXPECT_EQ(PollNow(pty.slave.get(), POLLOUT), 0);
  ASSERT_THAT(tcflow(pty.slave.get(), TCOON), Returns(0));
}

TEST(Flow, EchoWaitsForTheStart) {
  Pty pty;
  pty.Type("\023ab\n");
  EXPECT_EQ(pty.Line(), "ab\n");
  EXPECT_EQ(PollNow(pty.master.get(), POLLIN), 0);
  pty.Type("\021");
  EXPECT_EQ(pty.Shown(4), "ab\r\n");
}

TEST(Flow, InterruptStarts) {
  Pty pty;
  pty.Type("\023");
  EXPECT_TRUE(Eventually([&] { return PollNow(pty.slave.get(), POLLOUT) == 0; }));
  pty.Type("\003");
  EXPECT_TRUE(PollsEventually(pty.slave.get(), POLLOUT));
}

TEST(Flow, LeavingIxonStarts) {
  Pty pty;
  pty.Type("\023");
  EXPECT_TRUE(Eventually([&] { return PollNow(pty.slave.get(), POLLOUT) == 0; }));
  pty.Change([](termios& t) { t.c_iflag &= ~IXON; });
  EXPECT_EQ(PollNow(pty.slave.get(), POLLOUT), POLLOUT);
}

TEST(Flow, TheProgramSendsCharacters) {
  Pty pty;
  ASSERT_THAT(tcflow(pty.slave.get(), TCIOFF), Returns(0));
  ASSERT_THAT(tcflow(pty.slave.get(), TCION), Returns(0));
  EXPECT_EQ(pty.Shown(2), "\023\021");
}

TEST(Flow, UnknownAction) {
  Pty pty;
  EXPECT_THAT(ioctl(pty.slave.get(), TCXONC, 7), FailsWith(EINVAL));
}

TEST(Readiness, Fresh) {
  Pty pty;
  EXPECT_EQ(PollNow(pty.slave.get()), POLLOUT);
  EXPECT_EQ(PollNow(pty.master.get()), POLLOUT);
}

TEST(Readiness, AFullSlaveStopsWriters) {
  Pty pty;
  ASSERT_THAT(fcntl(pty.slave.get(), F_SETFL, O_RDWR | O_NONBLOCK), Returns(0));
  const std::string chunk(1000, 'x');
  size_t total = 0;
  // The bytes move on in the background, so that it is full when it stays full.
  EXPECT_TRUE(Eventually([&] {
    const ssize_t n = write(pty.slave.get(), chunk.data(), chunk.size());
    total += n > 0 ? static_cast<size_t>(n) : 0;
    return n < 0 && errno == EAGAIN && total > 4096;
  }));
  EXPECT_LT(total, 100000u);
  EXPECT_EQ(Pty::ReadExactly(pty.master.get(), total), std::string(total, 'x'));
  EXPECT_TRUE(PollsEventually(pty.slave.get(), POLLOUT));
}

TEST(Readiness, AFullMasterStopsWriters) {
  Pty pty;
  pty.MakeRaw();
  ASSERT_THAT(fcntl(pty.master.get(), F_SETFL, O_RDWR | O_NONBLOCK), Returns(0));
  const std::string chunk(1000, 'x');
  size_t total = 0;
  EXPECT_TRUE(Eventually([&] {
    const ssize_t n = write(pty.master.get(), chunk.data(), chunk.size());
    total += n > 0 ? static_cast<size_t>(n) : 0;
    return n < 0 && errno == EAGAIN && total > 4096;
  }));
  EXPECT_LT(total, 100000u);
  EXPECT_EQ(Pty::ReadExactly(pty.slave.get(), total), std::string(total, 'x'));
  EXPECT_TRUE(PollsEventually(pty.master.get(), POLLOUT));
}

TEST(Readiness, Epoll) {
  Pty pty;
  UniqueFd epoll(epoll_create1(0));
  epoll_event event = {.events = EPOLLIN, .data = {.u32 = 7}};
  ASSERT_THAT(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, pty.slave.get(), &event), Returns(0));
  epoll_event got = {};
  EXPECT_THAT(epoll_wait(epoll.get(), &got, 1, 0), Returns(0));
  pty.Type("x\n");
  ASSERT_THAT(epoll_wait(epoll.get(), &got, 1, 5000), Returns(1));
  EXPECT_EQ(got.data.u32, 7u);
  EXPECT_EQ(got.events, EPOLLIN);
}

TEST(Readiness, EpollOfTheMaster) {
  Pty pty;
  UniqueFd epoll(epoll_create1(0));
  epoll_event event = {.events = EPOLLIN | EPOLLET, .data = {.u32 = 7}};
  ASSERT_THAT(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, pty.master.get(), &event), Returns(0));
  pty.Print("x");
  epoll_event got = {};
  ASSERT_THAT(epoll_wait(epoll.get(), &got, 1, 5000), Returns(1));
  pty.slave.reset();
  ASSERT_THAT(epoll_wait(epoll.get(), &got, 1, 5000), Returns(1));
  EXPECT_NE(got.events & EPOLLHUP, 0u);
}

TEST(Readiness, FionbioMakesNonblocking) {
  Pty pty;
  int on = 1;
  ASSERT_THAT(ioctl(pty.slave.get(), FIONBIO, &on), Returns(0));
  char byte;
  EXPECT_THAT(read(pty.slave.get(), &byte, 1), FailsWith(EAGAIN));
  EXPECT_THAT(fcntl(pty.slave.get(), F_GETFL), Returns(O_RDWR | O_NONBLOCK | 0100000));
}

TEST(Copy, SpliceFromASlave) {
  Pty pty;
  Pipe pipe;
  pty.Type("hello\n");
  ASSERT_TRUE(WaitReadable(pty.slave.get()));
  ASSERT_THAT(splice(pty.slave.get(), nullptr, pipe.write.get(), nullptr, 100, 0), Returns(6));
  EXPECT_EQ(Pty::ReadOnce(pipe.read.get()), "hello\n");
}

TEST(Copy, SpliceIntoASlave) {
  Pty pty;
  Pipe pipe;
  ASSERT_THAT(write(pipe.write.get(), "a\n", 2), Returns(2));
  ASSERT_THAT(splice(pipe.read.get(), nullptr, pty.slave.get(), nullptr, 100, 0), Returns(2));
  EXPECT_EQ(pty.Shown(3), "a\r\n");
}

TEST(Copy, WritevGathers) {
  Pty pty;
  iovec vectors[] = {{const_cast<char*>("ab"), 2}, {const_cast<char*>("c\n"), 2}};
  ASSERT_THAT(writev(pty.slave.get(), vectors, 2), Returns(4));
  EXPECT_EQ(pty.Shown(5), "abc\r\n");
}

}  // namespace
