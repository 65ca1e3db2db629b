// Between files and within them: splice(2), tee(2), sendfile(2), copy_file_range(2), fallocate(2),
// SEEK_DATA and SEEK_HOLE, renameat2(2), O_TMPFILE.
#include <linux/falloc.h>
#include <linux/magic.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

#include "tests/conformance/places.h"
#include "tests/conformance/support.h"

namespace {

std::string Contents(int fd) {
  struct stat st = {};
  EXPECT_THAT(fstat(fd, &st), Returns(0));
  std::string all(static_cast<size_t>(st.st_size), '?');
  EXPECT_THAT(pread(fd, all.data(), all.size(), 0), Returns(all.size()));
  return all;
}

PLACE_SUITE(SpliceCall);
TEST_P(SpliceCall, FromAFileIntoAPipe) {
  UniqueFd fd = OpenTemp(0, "0123456789");
  Pipe pipe;
  EXPECT_THAT(splice(fd.get(), nullptr, pipe.write.get(), nullptr, 4, 0), Returns(4));
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_CUR), Returns(4));
  off64_t offset = 8;
  EXPECT_THAT(splice(fd.get(), &offset, pipe.write.get(), nullptr, 100, 0), Returns(2));
  EXPECT_EQ(offset, 10);
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_CUR), Returns(4));
  char buffer[16] = {};
  EXPECT_THAT(read(pipe.read.get(), buffer, sizeof buffer), Returns(6));
  EXPECT_STREQ(buffer, "012389");
}

TEST_P(SpliceCall, FromAPipeIntoAFile) {
  UniqueFd fd = OpenTemp(0, "....");
  Pipe pipe;
  EXPECT_THAT(write(pipe.write.get(), "abcdef", 6), Returns(6));
  off64_t offset = 2;
  EXPECT_THAT(splice(pipe.read.get(), nullptr, fd.get(), &offset, 3, 0), Returns(3));
  EXPECT_EQ(offset, 5);
  EXPECT_EQ(Contents(fd.get()), "..abc");
}

TEST_P(SpliceCall, BetweenPipes) {
  Pipe one, two;
  EXPECT_THAT(write(one.write.get(), "abcdef", 6), Returns(6));
  EXPECT_THAT(splice(one.read.get(), nullptr, two.write.get(), nullptr, 4, 0), Returns(4));
  char buffer[8] = {};
  EXPECT_THAT(read(two.read.get(), buffer, sizeof buffer), Returns(4));
  EXPECT_THAT(read(one.read.get(), buffer, sizeof buffer), Returns(2));
}

TEST_P(SpliceCall, BadArguments) {
  UniqueFd fd = OpenTemp(0, "x"), other = OpenTemp(0, "y");
  Pipe pipe;
  off64_t offset = 0;
  EXPECT_THAT(splice(fd.get(), nullptr, other.get(), nullptr, 1, 0), FailsWith(EINVAL));
  EXPECT_THAT(splice(pipe.read.get(), nullptr, pipe.write.get(), nullptr, 1, 0), FailsWith(EINVAL));
  EXPECT_THAT(splice(pipe.read.get(), &offset, fd.get(), nullptr, 1, 0), FailsWith(ESPIPE));
  EXPECT_THAT(splice(fd.get(), nullptr, pipe.write.get(), nullptr, 1, 0x1000), FailsWith(EINVAL));
  EXPECT_THAT(splice(-1, nullptr, pipe.write.get(), nullptr, 1, 0), FailsWith(EBADF));
  EXPECT_THAT(splice(fd.get(), nullptr, pipe.read.get(), nullptr, 1, 0), FailsWith(EBADF));
  EXPECT_THAT(splice(fd.get(), nullptr, pipe.write.get(), nullptr, 0, 0), Returns(0));
}

TEST_P(SpliceCall, FillsAPipeAsFarAsThereIsRoom) {
  UniqueFd zero(open("/dev/zero", O_RDONLY)), file = OpenTemp(0, std::string(65536, 'x'));
  for (UniqueFd* source : {&zero, &file}) {
    Pipe pipe;
    EXPECT_THAT(write(pipe.write.get(), "a", 1), Returns(1));
    const ssize_t moved = splice(source->get(), nullptr, pipe.write.get(), nullptr, 65536, 0);
    EXPECT_GE(moved, 15 * 4096);
    EXPECT_LT(moved, 65536);
  }
  EXPECT_EQ(lseek(file.get(), 0, SEEK_CUR) / 4096, 15);
}

