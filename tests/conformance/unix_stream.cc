// AF_UNIX sockets of type SOCK_STREAM: unix(7), connect(2), accept(2), shutdown(2), recv(2).
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/stat.h>

#include <thread>

#include "tests/conformance/unix_support.h"

namespace {

TEST(UnixStream, PairCarriesBytesBothWays) {
  UnixPair pair;
  EXPECT_THAT(SendText(pair.a.get(), "forth"), Returns(5));
  EXPECT_THAT(SendText(pair.b.get(), "back"), Returns(4));
  EXPECT_EQ(Text(pair.b.get()), "forth");
  EXPECT_EQ(Text(pair.a.get()), "back");
}

TEST(UnixStream, ReadAndWriteWork) {
  UnixPair pair;
  EXPECT_THAT(write(pair.a.get(), "abc", 3), Returns(3));
  char buffer[8] = {};
  EXPECT_THAT(read(pair.b.get(), buffer, sizeof buffer), Returns(3));
  EXPECT_STREQ(buffer, "abc");
}

TEST(UnixStream, BytesAreJoinedAndSplit) {
  UnixPair pair;
  SendText(pair.a.get(), "one");
  SendText(pair.a.get(), "two");
  EXPECT_EQ(Text(pair.b.get(), 0, 4), "onet");
  EXPECT_EQ(Text(pair.b.get()), "wo");
}

TEST(UnixStream, SocketArguments) {
  EXPECT_THAT(socket(AF_UNIX, SOCK_STREAM | 0x1000, 0), FailsWith(EINVAL));
  EXPECT_THAT(socket(AF_UNIX, SOCK_STREAM, 5), FailsWith(EPROTONOSUPPORT));
  EXPECT_THAT(socket(AF_UNIX, SOCK_RDM, 0), FailsWith(ESOCKTNOSUPPORT));
  EXPECT_THAT(socket(AF_UNIX, 12, 0), FailsWith(EINVAL));
  EXPECT_THAT(socket(99, SOCK_STREAM, 0), FailsWith(EAFNOSUPPORT));
  EXPECT_THAT(socket(-1, SOCK_STREAM, 0), FailsWith(EAFNOSUPPORT));
  UniqueFd named_protocol(socket(AF_UNIX, SOCK_STREAM, PF_UNIX));
  EXPECT_TRUE(named_protocol.valid());
}

TEST(UnixStream, RawMeansDatagram) {
  UniqueFd fd(socket(AF_UNIX, SOCK_RAW, 0));
  ASSERT_TRUE(fd.valid());
  EXPECT_EQ(GetInt(fd.get(), SO_TYPE), SOCK_DGRAM);
}

TEST(UnixStream, FlagsOfTheDescriptor) {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  EXPECT_THAT(fcntl(fd.get(), F_GETFD), Returns(FD_CLOEXEC));
  EXPECT_EQ(fcntl(fd.get(), F_GETFL), O_RDWR | O_NONBLOCK);
  int fds[2];
  EXPECT_THAT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, reinterpret_cast<int*>(8)),
              FailsWith(EFAULT));
  ASSERT_THAT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds), Returns(0));
  UniqueFd a(fds[0]), b(fds[1]);
  EXPECT_THAT(fcntl(b.get(), F_GETFD), Returns(FD_CLOEXEC));
}

TEST(UnixStream, StatShowsASocket) {
  UnixPair pair;
  struct stat info;
  ASSERT_THAT(fstat(pair.a.get(), &info), Returns(0));
  EXPECT_TRUE(S_ISSOCK(info.st_mode));
  char target[64] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(pair.a.get());
  EXPECT_GT(readlink(link.c_str(), target, sizeof target - 1), 0);
  EXPECT_EQ(std::string(target), "socket:[" + std::to_string(info.st_ino) + "]");
  EXPECT_THAT(open(link.c_str(), O_RDWR), FailsWith(ENXIO));
}

TEST(UnixStream, NoPosition) {
  UnixPair pair;
  char byte = 0;
  EXPECT_THAT(lseek(pair.a.get(), 0, SEEK_SET), FailsWith(ESPIPE));
  EXPECT_THAT(pread(pair.a.get(), &byte, 1, 0), FailsWith(ESPIPE));
  EXPECT_THAT(ftruncate(pair.a.get(), 0), FailsWith(EINVAL));
}

