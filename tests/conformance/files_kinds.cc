// What calls on descriptors answer for each kind of file.
#include <fcntl.h>
#include <linux/fs.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>

#include "tests/conformance/places.h"
#include "tests/conformance/support.h"

namespace {

UniqueFd SignalFd() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGUSR1);
  return UniqueFd(signalfd(-1, &set, SFD_NONBLOCK));
}

struct Pipe {
  Pipe() {
    int ends[2];
    EXPECT_THAT(pipe2(ends, O_NONBLOCK), Returns(0));
    read = UniqueFd(ends[0]);
    write = UniqueFd(ends[1]);
  }
  UniqueFd read, write;
};

PLACE_SUITE(StoredFiles);

TEST_P(StoredFiles, InodeFlags) {
  TempDir dir;
  UniqueFd file(open((dir / "f").c_str(), O_RDWR | O_CREAT, 0600));
  UniqueFd directory(open(dir.path().c_str(), O_RDONLY));
  for (const int fd : {file.get(), directory.get()}) {
    int flags = -1;
    const int result = ioctl(fd, FS_IOC_GETFLAGS, &flags);
    if (result != 0 && errno == ENOTTY && place() != conformance::Place::kTmpfs) {
      GTEST_SKIP() << "files of another machine, of which nobody knows the flags";
    }
    EXPECT_THAT(result, Returns(0));
    EXPECT_EQ(flags & (FS_IMMUTABLE_FL | FS_APPEND_FL), 0);
    fsxattr attributes;
    EXPECT_THAT(ioctl(fd, FS_IOC_FSGETXATTR, &attributes), Returns(0));
    EXPECT_EQ(attributes.fsx_projid, 0u);
    EXPECT_THAT(ioctl(fd, FS_IOC_GETFLAGS, nullptr), FailsWith(EFAULT));
  }
}

TEST_P(StoredFiles, AllocatedBytes) {
  // overlayfs tells about an inode of its own, which has none.
  if (place() == conformance::Place::kOverlay) GTEST_SKIP() << "not those of the upper file";
  UniqueFd fd = OpenTemp(0, std::string(100'000, 'x'));
  ASSERT_THAT(fsync(fd.get()), Returns(0));
  struct stat st = {};
  ASSERT_THAT(fstat(fd.get(), &st), Returns(0));
  loff_t bytes = -1;
  EXPECT_THAT(ioctl(fd.get(), FIOQSIZE, &bytes), Returns(0));
  EXPECT_EQ(bytes, st.st_blocks * 512);
}

TEST_P(StoredFiles, NothingWrittenMovesNothing) {
  UniqueFd fd = OpenTemp(O_APPEND, "content");
  ASSERT_THAT(lseek(fd.get(), 2, SEEK_SET), Returns(2));
  EXPECT_THAT(write(fd.get(), "", 0), Returns(0));
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_CUR), Returns(2));
}

TEST_P(StoredFiles, ClonesOfOtherKinds) {
  TempDir dir;
  UniqueFd fd = OpenTemp(0, "content");
  UniqueFd directory(open(dir.path().c_str(), O_RDONLY)), null(open("/dev/null", O_RDWR));
  Pipe pipe;
  EXPECT_THAT(ioctl(fd.get(), FICLONE, -1), FailsWith(EBADF));
  EXPECT_THAT(ioctl(fd.get(), FICLONE, null.get()), FailsWith(EXDEV));
  EXPECT_THAT(ioctl(fd.get(), FICLONE, pipe.read.get()), FailsWith(EXDEV));
  EXPECT_THAT(ioctl(pipe.write.get(), FICLONE, pipe.read.get()), FailsWith(EINVAL));
  EXPECT_THAT(ioctl(fd.get(), FICLONE, directory.get()), FailsWith(EISDIR));
}

TEST_P(StoredFiles, DeduplicationThatCannotBe) {
  TempDir dir;
  UniqueFd fd = OpenTemp(0, "content"), directory(open(dir.path().c_str(), O_RDONLY));
  UniqueFd writer(open((dir / "w").c_str(), O_WRONLY | O_CREAT, 0600));
  Pipe pipe;
  const auto fails_with = [](int file, const file_dedupe_range& range) {
    return ioctl(file, FIDEDUPERANGE, &range) == 0 ? 0 : errno;
  };
  EXPECT_THAT(ioctl(fd.get(), FIDEDUPERANGE, nullptr), FailsWith(EFAULT));
  file_dedupe_range many = {};
  many.dest_count = 200;  // More than a page holds, of which nothing is read.
  EXPECT_EQ(fails_with(fd.get(), many), ENOMEM);
  file_dedupe_range range = {};
  range.src_length = 4;
  EXPECT_EQ(fails_with(writer.get(), range), EINVAL);
  EXPECT_EQ(fails_with(directory.get(), range), EISDIR);
  EXPECT_EQ(fails_with(pipe.read.get(), range), EINVAL);
  range.src_offset = static_cast<uint64_t>(INT64_MAX);  // Looked at later than the kind.
  EXPECT_EQ(fails_with(directory.get(), range), EISDIR);
  range.reserved1 = 1;
  EXPECT_EQ(fails_with(directory.get(), range), EINVAL);
}

