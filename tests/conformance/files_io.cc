// Contents: read(2), write(2), their vector and offset forms, lseek(2), truncate(2), dup(2), locks.
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>

#include "tests/conformance/places.h"
#include "tests/conformance/support.h"

namespace {

off_t SizeOf(int fd) {
  struct stat st = {};
  EXPECT_THAT(fstat(fd, &st), Returns(0));
  return st.st_size;
}

std::string Contents(int fd) {
  std::string all(SizeOf(fd), '?');
  EXPECT_THAT(pread(fd, all.data(), all.size(), 0), Returns(all.size()));
  return all;
}

PLACE_SUITE(ReadWrite);
TEST_P(ReadWrite, RoundTripAndEndOfFile) {
  UniqueFd fd = OpenTemp();
  EXPECT_THAT(write(fd.get(), "hello", 5), Returns(5));
  EXPECT_THAT(lseek(fd.get(), 1, SEEK_SET), Returns(1));
  char buffer[16] = {};
  EXPECT_THAT(read(fd.get(), buffer, sizeof buffer), Returns(4));
  EXPECT_STREQ(buffer, "ello");
  EXPECT_THAT(read(fd.get(), buffer, sizeof buffer), Returns(0));
}

TEST_P(ReadWrite, BadDescriptor) {
  char byte = 0;
  EXPECT_THAT(read(-1, &byte, 1), FailsWith(EBADF));
  EXPECT_THAT(write(12345, &byte, 1), FailsWith(EBADF));
}

TEST_P(ReadWrite, BadBuffer) {
  UniqueFd fd = OpenTemp(0, "hello");
  char* const bad = reinterpret_cast<char*>(16);
  EXPECT_THAT(syscall(SYS_read, fd.get(), bad, 4), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_write, fd.get(), bad, 4), FailsWith(EFAULT));
  EXPECT_EQ(SizeOf(fd.get()), 5);
}

TEST_P(ReadWrite, ZeroBytes) {
  UniqueFd fd = OpenTemp();
  EXPECT_THAT(syscall(SYS_write, fd.get(), nullptr, 0), Returns(0));
  EXPECT_THAT(syscall(SYS_read, fd.get(), nullptr, 0), Returns(0));
}

TEST_P(ReadWrite, DirectoryHasNoBytes) {
  UniqueFd fd(open("/tmp", O_RDONLY));
  char byte;
  EXPECT_THAT(read(fd.get(), &byte, 1), FailsWith(EISDIR));
  EXPECT_THAT(pread(fd.get(), &byte, 1, 0), FailsWith(EISDIR));
}

TEST_P(ReadWrite, Megabytes) {
  UniqueFd fd = OpenTemp();
  std::string data(3 << 20, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 31 >> 4);
  EXPECT_THAT(write(fd.get(), data.data(), data.size()), Returns(data.size()));
  EXPECT_TRUE(Contents(fd.get()) == data);
}

TEST_P(ReadWrite, OffsetFormsLeaveTheOffset) {
  UniqueFd fd = OpenTemp(0, "0123456789");
  char buffer[4] = {};
  EXPECT_THAT(pread(fd.get(), buffer, 3, 5), Returns(3));
  EXPECT_STREQ(buffer, "567");
  EXPECT_THAT(pwrite(fd.get(), "ab", 2, 9), Returns(2));
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_CUR), Returns(0));
  EXPECT_EQ(Contents(fd.get()), "012345678ab");
  EXPECT_THAT(pread(fd.get(), buffer, 1, -1), FailsWith(EINVAL));
  EXPECT_THAT(pread(fd.get(), buffer, 1, 100), Returns(0));
}

TEST_P(ReadWrite, OffsetFormsNeedASeekableFile) {
  Pipe pipe;
  char byte = 0;
  EXPECT_THAT(pread(pipe.read.get(), &byte, 1, 0), FailsWith(ESPIPE));
  EXPECT_THAT(pwrite(pipe.write.get(), &byte, 1, 0), FailsWith(ESPIPE));
}

TEST_P(ReadWrite, AppendGoesToTheEnd) {
  UniqueFd fd = OpenTemp(O_APPEND, "start");
  EXPECT_THAT(write(fd.get(), "+", 1), Returns(1));
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_CUR), Returns(6));
  // BUGS of pwrite(2): Linux appends whatever the offset says.
  EXPECT_THAT(pwrite(fd.get(), "!", 1, 0), Returns(1));
  EXPECT_EQ(Contents(fd.get()), "start+!");
}

