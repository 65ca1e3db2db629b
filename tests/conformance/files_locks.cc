// Advisory locks: deadlocks, /proc/locks, record locks of descriptions, flock(2).
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "tests/conformance/places.h"
#include "tests/conformance/support.h"

namespace {

struct flock Range(short type, off_t start, off_t length) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_whence = SEEK_SET;
  lock.l_start = start;
  lock.l_len = length;
  return lock;
}

int SetLock(int fd, short type, off_t start = 0, off_t length = 0, int command = F_SETLK) {
  struct flock lock = Range(type, start, length);
  return fcntl(fd, command, &lock);
}

// What another process would run into.
struct flock Conflict(int fd, short type, off_t start = 0, off_t length = 0) {
  Pipe pipe;
  const pid_t child = Start([&] {
    struct flock lock = Range(type, start, length);
    CHILD_CHECK(fcntl(fd, F_GETLK, &lock) == 0);
    return write(pipe.write.get(), &lock, sizeof lock) == sizeof lock ? 0 : 1;
  });
  struct flock lock = {};
  EXPECT_THAT(read(pipe.read.get(), &lock, sizeof lock), Returns(sizeof lock));
  EXPECT_THAT(Wait(child), Exited(0));
  return lock;
}

// The line of /proc/locks for this file, without its number; empty without one.
std::string LocksLine(int fd, const std::string& kind) {
  struct stat st;
  fstat(fd, &st);
  const std::string inode = ":" + std::to_string(st.st_ino) + " ";
  const std::string text = ReadFile("/proc/locks");
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    std::string line = text.substr(begin, end - begin);
    if (line.find(inode) != line.npos && line.find(kind) != line.npos) {
      return line.substr(line.find(": ") + 2);
    }
    begin = end + 1;
  }
  return "";
}

PLACE_SUITE(RecordLocks);
TEST_P(RecordLocks, AreSeenByOthers) {
  UniqueFd fd = OpenTemp(0, "0123456789");
  EXPECT_THAT(SetLock(fd.get(), F_WRLCK, 2, 3), Returns(0));
  const struct flock lock = Conflict(fd.get(), F_RDLCK);
  EXPECT_EQ(lock.l_type, F_WRLCK);
  EXPECT_EQ(lock.l_start, 2);
  EXPECT_EQ(lock.l_len, 3);
  EXPECT_EQ(lock.l_pid, getpid());
  EXPECT_EQ(Conflict(fd.get(), F_RDLCK, 5, 1).l_type, F_UNLCK);
}

TEST_P(RecordLocks, SplitAndMerge) {
  UniqueFd fd = OpenTemp(0, "0123456789");
  EXPECT_THAT(SetLock(fd.get(), F_WRLCK, 0, 10), Returns(0));
  EXPECT_THAT(SetLock(fd.get(), F_UNLCK, 4, 2), Returns(0));
  EXPECT_EQ(Conflict(fd.get(), F_WRLCK, 4, 2).l_type, F_UNLCK);
  EXPECT_EQ(Conflict(fd.get(), F_WRLCK, 0, 10).l_len, 4);
  EXPECT_EQ(Conflict(fd.get(), F_WRLCK, 5, 10).l_start, 6);
  EXPECT_THAT(SetLock(fd.get(), F_WRLCK, 4, 2), Returns(0));
  EXPECT_EQ(Conflict(fd.get(), F_WRLCK, 0, 10).l_len, 10);
}

TEST_P(RecordLocks, NeighboursBecomeOne) {
  UniqueFd fd = OpenTemp(0, "0123456789");
  EXPECT_THAT(SetLock(fd.get(), F_RDLCK, 0, 5), Returns(0));
  EXPECT_THAT(SetLock(fd.get(), F_RDLCK, 5, 5), Returns(0));
  EXPECT_EQ(Conflict(fd.get(), F_WRLCK, 0, 1).l_len, 10);
}

TEST_P(RecordLocks, NegativeLengthsEndAtTheStart) {
  UniqueFd fd = OpenTemp(0, "0123456789");
  EXPECT_THAT(SetLock(fd.get(), F_WRLCK, 5, -3), Returns(0));
  const struct flock lock = Conflict(fd.get(), F_RDLCK);
  EXPECT_EQ(lock.l_start, 2);
  EXPECT_EQ(lock.l_len, 3);
  EXPECT_THAT(SetLock(fd.get(), F_WRLCK, 1, -2), FailsWith(EINVAL));
}

