// The *xattrat calls, cachestat(2), preadv2(2) and pwritev2(2) with flags, vmsplice(2).
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>

#include "tests/conformance/places.h"
#include "tests/conformance/support.h"

namespace {

constexpr int kSetxattrat = 463, kGetxattrat = 464, kListxattrat = 465, kRemovexattrat = 466;
constexpr int kCachestat = 451;

struct Args {
  uint64_t value;
  uint32_t size, flags;
};

long Set(int dir, const char* path, int at, const char* name, std::string_view value,
         uint32_t flags = 0) {
  Args args = {reinterpret_cast<uint64_t>(value.data()), static_cast<uint32_t>(value.size()),
               flags};
  return syscall(kSetxattrat, dir, path, at, name, &args, sizeof args);
}

class XattrAt : public AtPlace {
 protected:
  XattrAt() : dir_fd_(open(dir_.path().c_str(), O_RDONLY | O_DIRECTORY)) {
    WriteFile(dir_ / "f", "x");
  }
  long Get(const char* name, std::string& value, int at = 0, const char* path = "f") {
    value.assign(64, '\0');
    Args args = {reinterpret_cast<uint64_t>(value.data()), 64, 0};
    const long size = syscall(kGetxattrat, dir_fd_.get(), path, at, name, &args, sizeof args);
    if (size >= 0) value.resize(static_cast<size_t>(size));
    return size;
  }
  TempDir dir_;
  UniqueFd dir_fd_;
};
AT_EACH_PLACE(XattrAt);

TEST_P(XattrAt, RoundTrip) {
  EXPECT_THAT(Set(dir_fd_.get(), "f", 0, "user.a", "one"), Returns(0));
  std::string value;
  EXPECT_THAT(Get("user.a", value), Returns(3));
  EXPECT_EQ(value, "one");
  char list[64];
  EXPECT_GE(syscall(kListxattrat, dir_fd_.get(), "f", 0, list, sizeof list), 7);
  EXPECT_THAT(syscall(kRemovexattrat, dir_fd_.get(), "f", 0, "user.a"), Returns(0));
  EXPECT_THAT(Get("user.a", value), FailsWith(ENODATA));
}

TEST_P(XattrAt, CreateAndReplace) {
  EXPECT_THAT(Set(dir_fd_.get(), "f", 0, "user.a", "1", XATTR_REPLACE), FailsWith(ENODATA));
  EXPECT_THAT(Set(dir_fd_.get(), "f", 0, "user.a", "1", XATTR_CREATE), Returns(0));
  EXPECT_THAT(Set(dir_fd_.get(), "f", 0, "user.a", "1", XATTR_CREATE), FailsWith(EEXIST));
  EXPECT_THAT(Set(dir_fd_.get(), "f", 0, "user.a", "1", 4), FailsWith(EINVAL));
}

TEST_P(XattrAt, TheDescriptorItself) {
  UniqueFd fd(open((dir_ / "f").c_str(), O_RDWR));
  EXPECT_THAT(Set(fd.get(), "", AT_EMPTY_PATH, "user.b", "2"), Returns(0));
  std::string value;
  EXPECT_THAT(Get("user.b", value), Returns(1));
  EXPECT_THAT(Set(fd.get(), "", 0, "user.b", "2"), FailsWith(ENOENT));
}

TEST_P(XattrAt, SymlinksThemselves) {
  EXPECT_THAT(symlink("f", (dir_ / "l").c_str()), Returns(0));
  EXPECT_THAT(Set(dir_fd_.get(), "l", AT_SYMLINK_NOFOLLOW, "user.a", "1"), FailsWith(EPERM));
  EXPECT_THAT(Set(dir_fd_.get(), "l", 0, "user.a", "1"), Returns(0));
}

TEST_P(XattrAt, BadArguments) {
  Args args = {0, 0, 0};
  EXPECT_THAT(Set(dir_fd_.get(), "f", 0x1, "user.a", "1"), FailsWith(EINVAL));
  EXPECT_THAT(syscall(kSetxattrat, dir_fd_.get(), "f", 0, "user.a", &args, 8), FailsWith(EINVAL));
  EXPECT_THAT(syscall(kSetxattrat, dir_fd_.get(), "f", 0, "user.a", &args, 8192), FailsWith(E2BIG));
  args.flags = 1;
  EXPECT_THAT(syscall(kGetxattrat, dir_fd_.get(), "f", 0, "user.a", &args, sizeof args),
              FailsWith(EINVAL));
  EXPECT_THAT(Set(dir_fd_.get(), "none", 0, "user.a", "1"), FailsWith(ENOENT));
  EXPECT_THAT(Set(-1, "f", 0, "user.a", "1"), FailsWith(EBADF));
}

TEST_P(XattrAt, SizesOfAnswers) {
  EXPECT_THAT(Set(dir_fd_.get(), "f", 0, "user.a", "12345"), Returns(0));
  Args args = {0, 0, 0};
  EXPECT_THAT(syscall(kGetxattrat, dir_fd_.get(), "f", 0, "user.a", &args, sizeof args),
              Returns(5));
  char small[2];
  args = {reinterpret_cast<uint64_t>(small), 2, 0};
  EXPECT_THAT(syscall(kGetxattrat, dir_fd_.get(), "f", 0, "user.a", &args, sizeof args),
              FailsWith(ERANGE));
}

PLACE_SUITE(Cachestat);
TEST_P(Cachestat, CountsPages) {
  UniqueFd fd = OpenTemp(0, std::string(10000, 'x'));
  uint64_t range[2] = {0, 0}, stat[5] = {};
  EXPECT_THAT(syscall(kCachestat, fd.get(), range, stat, 0), Returns(0));
  // Those of the upper file are not an overlay's of Linux.
  EXPECT_EQ(stat[0], place() == Place::kOverlay ? 0u : 3u);
  range[0] = 4096;
  range[1] = 4096;
  EXPECT_THAT(syscall(kCachestat, fd.get(), range, stat, 0), Returns(0));
  EXPECT_EQ(stat[0], place() == Place::kOverlay ? 0u : 1u);
}

TEST_P(Cachestat, BadArguments) {
  UniqueFd fd = OpenTemp();
  uint64_t range[2] = {0, 0}, stat[5] = {};
  EXPECT_THAT(syscall(kCachestat, fd.get(), range, stat, 1), FailsWith(EINVAL));
  EXPECT_THAT(syscall(kCachestat, -1, range, stat, 0), FailsWith(EBADF));
  EXPECT_THAT(syscall(kCachestat, fd.get(), 8, stat, 0), FailsWith(EFAULT));
}

PLACE_SUITE(VectorFlags);
TEST_P(VectorFlags, UnknownOnesAreNotSupported) {
  UniqueFd fd = OpenTemp(0, "x");
  char byte = 0;
  const iovec piece = {&byte, 1};
  EXPECT_THAT(preadv2(fd.get(), &piece, 1, 0, 0x40000000), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(pwritev2(fd.get(), &piece, 1, 0, 0x40000000), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(preadv2(fd.get(), &piece, 1, -2, 0), FailsWith(EINVAL));
  EXPECT_THAT(preadv2(-1, &piece, 1, 0, 0x40000000), FailsWith(EBADF));
}

TEST_P(VectorFlags, MinusOneIsThePosition) {
  UniqueFd fd = OpenTemp(0, "0123");
  char bytes[2];
  const iovec piece = {bytes, 2};
  EXPECT_THAT(preadv2(fd.get(), &piece, 1, -1, 0), Returns(2));
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_CUR), Returns(2));
  EXPECT_THAT(pwritev2(fd.get(), &piece, 1, -1, RWF_DSYNC), Returns(2));
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_CUR), Returns(4));
}

