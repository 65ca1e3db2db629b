// Instances and watches of inotify(7): flags, limits, the queue.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/conformance/inotify_support.h"

namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(InotifyInit, Flags) {
  UniqueFd plain(inotify_init());
  EXPECT_EQ(fcntl(plain.get(), F_GETFD), 0);
  EXPECT_EQ(fcntl(plain.get(), F_GETFL) & O_NONBLOCK, 0);
  UniqueFd both(inotify_init1(IN_CLOEXEC | IN_NONBLOCK));
  EXPECT_EQ(fcntl(both.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(both.get(), F_GETFL) & O_NONBLOCK, O_NONBLOCK);
  EXPECT_THAT(inotify_init1(0x40000000), FailsWith(EINVAL));
}

TEST(InotifyInit, IsReadOnlyAndHasNoPosition) {
  Inotify inotify;
  char byte = 0;
  EXPECT_EQ(fcntl(inotify.fd(), F_GETFL) & O_ACCMODE, O_RDONLY);
  EXPECT_THAT(write(inotify.fd(), &byte, 1), FailsWith(EBADF));
  EXPECT_THAT(pread(inotify.fd(), &byte, 1, 0), FailsWith(ESPIPE));
  EXPECT_THAT(ftruncate(inotify.fd(), 0), FailsWith(EINVAL));
}

TEST(InotifyInit, IsCalledInotify) {
  Inotify inotify;
  char name[64] = {};
  const std::string link = "/proc/self/fd/" + std::to_string(inotify.fd());
  EXPECT_GT(readlink(link.c_str(), name, sizeof name - 1), 0);
  EXPECT_STREQ(name, "anon_inode:inotify");
}

TEST(InotifyWatch, BadArguments) {
  Inotify inotify;
  TempDir dir;
  EXPECT_THAT(inotify.Watch(dir.path(), 0), FailsWith(EINVAL));
  EXPECT_THAT(inotify.Watch(dir.path(), 0x00100000), FailsWith(EINVAL));
  EXPECT_THAT(inotify.Watch(dir.path(), IN_OPEN | IN_MASK_ADD | IN_MASK_CREATE), FailsWith(EINVAL));
  EXPECT_THAT(inotify.Watch(dir / "none", IN_OPEN), FailsWith(ENOENT));
  EXPECT_THAT(inotify_add_watch(-1, "/tmp", IN_OPEN), FailsWith(EBADF));
  EXPECT_THAT(inotify_add_watch(0, "/tmp", IN_OPEN), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_inotify_add_watch, inotify.fd(), 8, IN_OPEN), FailsWith(EFAULT));
}

TEST(InotifyWatch, OnlyOptionsAreAMask) {
  Inotify inotify;
  TempDir dir;
  EXPECT_THAT(inotify.Watch(dir.path(), IN_ONLYDIR), Returns(1));
}

TEST(InotifyWatch, OnlyDirectories) {
  Inotify inotify;
  TempDir dir;
  WriteFile(dir / "file", "");
  EXPECT_THAT(inotify.Watch(dir / "file", IN_OPEN | IN_ONLYDIR), FailsWith(ENOTDIR));
  EXPECT_THAT(inotify.Watch(dir.path(), IN_OPEN | IN_ONLYDIR), Returns(1));
}

TEST(InotifyWatch, SymlinksAreFollowedUnlessToldOtherwise) {
  Inotify inotify;
  TempDir dir;
  WriteFile(dir / "file", "");
  EXPECT_THAT(symlink("file", (dir / "link").c_str()), Returns(0));
  EXPECT_THAT(inotify.Watch(dir / "file", IN_ALL_EVENTS), Returns(1));
  EXPECT_THAT(inotify.Watch(dir / "link", IN_ALL_EVENTS), Returns(1));
  EXPECT_THAT(inotify.Watch(dir / "link", IN_ALL_EVENTS | IN_DONT_FOLLOW), Returns(2));
  EXPECT_THAT(unlink((dir / "link").c_str()), Returns(0));
  EXPECT_THAT(inotify.Events(), ElementsAre("2:ATTRIB", "2:DELETE_SELF", "2:IGNORED"));
}

TEST(InotifyWatch, NeedsReadPermission) {
  TempDir dir;
  WriteFile(dir / "secret", "", 0200);
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setresuid(1000, 1000, 1000) == 0);
                UniqueFd fd(inotify_init1(0));
                CHILD_CHECK(inotify_add_watch(fd.get(), (dir / "secret").c_str(), IN_OPEN) == -1);
                CHILD_CHECK(errno == EACCES);
                return 0;
              }),
              Exited(0));
}