TEST_P(RecordLocks, AnyCloseDropsThem) {
  UniqueFd fd = OpenTemp(0, "x");
  const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  EXPECT_THAT(SetLock(fd.get(), F_WRLCK), Returns(0));
  UniqueFd(open(path.c_str(), O_RDONLY)).reset();
  EXPECT_EQ(Conflict(fd.get(), F_RDLCK).l_type, F_UNLCK);
}

TEST_P(RecordLocks, TheEndOfTheProcessDropsThem) {
  UniqueFd fd = OpenTemp(0, "x");
  EXPECT_THAT(InChild([&] { return SetLock(fd.get(), F_WRLCK) == 0 ? 0 : 1; }), Exited(0));
  EXPECT_THAT(SetLock(fd.get(), F_WRLCK), Returns(0));
}

TEST_P(RecordLocks, NeedTheRightAccess) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  UniqueFd reader(open((dir / "f").c_str(), O_RDONLY));
  UniqueFd writer(open((dir / "f").c_str(), O_WRONLY));
  EXPECT_THAT(SetLock(reader.get(), F_WRLCK), FailsWith(EBADF));
  EXPECT_THAT(SetLock(writer.get(), F_RDLCK), FailsWith(EBADF));
  EXPECT_THAT(SetLock(reader.get(), F_RDLCK), Returns(0));
  EXPECT_THAT(SetLock(reader.get(), 17), FailsWith(EINVAL));
}

TEST_P(RecordLocks, AWaiterGetsItsTurn) {
  UniqueFd fd = OpenTemp(0, "x");
  EXPECT_THAT(SetLock(fd.get(), F_WRLCK), Returns(0));
  const pid_t child =
      Start([&] { return SetLock(fd.get(), F_WRLCK, 0, 0, F_SETLKW) == 0 ? 0 : 1; });
  EXPECT_TRUE(WaitForState(child, 'S'));
  EXPECT_THAT(SetLock(fd.get(), F_UNLCK), Returns(0));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_P(RecordLocks, ADeadlockIsRefused) {
  UniqueFd fd = OpenTemp(0, "0123456789");
  Pipe ready;
  EXPECT_THAT(SetLock(fd.get(), F_WRLCK, 0, 1), Returns(0));
  const pid_t child = Start([&] {
    CHILD_CHECK(SetLock(fd.get(), F_WRLCK, 1, 1) == 0);
    CHILD_CHECK(Post(ready.write.get()));
    CHILD_CHECK(SetLock(fd.get(), F_WRLCK, 0, 1, F_SETLKW) == 0);
    return 0;
  });
  EXPECT_TRUE(Await(ready.read.get()));
  EXPECT_TRUE(WaitForState(child, 'S'));
  EXPECT_THAT(SetLock(fd.get(), F_WRLCK, 1, 1, F_SETLKW), FailsWith(EDEADLK));
  EXPECT_THAT(SetLock(fd.get(), F_UNLCK, 0, 1), Returns(0));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_P(RecordLocks, ADeadlockOfThreeAcrossFiles) {
  UniqueFd a = OpenTemp(0, "a"), b = OpenTemp(0, "b"), c = OpenTemp(0, "c");
  Pipe ready;
  EXPECT_THAT(SetLock(a.get(), F_WRLCK), Returns(0));
  const pid_t first = Start([&] {
    CHILD_CHECK(SetLock(b.get(), F_WRLCK) == 0 && Post(ready.write.get()));
    return SetLock(a.get(), F_WRLCK, 0, 0, F_SETLKW) == 0 ? 0 : 1;
  });
  EXPECT_TRUE(Await(ready.read.get()));
  EXPECT_TRUE(WaitForState(first, 'S'));
  const pid_t second = Start([&] {
    CHILD_CHECK(SetLock(c.get(), F_WRLCK) == 0 && Post(ready.write.get()));
    return SetLock(b.get(), F_WRLCK, 0, 0, F_SETLKW) == 0 ? 0 : 1;
  });
  EXPECT_TRUE(Await(ready.read.get()));
  EXPECT_TRUE(WaitForState(second, 'S'));
  EXPECT_THAT(SetLock(c.get(), F_WRLCK, 0, 0, F_SETLKW), FailsWith(EDEADLK));
  EXPECT_THAT(SetLock(a.get(), F_UNLCK), Returns(0));
  EXPECT_THAT(Wait(first), Exited(0));
  EXPECT_THAT(Wait(second), Exited(0));
}

TEST_P(RecordLocks, ReadersDoNotWaitForEachOther) {
  UniqueFd fd = OpenTemp(0, "x");
  EXPECT_THAT(SetLock(fd.get(), F_RDLCK), Returns(0));
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(SetLock(fd.get(), F_RDLCK, 0, 0, F_SETLKW) == 0);
                CHILD_CHECK(SetLock(fd.get(), F_WRLCK) == -1 && errno == EAGAIN);
                return 0;
              }),
              Exited(0));
}

