// pipe(2) and named pipes.
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include <atomic>
#include <thread>

#include "tests/conformance/support.h"

namespace {

TEST(Pipe, BytesInOrder) {
  Pipe pipe;
  EXPECT_THAT(write(pipe.write.get(), "hello ", 6), Returns(6));
  EXPECT_THAT(write(pipe.write.get(), "world", 5), Returns(5));
  char buffer[32] = {};
  EXPECT_THAT(read(pipe.read.get(), buffer, 8), Returns(8));
  EXPECT_STREQ(buffer, "hello wo");
  EXPECT_THAT(read(pipe.read.get(), buffer, sizeof buffer), Returns(3));
}

TEST(Pipe, EndsHaveOneDirection) {
  Pipe pipe;
  char byte = 0;
  EXPECT_THAT(read(pipe.write.get(), &byte, 1), FailsWith(EBADF));
  EXPECT_THAT(write(pipe.read.get(), &byte, 1), FailsWith(EBADF));
  EXPECT_EQ(fcntl(pipe.read.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_EQ(fcntl(pipe.write.get(), F_GETFL) & O_ACCMODE, O_WRONLY);
}

TEST(Pipe, Flags) {
  Pipe pipe(O_CLOEXEC | O_NONBLOCK);
  EXPECT_THAT(fcntl(pipe.read.get(), F_GETFD), Returns(FD_CLOEXEC));
  EXPECT_EQ(fcntl(pipe.write.get(), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  int fds[2];
  EXPECT_THAT(pipe2(fds, O_TRUNC), FailsWith(EINVAL));
  EXPECT_THAT(pipe2(reinterpret_cast<int*>(8), 0), FailsWith(EFAULT));
}

TEST(Pipe, EndOfFileWhenTheLastWriterLeaves) {
  Pipe pipe;
  UniqueFd second(dup(pipe.write.get()));
  EXPECT_TRUE(Post(pipe.write.get()));
  pipe.write.reset();
  char byte;
  EXPECT_THAT(read(pipe.read.get(), &byte, 1), Returns(1));
  ASSERT_THAT(fcntl(pipe.read.get(), F_SETFL, O_NONBLOCK), Returns(0));
  EXPECT_THAT(read(pipe.read.get(), &byte, 1), FailsWith(EAGAIN));
  second.reset();
  EXPECT_THAT(read(pipe.read.get(), &byte, 1), Returns(0));
}

TEST(Pipe, BrokenPipe) {
  Pipe pipe;
  pipe.read.reset();
  EXPECT_THAT(InChild([&] {
    signal(SIGPIPE, SIG_IGN);
    CHILD_CHECK(write(pipe.write.get(), "x", 1) == -1 && errno == EPIPE);
    return 0;
  }), Exited(0));
  EXPECT_THAT(InChild([&] { return static_cast<int>(write(pipe.write.get(), "x", 1)); }),
              Killed(SIGPIPE));
}

TEST(Pipe, BlockedWriterLearnsOfTheLastReader) {
  Pipe pipe;
  const pid_t child = Start([&] {
    pipe.read.reset();
    signal(SIGPIPE, SIG_IGN);
    const std::string data(1 << 20, 'x');
    CHILD_CHECK(write(pipe.write.get(), data.data(), data.size()) < static_cast<ssize_t>(data.size()));
    CHILD_CHECK(write(pipe.write.get(), "x", 1) == -1 && errno == EPIPE);
    return 0;
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  pipe.read.reset();
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Pipe, ReaderWaitsForData) {
  Pipe pipe;
  const pid_t child = Start([&] { return Await(pipe.read.get()) ? 0 : 1; });
  EXPECT_TRUE(WaitForState(child, 'S'));
  EXPECT_TRUE(Post(pipe.write.get()));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Pipe, NonBlocking) {
  Pipe pipe(O_NONBLOCK);
  char byte;
  EXPECT_THAT(read(pipe.read.get(), &byte, 1), FailsWith(EAGAIN));
  const std::string data(1 << 20, 'x');
  EXPECT_THAT(write(pipe.write.get(), data.data(), data.size()), Returns(65536));
  EXPECT_THAT(write(pipe.write.get(), "y", 1), FailsWith(EAGAIN));
}

TEST(Pipe, SmallWritesAreAtomic) {
  // A write of at most PIPE_BUF bytes is done whole or not at all.
  Pipe pipe(O_NONBLOCK);
  const std::string page(4096, 'x');
  while (write(pipe.write.get(), page.data(), page.size()) > 0) {
  }
  char half[2048];
  EXPECT_THAT(read(pipe.read.get(), half, sizeof half), Returns(2048));
  EXPECT_THAT(write(pipe.write.get(), page.data(), page.size()), FailsWith(EAGAIN));
}

TEST(Pipe, WritersDoNotInterleave) {
  Pipe pipe;
  std::vector<pid_t> writers;
  for (char c = 'a'; c < 'e'; ++c) {
    writers.push_back(Start([&, c] {
      const std::string record(512, c);
      for (int i = 0; i < 50; ++i) CHILD_CHECK(write(pipe.write.get(), record.data(), 512) == 512);
      return 0;
    }));
  }
  pipe.write.reset();
  const std::string all = ReadAll(pipe.read.get());
  ASSERT_EQ(all.size(), 4u * 50 * 512);
  for (size_t at = 0; at < all.size(); at += 512) {
    ASSERT_EQ(all.substr(at, 512), std::string(512, all[at])) << at;
  }
  for (pid_t writer : writers) EXPECT_THAT(Wait(writer), Exited(0));
}

TEST(Pipe, LargeWriteArrivesWhole) {
  Pipe pipe;
  const pid_t child = Start([&] {
    std::string data(1'000'000, '\0');
    for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i >> 8);
    return write(pipe.write.get(), data.data(), data.size()) == 1'000'000 ? 0 : 1;
  });
  pipe.write.reset();
  const std::string all = ReadAll(pipe.read.get());
  ASSERT_EQ(all.size(), 1'000'000u);
  for (size_t i = 0; i < all.size(); ++i) ASSERT_EQ(all[i], static_cast<char>(i >> 8));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Pipe, BytesAvailable) {
  Pipe pipe;
  int count = -1;
  EXPECT_THAT(ioctl(pipe.read.get(), FIONREAD, &count), Returns(0));
  EXPECT_EQ(count, 0);
  EXPECT_THAT(write(pipe.write.get(), "12345", 5), Returns(5));
  EXPECT_THAT(ioctl(pipe.read.get(), FIONREAD, &count), Returns(0));
  EXPECT_EQ(count, 5);
  EXPECT_THAT(ioctl(pipe.read.get(), TCGETS, &count), FailsWith(ENOTTY));
}

TEST(Pipe, Capacity) {
  Pipe pipe(O_NONBLOCK);
  EXPECT_THAT(fcntl(pipe.write.get(), F_GETPIPE_SZ), Returns(65536));
  EXPECT_THAT(fcntl(pipe.write.get(), F_SETPIPE_SZ, 5000), Returns(8192));
  const std::string data(20000, 'x');
  EXPECT_THAT(write(pipe.write.get(), data.data(), data.size()), Returns(8192));
  EXPECT_THAT(fcntl(pipe.write.get(), F_SETPIPE_SZ, 4096), FailsWith(EBUSY));
  UniqueFd file = OpenTemp();
  EXPECT_THAT(fcntl(file.get(), F_GETPIPE_SZ), FailsWith(EBADF));
}

short PollNow(int fd, short events) {
  pollfd p = {fd, events, 0};
  EXPECT_GE(poll(&p, 1, 0), 0);
  return p.revents;
}

TEST(Pipe, Poll) {
  Pipe pipe(O_NONBLOCK);
  EXPECT_EQ(PollNow(pipe.read.get(), POLLIN), 0);
  EXPECT_EQ(PollNow(pipe.write.get(), POLLOUT), POLLOUT);
  EXPECT_TRUE(Post(pipe.write.get()));
  EXPECT_EQ(PollNow(pipe.read.get(), POLLIN), POLLIN);
  const std::string data(65536, 'x');
  EXPECT_THAT(write(pipe.write.get(), data.data(), data.size()), Succeeds());
  while (write(pipe.write.get(), "x", 1) > 0) {
  }
  EXPECT_EQ(PollNow(pipe.write.get(), POLLOUT), 0);
  pipe.write.reset();
  EXPECT_EQ(PollNow(pipe.read.get(), POLLIN), POLLIN | POLLHUP);
  ReadAll(pipe.read.get());
  EXPECT_EQ(PollNow(pipe.read.get(), POLLIN), POLLHUP);
}

TEST(Pipe, PollOfABrokenOne) {
  Pipe pipe;
  pipe.read.reset();
  EXPECT_EQ(PollNow(pipe.write.get(), POLLOUT), POLLOUT | POLLERR);
}

TEST(Pipe, ManyMessagesPingPong) {
  Pipe there, back;
  const pid_t child = Start([&] {
    for (int i = 0; i < 2000; ++i) {
      CHILD_CHECK(Await(there.read.get()));
      CHILD_CHECK(Post(back.write.get()));
    }
    return 0;
  });
  for (int i = 0; i < 2000; ++i) {
    ASSERT_TRUE(Post(there.write.get()));
    ASSERT_TRUE(Await(back.read.get()));
  }
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(Pipe, ReadersShareWithoutLoss) {
  Pipe pipe;
  std::atomic<int> total = 0;
  std::vector<std::thread> readers;
  for (int i = 0; i < 4; ++i) {
    readers.emplace_back([&] {
      char buffer[100];
      for (ssize_t n; (n = read(pipe.read.get(), buffer, sizeof buffer)) > 0;) total += n;
    });
  }
  const std::string data(10'000, 'x');
  for (int i = 0; i < 20; ++i) {
    EXPECT_THAT(write(pipe.write.get(), data.data(), data.size()), Returns(10'000));
  }
  pipe.write.reset();
  for (std::thread& reader : readers) reader.join();
  EXPECT_EQ(total, 200'000);
}

// Bytes that a reader has no room for are there for others, who wait for them all the time.
void ExpectNothingHidden(UniqueFd from, UniqueFd to) {
  constexpr int kBytes = 2000;
  std::thread faulty([&] {
    ssize_t got = -1;
    while (got != 0) {
      got = read(from.get(), reinterpret_cast<void*>(8), 1);
      if (got != 0) {
        EXPECT_THAT(got, FailsWith(EFAULT));
      }
    }
  });
  char byte = 0;
  for (int i = 0; i < kBytes; i++) {
    EXPECT_THAT(write(to.get(), &byte, 1), Returns(1));
    EXPECT_THAT(read(from.get(), &byte, 1), Returns(1));
  }
  to.reset();
  faulty.join();
}

TEST(Pipe, AReaderThatFaultsHidesNothing) {
  Pipe pipe;
  ExpectNothingHidden(std::move(pipe.read), std::move(pipe.write));
}

TEST(UnixStream, AReaderThatFaultsHidesNothing) {
  int fds[2];
  ASSERT_THAT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), Returns(0));
  ExpectNothingHidden(UniqueFd(fds[0]), UniqueFd(fds[1]));
}

TEST(Pipe, SpliceAndTee) {
  Pipe a, b;
  EXPECT_THAT(write(a.write.get(), "abcdef", 6), Returns(6));
  EXPECT_THAT(tee(a.read.get(), b.write.get(), 3, 0), Returns(3));
  UniqueFd file = OpenTemp();
  EXPECT_THAT(splice(a.read.get(), nullptr, file.get(), nullptr, 100, 0), Returns(6));
  char buffer[8] = {};
  EXPECT_THAT(pread(file.get(), buffer, sizeof buffer, 0), Returns(6));
  EXPECT_STREQ(buffer, "abcdef");
  b.write.reset();
  EXPECT_EQ(ReadAll(b.read.get()), "abc");
}

TEST(Fifo, WriteAndReadThroughOneDescriptor) {
  TempDir dir;
  ASSERT_EQ(mkfifo((dir / "fifo").c_str(), 0600), 0);
  UniqueFd fd(open((dir / "fifo").c_str(), O_RDWR));
  EXPECT_TRUE(Post(fd.get()));
  EXPECT_TRUE(Await(fd.get()));
}

}  // namespace