TEST(UnixStream, CallsOnWhatIsNoSocket) {
  UniqueFd file = OpenTemp();
  char byte = 0;
  EXPECT_THAT(send(file.get(), &byte, 1, 0), FailsWith(ENOTSOCK));
  EXPECT_THAT(recv(file.get(), &byte, 1, 0), FailsWith(ENOTSOCK));
  EXPECT_THAT(listen(file.get(), 1), FailsWith(ENOTSOCK));
  EXPECT_THAT(accept(file.get(), nullptr, nullptr), FailsWith(ENOTSOCK));
  EXPECT_THAT(shutdown(file.get(), SHUT_RD), FailsWith(ENOTSOCK));
  EXPECT_THAT(shutdown(-1, SHUT_RD), FailsWith(EBADF));
  UnixName name("@x");
  EXPECT_THAT(bind(file.get(), name.get(), name.size), FailsWith(ENOTSOCK));
  EXPECT_THAT(connect(-1, name.get(), name.size), FailsWith(EBADF));
}

TEST(UnixStream, ConnectAndAccept) {
  Listener listener;
  UniqueFd client = listener.Client();
  UniqueFd server = listener.Accept();
  ASSERT_TRUE(server.valid());
  SendText(client.get(), "to server");
  EXPECT_EQ(Text(server.get()), "to server");
  SendText(server.get(), "to client");
  EXPECT_EQ(Text(client.get()), "to client");
}

TEST(UnixStream, BytesSentBeforeAcceptArrive) {
  Listener listener;
  UniqueFd client = listener.Client();
  EXPECT_THAT(SendText(client.get(), "early"), Returns(5));
  client.reset();
  UniqueFd server = listener.Accept();
  EXPECT_EQ(Text(server.get()), "early");
  EXPECT_EQ(Text(server.get()), "");
}

TEST(UnixStream, AcceptWaitsForAConnection) {
  Listener listener;
  std::thread client([&] {
    UniqueFd fd = listener.Client();
    SendText(fd.get(), "x");
  });
  UniqueFd server = listener.Accept();
  EXPECT_TRUE(server.valid());
  client.join();
  EXPECT_EQ(Text(server.get()), "x");
}

TEST(UnixStream, AcceptWithoutOne) {
  Listener listener;
  ASSERT_THAT(fcntl(listener.fd.get(), F_SETFL, O_NONBLOCK), Returns(0));
  EXPECT_THAT(accept(listener.fd.get(), nullptr, nullptr), FailsWith(EAGAIN));
  UniqueFd idle = UnixSocketOf(SOCK_STREAM);
  EXPECT_THAT(accept(idle.get(), nullptr, nullptr), FailsWith(EINVAL));
}