TEST_P(RecordLocks, ASignalEndsTheWait) {
  UniqueFd fd = OpenTemp(0, "x");
  ScopedAction action(SIGALRM, [](int) {});
  EXPECT_THAT(SetLock(fd.get(), F_WRLCK), Returns(0));
  const pid_t child = Start([&] {
    CHILD_CHECK(SetLock(fd.get(), F_WRLCK, 0, 0, F_SETLKW) == -1 && errno == EINTR);
    return 0;
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  EXPECT_THAT(kill(child, SIGALRM), Returns(0));
  EXPECT_THAT(Wait(child), Exited(0));
}

PLACE_SUITE(DescriptionLocks);
TEST_P(DescriptionLocks, BelongToTheDescription) {
  UniqueFd fd = OpenTemp(0, "x");
  UniqueFd copy(dup(fd.get()));
  const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  UniqueFd other(open(path.c_str(), O_RDWR));
  EXPECT_THAT(SetLock(fd.get(), F_WRLCK, 0, 0, F_OFD_SETLK), Returns(0));
  EXPECT_THAT(SetLock(copy.get(), F_WRLCK, 0, 0, F_OFD_SETLK), Returns(0));
  EXPECT_THAT(SetLock(other.get(), F_RDLCK, 0, 0, F_OFD_SETLK), FailsWith(EAGAIN));
  fd.reset();
  EXPECT_THAT(SetLock(other.get(), F_RDLCK, 0, 0, F_OFD_SETLK), FailsWith(EAGAIN));
  copy.reset();
  EXPECT_THAT(SetLock(other.get(), F_RDLCK, 0, 0, F_OFD_SETLK), Returns(0));
}

TEST_P(DescriptionLocks, ConflictWithThoseOfProcesses) {
  UniqueFd fd = OpenTemp(0, "x");
  EXPECT_THAT(SetLock(fd.get(), F_WRLCK, 0, 0, F_OFD_SETLK), Returns(0));
  EXPECT_THAT(SetLock(fd.get(), F_WRLCK), FailsWith(EAGAIN));
  struct flock lock = Range(F_WRLCK, 0, 0);
  EXPECT_THAT(fcntl(fd.get(), F_GETLK, &lock), Returns(0));
  EXPECT_EQ(lock.l_type, F_WRLCK);
  EXPECT_EQ(lock.l_pid, -1);
}

TEST_P(DescriptionLocks, WantAPidOfZero) {
  UniqueFd fd = OpenTemp(0, "x");
  struct flock lock = Range(F_WRLCK, 0, 0);
  lock.l_pid = 1;
  EXPECT_THAT(fcntl(fd.get(), F_OFD_SETLK, &lock), FailsWith(EINVAL));
  EXPECT_THAT(fcntl(fd.get(), F_OFD_GETLK, &lock), FailsWith(EINVAL));
}

TEST_P(DescriptionLocks, AreInherited) {
  UniqueFd fd = OpenTemp(0, "x");
  EXPECT_THAT(SetLock(fd.get(), F_WRLCK, 0, 0, F_OFD_SETLK), Returns(0));
  EXPECT_THAT(InChild([&] { return SetLock(fd.get(), F_RDLCK, 0, 0, F_OFD_SETLK) == 0 ? 0 : 1; }),
              Exited(0));
}

PLACE_SUITE(FlockCall);
TEST_P(FlockCall, ConvertsAndConflicts) {
  UniqueFd fd = OpenTemp(0, "x");
  const std::string path = "/proc/self/fd/" + std::to_string(fd.get());
  UniqueFd other(open(path.c_str(), O_RDONLY));
  EXPECT_THAT(flock(fd.get(), LOCK_SH), Returns(0));
  EXPECT_THAT(flock(other.get(), LOCK_SH | LOCK_NB), Returns(0));
  EXPECT_THAT(flock(fd.get(), LOCK_EX | LOCK_NB), FailsWith(EAGAIN));
  EXPECT_THAT(flock(other.get(), LOCK_UN), Returns(0));
  EXPECT_THAT(flock(fd.get(), LOCK_EX | LOCK_NB), Returns(0));
  EXPECT_THAT(flock(other.get(), LOCK_EX | LOCK_NB), FailsWith(EAGAIN));
}

TEST_P(FlockCall, BadArguments) {
  UniqueFd fd = OpenTemp();
  EXPECT_THAT(flock(-1, LOCK_SH), FailsWith(EBADF));
  EXPECT_THAT(flock(fd.get(), 0), FailsWith(EINVAL));
  EXPECT_THAT(flock(fd.get(), LOCK_SH | LOCK_EX), FailsWith(EINVAL));
  UniqueFd path(open("/tmp", O_PATH));
  EXPECT_THAT(flock(path.get(), LOCK_SH), FailsWith(EBADF));
}

TEST_P(FlockCall, WorksOnDirectories) {
  UniqueFd fd(open("/tmp", O_RDONLY));
  EXPECT_THAT(flock(fd.get(), LOCK_EX | LOCK_NB), Returns(0));
  EXPECT_THAT(flock(fd.get(), LOCK_UN), Returns(0));
}

TEST_P(FlockCall, AWaiterGetsItsTurn) {
  TempDir dir;
  WriteFile(dir / "f", "");
  UniqueFd fd(open((dir / "f").c_str(), O_RDONLY));
  EXPECT_THAT(flock(fd.get(), LOCK_EX), Returns(0));
  const pid_t child = Start([&] {
    UniqueFd mine(open((dir / "f").c_str(), O_RDONLY));
    return flock(mine.get(), LOCK_EX) == 0 ? 0 : 1;
  });
  EXPECT_TRUE(WaitForState(child, 'S'));
  EXPECT_THAT(flock(fd.get(), LOCK_UN), Returns(0));
  EXPECT_THAT(Wait(child), Exited(0));
}

PLACE_SUITE(ProcLocks);
TEST_P(ProcLocks, ShowsARecordLock) {
  UniqueFd fd = OpenTemp(0, "x");
  EXPECT_THAT(SetLock(fd.get(), F_WRLCK, 3, 4), Returns(0));
  const std::string line = LocksLine(fd.get(), "POSIX");
  EXPECT_THAT(line,
              testing::StartsWith("POSIX  ADVISORY  WRITE " + std::to_string(getpid()) + " "));
  EXPECT_THAT(line, testing::EndsWith(" 3 6"));
}

TEST_P(ProcLocks, ShowsAReadLockToTheEnd) {
  UniqueFd fd = OpenTemp(0, "x");
  EXPECT_THAT(SetLock(fd.get(), F_RDLCK), Returns(0));
  const std::string line = LocksLine(fd.get(), "POSIX");
  EXPECT_THAT(line, testing::StartsWith("POSIX  ADVISORY  READ "));
  EXPECT_THAT(line, testing::EndsWith(" 0 EOF"));
}

TEST_P(ProcLocks, ShowsFlocks) {
  UniqueFd fd = OpenTemp(0, "x");
  EXPECT_THAT(flock(fd.get(), LOCK_EX), Returns(0));
  EXPECT_THAT(LocksLine(fd.get(), "FLOCK"),
              testing::StartsWith("FLOCK  ADVISORY  WRITE " + std::to_string(getpid()) + " "));
}

TEST_P(ProcLocks, ShowsLocksOfDescriptions) {
  UniqueFd fd = OpenTemp(0, "x");
  EXPECT_THAT(SetLock(fd.get(), F_WRLCK, 0, 1, F_OFD_SETLK), Returns(0));
  EXPECT_THAT(LocksLine(fd.get(), "OFDLCK"), testing::StartsWith("OFDLCK ADVISORY  WRITE -1 "));
}

TEST_P(ProcLocks, ShowsWhoWaits) {
  UniqueFd fd = OpenTemp(0, "x");
  EXPECT_THAT(SetLock(fd.get(), F_WRLCK), Returns(0));
  const pid_t child =
      Start([&] { return SetLock(fd.get(), F_WRLCK, 0, 0, F_SETLKW) == 0 ? 0 : 1; });
  EXPECT_TRUE(WaitForState(child, 'S'));
  EXPECT_TRUE(Eventually([&] { return !LocksLine(fd.get(), "->").empty(); }));
  EXPECT_THAT(LocksLine(fd.get(), "->"),
              testing::StartsWith("-> POSIX  ADVISORY  WRITE " + std::to_string(child) + " "));
  EXPECT_THAT(SetLock(fd.get(), F_UNLCK), Returns(0));
  EXPECT_THAT(Wait(child), Exited(0));
}

TEST_P(ProcLocks, FdInfoShowsTheFilesLocks) {
  UniqueFd fd = OpenTemp(0, "x");
  EXPECT_THAT(flock(fd.get(), LOCK_SH), Returns(0));
  EXPECT_THAT(ReadFile("/proc/self/fdinfo/" + std::to_string(fd.get())),
              testing::HasSubstr("lock:\t1: FLOCK  ADVISORY  READ "));
}

}  // namespace
