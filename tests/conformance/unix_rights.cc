// What travels beside the bytes: SCM_RIGHTS, SCM_CREDENTIALS; unix(7), cmsg(3).
#include <fcntl.h>
#include <grp.h>
#include <sys/resource.h>

#include <map>

#include "tests/conformance/unix_support.h"

namespace {

TEST(UnixRights, ADescriptorArrives) {
  UnixPair pair;
  Pipe pipe;
  ASSERT_THAT(SendFds(pair.a.get(), "x", {pipe.write.get()}), Returns(1));
  pipe.write.reset();
  Received got = Receive(pair.b.get());
  EXPECT_EQ(got.data, "x");
  ASSERT_EQ(got.fds.size(), 1u);
  EXPECT_THAT(write(got.fds[0].get(), "through", 7), Returns(7));
  got.fds.clear();
  EXPECT_EQ(ReadAll(pipe.read.get()), "through");
}

TEST(UnixRights, TheDescriptionIsShared) {
  UnixPair pair;
  UniqueFd file = OpenTemp(0, "0123456789");
  lseek(file.get(), 4, SEEK_SET);
  ASSERT_THAT(SendFds(pair.a.get(), "x", {file.get()}), Returns(1));
  Received got = Receive(pair.b.get());
  char byte;
  EXPECT_THAT(read(got.fds[0].get(), &byte, 1), Returns(1));
  EXPECT_EQ(byte, '4');
  EXPECT_THAT(lseek(file.get(), 0, SEEK_CUR), Returns(5));
  EXPECT_THAT(fcntl(got.fds[0].get(), F_GETFD), Returns(0));
}

TEST(UnixRights, CloexecOnRequest) {
  UnixPair pair;
  SendFds(pair.a.get(), "x", {0});
  Received got = Receive(pair.b.get(), 10, MSG_CMSG_CLOEXEC);
  ASSERT_EQ(got.fds.size(), 1u);
  EXPECT_THAT(fcntl(got.fds[0].get(), F_GETFD), Returns(FD_CLOEXEC));
  EXPECT_EQ(got.flags & MSG_CMSG_CLOEXEC, MSG_CMSG_CLOEXEC);
}

TEST(UnixRights, ManyAtOnceAndTooMany) {
  UnixPair pair;
  EXPECT_THAT(SendFds(pair.a.get(), "x", std::vector<int>(253, 0)), Returns(1));
  const Received got = Receive(pair.b.get(), 10, 0, 2000);
  EXPECT_EQ(got.fds.size(), 253u);
  EXPECT_THAT(SendFds(pair.a.get(), "x", std::vector<int>(254, 0)), FailsWith(EINVAL));
}

TEST(UnixRights, BadDescriptorsSendNothing) {
  UnixPair pair;
  EXPECT_THAT(SendFds(pair.a.get(), "x", {0, -1}), FailsWith(EBADF));
  char byte;
  EXPECT_THAT(recv(pair.b.get(), &byte, 1, MSG_DONTWAIT), FailsWith(EAGAIN));
}

TEST(UnixRights, AStreamStopsBehindFiles) {
  UnixPair pair;
  SendText(pair.a.get(), "one ");
  SendFds(pair.a.get(), "two", {0});
  SendText(pair.a.get(), "three");
  const Received got = Receive(pair.b.get());
  EXPECT_EQ(got.data, "one two");
  EXPECT_EQ(got.fds.size(), 1u);
  EXPECT_EQ(Receive(pair.b.get()).data, "three");
}

TEST(UnixRights, FilesComeWithTheFirstByte) {
  UnixPair pair;
  SendFds(pair.a.get(), "abcd", {0});
  const Received first = Receive(pair.b.get(), 2);
  EXPECT_EQ(first.data, "ab");
  EXPECT_EQ(first.fds.size(), 1u);
  const Received rest = Receive(pair.b.get());
  EXPECT_EQ(rest.data, "cd");
  EXPECT_EQ(rest.fds.size(), 0u);
}

TEST(UnixRights, ReadClosesThem) {
  UnixPair pair;
  Pipe pipe;
  SendFds(pair.a.get(), "x", {pipe.write.get()});
  pipe.write.reset();
  char byte;
  EXPECT_THAT(read(pair.b.get(), &byte, 1), Returns(1));
  EXPECT_THAT(read(pipe.read.get(), &byte, 1), Returns(0));
}

TEST(UnixRights, UnreadOnesAreClosedWithTheSocket) {
  UnixPair pair;
  Pipe pipe;
  SendFds(pair.a.get(), "x", {pipe.write.get()});
  pipe.write.reset();
  pair.b.reset();
  char byte;
  EXPECT_THAT(read(pipe.read.get(), &byte, 1), Returns(0));
}

TEST(UnixRights, WithoutRoomTheyAreClosed) {
  UnixPair pair;
  Pipe pipe;
  SendFds(pair.a.get(), "x", {pipe.write.get()});
  pipe.write.reset();
  const Received got = Receive(pair.b.get(), 10, 0, 0);
  EXPECT_EQ(got.flags & MSG_CTRUNC, MSG_CTRUNC);
  char byte;
  EXPECT_THAT(read(pipe.read.get(), &byte, 1), Returns(0));
}

TEST(UnixRights, RoomForSome) {
  UnixPair pair;
  SendFds(pair.a.get(), "x", {0, 1, 2});
  const Received got = Receive(pair.b.get(), 10, 0, CMSG_LEN(2 * sizeof(int)));
  EXPECT_EQ(got.fds.size(), 2u);
  EXPECT_EQ(got.flags & MSG_CTRUNC, MSG_CTRUNC);
}

TEST(UnixRights, TheTableIsFull) {
  UnixPair pair;
  SendFds(pair.a.get(), "x", {0, 1});
  EXPECT_THAT(InChild([&] {
                UniqueFd next(dup(0));
                const rlimit limit{.rlim_cur = static_cast<rlim_t>(next.get()),
                                   .rlim_max = static_cast<rlim_t>(next.get()) + 100};
                next.reset();
                CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
                const Received got = Receive(pair.b.get());
                CHILD_CHECK(got.data == "x");
                CHILD_CHECK((got.flags & MSG_CTRUNC) != 0);
                CHILD_CHECK(got.fds.empty());
                return 0;
              }),
              Exited(0));
}

TEST(UnixRights, PeekedOnesAreCopies) {
  UnixPair pair;
  Pipe pipe;
  SendFds(pair.a.get(), "x", {pipe.write.get()});
  pipe.write.reset();
  {
    const Received peeked = Receive(pair.b.get(), 10, MSG_PEEK);
    EXPECT_EQ(peeked.fds.size(), 1u);
  }
  Received got = Receive(pair.b.get());
  ASSERT_EQ(got.fds.size(), 1u);
  EXPECT_THAT(write(got.fds[0].get(), "y", 1), Returns(1));
}

TEST(UnixRights, PathDescriptorsAndSocketsTravel) {
  UnixPair pair, inner;
  UniqueFd place(open("/", O_PATH));
  ASSERT_THAT(SendFds(pair.a.get(), "x", {place.get(), inner.a.get()}), Returns(1));
  inner.a.reset();
  Received got = Receive(pair.b.get());
  ASSERT_EQ(got.fds.size(), 2u);
  EXPECT_EQ(fcntl(got.fds[0].get(), F_GETFL) & O_PATH, O_PATH);
  SendText(got.fds[1].get(), "inner");
  EXPECT_EQ(Text(inner.b.get()), "inner");
}

TEST(UnixRights, DatagramsCarryThem) {
  for (const int type : {SOCK_DGRAM, SOCK_SEQPACKET}) {
    UnixPair pair(type);
    Pipe pipe;
    ASSERT_THAT(SendFds(pair.a.get(), "", {pipe.write.get()}), Returns(0));
    pipe.write.reset();
    Received got = Receive(pair.b.get());
    EXPECT_EQ(got.size, 0);
    ASSERT_EQ(got.fds.size(), 1u);
    got.fds.clear();
    char byte;
    EXPECT_THAT(read(pipe.read.get(), &byte, 1), Returns(0));
  }
}

TEST(UnixRights, ACycleOfSocketsIsCollected) {
  Pipe pipe;
  {
    UnixPair pair;
    // Each end lies in the other's queue, with a pipe that shows when they go.
    ASSERT_THAT(SendFds(pair.a.get(), "x", {pair.a.get(), pipe.write.get()}), Returns(1));
    ASSERT_THAT(SendFds(pair.b.get(), "x", {pair.b.get()}), Returns(1));
    pipe.write.reset();
  }
  // Linux looks for cycles when some socket is closed.
  EXPECT_TRUE(Eventually([&] {
    UnixPair trigger;
    return (PollNow(pipe.read.get(), POLLIN) & POLLHUP) != 0;
  }));
}

TEST(UnixRights, ASocketInItsOwnQueueIsCollected) {
  Pipe pipe;
  {
    UnixPair pair;
    ASSERT_THAT(SendFds(pair.a.get(), "x", {pair.b.get(), pipe.write.get()}), Returns(1));
    pipe.write.reset();
  }
  EXPECT_TRUE(Eventually([&] {
    UnixPair trigger;
    return (PollNow(pipe.read.get(), POLLIN) & POLLHUP) != 0;
  }));
}

TEST(UnixRights, WhatIsReachableThroughQueuesStays) {
  UnixPair outer, inner;
  ASSERT_THAT(SendFds(inner.a.get(), "deep", {0}), Returns(4));
  ASSERT_THAT(SendFds(outer.a.get(), "x", {inner.b.get()}), Returns(1));
  inner.b.reset();
  for (int i = 0; i < 100; ++i) UnixPair trigger;
  Received got = Receive(outer.b.get());
  ASSERT_EQ(got.fds.size(), 1u);
  const Received deep = Receive(got.fds[0].get());
  EXPECT_EQ(deep.data, "deep");
  EXPECT_EQ(deep.fds.size(), 1u);
}

TEST(UnixRights, AcrossProcesses) {
  UnixPair pair;
  const pid_t child = Start([&] {
    Pipe pipe;
    CHILD_CHECK(SendFds(pair.b.get(), "x", {pipe.read.get()}) == 1);
    CHILD_CHECK(write(pipe.write.get(), "from the child", 14) == 14);
    return 0;
  });
  Received got = Receive(pair.a.get());
  ASSERT_EQ(got.fds.size(), 1u);
  EXPECT_THAT(Wait(child), Exited(0));
  EXPECT_EQ(ReadAll(got.fds[0].get()), "from the child");
}

// --- malformed control data

ssize_t SendControl(int socket, const void* control, size_t size) {
  char byte = 'x';
  iovec piece{&byte, 1};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = const_cast<void*>(control);
  message.msg_controllen = size;
  return sendmsg(socket, &message, MSG_NOSIGNAL);
}

TEST(UnixControl, MalformedHeaders) {
  UnixPair pair;
  alignas(cmsghdr) char buffer[64] = {};
  auto* header = reinterpret_cast<cmsghdr*>(buffer);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = 4;
  EXPECT_THAT(SendControl(pair.a.get(), buffer, sizeof buffer), FailsWith(EINVAL));
  header->cmsg_len = 1000;
  EXPECT_THAT(SendControl(pair.a.get(), buffer, sizeof buffer), FailsWith(EINVAL));
  header->cmsg_len = CMSG_LEN(0);
  header->cmsg_type = 99;
  EXPECT_THAT(SendControl(pair.a.get(), buffer, CMSG_LEN(0)), FailsWith(EINVAL));
  EXPECT_THAT(SendControl(pair.a.get(), reinterpret_cast<void*>(8), 64), FailsWith(EFAULT));
}

TEST(UnixControl, OtherLevelsAndShortBuffersAreIgnored) {
  UnixPair pair;
  alignas(cmsghdr) char buffer[64] = {};
  auto* header = reinterpret_cast<cmsghdr*>(buffer);
  header->cmsg_level = 6;
  header->cmsg_type = 1;
  header->cmsg_len = CMSG_LEN(0);
  EXPECT_THAT(SendControl(pair.a.get(), buffer, CMSG_LEN(0)), Returns(1));
  EXPECT_THAT(SendControl(pair.a.get(), buffer, 8), Returns(1));
  // No files at all are fine.
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  EXPECT_THAT(SendControl(pair.a.get(), buffer, CMSG_LEN(0)), Returns(1));
}

// --- credentials

TEST(UnixCredentials, OfAPair) {
  UnixPair pair;
  ucred peer{};
  socklen_t size = sizeof(peer);
  ASSERT_THAT(getsockopt(pair.a.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size), Returns(0));
  EXPECT_EQ(size, sizeof(peer));
  EXPECT_EQ(peer.pid, getpid());
  EXPECT_EQ(peer.uid, geteuid());
  EXPECT_EQ(peer.gid, getegid());
}

TEST(UnixCredentials, OfNobody) {
  UniqueFd fd = UnixSocketOf(SOCK_STREAM);
  ucred peer{};
  socklen_t size = sizeof(peer);
  ASSERT_THAT(getsockopt(fd.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size), Returns(0));
  EXPECT_EQ(peer.pid, 0);
  EXPECT_EQ(peer.uid, static_cast<uid_t>(-1));
}

TEST(UnixCredentials, OfWhoConnectedAndWhoListened) {
  Listener listener;
  Pipe done;
  const pid_t child = Start([&] {
    UniqueFd client = listener.Client();
    ucred peer{};
    socklen_t size = sizeof(peer);
    CHILD_CHECK(getsockopt(client.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0);
    CHILD_CHECK(peer.pid == getppid());
    Await(done.read.get());
    return 0;
  });
  UniqueFd server = listener.Accept();
  ucred peer{};
  socklen_t size = sizeof(peer);
  ASSERT_THAT(getsockopt(server.get(), SOL_SOCKET, SO_PEERCRED, &peer, &size), Returns(0));
  EXPECT_EQ(peer.pid, child);
  Post(done.write.get());
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(UnixCredentials, ComeWithMessagesOnRequest) {
  for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}) {
    UnixPair pair(type);
    EXPECT_FALSE((SendText(pair.a.get(), "x"), Receive(pair.b.get()).has_credentials));
    ASSERT_THAT(SetInt(pair.b.get(), SO_PASSCRED, 1), Returns(0));
    EXPECT_EQ(GetInt(pair.b.get(), SO_PASSCRED), 1);
    SendText(pair.a.get(), "x");
    const Received got = Receive(pair.b.get());
    ASSERT_TRUE(got.has_credentials);
    EXPECT_EQ(got.credentials.pid, getpid());
    EXPECT_EQ(got.credentials.uid, geteuid());
    EXPECT_EQ(got.credentials.gid, getegid());
  }
}

TEST(UnixCredentials, WhatWasSentBeforeTheRequestIsNobodys) {
  UnixPair pair;
  SendText(pair.a.get(), "early");
  ASSERT_THAT(SetInt(pair.b.get(), SO_PASSCRED, 1), Returns(0));
  const Received got = Receive(pair.b.get());
  ASSERT_TRUE(got.has_credentials);
  EXPECT_EQ(got.credentials.pid, 0);
  EXPECT_EQ(got.credentials.uid, 65534u);
}

TEST(UnixCredentials, DifferentSendersAreNotJoined) {
  UnixPair pair;
  ASSERT_THAT(SetInt(pair.b.get(), SO_PASSCRED, 1), Returns(0));
  SendText(pair.a.get(), "parent");
  EXPECT_THAT(InChild([&] { return SendText(pair.a.get(), "child") == 5 ? 0 : 1; }), Exited(0));
  EXPECT_EQ(Receive(pair.b.get()).data, "parent");
  EXPECT_EQ(Receive(pair.b.get()).data, "child");
}

ssize_t SendCredentials(int socket, const ucred& who) {
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(who))] = {};
  auto* header = reinterpret_cast<cmsghdr*>(control);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_CREDENTIALS;
  header->cmsg_len = CMSG_LEN(sizeof(who));
  memcpy(CMSG_DATA(header), &who, sizeof(who));
  return SendControl(socket, control, sizeof control);
}