TEST_P(ReadWrite, HolesReadAsZeros) {
  UniqueFd fd = OpenTemp(0, "a");
  EXPECT_THAT(pwrite(fd.get(), "z", 1, 10000), Returns(1));
  const std::string all = Contents(fd.get());
  ASSERT_EQ(all.size(), 10001u);
  EXPECT_EQ(all, "a" + std::string(9999, '\0') + "z");
}

TEST_P(ReadWrite, FileSizeLimit) {
  UniqueFd fd = OpenTemp();
  const auto limited = [&](bool ignore) {
    return InChild([&] {
      const rlimit limit = {100, 100};
      CHILD_CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0);
      if (ignore) signal(SIGXFSZ, SIG_IGN);
      const std::string data(150, 'x');
      CHILD_CHECK(pwrite(fd.get(), data.data(), data.size(), 0) == 100);
      CHILD_CHECK(pwrite(fd.get(), "y", 1, 100) == -1 && errno == EFBIG);
      return 0;
    });
  };
  EXPECT_THAT(limited(true), Exited(0));
  EXPECT_THAT(limited(false), Killed(SIGXFSZ));
}

PLACE_SUITE(Vectors);
TEST_P(Vectors, GatherAndScatter) {
  UniqueFd fd = OpenTemp();
  char a[] = "one", b[] = "two", c[4] = {}, d[8] = {};
  const iovec out[] = {{a, 3}, {nullptr, 0}, {b, 3}};
  EXPECT_THAT(writev(fd.get(), out, 3), Returns(6));
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_SET), Returns(0));
  const iovec in[] = {{c, 2}, {d, 7}};
  EXPECT_THAT(readv(fd.get(), in, 2), Returns(6));
  EXPECT_STREQ(c, "on");
  EXPECT_STREQ(d, "etwo");
}

TEST_P(Vectors, OffsetForms) {
  UniqueFd fd = OpenTemp(0, "0123456789");
  char a[3] = {}, b[3] = {};
  const iovec in[] = {{a, 2}, {b, 2}};
  EXPECT_THAT(preadv(fd.get(), in, 2, 4), Returns(4));
  EXPECT_STREQ(a, "45");
  EXPECT_STREQ(b, "67");
  EXPECT_THAT(pwritev(fd.get(), in, 2, 0), Returns(4));
  EXPECT_EQ(Contents(fd.get()), "4567456789");
}

TEST_P(Vectors, Limits) {
  UniqueFd fd = OpenTemp();
  char byte = 'x';
  std::vector<iovec> many(1025, iovec{&byte, 1});
  EXPECT_THAT(writev(fd.get(), many.data(), 1025), FailsWith(EINVAL));
  EXPECT_THAT(writev(fd.get(), many.data(), 1024), Returns(1024));
  EXPECT_THAT(writev(fd.get(), many.data(), -1), FailsWith(EINVAL));
  EXPECT_THAT(writev(fd.get(), many.data(), 0), Returns(0));
  const iovec negative[] = {{&byte, static_cast<size_t>(-1)}};
  EXPECT_THAT(writev(fd.get(), negative, 1), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_writev, fd.get(), 8, 1), FailsWith(EFAULT));
}

PLACE_SUITE(Seek);
TEST_P(Seek, Whence) {
  UniqueFd fd = OpenTemp(0, "0123456789");
  EXPECT_THAT(lseek(fd.get(), 4, SEEK_SET), Returns(4));
  EXPECT_THAT(lseek(fd.get(), 3, SEEK_CUR), Returns(7));
  EXPECT_THAT(lseek(fd.get(), -1, SEEK_END), Returns(9));
  EXPECT_THAT(lseek(fd.get(), 100, SEEK_END), Returns(110));
  EXPECT_THAT(lseek(fd.get(), -1, SEEK_SET), FailsWith(EINVAL));
  EXPECT_THAT(lseek(fd.get(), 0, 99), FailsWith(EINVAL));
  EXPECT_EQ(SizeOf(fd.get()), 10);
}

TEST_P(Seek, PipesCannot) {
  Pipe pipe;
  EXPECT_THAT(lseek(pipe.read.get(), 0, SEEK_CUR), FailsWith(ESPIPE));
}

TEST_P(Seek, DataAndHole) {
  UniqueFd fd = OpenTemp(0, "data");
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_DATA), Returns(0));
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_HOLE), Returns(4));
  EXPECT_THAT(lseek(fd.get(), 4, SEEK_DATA), FailsWith(ENXIO));
}

PLACE_SUITE(Truncate);
TEST_P(Truncate, GrowsAndShrinks) {
  UniqueFd fd = OpenTemp(0, "0123456789");
  EXPECT_THAT(ftruncate(fd.get(), 4), Returns(0));
  EXPECT_THAT(ftruncate(fd.get(), 6), Returns(0));
  EXPECT_EQ(Contents(fd.get()), std::string("0123\0\0", 6));
}

