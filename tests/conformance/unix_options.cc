// Options of level SOL_SOCKET, as AF_UNIX has them: socket(7).
#include <sys/time.h>

#include "tests/conformance/unix_support.h"

namespace {

TEST(SocketOptions, WhatASocketIs) {
  UniqueFd fd = UnixSocketOf(SOCK_SEQPACKET);
  EXPECT_EQ(GetInt(fd.get(), SO_TYPE), SOCK_SEQPACKET);
  EXPECT_EQ(GetInt(fd.get(), SO_DOMAIN), AF_UNIX);
  EXPECT_EQ(GetInt(fd.get(), SO_PROTOCOL), 0);
  EXPECT_EQ(GetInt(fd.get(), SO_ERROR), 0);
  for (const int option : {SO_TYPE, SO_DOMAIN, SO_PROTOCOL, SO_ERROR, SO_ACCEPTCONN}) {
    EXPECT_THAT(SetInt(fd.get(), option, 1), FailsWith(ENOPROTOOPT)) << option;
  }
}

TEST(SocketOptions, OnAndOff) {
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  for (const int option : {SO_REUSEADDR, SO_DONTROUTE, SO_BROADCAST, SO_KEEPALIVE, SO_OOBINLINE,
                           SO_PASSCRED, SO_TIMESTAMP, SO_RXQ_OVFL}) {
    EXPECT_EQ(GetInt(fd.get(), option), 0) << option;
    EXPECT_THAT(SetInt(fd.get(), option, 7), Returns(0)) << option;
    EXPECT_EQ(GetInt(fd.get(), option), 1) << option;
    EXPECT_THAT(SetInt(fd.get(), option, 0), Returns(0)) << option;
    EXPECT_EQ(GetInt(fd.get(), option), 0) << option;
  }
}

TEST(SocketOptions, Unknown) {
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  int value = 0;
  socklen_t size = sizeof(value);
  EXPECT_THAT(SetInt(fd.get(), 9999, 1), FailsWith(ENOPROTOOPT));
  EXPECT_THAT(getsockopt(fd.get(), SOL_SOCKET, 9999, &value, &size), FailsWith(ENOPROTOOPT));
  EXPECT_THAT(getsockopt(fd.get(), 6, 1, &value, &size), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(setsockopt(fd.get(), 6, 1, &value, size), FailsWith(EOPNOTSUPP));
}

TEST(SocketOptions, SizesAndFaults) {
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  int value = 0;
  EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &value, 3), FailsWith(EINVAL));
  EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &value, static_cast<socklen_t>(-1)),
              FailsWith(EINVAL));
  EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, reinterpret_cast<void*>(8), 4),
              FailsWith(EFAULT));
  EXPECT_THAT(getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &value, nullptr), FailsWith(EFAULT));
  socklen_t size = static_cast<socklen_t>(-1);
  EXPECT_THAT(getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, &value, &size), FailsWith(EINVAL));
  char small[2] = {9, 9};
  size = 1;
  EXPECT_THAT(getsockopt(fd.get(), SOL_SOCKET, SO_TYPE, small, &size), Returns(0));
  EXPECT_EQ(size, 1u);
  EXPECT_EQ(small[0], SOCK_STREAM);
  EXPECT_EQ(small[1], 9);
}