TEST_P(SpliceCall, IntoTheNullDevice) {
  UniqueFd null(open("/dev/null", O_WRONLY));
  Pipe pipe;
  EXPECT_THAT(write(pipe.write.get(), "abcdef", 6), Returns(6));
  EXPECT_THAT(splice(pipe.read.get(), nullptr, null.get(), nullptr, 4, 0), Returns(4));
  char buffer[8] = {};
  EXPECT_THAT(read(pipe.read.get(), buffer, sizeof buffer), Returns(2));
}

TEST_P(SpliceCall, NotOntoAppendingFiles) {
  UniqueFd fd = OpenTemp(O_APPEND, "x");
  Pipe pipe;
  EXPECT_THAT(write(pipe.write.get(), "a", 1), Returns(1));
  EXPECT_THAT(splice(pipe.read.get(), nullptr, fd.get(), nullptr, 1, 0), FailsWith(EINVAL));
}

TEST_P(SpliceCall, NonblockingOnAnEmptyPipe) {
  UniqueFd fd = OpenTemp();
  Pipe pipe;
  EXPECT_THAT(splice(pipe.read.get(), nullptr, fd.get(), nullptr, 1, SPLICE_F_NONBLOCK),
              FailsWith(EAGAIN));
  pipe.write.reset();
  EXPECT_THAT(splice(pipe.read.get(), nullptr, fd.get(), nullptr, 1, 0), Returns(0));
}

TEST(TeeCall, LeavesWhatItCopies) {
  Pipe one, two;
  EXPECT_THAT(write(one.write.get(), "abc", 3), Returns(3));
  EXPECT_THAT(tee(one.read.get(), two.write.get(), 2, 0), Returns(2));
  char buffer[8] = {};
  EXPECT_THAT(read(two.read.get(), buffer, sizeof buffer), Returns(2));
  EXPECT_THAT(read(one.read.get(), buffer, sizeof buffer), Returns(3));
  EXPECT_STREQ(buffer, "abc");
}

TEST(TeeCall, BadArguments) {
  Pipe one;
  UniqueFd fd = OpenTemp(0, "x");
  EXPECT_THAT(tee(fd.get(), one.write.get(), 1, 0), FailsWith(EINVAL));
  EXPECT_THAT(tee(one.read.get(), one.write.get(), 1, 0), FailsWith(EINVAL));
  EXPECT_THAT(tee(-1, one.write.get(), 1, 0), FailsWith(EBADF));
}