TEST_P(Truncate, Errors) {
  TempDir dir;
  WriteFile(dir / "f", "0123");
  UniqueFd reader(open((dir / "f").c_str(), O_RDONLY));
  EXPECT_THAT(ftruncate(reader.get(), 0), FailsWith(EINVAL));
  EXPECT_THAT(truncate((dir / "f").c_str(), -1), FailsWith(EINVAL));
  EXPECT_THAT(truncate((dir / "none").c_str(), 0), FailsWith(ENOENT));
  EXPECT_THAT(truncate(dir.path().c_str(), 0), FailsWith(EISDIR));
  EXPECT_THAT(truncate((dir / "f").c_str(), 2), Returns(0));
  EXPECT_EQ(ReadFile(dir / "f"), "01");
  Pipe pipe;
  EXPECT_THAT(ftruncate(pipe.write.get(), 0), FailsWith(EINVAL));
}

TEST_P(Truncate, FallocateExtends) {
  UniqueFd fd = OpenTemp(0, "ab");
  EXPECT_THAT(fallocate(fd.get(), 0, 0, 5000), Returns(0));
  EXPECT_EQ(SizeOf(fd.get()), 5000);
  EXPECT_THAT(fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, 0, 9000), Returns(0));
  EXPECT_EQ(SizeOf(fd.get()), 5000);
  EXPECT_THAT(fallocate(fd.get(), 0, 0, 0), FailsWith(EINVAL));
}

PLACE_SUITE(Sync);
TEST_P(Sync, AcceptsFilesOnly) {
  UniqueFd fd = OpenTemp(0, "x");
  EXPECT_THAT(fsync(fd.get()), Returns(0));
  EXPECT_THAT(fdatasync(fd.get()), Returns(0));
  Pipe pipe;
  EXPECT_THAT(fsync(pipe.read.get()), FailsWith(EINVAL));
}

PLACE_SUITE(Copy);
TEST_P(Copy, SendfileMovesTheRightOffset) {
  UniqueFd from = OpenTemp(0, "0123456789"), to = OpenTemp();
  off_t offset = 2;
  EXPECT_THAT(sendfile(to.get(), from.get(), &offset, 3), Returns(3));
  EXPECT_EQ(offset, 5);
  EXPECT_THAT(lseek(from.get(), 0, SEEK_CUR), Returns(0));
  EXPECT_THAT(sendfile(to.get(), from.get(), nullptr, 4), Returns(4));
  EXPECT_THAT(lseek(from.get(), 0, SEEK_CUR), Returns(4));
  EXPECT_EQ(Contents(to.get()), "2340123");
}

TEST_P(Copy, SendfileIntoAPipe) {
  UniqueFd from = OpenTemp(0, "through");
  Pipe pipe;
  EXPECT_THAT(sendfile(pipe.write.get(), from.get(), nullptr, 100), Returns(7));
  pipe.write.reset();
  EXPECT_EQ(ReadAll(pipe.read.get()), "through");
}

TEST_P(Copy, FileRange) {
  UniqueFd from = OpenTemp(0, "0123456789"), to = OpenTemp();
  loff_t in = 5, out = 1;
  EXPECT_THAT(copy_file_range(from.get(), &in, to.get(), &out, 3, 0), Returns(3));
  EXPECT_EQ(in, 8);
  EXPECT_EQ(out, 4);
  EXPECT_EQ(Contents(to.get()), std::string("\0"
                                            "567",
                                            4));
}

TEST(Dup, SharesTheOffsetAndFlags) {
  UniqueFd fd = OpenTemp(0, "0123456789");
  UniqueFd copy(dup(fd.get()));
  EXPECT_THAT(lseek(fd.get(), 6, SEEK_SET), Returns(6));
  EXPECT_THAT(lseek(copy.get(), 0, SEEK_CUR), Returns(6));
  EXPECT_THAT(fcntl(copy.get(), F_SETFL, O_APPEND), Returns(0));
  EXPECT_EQ(fcntl(fd.get(), F_GETFL) & O_APPEND, O_APPEND);
}

TEST(Dup, AcrossForkToo) {
  UniqueFd fd = OpenTemp(0, "0123456789");
  EXPECT_THAT(InChild([&] { return lseek(fd.get(), 3, SEEK_SET) == 3 ? 0 : 1; }), Exited(0));
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_CUR), Returns(3));
}

TEST(Dup2, ReplacesTheTarget) {
  UniqueFd fd = OpenTemp(0, "x");
  Pipe pipe;
  const int target = pipe.write.get();
  EXPECT_THAT(dup2(fd.get(), target), Returns(target));
  EXPECT_EQ(ReadAll(target), "x");
  EXPECT_EQ(ReadAll(pipe.read.get()), "");
}