TEST(FileKinds, FlagsThatATmpfsDoesNotKeep) {
  UniqueFd fd(open("/dev/shm", O_RDWR | O_TMPFILE, 0600));
  ASSERT_GE(fd.get(), 0);
  fsxattr attributes = {};
  file_dedupe_range range = {};
  range.src_length = 4;
  EXPECT_THAT(ioctl(fd.get(), FIDEDUPERANGE, &range), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(ioctl(fd.get(), FS_IOC_FSSETXATTR, nullptr), FailsWith(EFAULT));
  EXPECT_THAT(ioctl(fd.get(), FS_IOC_FSSETXATTR, &attributes), Returns(0));
  attributes.fsx_projid = 5;
  EXPECT_THAT(ioctl(fd.get(), FS_IOC_FSSETXATTR, &attributes), FailsWith(EOPNOTSUPP));
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(setresuid(1000, 1000, 1000) == 0);
                CHILD_CHECK(ioctl(fd.get(), FS_IOC_FSSETXATTR, &attributes) == -1);
                CHILD_CHECK(errno == EPERM);
                return 0;
              }),
              Exited(0));
  int version = 0;
  EXPECT_THAT(ioctl(fd.get(), FS_IOC_GETVERSION, &version), FailsWith(ENOTTY));
}

TEST_P(StoredFiles, DirectoriesCanBeSynced) {
  TempDir dir;
  ASSERT_THAT(mkdir((dir / "sub").c_str(), 0700), Returns(0));
  UniqueFd sub(open((dir / "sub").c_str(), O_RDONLY)), path(open(dir.path().c_str(), O_PATH));
  EXPECT_THAT(fsync(sub.get()), Returns(0));
  EXPECT_THAT(fdatasync(sub.get()), Returns(0));
  EXPECT_THAT(syncfs(sub.get()), Returns(0));
  EXPECT_THAT(fsync(path.get()), FailsWith(EBADF));
  // Also when its name is gone.
  ASSERT_THAT(rmdir((dir / "sub").c_str()), Returns(0));
  EXPECT_THAT(fsync(sub.get()), Returns(0));
}

TEST_P(StoredFiles, CopyBetweenFilesystems) {
  UniqueFd fd = OpenTemp(0, "content");
  UniqueFd memfd(memfd_create("other", 0));
  EXPECT_THAT(copy_file_range(fd.get(), nullptr, memfd.get(), nullptr, 7, 0), FailsWith(EXDEV));
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_CUR), Returns(0));
  UniqueFd proc(open("/proc/self/status", O_RDONLY));
  EXPECT_THAT(copy_file_range(proc.get(), nullptr, fd.get(), nullptr, 7, 0), FailsWith(EXDEV));
}

TEST_P(StoredFiles, EmptyPathsAreNoPaths) {
  UniqueFd fd = OpenTemp();
  EXPECT_THAT(openat(fd.get(), "", O_RDONLY), FailsWith(ENOENT));
  EXPECT_THAT(openat(-1, "", O_RDONLY), FailsWith(ENOENT));
}

TEST_P(StoredFiles, SealsAndNotifications) {
  UniqueFd fd = OpenTemp();
  UniqueFd reader(open(("/proc/self/fd/" + std::to_string(fd.get())).c_str(), O_RDONLY));
  EXPECT_THAT(fcntl(reader.get(), F_ADD_SEALS, F_SEAL_GROW), FailsWith(EPERM));
  EXPECT_THAT(fcntl(fd.get(), F_NOTIFY, DN_MODIFY), FailsWith(ENOTDIR));
  int on = 1;
  EXPECT_THAT(ioctl(fd.get(), FIOASYNC, &on), FailsWith(ENOTTY));
}

TEST(FileKinds, BlockSizeOfEverything) {
  Pipe pipe;
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM, 0)), event(eventfd(0, 0)), epoll(epoll_create1(0));
  UniqueFd null(open("/dev/null", O_RDWR));
  for (const int fd : {pipe.read.get(), socket.get(), event.get(), epoll.get(), null.get()}) {
    int size = 0;
    EXPECT_THAT(ioctl(fd, FIGETBSZ, &size), Returns(0));
    EXPECT_EQ(size, 4096);
    loff_t bytes;
    EXPECT_THAT(ioctl(fd, FIOQSIZE, &bytes), FailsWith(ENOTTY));
  }
}