TEST(UnixCredentials, OwnOnesMayBeSent) {
  UnixPair pair;
  ASSERT_THAT(SetInt(pair.b.get(), SO_PASSCRED, 1), Returns(0));
  EXPECT_THAT(SendCredentials(pair.a.get(), {getpid(), getuid(), getgid()}), Returns(1));
  EXPECT_EQ(Receive(pair.b.get()).credentials.pid, getpid());
}

TEST(UnixCredentials, OthersNeedRights) {
  UnixPair pair;
  EXPECT_THAT(
      InChild([&] {
        CHILD_CHECK(geteuid() != 0 ||
                    (setresgid(1000, 1000, 1000) == 0 && setresuid(1000, 1000, 1000) == 0));
        CHILD_CHECK(SendCredentials(pair.a.get(), {1, getuid(), getgid()}) == -1 && errno == EPERM);
        CHILD_CHECK(SendCredentials(pair.a.get(), {getpid(), 0, getgid()}) == -1 && errno == EPERM);
        CHILD_CHECK(SendCredentials(pair.a.get(), {getpid(), getuid(), 0}) == -1 && errno == EPERM);
        CHILD_CHECK(SendCredentials(pair.a.get(), {getpid(), getuid(), getgid()}) == 1);
        return 0;
      }),
      Exited(0));
}

