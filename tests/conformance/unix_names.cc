// Names of AF_UNIX sockets: paths, abstract names, autobind; unix(7), bind(2), getsockname(2).
#include <fcntl.h>
#include <sys/stat.h>

#include "tests/conformance/unix_support.h"

namespace {

struct Told {
  sockaddr_un name{};
  socklen_t size = 0;
  std::string path() const { return std::string(name.sun_path, size > 2 ? size - 2 : 0); }
};

Told NameOf(int fd) {
  Told told;
  told.size = sizeof(told.name);
  EXPECT_THAT(getsockname(fd, reinterpret_cast<sockaddr*>(&told.name), &told.size), Returns(0));
  return told;
}
Told PeerOf(int fd) {
  Told told;
  told.size = sizeof(told.name);
  EXPECT_THAT(getpeername(fd, reinterpret_cast<sockaddr*>(&told.name), &told.size), Returns(0));
  return told;
}

TEST(UnixNames, Unnamed) {
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  EXPECT_EQ(NameOf(fd.get()).size, 2u);
  EXPECT_EQ(NameOf(fd.get()).name.sun_family, AF_UNIX);
  UnixPair pair;
  EXPECT_EQ(PeerOf(pair.a.get()).size, 2u);
}

TEST(UnixNames, BindMakesANode) {
  TempDir dir;
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  const std::string path = dir / "socket";
  ASSERT_THAT(Bind(fd, UnixName(path)), Returns(0));
  struct stat info;
  ASSERT_THAT(lstat(path.c_str(), &info), Returns(0));
  EXPECT_TRUE(S_ISSOCK(info.st_mode));
  EXPECT_EQ(info.st_uid, geteuid());
  const Told told = NameOf(fd.get());
  EXPECT_EQ(told.size, 2 + path.size() + 1);
  EXPECT_EQ(std::string(told.name.sun_path), path);
  fd.reset();
  EXPECT_THAT(lstat(path.c_str(), &info), Returns(0));
}

TEST(UnixNames, TheNodesModeIsThatOfTheSocketWithoutTheUmask) {
  TempDir dir;
  const mode_t old = umask(027);
  UniqueFd plain = UnixSocketOf(SOCK_STREAM), changed = UnixSocketOf(SOCK_STREAM);
  EXPECT_THAT(fchmod(changed.get(), 0666), Returns(0));
  EXPECT_THAT(Bind(plain, UnixName(dir / "a")), Returns(0));
  EXPECT_THAT(Bind(changed, UnixName(dir / "b")), Returns(0));
  umask(old);
  struct stat info;
  stat((dir / "a").c_str(), &info);
  EXPECT_EQ(info.st_mode & 07777, 0750u);
  stat((dir / "b").c_str(), &info);
  EXPECT_EQ(info.st_mode & 07777, 0640u);
}

TEST(UnixNames, NodesCannotBeOpened) {
  TempDir dir;
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  ASSERT_THAT(Bind(fd, UnixName(dir / "s")), Returns(0));
  EXPECT_THAT(open((dir / "s").c_str(), O_RDWR), FailsWith(ENXIO));
  UniqueFd by_path(open((dir / "s").c_str(), O_PATH));
  EXPECT_TRUE(by_path.valid());
}

TEST(UnixNames, BindErrors) {
  TempDir dir;
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  WriteFile(dir / "taken", "");
  EXPECT_THAT(Bind(fd, UnixName(dir / "taken")), FailsWith(EADDRINUSE));
  EXPECT_THAT(Bind(fd, UnixName(dir / "no/such")), FailsWith(ENOENT));
  EXPECT_THAT(Bind(fd, UnixName(dir / "taken/x")), FailsWith(ENOTDIR));
  UnixName inet("@x");
  inet.address.sun_family = AF_INET;
  EXPECT_THAT(Bind(fd, inet), FailsWith(EINVAL));
  const UnixName good(UniqueName("x"));
  EXPECT_THAT(bind(fd.get(), good.get(), 1), FailsWith(EINVAL));
  EXPECT_THAT(bind(fd.get(), good.get(), sizeof(sockaddr_un) + 1), FailsWith(EINVAL));
  EXPECT_THAT(bind(fd.get(), reinterpret_cast<sockaddr*>(8), 20), FailsWith(EFAULT));
}

TEST(UnixNames, BindTwice) {
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  ASSERT_THAT(Bind(fd, UnixName(UniqueName("one"))), Returns(0));
  EXPECT_THAT(Bind(fd, UnixName(UniqueName("two"))), FailsWith(EINVAL));
}

TEST(UnixNames, TheLongestPath) {
  TempDir dir;
  std::string path = dir / "";
  path.append(sizeof(sockaddr_un{}.sun_path) - path.size(), 'n');
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  ASSERT_THAT(bind(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), Returns(0));
  struct stat info;
  EXPECT_THAT(lstat(path.c_str(), &info), Returns(0));
  char room[256] = {};
  socklen_t size = sizeof room;
  ASSERT_THAT(getsockname(fd.get(), reinterpret_cast<sockaddr*>(room), &size), Returns(0));
  EXPECT_EQ(size, sizeof(sockaddr_un) + 1);
}

TEST(UnixNames, RelativePathsAndSymlinks) {
  TempDir dir;
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(chdir(dir.path().c_str()) == 0);
                UniqueFd listener = UnixSocketOf(SOCK_STREAM), client = UnixSocketOf(SOCK_STREAM);
                CHILD_CHECK(Bind(listener, UnixName("relative")) == 0);
                CHILD_CHECK(listen(listener.get(), 1) == 0);
                CHILD_CHECK(symlink("relative", "link") == 0);
                CHILD_CHECK(Connect(client, UnixName("link")) == 0);
                Told told = PeerOf(client.get());
                CHILD_CHECK(std::string(told.name.sun_path) == "relative");
                return 0;
              }),
              Exited(0));
}