TEST(SocketOptions, Buffers) {
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  EXPECT_EQ(GetInt(fd.get(), SO_SNDBUF), 212992);
  EXPECT_EQ(GetInt(fd.get(), SO_RCVBUF), 212992);
  ASSERT_THAT(SetInt(fd.get(), SO_SNDBUF, 10'000), Returns(0));
  EXPECT_EQ(GetInt(fd.get(), SO_SNDBUF), 20'000);
  ASSERT_THAT(SetInt(fd.get(), SO_RCVBUF, 10'000), Returns(0));
  EXPECT_EQ(GetInt(fd.get(), SO_RCVBUF), 20'000);
  ASSERT_THAT(SetInt(fd.get(), SO_SNDBUF, 0), Returns(0));
  EXPECT_EQ(GetInt(fd.get(), SO_SNDBUF), 4608);
  ASSERT_THAT(SetInt(fd.get(), SO_RCVBUF, 0), Returns(0));
  EXPECT_EQ(GetInt(fd.get(), SO_RCVBUF), 2304);
  ASSERT_THAT(SetInt(fd.get(), SO_SNDBUF, 1 << 30), Returns(0));
  // net.core.wmem_max differs between kernels.
  EXPECT_GE(GetInt(fd.get(), SO_SNDBUF), 2 * 212992);
}

TEST(SocketOptions, Timeouts) {
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  timeval time{.tv_sec = 3, .tv_usec = 250'000}, told{.tv_sec = 9, .tv_usec = 9};
  socklen_t size = sizeof(told);
  ASSERT_THAT(getsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &told, &size), Returns(0));
  EXPECT_EQ(told.tv_sec, 0);
  EXPECT_EQ(told.tv_usec, 0);
  for (const int option : {SO_RCVTIMEO, SO_SNDTIMEO}) {
    ASSERT_THAT(setsockopt(fd.get(), SOL_SOCKET, option, &time, sizeof time), Returns(0));
    ASSERT_THAT(getsockopt(fd.get(), SOL_SOCKET, option, &told, &size), Returns(0));
    EXPECT_EQ(told.tv_sec, 3);
    EXPECT_NEAR(static_cast<double>(told.tv_usec), 250'000, 10'000);
  }
  time.tv_usec = 1'000'000;
  EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time), FailsWith(EDOM));
  EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, SO_RCVTIMEO, &time, 8), FailsWith(EINVAL));
}

TEST(SocketOptions, Linger) {
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  linger value{.l_onoff = 1, .l_linger = 10}, told{};
  socklen_t size = sizeof(told);
  ASSERT_THAT(setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &value, sizeof value), Returns(0));
  ASSERT_THAT(getsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &told, &size), Returns(0));
  EXPECT_EQ(told.l_onoff, 1);
  EXPECT_EQ(told.l_linger, 10);
  EXPECT_THAT(setsockopt(fd.get(), SOL_SOCKET, SO_LINGER, &value, 4), FailsWith(EINVAL));
}

TEST(SocketOptions, LowWaterMarks) {
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  EXPECT_EQ(GetInt(fd.get(), SO_RCVLOWAT), 1);
  EXPECT_EQ(GetInt(fd.get(), SO_SNDLOWAT), 1);
  EXPECT_THAT(SetInt(fd.get(), SO_SNDLOWAT, 4), FailsWith(ENOPROTOOPT));
  ASSERT_THAT(SetInt(fd.get(), SO_RCVLOWAT, 0), Returns(0));
  EXPECT_EQ(GetInt(fd.get(), SO_RCVLOWAT), 1);
  ASSERT_THAT(SetInt(fd.get(), SO_RCVLOWAT, 100), Returns(0));
  EXPECT_EQ(GetInt(fd.get(), SO_RCVLOWAT), 100);
}