TEST(UnixStream, AcceptFlags) {
  Listener listener;
  UniqueFd client = listener.Client();
  UniqueFd server(accept4(listener.fd.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  EXPECT_EQ(fcntl(server.get(), F_GETFL), O_RDWR | O_NONBLOCK);
  EXPECT_THAT(fcntl(server.get(), F_GETFD), Returns(FD_CLOEXEC));
  EXPECT_THAT(accept4(listener.fd.get(), nullptr, nullptr, 1), FailsWith(EINVAL));
}

TEST(UnixStream, AcceptedSocketDoesNotInheritNonblock) {
  Listener listener;
  fcntl(listener.fd.get(), F_SETFL, O_NONBLOCK);
  UniqueFd client = listener.Client();
  UniqueFd server = listener.Accept();
  EXPECT_EQ(fcntl(server.get(), F_GETFL), O_RDWR);
}

TEST(UnixStream, AcceptTellsTheClientsName) {
  Listener listener;
  UniqueFd client = UnixSocketOf(SOCK_STREAM);
  const UnixName own(UniqueName("client"));
  ASSERT_THAT(Bind(client, own), Returns(0));
  ASSERT_THAT(Connect(client, UnixName(listener.name)), Returns(0));
  sockaddr_un name{};
  socklen_t size = sizeof(name);
  UniqueFd server(accept(listener.fd.get(), reinterpret_cast<sockaddr*>(&name), &size));
  EXPECT_TRUE(server.valid());
  EXPECT_EQ(size, own.size);
  EXPECT_EQ(memcmp(&name, &own.address, own.size), 0);
}

TEST(UnixStream, AcceptOfANamelessClient) {
  Listener listener;
  UniqueFd client = listener.Client();
  sockaddr_un name{};
  socklen_t size = sizeof(name);
  UniqueFd server(accept(listener.fd.get(), reinterpret_cast<sockaddr*>(&name), &size));
  EXPECT_EQ(size, sizeof(sa_family_t));
  EXPECT_EQ(name.sun_family, AF_UNIX);
}

TEST(UnixStream, ConnectErrors) {
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  EXPECT_THAT(Connect(fd, UnixName(UniqueName("nobody"))), FailsWith(ECONNREFUSED));
  EXPECT_THAT(Connect(fd, UnixName("/nonexistent/socket")), FailsWith(ENOENT));
  TempDir dir;
  WriteFile(dir / "file", "");
  EXPECT_THAT(Connect(fd, UnixName(dir / "file")), FailsWith(ECONNREFUSED));
  EXPECT_THAT(Connect(fd, UnixName("")), FailsWith(EINVAL));
  UnixName inet("@x");
  inet.address.sun_family = AF_INET;
  EXPECT_THAT(Connect(fd, inet), FailsWith(EINVAL));
  EXPECT_THAT(connect(fd.get(), reinterpret_cast<sockaddr*>(8), 20), FailsWith(EFAULT));
  EXPECT_THAT(connect(fd.get(), inet.get(), static_cast<socklen_t>(-1)), FailsWith(EINVAL));
  EXPECT_THAT(connect(fd.get(), inet.get(), 200), FailsWith(EINVAL));
}

TEST(UnixStream, ConnectToWhoDoesNotListen) {
  UniqueFd bound = UnixSocketOf(SOCK_STREAM);
  const UnixName name(UniqueName("bound"));
  ASSERT_THAT(Bind(bound, name), Returns(0));
  UniqueFd client = UnixSocketOf(SOCK_STREAM);
  EXPECT_THAT(Connect(client, name), FailsWith(ECONNREFUSED));
}

TEST(UnixStream, ConnectTwice) {
  Listener listener;
  UniqueFd client = listener.Client();
  EXPECT_THAT(Connect(client, UnixName(listener.name)), FailsWith(EISCONN));
  UnixPair pair;
  EXPECT_THAT(Connect(pair.a, UnixName(listener.name)), FailsWith(EISCONN));
}

TEST(UnixStream, ListenersDoNotConnect) {
  Listener one, two;
  EXPECT_THAT(Connect(one.fd, UnixName(two.name)), FailsWith(EINVAL));
}

TEST(UnixStream, ConnectToAnotherType) {
  TempDir dir;
  UniqueFd datagram = UnixSocketOf(SOCK_DGRAM);
  ASSERT_THAT(Bind(datagram, UnixName(dir / "d")), Returns(0));
  UniqueFd client = UnixSocketOf(SOCK_STREAM);
  EXPECT_THAT(Connect(client, UnixName(dir / "d")), FailsWith(EPROTOTYPE));
}

TEST(UnixStream, AFullBacklog) {
  Listener listener(SOCK_STREAM, 1);
  UniqueFd first = listener.Client(), second = listener.Client();
  UniqueFd third(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
  EXPECT_THAT(Connect(third, UnixName(listener.name)), FailsWith(EAGAIN));
  UniqueFd accepted = listener.Accept();
  EXPECT_THAT(Connect(third, UnixName(listener.name)), Returns(0));
}

TEST(UnixStream, ConnectWaitsForRoomInTheBacklog) {
  Listener listener(SOCK_STREAM, 0);
  UniqueFd first = listener.Client();
  Pipe ready;
  std::thread blocked([&] {
    UniqueFd second = UnixSocketOf(SOCK_STREAM);
    Post(ready.write.get());
    EXPECT_THAT(Connect(second, UnixName(listener.name)), Returns(0));
    SendText(second.get(), "made it");
  });
  Await(ready.read.get());
  UniqueFd one = listener.Accept();
  UniqueFd two = listener.Accept();
  blocked.join();
  EXPECT_EQ(Text(two.get()), "made it");
}

TEST(UnixStream, ConnectTimesOut) {
  Listener listener(SOCK_STREAM, 0);
  UniqueFd first = listener.Client();
  UniqueFd second = UnixSocketOf(SOCK_STREAM);
  const timeval limit{.tv_sec = 0, .tv_usec = 20'000};
  ASSERT_THAT(setsockopt(second.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), Returns(0));
  EXPECT_THAT(Connect(second, UnixName(listener.name)), FailsWith(EAGAIN));
}

TEST(UnixStream, ListenErrors) {
  UniqueFd unbound = UnixSocketOf(SOCK_STREAM);
  EXPECT_THAT(listen(unbound.get(), 1), FailsWith(EINVAL));
  UnixPair pair;
  EXPECT_THAT(listen(pair.a.get(), 1), FailsWith(EINVAL));
  UniqueFd datagram = UnixSocketOf(SOCK_DGRAM);
  ASSERT_THAT(Bind(datagram, UnixName(UniqueName("d"))), Returns(0));
  EXPECT_THAT(listen(datagram.get(), 1), FailsWith(EOPNOTSUPP));
}

TEST(UnixStream, ListenAgainChangesTheBacklog) {
  Listener listener(SOCK_STREAM, 0);
  UniqueFd first = listener.Client();
  UniqueFd second(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0));
  EXPECT_THAT(Connect(second, UnixName(listener.name)), FailsWith(EAGAIN));
  EXPECT_THAT(listen(listener.fd.get(), 5), Returns(0));
  EXPECT_THAT(Connect(second, UnixName(listener.name)), Returns(0));
}

TEST(UnixStream, AcceptConnIsTold) {
  Listener listener;
  EXPECT_EQ(GetInt(listener.fd.get(), SO_ACCEPTCONN), 1);
  UniqueFd client = listener.Client();
  EXPECT_EQ(GetInt(client.get(), SO_ACCEPTCONN), 0);
}

TEST(UnixStream, AClosedListenerResetsWhoWaits) {
  Listener listener;
  UniqueFd client = listener.Client();
  listener.fd.reset();
  char byte;
  EXPECT_THAT(recv(client.get(), &byte, 1, 0), FailsWith(ECONNRESET));
  EXPECT_THAT(recv(client.get(), &byte, 1, 0), Returns(0));
  EXPECT_THAT(send(client.get(), "x", 1, MSG_NOSIGNAL), FailsWith(EPIPE));
}

TEST(UnixStream, AShutListenerAcceptsNoMore) {
  Listener listener;
  ASSERT_THAT(shutdown(listener.fd.get(), SHUT_RD), Returns(0));
  EXPECT_THAT(accept(listener.fd.get(), nullptr, nullptr), FailsWith(EINVAL));
  UniqueFd client = UnixSocketOf(SOCK_STREAM);
  EXPECT_THAT(Connect(client, UnixName(listener.name)), FailsWith(ECONNREFUSED));
}

TEST(UnixStream, EndOfStream) {
  UnixPair pair;
  SendText(pair.a.get(), "last");
  pair.a.reset();
  EXPECT_EQ(Text(pair.b.get()), "last");
  char byte;
  EXPECT_THAT(recv(pair.b.get(), &byte, 1, 0), Returns(0));
  EXPECT_THAT(recv(pair.b.get(), &byte, 1, 0), Returns(0));
  EXPECT_THAT(send(pair.b.get(), "x", 1, MSG_NOSIGNAL), FailsWith(EPIPE));
}

TEST(UnixStream, CloseWithUnreadBytesIsAReset) {
  UnixPair pair;
  SendText(pair.b.get(), "unread");
  pair.a.reset();
  EXPECT_EQ(PollNow(pair.b.get()), POLLIN | POLLOUT | POLLERR | POLLHUP | POLLRDHUP);
  char byte;
  EXPECT_THAT(recv(pair.b.get(), &byte, 1, 0), FailsWith(ECONNRESET));
  EXPECT_THAT(recv(pair.b.get(), &byte, 1, 0), Returns(0));
}

TEST(UnixStream, SigpipeUnlessNosignal) {
  UnixPair pair;
  pair.b.reset();
  EXPECT_THAT(InChild([&] {
                signal(SIGPIPE, SIG_DFL);
                CHILD_CHECK(send(pair.a.get(), "x", 1, MSG_NOSIGNAL) == -1 && errno == EPIPE);
                write(pair.a.get(), "x", 1);
                return 0;
              }),
              Killed(SIGPIPE));
}

TEST(UnixStream, NotConnected) {
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  char byte = 0;
  EXPECT_THAT(send(fd.get(), &byte, 1, MSG_NOSIGNAL), FailsWith(ENOTCONN));
  EXPECT_THAT(recv(fd.get(), &byte, 1, 0), FailsWith(EINVAL));
  sockaddr_un name;
  socklen_t size = sizeof(name);
  EXPECT_THAT(getpeername(fd.get(), reinterpret_cast<sockaddr*>(&name), &size),
              FailsWith(ENOTCONN));
}

TEST(UnixStream, SendtoWithAnAddress) {
  UnixPair pair;
  const UnixName name(UniqueName("x"));
  EXPECT_THAT(sendto(pair.a.get(), "x", 1, 0, name.get(), name.size), FailsWith(EISCONN));
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  EXPECT_THAT(sendto(fd.get(), "x", 1, 0, name.get(), name.size), FailsWith(EOPNOTSUPP));
}

TEST(UnixStream, ShutdownOfWriting) {
  UnixPair pair;
  SendText(pair.a.get(), "rest");
  ASSERT_THAT(shutdown(pair.a.get(), SHUT_WR), Returns(0));
  EXPECT_THAT(send(pair.a.get(), "x", 1, MSG_NOSIGNAL), FailsWith(EPIPE));
  EXPECT_EQ(Text(pair.b.get()), "rest");
  EXPECT_EQ(Text(pair.b.get()), "");
  EXPECT_THAT(SendText(pair.b.get(), "answer"), Returns(6));
  EXPECT_EQ(Text(pair.a.get()), "answer");
}

TEST(UnixStream, ShutdownOfReading) {
  UnixPair pair;
  SendText(pair.b.get(), "before");
  ASSERT_THAT(shutdown(pair.a.get(), SHUT_RD), Returns(0));
  EXPECT_THAT(send(pair.b.get(), "x", 1, MSG_NOSIGNAL), FailsWith(EPIPE));
  EXPECT_EQ(Text(pair.a.get()), "before");
  EXPECT_EQ(Text(pair.a.get()), "");
}

TEST(UnixStream, ShutdownArguments) {
  UnixPair pair;
  EXPECT_THAT(shutdown(pair.a.get(), 3), FailsWith(EINVAL));
  EXPECT_THAT(shutdown(pair.a.get(), -1), FailsWith(EINVAL));
  UniqueFd idle = UnixSocketOf(SOCK_STREAM);
  EXPECT_THAT(shutdown(idle.get(), SHUT_RDWR), Returns(0));
}

TEST(UnixStream, ShutdownWakesAReader) {
  UnixPair pair;
  Pipe ready;
  std::thread reader([&] {
    Post(ready.write.get());
    char byte;
    EXPECT_THAT(recv(pair.a.get(), &byte, 1, 0), Returns(0));
  });
  Await(ready.read.get());
  ASSERT_THAT(shutdown(pair.b.get(), SHUT_WR), Returns(0));
  reader.join();
}

TEST(UnixStream, PeekTakesNothing) {
  UnixPair pair;
  SendText(pair.a.get(), "abcdef");
  EXPECT_EQ(Text(pair.b.get(), MSG_PEEK, 3), "abc");
  EXPECT_EQ(Text(pair.b.get(), MSG_PEEK), "abcdef");
  EXPECT_EQ(Text(pair.b.get()), "abcdef");
  char byte;
  EXPECT_THAT(recv(pair.b.get(), &byte, 1, MSG_PEEK | MSG_DONTWAIT), FailsWith(EAGAIN));
}

TEST(UnixStream, PeekOffset) {
  UnixPair pair;
  EXPECT_EQ(GetInt(pair.b.get(), SO_PEEK_OFF), -1);
  ASSERT_THAT(SetInt(pair.b.get(), SO_PEEK_OFF, 1), Returns(0));
  SendText(pair.a.get(), "abcdef");
  EXPECT_EQ(Text(pair.b.get(), MSG_PEEK, 2), "bc");
  EXPECT_EQ(GetInt(pair.b.get(), SO_PEEK_OFF), 3);
  EXPECT_EQ(Text(pair.b.get(), MSG_PEEK, 2), "de");
  EXPECT_EQ(Text(pair.b.get(), 0, 2), "ab");
  EXPECT_EQ(GetInt(pair.b.get(), SO_PEEK_OFF), 3);
  EXPECT_EQ(Text(pair.b.get(), MSG_PEEK), "f");
}

TEST(UnixStream, WaitallWaitsForAll) {
  UnixPair pair;
  SendText(pair.a.get(), "abc");
  std::thread later([&] { SendText(pair.a.get(), "def"); });
  EXPECT_EQ(Text(pair.b.get(), MSG_WAITALL, 6), "abcdef");
  later.join();
  SendText(pair.a.get(), "gh");
  pair.a.reset();
  EXPECT_EQ(Text(pair.b.get(), MSG_WAITALL, 6), "gh");
}

TEST(UnixStream, DontwaitAndNonblock) {
  UnixPair pair;
  char byte;
  EXPECT_THAT(recv(pair.a.get(), &byte, 1, MSG_DONTWAIT), FailsWith(EAGAIN));
  int one = 1;
  ASSERT_THAT(ioctl(pair.a.get(), FIONBIO, &one), Returns(0));
  EXPECT_THAT(read(pair.a.get(), &byte, 1), FailsWith(EAGAIN));
}

TEST(UnixStream, ReceiveTimeout) {
  UnixPair pair;
  const timeval limit{.tv_sec = 0, .tv_usec = 10'000};
  ASSERT_THAT(setsockopt(pair.a.get(), SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), Returns(0));
  char byte;
  const int64_t before = NowMs();
  EXPECT_THAT(recv(pair.a.get(), &byte, 1, 0), FailsWith(EAGAIN));
  EXPECT_GE(NowMs() - before, 9);
  EXPECT_THAT(read(pair.a.get(), &byte, 1), FailsWith(EAGAIN));
}

TEST(UnixStream, SendTimeout) {
  UnixPair pair;
  const timeval limit{.tv_sec = 0, .tv_usec = 10'000};
  ASSERT_THAT(setsockopt(pair.a.get(), SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit), Returns(0));
  const std::string much(1 << 20, 'x');
  const ssize_t sent = send(pair.a.get(), much.data(), much.size(), 0);
  EXPECT_GT(sent, 0);
  EXPECT_LT(sent, static_cast<ssize_t>(much.size()));
  EXPECT_THAT(send(pair.a.get(), much.data(), much.size(), 0), FailsWith(EAGAIN));
}

TEST(UnixStream, AFullStreamBlocksTheWriter) {
  UnixPair pair;
  const std::string piece(4096, 'x');
  size_t sent = 0;
  for (;;) {
    const ssize_t one = send(pair.a.get(), piece.data(), piece.size(), MSG_DONTWAIT);
    if (one < 0) break;
    sent += static_cast<size_t>(one);
  }
  EXPECT_EQ(errno, EAGAIN);
  EXPECT_GT(sent, 65536u);
  EXPECT_EQ(PollNow(pair.a.get(), POLLOUT), 0);
  size_t received = 0;
  while (received < sent) received += Text(pair.b.get(), 0, 65536).size();
  EXPECT_EQ(PollNow(pair.a.get(), POLLOUT), POLLOUT);
}

TEST(UnixStream, MuchDataArrivesInOrder) {
  UnixPair pair;
  std::string all(3'000'000, '\0');
  for (size_t i = 0; i < all.size(); ++i) all[i] = static_cast<char>(i * 7 + i / 4096);
  std::thread writer([&] {
    EXPECT_THAT(send(pair.a.get(), all.data(), all.size(), 0),
                Returns(static_cast<ssize_t>(all.size())));
    pair.a.reset();
  });
  std::string got;
  char buffer[50'000];
  for (ssize_t n; (n = read(pair.b.get(), buffer, sizeof buffer)) > 0;) {
    got.append(buffer, static_cast<size_t>(n));
  }
  writer.join();
  EXPECT_TRUE(got == all);
}

TEST(UnixStream, FaultyBuffers) {
  UnixPair pair;
  EXPECT_THAT(send(pair.a.get(), reinterpret_cast<void*>(8), 10, 0), FailsWith(EFAULT));
  SendText(pair.a.get(), "kept");
  EXPECT_THAT(recv(pair.b.get(), reinterpret_cast<void*>(8), 10, 0), FailsWith(EFAULT));
  EXPECT_EQ(Text(pair.b.get()), "kept");
}

TEST(UnixStream, VectorsOfBuffers) {
  UnixPair pair;
  char one[] = "ab", two[] = "cdef";
  iovec out[2] = {{one, 2}, {two, 4}};
  msghdr message{};
  message.msg_iov = out;
  message.msg_iovlen = 2;
  EXPECT_THAT(sendmsg(pair.a.get(), &message, 0), Returns(6));
  char three[4] = {}, four[8] = {};
  iovec in[2] = {{three, 3}, {four, 7}};
  message.msg_iov = in;
  EXPECT_THAT(recvmsg(pair.b.get(), &message, 0), Returns(6));
  EXPECT_STREQ(three, "abc");
  EXPECT_STREQ(four, "def");
  message.msg_iovlen = 1025;
  EXPECT_THAT(sendmsg(pair.a.get(), &message, 0), FailsWith(EMSGSIZE));
}

TEST(UnixStream, QueueSizes) {
  UnixPair pair;
  int count = -1;
  EXPECT_THAT(ioctl(pair.b.get(), FIONREAD, &count), Returns(0));
  EXPECT_EQ(count, 0);
  SendText(pair.a.get(), "12345");
  EXPECT_THAT(ioctl(pair.b.get(), SIOCINQ, &count), Returns(0));
  EXPECT_EQ(count, 5);
  EXPECT_THAT(ioctl(pair.a.get(), SIOCOUTQ, &count), Returns(0));
  EXPECT_GE(count, 5);
  Text(pair.b.get());
  EXPECT_THAT(ioctl(pair.a.get(), SIOCOUTQ, &count), Returns(0));
  EXPECT_EQ(count, 0);
  Listener listener;
  EXPECT_THAT(ioctl(listener.fd.get(), SIOCINQ, &count), FailsWith(EINVAL));
}

TEST(UnixStream, PollStates) {
  UniqueFd idle = UnixSocketOf(SOCK_STREAM);
  EXPECT_EQ(PollNow(idle.get()), POLLOUT | POLLHUP);
  Listener listener;
  EXPECT_EQ(PollNow(listener.fd.get()), 0);
  UniqueFd client = listener.Client();
  EXPECT_EQ(PollNow(listener.fd.get()), POLLIN);
  EXPECT_EQ(PollNow(client.get()), POLLOUT);
  UnixPair pair;
  EXPECT_EQ(PollNow(pair.a.get()), POLLOUT);
  SendText(pair.b.get(), "x");
  EXPECT_EQ(PollNow(pair.a.get()), POLLIN | POLLOUT);
}

TEST(UnixStream, PollAfterShutdown) {
  UnixPair pair;
  shutdown(pair.a.get(), SHUT_WR);
  EXPECT_EQ(PollNow(pair.b.get()), POLLIN | POLLOUT | POLLRDHUP);
  EXPECT_EQ(PollNow(pair.a.get()), POLLOUT);
  shutdown(pair.b.get(), SHUT_WR);
  EXPECT_EQ(PollNow(pair.b.get()), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
}

TEST(UnixStream, PollAfterThePeersClose) {
  UnixPair pair;
  pair.a.reset();
  EXPECT_EQ(PollNow(pair.b.get()), POLLIN | POLLOUT | POLLRDHUP | POLLHUP);
}

TEST(UnixStream, OutlivesTheDescriptorOfAnotherProcess) {
  UnixPair pair;
  const pid_t child = Start([&] {
    pair.b.reset();
    CHILD_CHECK(SendText(pair.a.get(), "from the child") == 14);
    return 0;
  });
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(Text(pair.b.get()), "from the child");
  pair.a.reset();
  EXPECT_EQ(Text(pair.b.get()), "");
}

}  // namespace