TEST(UnixNames, BindDoesNotFollowALink) {
  TempDir dir;
  ASSERT_THAT(symlink("elsewhere", (dir / "link").c_str()), Returns(0));
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  EXPECT_THAT(Bind(fd, UnixName(dir / "link")), FailsWith(EADDRINUSE));
}

TEST(UnixNames, ANodeOutlivesItsSocket) {
  TempDir dir;
  {
    UniqueFd fd = UnixSocketOf(SOCK_STREAM);
    ASSERT_THAT(Bind(fd, UnixName(dir / "s")), Returns(0));
    ASSERT_THAT(listen(fd.get(), 1), Returns(0));
  }
  UniqueFd client = UnixSocketOf(SOCK_STREAM), again = UnixSocketOf(SOCK_STREAM);
  EXPECT_THAT(Connect(client, UnixName(dir / "s")), FailsWith(ECONNREFUSED));
  EXPECT_THAT(Bind(again, UnixName(dir / "s")), FailsWith(EADDRINUSE));
  ASSERT_THAT(unlink((dir / "s").c_str()), Returns(0));
  EXPECT_THAT(Bind(again, UnixName(dir / "s")), Returns(0));
}

TEST(UnixNames, ARenamedOrLinkedNodeStillLeadsThere) {
  TempDir dir;
  UniqueFd listener = UnixSocketOf(SOCK_STREAM);
  ASSERT_THAT(Bind(listener, UnixName(dir / "s")), Returns(0));
  ASSERT_THAT(listen(listener.get(), 4), Returns(0));
  ASSERT_THAT(rename((dir / "s").c_str(), (dir / "t").c_str()), Returns(0));
  UniqueFd one = UnixSocketOf(SOCK_STREAM), two = UnixSocketOf(SOCK_STREAM);
  EXPECT_THAT(Connect(one, UnixName(dir / "t")), Returns(0));
  EXPECT_THAT(Connect(two, UnixName(dir / "s")), FailsWith(ENOENT));
  ASSERT_THAT(link((dir / "t").c_str(), (dir / "u").c_str()), Returns(0));
  EXPECT_THAT(Connect(two, UnixName(dir / "u")), Returns(0));
  EXPECT_EQ(std::string(NameOf(listener.get()).name.sun_path), dir / "s");
}