TEST(SocketOptions, TheLowWaterMarkHoldsARead) {
  UnixPair pair;
  ASSERT_THAT(SetInt(pair.b.get(), SO_RCVLOWAT, 4), Returns(0));
  SendText(pair.a.get(), "ab");
  const pid_t child = Start([&] {
    char buffer[8];
    return recv(pair.b.get(), buffer, sizeof buffer, 0) == 4 ? 0 : 1;
  });
  ASSERT_TRUE(WaitForState(child, 'S'));
  SendText(pair.a.get(), "cd");
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(SocketOptions, Priority) {
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  ASSERT_THAT(SetInt(fd.get(), SO_PRIORITY, 6), Returns(0));
  EXPECT_EQ(GetInt(fd.get(), SO_PRIORITY), 6);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(geteuid() != 0 || setresuid(65534, 65534, 65534) == 0);
                CHILD_CHECK(SetInt(fd.get(), SO_PRIORITY, 7) == -1 && errno == EPERM);
                CHILD_CHECK(SetInt(fd.get(), SO_DEBUG, 1) == -1 && errno == EACCES);
                CHILD_CHECK(SetInt(fd.get(), SO_MARK, 1) == -1 && errno == EPERM);
                CHILD_CHECK(SetInt(fd.get(), SO_SNDBUFFORCE, 1) == -1 && errno == EPERM);
                CHILD_CHECK(SetInt(fd.get(), SO_RCVBUFFORCE, 1) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST(SocketOptions, BuffersBeyondTheLimit) {
  if (geteuid() != 0) GTEST_SKIP() << "needs CAP_NET_ADMIN";
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  constexpr int kMore = 5'000'000;
  ASSERT_THAT(SetInt(fd.get(), SO_SNDBUFFORCE, kMore), Returns(0));
  EXPECT_EQ(GetInt(fd.get(), SO_SNDBUF), 2 * kMore);
  ASSERT_THAT(SetInt(fd.get(), SO_RCVBUFFORCE, kMore), Returns(0));
  EXPECT_EQ(GetInt(fd.get(), SO_RCVBUF), 2 * kMore);
  ASSERT_THAT(SetInt(fd.get(), SO_SNDBUFFORCE, -1), Returns(0));
  EXPECT_EQ(GetInt(fd.get(), SO_SNDBUF), 4608);
}

TEST(SocketOptions, NotForUnix) {
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  EXPECT_THAT(SetInt(fd.get(), SO_REUSEPORT, 1), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(SetInt(fd.get(), SO_ZEROCOPY, 1), FailsWith(EOPNOTSUPP));
  int value;
  socklen_t size = sizeof(value);
  EXPECT_THAT(getsockopt(fd.get(), SOL_SOCKET, SO_PEERSEC, &value, &size), FailsWith(ENOPROTOOPT));
}

TEST(SocketOptions, AnErrorIsToldOnce) {
  UnixPair pair;
  SendText(pair.b.get(), "unread");
  pair.a.reset();
  EXPECT_EQ(GetInt(pair.b.get(), SO_ERROR), ECONNRESET);
  EXPECT_EQ(GetInt(pair.b.get(), SO_ERROR), 0);
}

// What is received begins at its beginning, whatever has been looked at (sk_peek_offset()).
TEST(SocketOptions, PeekOffsetIsForPeeking) {
  for (const int type : {SOCK_DGRAM, SOCK_SEQPACKET}) {
    UnixPair pair(type);
    SendText(pair.a.get(), "abcdef");
    SendText(pair.a.get(), "ghi");
    ASSERT_THAT(SetInt(pair.b.get(), SO_PEEK_OFF, 2), Returns(0));
    EXPECT_EQ(Text(pair.b.get(), MSG_PEEK, 2), "cd");
    EXPECT_EQ(GetInt(pair.b.get(), SO_PEEK_OFF), 4);
    EXPECT_EQ(Text(pair.b.get()), "abcdef");
    EXPECT_EQ(GetInt(pair.b.get(), SO_PEEK_OFF), 0);
    EXPECT_EQ(Text(pair.b.get(), MSG_PEEK), "ghi");
    EXPECT_EQ(Text(pair.b.get()), "ghi");
  }
}

TEST(SocketOptions, PeekOffsetRange) {
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  ASSERT_THAT(SetInt(fd.get(), SO_PEEK_OFF, 100), Returns(0));
  EXPECT_EQ(GetInt(fd.get(), SO_PEEK_OFF), 100);
  ASSERT_THAT(SetInt(fd.get(), SO_PEEK_OFF, -1), Returns(0));
  EXPECT_EQ(GetInt(fd.get(), SO_PEEK_OFF), -1);
}

}  // namespace