TEST(UnixCredentials, PassingBindsASocketThatConnects) {
  Listener listener;
  UniqueFd client = UnixSocketOf(SOCK_STREAM);
  ASSERT_THAT(SetInt(client.get(), SO_PASSCRED, 1), Returns(0));
  ASSERT_THAT(Connect(client, UnixName(listener.name)), Returns(0));
  sockaddr_un name{};
  socklen_t size = sizeof(name);
  ASSERT_THAT(getsockname(client.get(), reinterpret_cast<sockaddr*>(&name), &size), Returns(0));
  EXPECT_EQ(size, 2u + 6u);
}

TEST(UnixCredentials, PeersProcess) {
  constexpr int kPeerPidfd = 77;
  UnixPair pair;
  int fd = -1;
  socklen_t size = sizeof(fd);
  const int got = getsockopt(pair.a.get(), SOL_SOCKET, kPeerPidfd, &fd, &size);
  if (got < 0 && errno == ENOPROTOOPT) GTEST_SKIP() << "Linux before 6.5";
  UniqueFd pidfd(fd);
  EXPECT_TRUE(pidfd.valid());
  const std::string info = ReadFile("/proc/self/fdinfo/" + std::to_string(fd));
  EXPECT_NE(info.find("Pid:\t" + std::to_string(getpid())), info.npos);
}