TEST(FileKinds, PositionsThatStayZero) {
  UniqueFd timer(timerfd_create(CLOCK_MONOTONIC, 0)), signals = SignalFd();
  UniqueFd inotify(inotify_init1(0)), event(eventfd(0, 0)), epoll(epoll_create1(0));
  for (const int fd : {timer.get(), signals.get(), inotify.get(), event.get(), epoll.get()}) {
    EXPECT_THAT(lseek(fd, 77, SEEK_SET), Returns(0));
    EXPECT_THAT(lseek(fd, 0, SEEK_CUR), Returns(0));
  }
}

TEST(FileKinds, DirectIoNeedsFilesThatCan) {
  Pipe pipe;
  EXPECT_THAT(fcntl(pipe.write.get(), F_SETFL, O_DIRECT), Returns(0));
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM, 0)), event(eventfd(0, 0));
  UniqueFd null(open("/dev/null", O_RDWR)), memfd(memfd_create("x", 0));
  for (const int fd : {socket.get(), event.get(), null.get(), memfd.get()}) {
    EXPECT_THAT(fcntl(fd, F_SETFL, O_DIRECT), FailsWith(EINVAL));
    EXPECT_THAT(fcntl(fd, F_SETFL, O_NONBLOCK), Returns(0));
  }
}

TEST(FileKinds, SendfileFromSocketsIntoPipes) {
  int ends[2];
  ASSERT_THAT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), Returns(0));
  UniqueFd here(ends[0]), there(ends[1]);
  ASSERT_THAT(write(there.get(), "message", 7), Returns(7));
  Pipe pipe;
  EXPECT_THAT(sendfile(pipe.write.get(), here.get(), nullptr, 100), Returns(7));
  char text[16] = {};
  EXPECT_THAT(read(pipe.read.get(), text, sizeof text), Returns(7));
  EXPECT_STREQ(text, "message");
  UniqueFd file = OpenTemp();
  ASSERT_THAT(write(there.get(), "message", 7), Returns(7));
  EXPECT_THAT(sendfile(file.get(), here.get(), nullptr, 7), FailsWith(EINVAL));
}

TEST(FileKinds, ProgramsInMemfdsAreExecuted) {
  UniqueFd memfd(memfd_create("program", MFD_CLOEXEC));
  const std::string program = ReadFile("/bin/true");
  ASSERT_THAT(write(memfd.get(), program.data(), program.size()), Returns(program.size()));
  const pid_t child = fork();
  if (child == 0) {
    char name[] = "true";
    char* argv[] = {name, nullptr};
    char* envp[] = {nullptr};
    syscall(SYS_execveat, memfd.get(), "", argv, envp, AT_EMPTY_PATH);
    _exit(100);
  }
  int status = -1;
  ASSERT_THAT(waitpid(child, &status, 0), Returns(child));
  EXPECT_EQ(status, 0);
  EXPECT_NE(fcntl(memfd.get(), F_GETFL) & 0100000, 0);  // O_LARGEFILE.
}

TEST(FileKinds, ProgramsInMemfdsKnowWhatTheyAre) {
  UniqueFd memfd(memfd_create("program", MFD_CLOEXEC));
  const std::string program = ReadFile("/bin/readlink");
  ASSERT_THAT(write(memfd.get(), program.data(), program.size()), Returns(program.size()));
  int ends[2];
  ASSERT_THAT(pipe2(ends, O_CLOEXEC), Returns(0));
  UniqueFd out(ends[0]), in(ends[1]);
  const pid_t child = fork();
  if (child == 0) {
    dup2(in.get(), STDOUT_FILENO);
    execl(("/proc/self/fd/" + std::to_string(memfd.get())).c_str(), "readlink", "/proc/self/exe",
          nullptr);
    _exit(100);
  }
  in = UniqueFd();
  EXPECT_EQ(ReadAll(out.get()), "/memfd:program (deleted)\n");
  int status = -1;
  ASSERT_THAT(waitpid(child, &status, 0), Returns(child));
  EXPECT_EQ(status, 0);
}

TEST(FileKinds, OthersWithoutPathsAreNotExecuted) {
  UniqueFd event(eventfd(0, 0));
  char* none[] = {nullptr};
  EXPECT_THAT(syscall(SYS_execveat, event.get(), "", none, none, AT_EMPTY_PATH), FailsWith(EACCES));
}

}  // namespace