PLACE_SUITE(SendfileCall);
TEST_P(SendfileCall, IntoTheNullDevice) {
  UniqueFd null(open("/dev/null", O_WRONLY)), file = OpenTemp(0, std::string(200'000, 'x'));
  EXPECT_THAT(sendfile(null.get(), file.get(), nullptr, 300'000), Returns(200'000));
  EXPECT_THAT(lseek(file.get(), 0, SEEK_CUR), Returns(200'000));
}

TEST_P(SendfileCall, FillsAPipeAsFarAsThereIsRoom) {
  UniqueFd file = OpenTemp(0, std::string(65536, 'x'));
  Pipe pipe;
  EXPECT_THAT(write(pipe.write.get(), "a", 1), Returns(1));
  off64_t offset = 0;
  const ssize_t moved = sendfile(pipe.write.get(), file.get(), &offset, 65536);
  EXPECT_GE(moved, 15 * 4096);
  EXPECT_EQ(offset, moved);
}

TEST_P(SendfileCall, PositionsAndOffsets) {
  UniqueFd in = OpenTemp(0, "0123456789"), out = OpenTemp();
  off_t offset = 6;
  EXPECT_THAT(sendfile(out.get(), in.get(), &offset, 100), Returns(4));
  EXPECT_EQ(offset, 10);
  EXPECT_THAT(sendfile(out.get(), in.get(), nullptr, 3), Returns(3));
  EXPECT_THAT(lseek(in.get(), 0, SEEK_CUR), Returns(3));
  EXPECT_EQ(Contents(out.get()), "6789012");
}

TEST_P(SendfileCall, BadArguments) {
  UniqueFd in = OpenTemp(0, "x"), append = OpenTemp(O_APPEND);
  Pipe pipe;
  off_t negative = -1;
  EXPECT_THAT(sendfile(append.get(), in.get(), nullptr, 1), FailsWith(EINVAL));
  EXPECT_THAT(sendfile(pipe.write.get(), in.get(), &negative, 1), FailsWith(EINVAL));
  EXPECT_THAT(sendfile(pipe.read.get(), in.get(), nullptr, 1), FailsWith(EBADF));
  EXPECT_THAT(sendfile(pipe.write.get(), -1, nullptr, 1), FailsWith(EBADF));
  EXPECT_THAT(sendfile(pipe.write.get(), in.get(), nullptr, 1), Returns(1));
}

PLACE_SUITE(CopyFileRangeCall);
TEST_P(CopyFileRangeCall, CopiesBetweenOffsets) {
  UniqueFd in = OpenTemp(0, "0123456789"), out = OpenTemp(0, "..........");
  off64_t from = 2, to = 5;
  EXPECT_THAT(copy_file_range(in.get(), &from, out.get(), &to, 3, 0), Returns(3));
  EXPECT_EQ(from, 5);
  EXPECT_EQ(to, 8);
  EXPECT_EQ(Contents(out.get()), ".....234..");
  from = 100;
  EXPECT_THAT(copy_file_range(in.get(), &from, out.get(), &to, 3, 0), Returns(0));
}

TEST_P(CopyFileRangeCall, BadArguments) {
  UniqueFd in = OpenTemp(0, "0123456789"), append = OpenTemp(O_APPEND);
  UniqueFd directory(open("/tmp", O_RDONLY));
  Pipe pipe;
  off64_t from = 0, to = 2;
  EXPECT_THAT(copy_file_range(in.get(), nullptr, append.get(), nullptr, 1, 0), FailsWith(EBADF));
  EXPECT_THAT(copy_file_range(in.get(), nullptr, pipe.write.get(), nullptr, 1, 0),
              FailsWith(EINVAL));
  EXPECT_THAT(copy_file_range(in.get(), &from, in.get(), &to, 5, 0), FailsWith(EINVAL));
  EXPECT_THAT(copy_file_range(in.get(), nullptr, in.get(), nullptr, 1, 7), FailsWith(EINVAL));
  EXPECT_THAT(copy_file_range(directory.get(), nullptr, in.get(), nullptr, 1, 0),
              FailsWith(EISDIR));
}

TEST_P(CopyFileRangeCall, WithinAFile) {
  UniqueFd fd = OpenTemp(0, "0123456789");
  off64_t from = 0, to = 5;
  EXPECT_THAT(copy_file_range(fd.get(), &from, fd.get(), &to, 5, 0), Returns(5));
  EXPECT_EQ(Contents(fd.get()), "0123401234");
}

PLACE_SUITE(Fallocate);
TEST_P(Fallocate, ExtendsOrKeepsTheSize) {
  UniqueFd fd = OpenTemp(0, "abc");
  struct stat st;
  EXPECT_THAT(fallocate(fd.get(), FALLOC_FL_KEEP_SIZE, 0, 8192), Returns(0));
  EXPECT_THAT(fstat(fd.get(), &st), Returns(0));
  EXPECT_EQ(st.st_size, 3);
  EXPECT_GE(st.st_blocks, 16);
  EXPECT_THAT(fallocate(fd.get(), 0, 0, 8192), Returns(0));
  EXPECT_THAT(fstat(fd.get(), &st), Returns(0));
  EXPECT_EQ(st.st_size, 8192);
}

TEST_P(Fallocate, PunchedHolesAreZero) {
  UniqueFd fd = OpenTemp(0, std::string(16384, 'x'));
  EXPECT_THAT(fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 8192),
              Returns(0));
  const std::string all = Contents(fd.get());
  EXPECT_EQ(all.substr(0, 4096), std::string(4096, 'x'));
  EXPECT_EQ(all.substr(4096, 8192), std::string(8192, '\0'));
  EXPECT_EQ(all.substr(12288), std::string(4096, 'x'));
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_HOLE), Returns(4096));
  EXPECT_THAT(lseek(fd.get(), 4096, SEEK_DATA), Returns(12288));
}

TEST_P(Fallocate, PartsOfPagesAreZeroedToo) {
  UniqueFd fd = OpenTemp(0, std::string(8192, 'x'));
  EXPECT_THAT(fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10, 20), Returns(0));
  const std::string all = Contents(fd.get());
  EXPECT_EQ(all.substr(0, 10), std::string(10, 'x'));
  EXPECT_EQ(all.substr(10, 20), std::string(20, '\0'));
  EXPECT_EQ(all[30], 'x');
}