TEST(InotifyWatch, TheSameInodeKeepsItsDescriptor) {
  Inotify inotify;
  TempDir dir;
  WriteFile(dir / "a", "");
  EXPECT_THAT(link((dir / "a").c_str(), (dir / "b").c_str()), Returns(0));
  EXPECT_THAT(inotify.Watch(dir / "a", IN_OPEN), Returns(1));
  EXPECT_THAT(inotify.Watch(dir / "b", IN_CLOSE), Returns(1));
  UniqueFd(open((dir / "a").c_str(), O_RDONLY)).reset();
  EXPECT_THAT(inotify.Events(), ElementsAre("1:CLOSE_NOWRITE"));
}

TEST(InotifyWatch, MaskAdd) {
  Inotify inotify;
  TempDir dir;
  WriteFile(dir / "a", "");
  EXPECT_THAT(inotify.Watch(dir / "a", IN_OPEN), Returns(1));
  EXPECT_THAT(inotify.Watch(dir / "a", IN_CLOSE | IN_MASK_ADD), Returns(1));
  UniqueFd(open((dir / "a").c_str(), O_RDONLY)).reset();
  EXPECT_THAT(inotify.Events(), ElementsAre("1:OPEN", "1:CLOSE_NOWRITE"));
}

TEST(InotifyWatch, MaskCreate) {
  Inotify inotify;
  TempDir dir;
  EXPECT_THAT(inotify.Watch(dir.path(), IN_OPEN | IN_MASK_CREATE), Returns(1));
  EXPECT_THAT(inotify.Watch(dir.path(), IN_OPEN | IN_MASK_CREATE), FailsWith(EEXIST));
}

TEST(InotifyWatch, OneShot) {
  Inotify inotify;
  TempDir dir;
  EXPECT_THAT(inotify.Watch(dir.path(), IN_CREATE | IN_ONESHOT), Returns(1));
  WriteFile(dir / "a", "");
  WriteFile(dir / "b", "");
  EXPECT_THAT(inotify.Events(), ElementsAre("1:CREATE a", "1:IGNORED"));
  EXPECT_THAT(inotify_rm_watch(inotify.fd(), 1), FailsWith(EINVAL));
}

TEST(InotifyWatch, ExcludingWhatIsUnlinked) {
  TempDir dir;
  WriteFile(dir / "a", "");
  UniqueFd fd(open((dir / "a").c_str(), O_RDWR));
  Inotify with, without;
  EXPECT_THAT(with.Watch(dir.path(), IN_MODIFY | IN_EXCL_UNLINK), Returns(1));
  EXPECT_THAT(without.Watch(dir.path(), IN_MODIFY), Returns(1));
  EXPECT_THAT(write(fd.get(), "x", 1), Returns(1));
  EXPECT_THAT(unlink((dir / "a").c_str()), Returns(0));
  EXPECT_THAT(with.Events(), ElementsAre("1:MODIFY a"));
  EXPECT_THAT(without.Events(), ElementsAre("1:MODIFY a"));
  EXPECT_THAT(write(fd.get(), "x", 1), Returns(1));
  EXPECT_THAT(with.Events(), IsEmpty());
  EXPECT_THAT(without.Events(), ElementsAre("1:MODIFY a"));
}

TEST(InotifyWatch, TwoInstances) {
  Inotify first, second;
  TempDir dir;
  EXPECT_THAT(first.Watch(dir.path(), IN_CREATE), Returns(1));
  EXPECT_THAT(second.Watch(dir.path(), IN_DELETE), Returns(1));
  WriteFile(dir / "a", "");
  EXPECT_THAT(unlink((dir / "a").c_str()), Returns(0));
  EXPECT_THAT(first.Events(), ElementsAre("1:CREATE a"));
  EXPECT_THAT(second.Events(), ElementsAre("1:DELETE a"));
}

TEST(InotifyRemove, SaysIgnored) {
  Inotify inotify;
  TempDir dir;
  const int wd = inotify.Watch(dir.path(), IN_CREATE);
  EXPECT_THAT(inotify_rm_watch(inotify.fd(), wd), Returns(0));
  EXPECT_THAT(inotify.Events(), ElementsAre("1:IGNORED"));
  WriteFile(dir / "a", "");
  EXPECT_THAT(inotify.Events(), IsEmpty());
}

TEST(InotifyRemove, BadArguments) {
  Inotify inotify;
  EXPECT_THAT(inotify_rm_watch(inotify.fd(), 1), FailsWith(EINVAL));
  EXPECT_THAT(inotify_rm_watch(inotify.fd(), -1), FailsWith(EINVAL));
  EXPECT_THAT(inotify_rm_watch(-1, 1), FailsWith(EBADF));
  EXPECT_THAT(inotify_rm_watch(0, 1), FailsWith(EINVAL));
}