TEST(UnixCredentials, PeersGroups) {
  UnixPair pair;
  std::vector<gid_t> own(static_cast<size_t>(getgroups(0, nullptr)));
  ASSERT_GE(getgroups(static_cast<int>(own.size()), own.data()), 0);
  std::vector<gid_t> groups(own.size() + 8);
  socklen_t size = static_cast<socklen_t>(groups.size() * sizeof(gid_t));
  ASSERT_THAT(getsockopt(pair.a.get(), SOL_SOCKET, SO_PEERGROUPS, groups.data(), &size),
              Returns(0));
  groups.resize(size / sizeof(gid_t));
  EXPECT_EQ(groups, own);
}

TEST(UnixCredentials, PeersGroupsWithoutRoom) {
  EXPECT_THAT(
      InChild([] {
        const gid_t own[] = {7, 1234, 70000};
        if (setgroups(3, own) != 0) return 0;  // An ordinary user's are none of ours.
        UnixPair pair;
        gid_t groups[3] = {};
        socklen_t size = sizeof(gid_t);
        CHILD_CHECK(getsockopt(pair.a.get(), SOL_SOCKET, SO_PEERGROUPS, groups, &size) == -1);
        CHILD_CHECK(errno == ERANGE && size == sizeof(groups));
        CHILD_CHECK(getsockopt(pair.a.get(), SOL_SOCKET, SO_PEERGROUPS, groups, &size) == 0);
        CHILD_CHECK(std::equal(own, own + 3, groups));
        return 0;
      }),
      Exited(0));
}