TEST_P(Fallocate, BadArguments) {
  UniqueFd fd = OpenTemp(0, "x");
  TempDir dir;
  UniqueFd reader(open((dir / "r").c_str(), O_RDONLY | O_CREAT, 0644));
  Pipe pipe;
  EXPECT_THAT(fallocate(fd.get(), 0, -1, 1), FailsWith(EINVAL));
  EXPECT_THAT(fallocate(fd.get(), 0, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(fallocate(fd.get(), 0, INT64_MAX, INT64_MAX), FailsWith(EFBIG));
  EXPECT_THAT(fallocate(fd.get(), 0x1000, 0, 1), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(fallocate(fd.get(), FALLOC_FL_PUNCH_HOLE, 0, 1), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(fallocate(reader.get(), 0, 0, 1), FailsWith(EBADF));
  EXPECT_THAT(fallocate(pipe.write.get(), 0, 0, 1), FailsWith(ESPIPE));
}

PLACE_SUITE(SeekHoles);
TEST_P(SeekHoles, OfASparseFile) {
  UniqueFd fd = OpenTemp();
  EXPECT_THAT(ftruncate(fd.get(), 1 << 20), Returns(0));
  EXPECT_THAT(pwrite(fd.get(), "x", 1, 1 << 19), Returns(1));
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_DATA), Returns(1 << 19));
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_HOLE), Returns(0));
  EXPECT_THAT(lseek(fd.get(), 1 << 19, SEEK_HOLE), Returns((1 << 19) + 4096));
  EXPECT_THAT(lseek(fd.get(), (1 << 19) + 4096, SEEK_DATA), FailsWith(ENXIO));
  EXPECT_THAT(lseek(fd.get(), 1 << 20, SEEK_DATA), FailsWith(ENXIO));
  EXPECT_THAT(lseek(fd.get(), 1 << 20, SEEK_HOLE), FailsWith(ENXIO));
}

TEST_P(SeekHoles, TheEndIsAHole) {
  UniqueFd fd = OpenTemp(0, "abc");
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_HOLE), Returns(3));
  EXPECT_THAT(lseek(fd.get(), 1, SEEK_DATA), Returns(1));
  EXPECT_THAT(lseek(fd.get(), -1, SEEK_DATA), FailsWith(ENXIO));
}

class Renames : public AtPlace {
 protected:
  Renames() {
    WriteFile(dir_ / "a", "a");
    WriteFile(dir_ / "b", "b");
    EXPECT_THAT(mkdir((dir_ / "d").c_str(), 0755), Returns(0));
    EXPECT_THAT(mkdir((dir_ / "d/sub").c_str(), 0755), Returns(0));
  }
  int Rename2(const char* from, const char* to, unsigned flags) {
    return renameat2(AT_FDCWD, (dir_ / from).c_str(), AT_FDCWD, (dir_ / to).c_str(), flags);
  }
  TempDir dir_;
};
AT_EACH_PLACE(Renames);

TEST_P(Renames, Noreplace) {
  EXPECT_THAT(Rename2("a", "b", RENAME_NOREPLACE), FailsWith(EEXIST));
  EXPECT_THAT(Rename2("a", "a", RENAME_NOREPLACE), FailsWith(EEXIST));
  EXPECT_THAT(Rename2("a", "c", RENAME_NOREPLACE), Returns(0));
  EXPECT_EQ(ReadFile(dir_ / "c"), "a");
}

TEST_P(Renames, Exchange) {
  EXPECT_THAT(Rename2("a", "b", RENAME_EXCHANGE), Returns(0));
  EXPECT_EQ(ReadFile(dir_ / "a"), "b");
  EXPECT_EQ(ReadFile(dir_ / "b"), "a");
  EXPECT_THAT(Rename2("a", "d", RENAME_EXCHANGE), Returns(0));
  EXPECT_EQ(ReadFile(dir_ / "d"), "b");
  EXPECT_THAT(access((dir_ / "a/sub").c_str(), F_OK), Returns(0));
  EXPECT_THAT(Rename2("a", "none", RENAME_EXCHANGE), FailsWith(ENOENT));
}