TEST(InotifyRemove, DescriptorsAreNotUsedAgain) {
  Inotify inotify;
  TempDir dir;
  EXPECT_THAT(inotify.Watch(dir.path(), IN_CREATE), Returns(1));
  EXPECT_THAT(inotify_rm_watch(inotify.fd(), 1), Returns(0));
  EXPECT_THAT(inotify.Watch(dir.path(), IN_CREATE), Returns(2));
}

TEST(InotifyRead, EmptyQueue) {
  Inotify inotify;
  char buffer[64];
  EXPECT_THAT(read(inotify.fd(), buffer, sizeof buffer), FailsWith(EAGAIN));
}

TEST(InotifyRead, TooSmallABuffer) {
  Inotify inotify;
  TempDir dir;
  EXPECT_THAT(inotify.Watch(dir.path(), IN_CREATE), Returns(1));
  WriteFile(dir / "name", "");
  char buffer[64];
  EXPECT_THAT(read(inotify.fd(), buffer, sizeof(inotify_event)), FailsWith(EINVAL));
  EXPECT_THAT(read(inotify.fd(), buffer, sizeof(inotify_event) + 16), Returns(32));
}

TEST(InotifyRead, NamesArePadded) {
  Inotify inotify;
  TempDir dir;
  EXPECT_THAT(inotify.Watch(dir.path(), IN_CREATE), Returns(1));
  for (const size_t length : {1, 15, 16, 31, 255}) {
    WriteFile(dir / std::string(length, 'n'), "");
    const auto events = inotify.Take();
    ASSERT_EQ(events.size(), 1u);
    EXPECT_EQ(events[0].length, (length + 16) / 16 * 16);
    EXPECT_EQ(events[0].name.size(), length);
  }
}

TEST(InotifyRead, OnlyWholeEvents) {
  Inotify inotify;
  TempDir dir;
  EXPECT_THAT(inotify.Watch(dir.path(), IN_CREATE), Returns(1));
  for (const char* name : {"a", "b", "c"}) WriteFile(dir / name, "");
  char buffer[80];
  EXPECT_THAT(read(inotify.fd(), buffer, sizeof buffer), Returns(64));
  EXPECT_THAT(read(inotify.fd(), buffer, sizeof buffer), Returns(32));
}

TEST(InotifyRead, BadBuffer) {
  Inotify inotify;
  TempDir dir;
  EXPECT_THAT(inotify.Watch(dir.path(), IN_CREATE), Returns(1));
  WriteFile(dir / "a", "");
  EXPECT_THAT(syscall(SYS_read, inotify.fd(), 8, 4096), FailsWith(EFAULT));
}

TEST(InotifyRead, FionreadCountsBytes) {
  Inotify inotify;
  TempDir dir;
  int bytes = -1;
  EXPECT_THAT(ioctl(inotify.fd(), FIONREAD, &bytes), Returns(0));
  EXPECT_EQ(bytes, 0);
  EXPECT_THAT(inotify.Watch(dir.path(), IN_CREATE | IN_DELETE_SELF), Returns(1));
  WriteFile(dir / "a", "");
  EXPECT_THAT(ioctl(inotify.fd(), FIONREAD, &bytes), Returns(0));
  EXPECT_EQ(bytes, 32);
}

