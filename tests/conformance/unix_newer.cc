// What unix(7) was given late, and what few ask for: descriptors of peers, cookies, owners, buffers
// that are locked, the file behind a name.
#include <fcntl.h>
#include <linux/sockios.h>
#include <sys/stat.h>

#include "tests/conformance/unix_support.h"

namespace {

// Numbers that older headers lack.
constexpr int kPassPidfd = 76, kPeerPidfd = 77, kScmPidfd = 4, kBufLock = 72, kCookie = 57;
constexpr int kUnixFile = SIOCPROTOPRIVATE;  // SIOCUNIXFILE.

int Get(int fd, int name) {
  int value = -1;
  socklen_t size = sizeof value;
  EXPECT_THAT(getsockopt(fd, SOL_SOCKET, name, &value, &size), Returns(0)) << name;
  return value;
}

void SetOn(int fd, int name, int value) {
  EXPECT_THAT(setsockopt(fd, SOL_SOCKET, name, &value, sizeof value), Returns(0)) << name;
}

// The process that a pidfd is about, as its fdinfo has it.
int PidOf(int pidfd) {
  FILE* const file = fopen(("/proc/self/fdinfo/" + std::to_string(pidfd)).c_str(), "re");
  int pid = -1;
  char line[128];
  while (file != nullptr && fgets(line, sizeof line, file) != nullptr) {
    if (sscanf(line, "Pid: %d", &pid) == 1) break;
  }
  if (file != nullptr) fclose(file);
  return pid;
}

TEST(UnixPidfd, ComesWithWhatIsReceived) {
  for (const int type : {SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET}) {
    const UnixPair ends(type);
    SetOn(ends.b.get(), kPassPidfd, 1);
    ASSERT_THAT(send(ends.a.get(), "x", 1, 0), Returns(1));
    char byte;
    alignas(cmsghdr) char control[128];
    iovec vec{&byte, 1};
    msghdr message{};
    message.msg_iov = &vec;
    message.msg_iovlen = 1;
    message.msg_control = control;
    message.msg_controllen = sizeof control;
    ASSERT_THAT(recvmsg(ends.b.get(), &message, 0), Returns(1));
    const cmsghdr* const found = CMSG_FIRSTHDR(&message);
    ASSERT_NE(found, nullptr) << type;
    EXPECT_EQ(found->cmsg_level, SOL_SOCKET);
    ASSERT_EQ(found->cmsg_type, kScmPidfd);
    int pidfd = -1;
    ASSERT_EQ(found->cmsg_len, CMSG_LEN(sizeof pidfd));
    memcpy(&pidfd, CMSG_DATA(found), sizeof pidfd);
    const UniqueFd owned(pidfd);
    EXPECT_EQ(PidOf(pidfd), getpid());
    EXPECT_EQ(fcntl(pidfd, F_GETFD), FD_CLOEXEC);
    EXPECT_EQ(CMSG_NXTHDR(&message, const_cast<cmsghdr*>(found)), nullptr);
  }
}

TEST(UnixPidfd, NamesThePeer) {
  const UnixPair ends(SOCK_STREAM);
  const UniqueFd pidfd(Get(ends.a.get(), kPeerPidfd));
  ASSERT_TRUE(pidfd.valid());
  EXPECT_EQ(PidOf(pidfd.get()), getpid());
  EXPECT_EQ(fcntl(pidfd.get(), F_GETFD), FD_CLOEXEC);
  pollfd entry{pidfd.get(), POLLIN, 0};
  EXPECT_THAT(poll(&entry, 1, 0), Returns(0));
  const UniqueFd alone(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  int value = 0;
  socklen_t size = sizeof value;
  EXPECT_THAT(getsockopt(alone.get(), SOL_SOCKET, kPeerPidfd, &value, &size), FailsWith(ENODATA));
}

TEST(UnixNewer, CookiesDifferAndStay) {
  const UnixPair ends(SOCK_STREAM);
  const auto cookie = [](const UniqueFd& fd) {
    uint64_t value = 0;
    socklen_t size = sizeof value;
    EXPECT_THAT(getsockopt(fd.get(), SOL_SOCKET, kCookie, &value, &size), Returns(0));
    EXPECT_EQ(size, sizeof value);
    return value;
  };
  const uint64_t first = cookie(ends.a);
  EXPECT_NE(first, 0u);
  EXPECT_NE(cookie(ends.b), first);
  EXPECT_EQ(cookie(ends.a), first);
  int small = 0;
  socklen_t size = sizeof small;
  EXPECT_THAT(getsockopt(ends.a.get(), SOL_SOCKET, kCookie, &small, &size), FailsWith(EINVAL));
  EXPECT_THAT(setsockopt(ends.a.get(), SOL_SOCKET, kCookie, &small, sizeof small),
              FailsWith(ENOPROTOOPT));
}

// A size that was asked for is locked; the lock can be told and taken off.
TEST(UnixNewer, BuffersAreLockedByTheirSize) {
  const UnixPair ends(SOCK_STREAM);
  EXPECT_EQ(Get(ends.a.get(), kBufLock), 0);
  SetOn(ends.a.get(), SO_SNDBUF, 65536);
  EXPECT_EQ(Get(ends.a.get(), kBufLock), 1);
  SetOn(ends.a.get(), SO_RCVBUF, 65536);
  EXPECT_EQ(Get(ends.a.get(), kBufLock), 3);
  SetOn(ends.a.get(), kBufLock, 2);
  EXPECT_EQ(Get(ends.a.get(), kBufLock), 2);
  const int bad = 4;
  EXPECT_THAT(setsockopt(ends.a.get(), SOL_SOCKET, kBufLock, &bad, sizeof bad), FailsWith(EINVAL));
}

TEST(UnixNewer, OwnersByIoctl) {
  const UnixPair ends(SOCK_STREAM);
  int owner = -1;
  for (const unsigned long get : {SIOCGPGRP, FIOGETOWN}) {
    EXPECT_THAT(ioctl(ends.a.get(), get, &owner), Returns(0));
    EXPECT_EQ(owner, 0);
  }
  for (const unsigned long set : {SIOCSPGRP, FIOSETOWN}) {
    owner = getpid();
    EXPECT_THAT(ioctl(ends.a.get(), set, &owner), Returns(0));
    EXPECT_EQ(fcntl(ends.a.get(), F_GETOWN), getpid());
    owner = -1;
    EXPECT_THAT(ioctl(ends.a.get(), SIOCGPGRP, &owner), Returns(0));
    EXPECT_EQ(owner, getpid());
    owner = 0;
    EXPECT_THAT(ioctl(ends.a.get(), set, &owner), Returns(0));
    EXPECT_EQ(fcntl(ends.a.get(), F_GETOWN), 0);
  }
  owner = INT32_MIN;
  EXPECT_THAT(ioctl(ends.a.get(), SIOCSPGRP, &owner), FailsWith(EINVAL));
  EXPECT_THAT(ioctl(ends.a.get(), SIOCSPGRP, nullptr), FailsWith(EFAULT));
}

TEST(UnixNewer, TheFileOfAName) {
  char directory[] = "/tmp/unix_newer.XXXXXX";
  ASSERT_NE(mkdtemp(directory), nullptr);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  snprintf(name.sun_path, sizeof name.sun_path, "%s/s", directory);
  {
    const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    EXPECT_THAT(ioctl(fd.get(), kUnixFile, 0), FailsWith(ENOENT));
    ASSERT_THAT(bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof name), Returns(0));
    const UniqueFd file(ioctl(fd.get(), kUnixFile, 0));
    ASSERT_TRUE(file.valid());
    struct stat by_file {
    }, by_name{};
    EXPECT_THAT(fstat(file.get(), &by_file), Returns(0));
    EXPECT_THAT(stat(name.sun_path, &by_name), Returns(0));
    EXPECT_EQ(by_file.st_ino, by_name.st_ino);
    EXPECT_TRUE(S_ISSOCK(by_file.st_mode));
    EXPECT_NE(fcntl(file.get(), F_GETFL) & O_PATH, 0);
    EXPECT_EQ(fcntl(file.get(), F_GETFD), FD_CLOEXEC);
  }
  EXPECT_THAT(unlink(name.sun_path), Returns(0));
  EXPECT_THAT(rmdir(directory), Returns(0));
}

TEST(UnixNewer, AnAbstractNameHasNoFile) {
  const UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const sa_family_t unnamed = AF_UNIX;
  ASSERT_THAT(bind(fd.get(), reinterpret_cast<const sockaddr*>(&unnamed), sizeof unnamed),
              Returns(0));
  EXPECT_THAT(ioctl(fd.get(), kUnixFile, 0), FailsWith(ENOENT));
}

}  // namespace