TEST_P(Renames, ExchangeWithAnAncestor) {
  EXPECT_THAT(Rename2("d", "d/sub", RENAME_EXCHANGE), FailsWith(EINVAL));
  EXPECT_THAT(Rename2("d/sub", "d", RENAME_EXCHANGE), FailsWith(EINVAL));
}

TEST_P(Renames, BadFlags) {
  EXPECT_THAT(Rename2("a", "b", RENAME_NOREPLACE | RENAME_EXCHANGE), FailsWith(EINVAL));
  EXPECT_THAT(Rename2("a", "b", 0x100), FailsWith(EINVAL));
  EXPECT_THAT(Rename2("a", "b", RENAME_EXCHANGE | RENAME_WHITEOUT), FailsWith(EINVAL));
}

TEST_P(Renames, KindsMustFit) {
  EXPECT_THAT(Rename2("a", "d", 0), FailsWith(EISDIR));
  EXPECT_THAT(Rename2("d", "a", 0), FailsWith(ENOTDIR));
  EXPECT_THAT(mkdir((dir_ / "e").c_str(), 0755), Returns(0));
  EXPECT_THAT(Rename2("e", "d", 0), FailsWith(ENOTEMPTY));
  EXPECT_THAT(Rename2("d", "e", 0), Returns(0));
  EXPECT_THAT(Rename2("e", "e/sub/x", 0), FailsWith(EINVAL));
}

TEST_P(Renames, TwoNamesOfOneFile) {
  EXPECT_THAT(link((dir_ / "a").c_str(), (dir_ / "c").c_str()), Returns(0));
  EXPECT_THAT(Rename2("a", "c", 0), Returns(0));
  EXPECT_THAT(access((dir_ / "a").c_str(), F_OK), Returns(0));
  EXPECT_THAT(access((dir_ / "c").c_str(), F_OK), Returns(0));
}

PLACE_SUITE(TemporaryFiles);
TEST_P(TemporaryFiles, GetANameLater) {
  TempDir dir;
  UniqueFd fd(open(dir.path().c_str(), O_TMPFILE | O_RDWR, 0640));
  ASSERT_TRUE(fd.valid());
  struct stat st;
  EXPECT_THAT(fstat(fd.get(), &st), Returns(0));
  EXPECT_EQ(st.st_nlink, 0u);
  EXPECT_EQ(st.st_mode, static_cast<mode_t>(S_IFREG | 0640));
  EXPECT_THAT(write(fd.get(), "hello", 5), Returns(5));
  const std::string link = "/proc/self/fd/" + std::to_string(fd.get());
  EXPECT_THAT(linkat(AT_FDCWD, link.c_str(), AT_FDCWD, (dir / "f").c_str(), AT_SYMLINK_FOLLOW),
              Returns(0));
  EXPECT_EQ(ReadFile(dir / "f"), "hello");
  EXPECT_THAT(fstat(fd.get(), &st), Returns(0));
  EXPECT_EQ(st.st_nlink, 1u);
}

TEST_P(TemporaryFiles, ByDescriptor) {
  TempDir dir;
  UniqueFd fd(open(dir.path().c_str(), O_TMPFILE | O_RDWR, 0600));
  EXPECT_THAT(linkat(fd.get(), "", AT_FDCWD, (dir / "f").c_str(), AT_EMPTY_PATH), Returns(0));
  EXPECT_THAT(access((dir / "f").c_str(), F_OK), Returns(0));
}

TEST_P(TemporaryFiles, ExclusiveOnesNeverGetAName) {
  TempDir dir;
  UniqueFd fd(open(dir.path().c_str(), O_TMPFILE | O_RDWR | O_EXCL, 0600));
  ASSERT_TRUE(fd.valid());
  EXPECT_THAT(linkat(fd.get(), "", AT_FDCWD, (dir / "f").c_str(), AT_EMPTY_PATH),
              FailsWith(ENOENT));
}

TEST_P(TemporaryFiles, BadArguments) {
  TempDir dir;
  WriteFile(dir / "f", "");
  EXPECT_THAT(open(dir.path().c_str(), O_TMPFILE | O_RDONLY, 0600), FailsWith(EINVAL));
  EXPECT_THAT(open((dir / "f").c_str(), O_TMPFILE | O_RDWR, 0600), FailsWith(ENOTDIR));
  EXPECT_THAT(open((dir / "none").c_str(), O_TMPFILE | O_RDWR, 0600), FailsWith(ENOENT));
}

}  // namespace