TEST(Dup2, RejectsAClosedSource) {
  UniqueFd fd = OpenTemp();
  EXPECT_THAT(dup2(-1, fd.get()), FailsWith(EBADF));
  EXPECT_THAT(dup2(fd.get(), fd.get()), Returns(fd.get()));
  EXPECT_THAT(dup2(fd.get(), -1), FailsWith(EBADF));
  EXPECT_THAT(fcntl(fd.get(), F_GETFD), Returns(0));
}

TEST(Dup3, Flags) {
  UniqueFd fd = OpenTemp(), target = OpenTemp();
  EXPECT_THAT(dup3(fd.get(), fd.get(), 0), FailsWith(EINVAL));
  EXPECT_THAT(dup3(fd.get(), target.get(), O_APPEND), FailsWith(EINVAL));
  EXPECT_THAT(dup3(fd.get(), target.get(), O_CLOEXEC), Returns(target.get()));
  EXPECT_THAT(fcntl(target.get(), F_GETFD), Returns(FD_CLOEXEC));
}

TEST(Fcntl, DuplicateFromAMinimum) {
  UniqueFd fd = OpenTemp();
  UniqueFd high(fcntl(fd.get(), F_DUPFD, 100)), next(fcntl(fd.get(), F_DUPFD_CLOEXEC, 100));
  EXPECT_EQ(high.get(), 100);
  EXPECT_EQ(next.get(), 101);
  EXPECT_THAT(fcntl(next.get(), F_GETFD), Returns(FD_CLOEXEC));
  EXPECT_THAT(fcntl(fd.get(), F_DUPFD, -1), FailsWith(EINVAL));
}

TEST(Fcntl, SetFlagsKeepsTheAccessMode) {
  UniqueFd fd = OpenTemp();
  EXPECT_THAT(fcntl(fd.get(), F_SETFL, O_WRONLY | O_NONBLOCK), Returns(0));
  EXPECT_EQ(fcntl(fd.get(), F_GETFL) & (O_ACCMODE | O_NONBLOCK | O_APPEND), O_RDWR | O_NONBLOCK);
  EXPECT_THAT(fcntl(fd.get(), 9999), FailsWith(EINVAL));
}

PLACE_SUITE(Locks);
TEST_P(Locks, RecordLocksBelongToProcesses) {
  UniqueFd fd = OpenTemp(0, "0123456789");
  struct flock lock = {};
  lock.l_type = F_WRLCK;
  lock.l_start = 2;
  lock.l_len = 3;
  ASSERT_THAT(fcntl(fd.get(), F_SETLK, &lock), Returns(0));
  const pid_t owner = getpid();
  const int status = InChild([&] {
    struct flock probe = {};
    probe.l_type = F_RDLCK;
    CHILD_CHECK(fcntl(fd.get(), F_GETLK, &probe) == 0);
    CHILD_CHECK(probe.l_type == F_WRLCK && probe.l_start == 2 && probe.l_len == 3);
    CHILD_CHECK(probe.l_pid == owner);
    probe.l_type = F_WRLCK;
    CHILD_CHECK(fcntl(fd.get(), F_SETLK, &probe) == -1 && errno == EAGAIN);
    probe.l_start = 5;
    CHILD_CHECK(fcntl(fd.get(), F_SETLK, &probe) == 0);
    return 0;
  });
  EXPECT_THAT(status, Exited(0));
}

TEST_P(Locks, FlockBelongsToTheDescription) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  UniqueFd a(open((dir / "f").c_str(), O_RDONLY)), b(open((dir / "f").c_str(), O_RDONLY));
  EXPECT_THAT(flock(a.get(), LOCK_EX), Returns(0));
  EXPECT_THAT(flock(b.get(), LOCK_SH | LOCK_NB), FailsWith(EWOULDBLOCK));
  EXPECT_THAT(flock(a.get(), LOCK_SH), Returns(0));
  EXPECT_THAT(flock(b.get(), LOCK_SH | LOCK_NB), Returns(0));
  a.reset();
  EXPECT_THAT(flock(b.get(), LOCK_EX | LOCK_NB), Returns(0));
}

PLACE_SUITE(ProcFd);
TEST_P(ProcFd, NamesTheFile) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  UniqueFd fd(open((dir / "f").c_str(), O_RDONLY));
  const std::string self = "/proc/self/fd/" + std::to_string(fd.get());
  char target[256] = {};
  ASSERT_GT(readlink(self.c_str(), target, sizeof target - 1), 0);
  EXPECT_EQ(target, dir / "f");
  EXPECT_EQ(ReadFile(self), "x");
}

}  // namespace