TEST(UnixNames, AnUnlinkedNodeLeadsNowhere) {
  TempDir dir;
  UniqueFd listener = UnixSocketOf(SOCK_STREAM), client = UnixSocketOf(SOCK_STREAM);
  ASSERT_THAT(Bind(listener, UnixName(dir / "s")), Returns(0));
  ASSERT_THAT(listen(listener.get(), 4), Returns(0));
  ASSERT_THAT(unlink((dir / "s").c_str()), Returns(0));
  EXPECT_THAT(Connect(client, UnixName(dir / "s")), FailsWith(ENOENT));
}

TEST(UnixNames, ConnectNeedsWritePermission) {
  TempDir dir;
  UniqueFd listener = UnixSocketOf(SOCK_STREAM);
  ASSERT_THAT(Bind(listener, UnixName(dir / "s")), Returns(0));
  ASSERT_THAT(listen(listener.get(), 4), Returns(0));
  ASSERT_THAT(chmod((dir / "s").c_str(), 0555), Returns(0));
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(geteuid() != 0 || setresuid(65534, 65534, 65534) == 0);
                UniqueFd client = UnixSocketOf(SOCK_STREAM);
                CHILD_CHECK(Connect(client, UnixName(dir / "s")) == -1 && errno == EACCES);
                return 0;
              }),
              Exited(0));
}

TEST(UnixNames, AbstractNamesAreBytes) {
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  std::string name = UniqueName("nul");
  name += '\0';
  name += "tail";
  const UnixName address(name);
  ASSERT_THAT(Bind(fd, address), Returns(0));
  const Told told = NameOf(fd.get());
  EXPECT_EQ(told.size, address.size);
  EXPECT_EQ(memcmp(&told.name, &address.address, address.size), 0);
  // A shorter name is another one.
  ASSERT_THAT(listen(fd.get(), 1), Returns(0));
  UniqueFd client = UnixSocketOf(SOCK_STREAM);
  EXPECT_THAT(connect(client.get(), address.get(), address.size - 1), FailsWith(ECONNREFUSED));
  EXPECT_THAT(connect(client.get(), address.get(), address.size), Returns(0));
}

TEST(UnixNames, AbstractNamesGoWithTheirSocket) {
  const UnixName name(UniqueName("gone"));
  UniqueFd one = UnixSocketOf(SOCK_STREAM), two = UnixSocketOf(SOCK_STREAM);
  ASSERT_THAT(Bind(one, name), Returns(0));
  EXPECT_THAT(Bind(two, name), FailsWith(EADDRINUSE));
  one.reset();
  EXPECT_THAT(Bind(two, name), Returns(0));
}

TEST(UnixNames, EachTypeHasItsOwnAbstractNames) {
  const UnixName name(UniqueName("both"));
  UniqueFd stream = UnixSocketOf(SOCK_STREAM), datagram = UnixSocketOf(SOCK_DGRAM);
  EXPECT_THAT(Bind(stream, name), Returns(0));
  EXPECT_THAT(Bind(datagram, name), Returns(0));
  UniqueFd packets = UnixSocketOf(SOCK_SEQPACKET);
  EXPECT_THAT(Connect(packets, name), FailsWith(ECONNREFUSED));
}

TEST(UnixNames, Autobind) {
  UniqueFd fd = UnixSocketOf(SOCK_DGRAM);
  const UnixName family_only("");
  ASSERT_THAT(Bind(fd, family_only), Returns(0));
  const Told told = NameOf(fd.get());
  EXPECT_EQ(told.size, 2u + 6u);
  EXPECT_EQ(told.name.sun_path[0], '\0');
  for (int i = 1; i <= 5; ++i) EXPECT_TRUE(isxdigit(told.name.sun_path[i]));
  EXPECT_THAT(Bind(fd, family_only), Returns(0));
}