// Every piece of a large message tells who sent it.
TEST(UnixCredentials, OfAllOfALargeMessage) {
  UnixPair pair;
  ASSERT_THAT(SetInt(pair.b.get(), SO_PASSCRED, 1), Returns(0));
  const std::string large(400'000, 'x');
  const pid_t child = Start(
      [&] { return SendText(pair.a.get(), large) == static_cast<ssize_t>(large.size()) ? 0 : 1; });
  size_t total = 0;
  while (total < large.size()) {
    const Received got = Receive(pair.b.get(), 30'000);
    ASSERT_GT(got.size, 0);
    ASSERT_TRUE(got.has_credentials);
    ASSERT_EQ(got.credentials.pid, child) << total;
    total += static_cast<size_t>(got.size);
  }
  EXPECT_THAT(Wait(child), Exited(0));
}

// Files go with the first piece of it, once.
TEST(UnixRights, OfALargeMessage) {
  UnixPair pair;
  const std::string large(400'000, 'x');
  const pid_t child = Start([&] {
    return SendFds(pair.a.get(), large, {0}) == static_cast<ssize_t>(large.size()) ? 0 : 1;
  });
  size_t total = 0, files = 0;
  while (total < large.size()) {
    const Received got = Receive(pair.b.get(), 30'000);
    ASSERT_GT(got.size, 0);
    EXPECT_EQ(got.fds.size(), total == 0 ? 1u : 0u);
    total += static_cast<size_t>(got.size);
    files += got.fds.size();
  }
  EXPECT_EQ(files, 1u);
  EXPECT_THAT(Wait(child), Exited(0));
}

}  // namespace
