// Calls on files that they were not made for: offsets and attributes of /proc and /sys, splice to
// what holds events, quotas, blocks and leases where there are none.
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#include <array>

#include "tests/conformance/support.h"

namespace {

using namespace conformance;

UniqueFd Open(const char* path, int flags = O_RDONLY) { return UniqueFd(open(path, flags)); }

// On the tmpfs that every Linux has.
UniqueFd OnTmpfs() {
  char name[] = "/dev/shm/odd.XXXXXX";
  UniqueFd fd(mkstemp(name));
  unlink(name);
  EXPECT_THAT(write(fd.get(), "0123456789", 10), Returns(10));
  return fd;
}

TEST(OddOffsets, SequentialFilesOfProcHaveNoEnd) {
  for (const char* path : {"/proc/self/status", "/proc/self/maps", "/proc/version",
                           "/proc/self/mounts", "/proc/net/dev", "/proc/meminfo"}) {
    const UniqueFd fd = Open(path);
    EXPECT_THAT(lseek(fd.get(), 3, SEEK_SET), Returns(3)) << path;
    EXPECT_THAT(lseek(fd.get(), 2, SEEK_CUR), Returns(5)) << path;
    for (int whence : {SEEK_END, SEEK_DATA, SEEK_HOLE}) {
      EXPECT_THAT(lseek(fd.get(), 0, whence), FailsWith(EINVAL)) << path << whence;
    }
    EXPECT_THAT(lseek(fd.get(), -1, SEEK_SET), FailsWith(EINVAL)) << path;
    EXPECT_THAT(lseek(fd.get(), 0, SEEK_CUR), Returns(5)) << path;
  }
}

TEST(OddOffsets, OthersOfProcEndAtOnce) {
  for (const char* path : {"/proc/self/cmdline", "/proc/self/auxv", "/proc/sys/kernel/ostype"}) {
    const UniqueFd fd = Open(path);
    EXPECT_THAT(lseek(fd.get(), 7, SEEK_END), Returns(7)) << path;
    EXPECT_THAT(lseek(fd.get(), 0, SEEK_DATA), FailsWith(ENXIO)) << path;
    EXPECT_THAT(lseek(fd.get(), 0, SEEK_HOLE), FailsWith(ENXIO)) << path;
  }
}

TEST(OddOffsets, FilesOfSysAreAPage) {
  const UniqueFd fd = Open("/sys/devices/system/cpu/online");
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_END), Returns(4096));
  EXPECT_THAT(lseek(fd.get(), -4096, SEEK_END), Returns(0));
  EXPECT_THAT(lseek(fd.get(), 10, SEEK_DATA), Returns(10));
  EXPECT_THAT(lseek(fd.get(), 10, SEEK_HOLE), Returns(4096));
  EXPECT_THAT(lseek(fd.get(), 4096, SEEK_DATA), FailsWith(ENXIO));
}

TEST(OddOffsets, DirectoriesOfProcAndSys) {
  for (const char* path : {"/proc/self", "/sys"}) {
    const UniqueFd fd = Open(path);
    EXPECT_THAT(lseek(fd.get(), 0, SEEK_END), Returns(0)) << path;
    EXPECT_THAT(lseek(fd.get(), 0, SEEK_DATA), FailsWith(ENXIO)) << path;
    EXPECT_THAT(lseek(fd.get(), 0, SEEK_HOLE), FailsWith(ENXIO)) << path;
  }
}

TEST(OddXattrs, WhereThereAreNoneTheListIsEmpty) {
  char value[16];
  for (const char* path : {"/proc/self/status", "/proc/self", "/proc/sys/kernel/ostype", "/sys",
                           "/sys/devices/system/cpu/online", "/dev/pts"}) {
    EXPECT_THAT(listxattr(path, value, sizeof value), Returns(0)) << path;
  }
  for (const char* path : {"/proc/self/status", "/proc/self", "/proc/sys/kernel/ostype"}) {
    EXPECT_THAT(getxattr(path, "user.a", value, sizeof value), FailsWith(EOPNOTSUPP)) << path;
    EXPECT_THAT(getxattr(path, "trusted.a", value, sizeof value), FailsWith(EOPNOTSUPP)) << path;
  }
  EXPECT_THAT(setxattr("/proc/self/status", "user.a", "b", 1, 0), FailsWith(EOPNOTSUPP));
}