TEST(UnixNames, PeerIsTheListenersName) {
  Listener listener;
  UniqueFd client = listener.Client();
  UniqueFd server = listener.Accept();
  const UnixName expected(listener.name);
  EXPECT_EQ(PeerOf(client.get()).size, expected.size);
  EXPECT_EQ(NameOf(server.get()).size, expected.size);
  const Told told = PeerOf(client.get());
  EXPECT_EQ(memcmp(&told.name, &expected.address, expected.size), 0);
  EXPECT_EQ(PeerOf(server.get()).size, 2u);
}

TEST(UnixNames, ANameThatComesLaterIsSeen) {
  UnixPair pair;
  const UnixName name(UniqueName("later"));
  ASSERT_THAT(Bind(pair.a, name), Returns(0));
  EXPECT_EQ(PeerOf(pair.b.get()).size, name.size);
}

TEST(UnixNames, ThePeersNameOutlivesIt) {
  Listener listener;
  UniqueFd client = listener.Client();
  UniqueFd server = listener.Accept();
  server.reset();
  listener.fd.reset();
  EXPECT_EQ(PeerOf(client.get()).size, UnixName(listener.name).size);
}

TEST(UnixNames, RoomForTheName) {
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  const UnixName name(UniqueName("room"));
  ASSERT_THAT(Bind(fd, name), Returns(0));
  char buffer[8];
  memset(buffer, 'x', sizeof buffer);
  socklen_t size = 4;
  ASSERT_THAT(getsockname(fd.get(), reinterpret_cast<sockaddr*>(buffer), &size), Returns(0));
  EXPECT_EQ(size, name.size);
  EXPECT_EQ(memcmp(buffer, &name.address, 4), 0);
  EXPECT_EQ(buffer[4], 'x');
  size = static_cast<socklen_t>(-1);
  EXPECT_THAT(getsockname(fd.get(), reinterpret_cast<sockaddr*>(buffer), &size), FailsWith(EINVAL));
  size = sizeof(sockaddr_un);
  EXPECT_THAT(getsockname(fd.get(), reinterpret_cast<sockaddr*>(8), &size), FailsWith(EFAULT));
  EXPECT_THAT(getsockname(fd.get(), reinterpret_cast<sockaddr*>(buffer), nullptr),
              FailsWith(EFAULT));
}

TEST(UnixNames, OtherProcessesConnectByPath) {
  TempDir dir;
  UniqueFd listener = UnixSocketOf(SOCK_STREAM);
  ASSERT_THAT(Bind(listener, UnixName(dir / "s")), Returns(0));
  ASSERT_THAT(listen(listener.get(), 4), Returns(0));
  const pid_t child = Start([&] {
    listener.reset();
    UniqueFd client = UnixSocketOf(SOCK_STREAM);
    CHILD_CHECK(Connect(client, UnixName(dir / "s")) == 0);
    CHILD_CHECK(SendText(client.get(), "hi") == 2);
    char byte;
    CHILD_CHECK(recv(client.get(), &byte, 1, 0) == 1);
    return byte == '!' ? 0 : 1;
  });
  UniqueFd server(accept(listener.get(), nullptr, nullptr));
  EXPECT_EQ(Text(server.get()), "hi");
  SendText(server.get(), "!");
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(UnixNames, SameNamesAfterExecAndFork) {
  Listener listener;
  EXPECT_THAT(InChild([&] {
                UniqueFd client = listener.Client();
                UniqueFd server = listener.Accept();
                CHILD_CHECK(SendText(client.get(), "x") == 1);
                CHILD_CHECK(Text(server.get()) == "x");
                return 0;
              }),
              Exited(0));
  // The parent's listener goes on.
  UniqueFd client = listener.Client();
  EXPECT_TRUE(listener.Accept().valid());
}

}  // namespace