TEST(InotifyRead, WaitsForAnEvent) {
  Inotify inotify(0);
  TempDir dir;
  EXPECT_THAT(inotify.Watch(dir.path(), IN_CREATE), Returns(1));
  const pid_t child = Start([&] {
    char buffer[64];
    CHILD_CHECK(read(inotify.fd(), buffer, sizeof buffer) == 32);
    return 0;
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  WriteFile(dir / "a", "");
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(InotifyRead, ASignalInterrupts) {
  Inotify inotify(0);
  ScopedAction action(SIGALRM, [](int) {});
  const pid_t child = Start([&] {
    char buffer[64];
    CHILD_CHECK(read(inotify.fd(), buffer, sizeof buffer) == -1);
    CHILD_CHECK(errno == EINTR);
    return 0;
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  EXPECT_THAT(kill(child, SIGALRM), Returns(0));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST(InotifyPoll, ReadableWithEvents) {
  Inotify inotify;
  TempDir dir;
  EXPECT_THAT(inotify.Watch(dir.path(), IN_CREATE), Returns(1));
  pollfd poll_fd = {inotify.fd(), POLLIN | POLLOUT, 0};
  EXPECT_THAT(poll(&poll_fd, 1, 0), Returns(0));
  WriteFile(dir / "a", "");
  EXPECT_THAT(poll(&poll_fd, 1, 0), Returns(1));
  EXPECT_EQ(poll_fd.revents, POLLIN);
}

TEST(InotifyPoll, WorksWithEpoll) {
  Inotify inotify;
  TempDir dir;
  UniqueFd epoll(epoll_create1(0));
  epoll_event event = {.events = EPOLLIN, .data = {}};
  EXPECT_THAT(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, inotify.fd(), &event), Returns(0));
  EXPECT_THAT(inotify.Watch(dir.path(), IN_CREATE), Returns(1));
  EXPECT_THAT(epoll_wait(epoll.get(), &event, 1, 0), Returns(0));
  WriteFile(dir / "a", "");
  EXPECT_THAT(epoll_wait(epoll.get(), &event, 1, 0), Returns(1));
  EXPECT_EQ(event.events, static_cast<uint32_t>(EPOLLIN));
}

TEST(InotifyQueue, Overflows) {
  const std::string text = ReadFile("/proc/sys/fs/inotify/max_queued_events");
  const int limit = std::stoi(text);
  ASSERT_GT(limit, 0);
  Inotify inotify;
  TempDir dir;
  WriteFile(dir / "a", "x");
  UniqueFd fd(open((dir / "a").c_str(), O_RDWR));
  EXPECT_THAT(inotify.Watch(dir / "a", IN_ACCESS | IN_MODIFY), Returns(1));
  char byte;
  for (int i = 0; i < limit / 2 + 2; ++i) {
    EXPECT_THAT(pread(fd.get(), &byte, 1, 0), Returns(1));
    EXPECT_THAT(pwrite(fd.get(), "x", 1, 0), Returns(1));
  }
  const auto events = inotify.Take();
  ASSERT_EQ(events.size(), static_cast<size_t>(limit) + 1);
  EXPECT_EQ(events.back().wd, -1);
  EXPECT_EQ(MaskName(events.back().mask), "Q_OVERFLOW");
  EXPECT_EQ(events.back().cookie, 0u);
}

TEST(InotifyLimits, AreInProc) {
  EXPECT_GT(std::stoi(ReadFile("/proc/sys/fs/inotify/max_user_instances")), 0);
  EXPECT_GT(std::stoi(ReadFile("/proc/sys/fs/inotify/max_user_watches")), 0);
}

TEST(InotifyLimits, InstancesOfAUser) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setresuid(4321, 4321, 4321) == 0);
                const int limit = std::stoi(ReadFile("/proc/sys/fs/inotify/max_user_instances"));
                std::vector<UniqueFd> fds;
                for (int i = 0; i < limit; ++i) {
                  fds.emplace_back(inotify_init1(0));
                  CHILD_CHECK(fds.back().valid());
                }
                CHILD_CHECK(inotify_init1(0) == -1 && errno == EMFILE);
                fds.pop_back();
                CHILD_CHECK(UniqueFd(inotify_init1(0)).valid());
                return 0;
              }),
              Exited(0));
}

TEST(InotifyFdInfo, ListsWatches) {
  Inotify inotify;
  TempDir dir;
  EXPECT_THAT(inotify.Watch(dir.path(), IN_CREATE | IN_DELETE), Returns(1));
  struct stat st;
  EXPECT_THAT(stat(dir.path().c_str(), &st), Returns(0));
  const std::string info = ReadFile("/proc/self/fdinfo/" + std::to_string(inotify.fd()));
  char expected[128];
  snprintf(expected, sizeof expected, "inotify wd:1 ino:%lx sdev:", st.st_ino);
  EXPECT_THAT(info, testing::HasSubstr(expected));
  EXPECT_THAT(info, testing::HasSubstr(" mask:300 ignored_mask:0"));
}

TEST(InotifyUnmount, EndsTheWatches) {
  TempDir dir;
  EXPECT_THAT(mount("none", dir.path().c_str(), "tmpfs", 0, nullptr), Returns(0));
  WriteFile(dir / "a", "");
  Inotify inotify;
  EXPECT_THAT(inotify.Watch(dir / "a", IN_ALL_EVENTS), Returns(1));
  EXPECT_THAT(umount2(dir.path().c_str(), 0), Returns(0));
  EXPECT_THAT(inotify.Events(), ElementsAre("1:UNMOUNT", "1:IGNORED"));
}

TEST(InotifyDup, SharesTheQueue) {
  Inotify inotify;
  UniqueFd copy(dup(inotify.fd()));
  TempDir dir;
  EXPECT_THAT(inotify_add_watch(copy.get(), dir.path().c_str(), IN_CREATE), Returns(1));
  WriteFile(dir / "a", "");
  EXPECT_THAT(inotify.Events(), ElementsAre("1:CREATE a"));
}

TEST(InotifyFork, ChildAddsWatches) {
  Inotify inotify;
  TempDir dir;
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(inotify_add_watch(inotify.fd(), dir.path().c_str(), IN_CREATE) == 1);
                return 0;
              }),
              Exited(0));
  WriteFile(dir / "a", "");
  EXPECT_THAT(inotify.Events(), ElementsAre("1:CREATE a"));
}

}  // namespace