TEST_P(VectorFlags, AppendIgnoresTheOffset) {
  UniqueFd fd = OpenTemp(0, "0123");
  char bytes[] = {'a', 'b'};
  const iovec piece = {bytes, 2};
  EXPECT_THAT(pwritev2(fd.get(), &piece, 1, 0, RWF_APPEND), Returns(2));
  struct stat st;
  EXPECT_THAT(fstat(fd.get(), &st), Returns(0));
  EXPECT_EQ(st.st_size, 6);
}

TEST_P(VectorFlags, NowaitOnAnEmptyPipe) {
  Pipe pipe;
  char byte = 'x';
  const iovec piece = {&byte, 1};
  EXPECT_THAT(preadv2(pipe.read.get(), &piece, 1, -1, RWF_NOWAIT), FailsWith(EAGAIN));
  EXPECT_THAT(pwritev2(pipe.write.get(), &piece, 1, -1, RWF_NOWAIT), Returns(1));
  EXPECT_THAT(preadv2(pipe.read.get(), &piece, 1, -1, RWF_NOWAIT), Returns(1));
}

TEST_P(VectorFlags, PipesHaveNoOffset) {
  Pipe pipe;
  char byte = 'x';
  const iovec piece = {&byte, 1};
  EXPECT_THAT(preadv2(pipe.read.get(), &piece, 1, 0, 0), FailsWith(ESPIPE));
  EXPECT_THAT(pwritev2(pipe.write.get(), &piece, 1, 0, 0), FailsWith(ESPIPE));
}