// What counts or tells instead of holding bytes.
class OddTargets : public testing::Test {
 protected:
  OddTargets() {
    sigset_t none;
    sigemptyset(&none);
    fds_[0] = UniqueFd(eventfd(5, EFD_NONBLOCK));
    fds_[1] = UniqueFd(signalfd(-1, &none, SFD_NONBLOCK));
    fds_[2] = UniqueFd(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK));
    fds_[3] = UniqueFd(epoll_create1(0));
  }
  std::array<UniqueFd, 4> fds_;
  Pipe pipe_;
};

TEST_F(OddTargets, SpliceKnowsThemNot) {
  const UniqueFd watches(inotify_init1(IN_NONBLOCK));
  for (const UniqueFd& fd : fds_) {
    // The pipe is empty: nobody waits for it first.
    EXPECT_THAT(splice(pipe_.read.get(), nullptr, fd.get(), nullptr, 4, 0), FailsWith(EINVAL));
    EXPECT_THAT(splice(fd.get(), nullptr, pipe_.write.get(), nullptr, 4, 0), FailsWith(EINVAL));
    off_t at = 0;
    EXPECT_THAT(splice(fd.get(), &at, pipe_.write.get(), nullptr, 4, 0), FailsWith(EINVAL));
  }
  EXPECT_THAT(splice(watches.get(), nullptr, pipe_.write.get(), nullptr, 4, 0), FailsWith(EINVAL));
  EXPECT_THAT(splice(pipe_.read.get(), nullptr, watches.get(), nullptr, 4, 0), FailsWith(EBADF));
}

TEST_F(OddTargets, NorDoesSendfile) {
  const UniqueFd file = OnTmpfs();
  for (const UniqueFd& fd : fds_) {
    off_t at = 0;
    EXPECT_THAT(sendfile(fd.get(), file.get(), &at, 4), FailsWith(EINVAL));
    EXPECT_THAT(sendfile(pipe_.write.get(), fd.get(), nullptr, 4), FailsWith(EINVAL));
  }
  const UniqueFd full = Open("/dev/full", O_RDWR);
  off_t at = 0;
  EXPECT_THAT(sendfile(full.get(), file.get(), &at, 4), FailsWith(EINVAL));
  EXPECT_THAT(splice(pipe_.read.get(), nullptr, full.get(), nullptr, 4, 0), FailsWith(EINVAL));
  EXPECT_THAT(splice(full.get(), nullptr, pipe_.write.get(), nullptr, 4, 0), Returns(4));
}

TEST(OddIoctls, BlocksOfATmpfs) {
  const UniqueFd fd = OnTmpfs();
  int block = 0;
  EXPECT_THAT(ioctl(fd.get(), FIBMAP, &block), FailsWith(EINVAL));
  fiemap map = {};
  map.fm_length = 10;
  EXPECT_THAT(ioctl(fd.get(), FS_IOC_FIEMAP, &map), FailsWith(EOPNOTSUPP));
  const UniqueFd directory = Open("/dev/shm", O_RDONLY | O_DIRECTORY);
  EXPECT_THAT(ioctl(directory.get(), FIBMAP, &block), FailsWith(ENOTTY));
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setresuid(1000, 1000, 1000) == 0);
                CHILD_CHECK(ioctl(fd.get(), FIBMAP, &block) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST(OddFlags, WhatATmpfsCannotPromise) {
  const UniqueFd fd = OnTmpfs();
  char byte = 0;
  iovec one = {&byte, 1};
  EXPECT_THAT(preadv2(fd.get(), &one, 1, 0, RWF_NOWAIT), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(pwritev2(fd.get(), &one, 1, 0, RWF_NOWAIT), FailsWith(EOPNOTSUPP));
  constexpr int kNoAppend = 0x20;
  EXPECT_THAT(preadv2(fd.get(), &one, 1, 0, kNoAppend), Returns(1));
  EXPECT_EQ(byte, '0');
  EXPECT_THAT(preadv2(fd.get(), &one, 1, 0, RWF_APPEND), Returns(1));
  EXPECT_THAT(pwritev2(fd.get(), &one, 1, 0, RWF_APPEND | kNoAppend), FailsWith(EINVAL));
}

TEST(Quotas, ATmpfsHasNone) {
  constexpr long kQuotactlFd = 443;
  constexpr unsigned kGetQuota = 0x800007u << 8;
  const UniqueFd fd = OnTmpfs();
  EXPECT_THAT(syscall(kQuotactlFd, -1, kGetQuota, 0, nullptr), FailsWith(EBADF));
  EXPECT_THAT(syscall(kQuotactlFd, fd.get(), kGetQuota | 3, 0, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(syscall(kQuotactlFd, fd.get(), kGetQuota, 0, nullptr), FailsWith(ENOSYS));
}

}  // namespace