TEST(Vmsplice, IntoAPipe) {
  Pipe pipe;
  std::string text = "hello";
  const iovec pieces[] = {{text.data(), 2}, {text.data() + 2, 3}};
  EXPECT_THAT(vmsplice(pipe.write.get(), pieces, 2, 0), Returns(5));
  char buffer[8] = {};
  EXPECT_THAT(read(pipe.read.get(), buffer, sizeof buffer), Returns(5));
  EXPECT_STREQ(buffer, "hello");
}

TEST(Vmsplice, OutOfAPipe) {
  Pipe pipe;
  EXPECT_THAT(write(pipe.write.get(), "hello", 5), Returns(5));
  char buffer[8] = {};
  const iovec piece = {buffer, sizeof buffer};
  EXPECT_THAT(vmsplice(pipe.read.get(), &piece, 1, 0), Returns(5));
  EXPECT_STREQ(buffer, "hello");
}

TEST(Vmsplice, BadArguments) {
  Pipe pipe;
  UniqueFd fd = OpenTemp(0, "x");
  char byte = 0;
  const iovec piece = {&byte, 1};
  EXPECT_THAT(vmsplice(fd.get(), &piece, 1, 0), FailsWith(EBADF));
  EXPECT_THAT(vmsplice(-1, &piece, 1, 0), FailsWith(EBADF));
  EXPECT_THAT(vmsplice(pipe.write.get(), &piece, 1, 0x1000), FailsWith(EINVAL));
  EXPECT_THAT(vmsplice(pipe.write.get(), &piece, 2000, 0), FailsWith(EINVAL));
  EXPECT_THAT(vmsplice(pipe.write.get(), &piece, 0, 0), Returns(0));
}

TEST(Vmsplice, NonblockingOnAFullOrEmptyPipe) {
  Pipe pipe;
  // Whole pages, of which each takes one place in the pipe.
  alignas(4096) static char pages[65536];
  const iovec piece = {pages, sizeof pages};
  EXPECT_THAT(vmsplice(pipe.read.get(), &piece, 1, SPLICE_F_NONBLOCK), FailsWith(EAGAIN));
  EXPECT_THAT(vmsplice(pipe.write.get(), &piece, 1, SPLICE_F_NONBLOCK), Returns(65536));
  EXPECT_THAT(vmsplice(pipe.write.get(), &piece, 1, SPLICE_F_NONBLOCK), FailsWith(EAGAIN));
}

TEST(Vmsplice, WithoutReaders) {
  ScopedAction action(SIGPIPE, SIG_IGN);
  Pipe pipe;
  pipe.read.reset();
  char byte = 0;
  const iovec piece = {&byte, 1};
  EXPECT_THAT(vmsplice(pipe.write.get(), &piece, 1, 0), FailsWith(EPIPE));
}

}  // namespace
