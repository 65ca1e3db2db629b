// Every call that takes a descriptor, with each kind of descriptor.
#include <dirent.h>
#include <linux/fs.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/xattr.h>
#include <termios.h>

#include <algorithm>
#include <iterator>

#include "tests/conformance/files_calls.h"

namespace {

// A descriptor of each kind, in the order of the results.
struct Kinds {
  explicit Kinds(const std::string& dir) {
    MakeTree(dir);
    const auto add = [&](const char* name, int flags) {
      fds.emplace_back(open((dir + "/" + name).c_str(), flags));
      EXPECT_TRUE(fds.back().valid()) << name;
    };
    add("f", O_RDONLY);
    add("f", O_WRONLY);
    add("f", O_RDWR);
    add("f", O_RDWR | O_APPEND);
    add("d", O_RDONLY);
    add("f", O_PATH);
    add("d", O_PATH);
    add("lf", O_PATH | O_NOFOLLOW);
    add("p", O_RDWR | O_NONBLOCK);
    Pipe pipe(O_NONBLOCK);
    fds.push_back(std::move(pipe.read));
    fds.push_back(std::move(pipe.write));
    int pair[2];
    EXPECT_THAT(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair), Returns(0));
    fds.emplace_back(pair[0]);
    fds.emplace_back(eventfd(0, EFD_NONBLOCK));
    fds.emplace_back(epoll_create1(0));
    fds.emplace_back(open("/dev/null", O_RDWR));
    fds.emplace_back();  // -1.
    peer = UniqueFd(pair[1]);
  }
  std::vector<UniqueFd> fds;
  UniqueFd peer;
};
// read-only, write-only, read-write, appending, directory, O_PATH of a file, of a directory, of a
// link, fifo, pipe to read, pipe to write, socket, eventfd, epoll, /dev/null, -1.

struct FdCall {
  const char* name;
  const char* results;
  long (*run)(int fd, const std::string& dir);
};

char g_bytes[64] = "0123456789";
iovec g_piece = {g_bytes, 8};

// Inodes without a type (eventfd, epoll): since Linux 6.16 their attributes cannot be changed.
bool HasNoType(int fd) {
  struct stat st = {};
  return fstat(fd, &st) == 0 && (st.st_mode & S_IFMT) == 0;
}

// One byte, and not the first: /dev/null is everybody's.
long Lock(int fd, int command, short type) {
  struct flock lock = {};
  lock.l_type = type;
  lock.l_start = int64_t{getpid()} << 20;
  lock.l_len = 1;
  return fcntl(fd, command, &lock);
}

long Map(int fd, int protection, int flags) {
  void* const at = mmap(nullptr, 4096, protection, flags, fd, 0);
  if (at == MAP_FAILED) return -1;
  munmap(at, 4096);
  return 0;
}

// With a pipe that holds "abc", or has room.
template <typename Body>
long WithPipe(Body body) {
  Pipe pipe(O_NONBLOCK);
  if (write(pipe.write.get(), "abc", 3) != 3) return -1;
  const long result = body(pipe);
  const int error = errno;
  pipe.read.reset();
  pipe.write.reset();
  errno = error;
  return result;
}

UniqueFd Other(const std::string& dir, int flags) {
  return UniqueFd(open((dir + "/other").c_str(), flags));
}

const FdCall kCalls[] = {
    {"Read",
     "ok EBADF ok ok EISDIR EBADF EBADF EBADF EAGAIN EAGAIN EBADF EAGAIN EAGAIN EINVAL ok EBADF",
     [](int fd, const std::string&) { return long{read(fd, g_bytes, 8)}; }},
    {"ReadNothing", "ok EBADF ok ok EISDIR EBADF EBADF EBADF ok ok EBADF ok EINVAL EINVAL ok EBADF",
     [](int fd, const std::string&) { return long{read(fd, g_bytes, 0)}; }},
    {"Write", "EBADF ok ok ok EBADF EBADF EBADF EBADF ok EBADF ok ok ok EINVAL ok EBADF",
     [](int fd, const std::string&) { return long{write(fd, "12345678", 8)}; }},
    {"WriteNothing", "EBADF ok ok ok EBADF EBADF EBADF EBADF ok EBADF ok ok EINVAL EINVAL ok EBADF",
     [](int fd, const std::string&) { return long{write(fd, g_bytes, 0)}; }},
    {"Pread",
     "ok EBADF ok ok EISDIR EBADF EBADF EBADF ESPIPE ESPIPE ESPIPE ESPIPE ESPIPE ESPIPE ok EBADF",
     [](int fd, const std::string&) { return long{pread(fd, g_bytes, 8, 0)}; }},
    {"PreadNegative",
     "EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL "
     "EINVAL EINVAL EINVAL",
     [](int fd, const std::string&) { return long{pread(fd, g_bytes, 8, -1)}; }},
    {"Pwrite",
     "EBADF ok ok ok EBADF EBADF EBADF EBADF ESPIPE ESPIPE ESPIPE ESPIPE ESPIPE ESPIPE ok EBADF",
     [](int fd, const std::string&) { return long{pwrite(fd, "12345678", 8, 0)}; }},
    {"Readv",
     "ok EBADF ok ok EISDIR EBADF EBADF EBADF EAGAIN EAGAIN EBADF EAGAIN EAGAIN EINVAL ok EBADF",
     [](int fd, const std::string&) { return long{readv(fd, &g_piece, 1)}; }},
    {"Preadv2OfThePosition",
     "ok EBADF ok ok EISDIR EBADF EBADF EBADF EAGAIN EAGAIN EBADF EAGAIN EAGAIN EINVAL ok EBADF",
     [](int fd, const std::string&) { return long{preadv2(fd, &g_piece, 1, -1, 0)}; }},
    {"LseekSet", "ok ok ok ok ok EBADF EBADF EBADF ESPIPE ESPIPE ESPIPE ESPIPE ok ok ok EBADF",
     [](int fd, const std::string&) { return long{lseek(fd, 0, SEEK_SET)}; }},
    {"LseekNegative",
     "EINVAL EINVAL EINVAL EINVAL EINVAL EBADF EBADF EBADF ESPIPE ESPIPE ESPIPE ESPIPE ok ok ok "
     "EBADF",
     [](int fd, const std::string&) { return long{lseek(fd, -1, SEEK_SET)}; }},
    {"LseekBadWhence",
     "EINVAL EINVAL EINVAL EINVAL EINVAL EBADF EBADF EBADF EINVAL EINVAL EINVAL EINVAL EINVAL "
     "EINVAL EINVAL EBADF",
     [](int fd, const std::string&) { return long{lseek(fd, 0, 9)}; }},
    {"Ftruncate",
     "EINVAL ok ok ok EINVAL EBADF EBADF EBADF EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL "
     "EBADF",
     [](int fd, const std::string&) { return long{ftruncate(fd, 4)}; }},
    {"FtruncateNegative",
     "EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL "
     "EINVAL EINVAL EINVAL",
     [](int fd, const std::string&) { return long{ftruncate(fd, -1)}; }},
    {"Fallocate",
     "EBADF ok ok ok EBADF EBADF EBADF EBADF ESPIPE EBADF ESPIPE ENODEV ENODEV ENODEV ENODEV EBADF",
     [](int fd, const std::string&) { return long{fallocate(fd, 0, 0, 4)}; }},
    {"FallocateNothing",
     "EINVAL EINVAL EINVAL EINVAL EINVAL EBADF EBADF EBADF EINVAL EINVAL EINVAL EINVAL EINVAL "
     "EINVAL EINVAL EBADF",
     [](int fd, const std::string&) { return long{fallocate(fd, 0, 0, 0)}; }},
    {"FallocateUnknown",
     "EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EBADF EBADF EBADF EOPNOTSUPP "
     "EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EOPNOTSUPP EBADF",
     [](int fd, const std::string&) { return long{fallocate(fd, 0x800, 0, 4)}; }},
    {"Fsync",
     "ok ok ok ok ok EBADF EBADF EBADF EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EBADF",
     [](int fd, const std::string&) { return long{fsync(fd)}; }},
    {"Fdatasync",
     "ok ok ok ok ok EBADF EBADF EBADF EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EBADF",
     [](int fd, const std::string&) { return long{fdatasync(fd)}; }},
    {"Syncfs", "ok ok ok ok ok EBADF EBADF EBADF ok ok ok ok ok ok ok EBADF",
     [](int fd, const std::string&) { return long{syncfs(fd)}; }},
    {"SyncFileRange",
     "ok ok ok ok ok EBADF EBADF EBADF ESPIPE ESPIPE ESPIPE ESPIPE ESPIPE ESPIPE ESPIPE EBADF",
     [](int fd, const std::string&) { return long{sync_file_range(fd, 0, 0, 1)}; }},
    {"SyncFileRangeBadFlags",
     "EINVAL EINVAL EINVAL EINVAL EINVAL EBADF EBADF EBADF EINVAL EINVAL EINVAL EINVAL EINVAL "
     "EINVAL EINVAL EBADF",
     [](int fd, const std::string&) { return long{sync_file_range(fd, 0, 0, 8)}; }},
    {"Readahead",
     "ok EBADF ok ok EINVAL EBADF EBADF EBADF EINVAL EINVAL EBADF EINVAL EINVAL EINVAL EINVAL "
     "EBADF",
     [](int fd, const std::string&) { return long{readahead(fd, 0, 4096)}; }},
    {"Fadvise", "ok ok ok ok ok EBADF EBADF EBADF ESPIPE ESPIPE ESPIPE ok ok ok ok EBADF",
     [](int fd, const std::string&) {
       return syscall(SYS_fadvise64, fd, 0, 0, POSIX_FADV_NORMAL);
     }},
    {"FadviseUnknown",
     "EINVAL EINVAL EINVAL EINVAL EINVAL EBADF EBADF EBADF ESPIPE ESPIPE ESPIPE EINVAL EINVAL "
     "EINVAL EINVAL EBADF",
     [](int fd, const std::string&) { return syscall(SYS_fadvise64, fd, 0, 0, 99); }},
    {"Fstat", "ok ok ok ok ok ok ok ok ok ok ok ok ok ok ok EBADF",
     [](int fd, const std::string&) {
       struct stat st;
       return long{fstat(fd, &st)};
     }},
    {"Fstatfs", "ok ok ok ok ok ok ok ok ok ok ok ok ok ok ok EBADF",
     [](int fd, const std::string&) {
       struct statfs fs;
       return long{fstatfs(fd, &fs)};
     }},
    {"Fchmod", "ok ok ok ok ok EBADF EBADF EBADF ok ok ok ok ok ok ok EBADF",
     [](int fd, const std::string&) {
       // The mode that it has: one of them is a device of everybody.
       struct stat st = {};
       if (fstat(fd, &st) != 0) return -1L;
       if (HasNoType(fd)) return 0L;
       return long{fchmod(fd, st.st_mode & 07777)};
     }},
    {"Fchown", "ok ok ok ok ok EBADF EBADF EBADF ok ok ok ok ok ok ok EBADF",
     [](int fd, const std::string&) { return HasNoType(fd) ? 0L : long{fchown(fd, -1, -1)}; }},
    {"Futimens", "ok ok ok ok ok EBADF EBADF EBADF ok ok ok ok ok ok ok EBADF",
     [](int fd, const std::string&) { return HasNoType(fd) ? 0L : long{futimens(fd, nullptr)}; }},
    {"Fsetxattr",
     "ok ok ok ok ok EBADF EBADF EBADF EPERM EPERM EPERM EPERM EPERM EPERM EPERM EBADF",
     [](int fd, const std::string&) { return long{fsetxattr(fd, "user.a", "1", 1, 0)}; }},
    {"Fgetxattr",
     "ENODATA ENODATA ENODATA ENODATA ENODATA EBADF EBADF EBADF ENODATA ENODATA ENODATA ENODATA "
     "ENODATA ENODATA ENODATA EBADF",
     [](int fd, const std::string&) { return long{fgetxattr(fd, "user.none", nullptr, 0)}; }},
    {"Flistxattr", "ok ok ok ok ok EBADF EBADF EBADF ok ok ok ok ok ok ok EBADF",
     [](int fd, const std::string&) { return long{flistxattr(fd, nullptr, 0)}; }},
    {"Fchdir",
     "ENOTDIR ENOTDIR ENOTDIR ENOTDIR ok ENOTDIR ok ENOTDIR ENOTDIR ENOTDIR ENOTDIR ENOTDIR "
     "ENOTDIR ENOTDIR ENOTDIR EBADF",
     [](int fd, const std::string&) {
       const int status = InChild([&] { return fchdir(fd) == 0 ? 0 : errno; });
       errno = WEXITSTATUS(status);
       return errno == 0 ? 0L : -1L;
     }},
    {"Getdents",
     "ENOTDIR ENOTDIR ENOTDIR ENOTDIR ok EBADF EBADF EBADF ENOTDIR ENOTDIR ENOTDIR ENOTDIR ENOTDIR "
     "ENOTDIR ENOTDIR EBADF",
     [](int fd, const std::string&) {
       char room[512];
       return syscall(SYS_getdents64, fd, room, sizeof room);
     }},
    {"Flock", "ok ok ok ok ok EBADF EBADF EBADF ok ok ok ok ok ok ok EBADF",
     [](int fd, const std::string&) { return long{flock(fd, LOCK_SH | LOCK_NB)}; }},
    {"LockForReading", "ok EBADF ok ok ok EBADF EBADF EBADF ok ok EBADF ok ok ok ok EBADF",
     [](int fd, const std::string&) { return Lock(fd, F_SETLK, F_RDLCK); }},
    {"LockForWriting", "EBADF ok ok ok EBADF EBADF EBADF EBADF ok EBADF ok ok ok ok ok EBADF",
     [](int fd, const std::string&) { return Lock(fd, F_SETLK, F_WRLCK); }},
    {"LockOfADescription", "ok EBADF ok ok ok EBADF EBADF EBADF ok ok EBADF ok ok ok ok EBADF",
     [](int fd, const std::string&) { return Lock(fd, F_OFD_SETLK, F_RDLCK); }},
    {"LockBadType",
     "EINVAL EINVAL EINVAL EINVAL EINVAL EBADF EBADF EBADF EINVAL EINVAL EINVAL EINVAL EINVAL "
     "EINVAL EINVAL EBADF",
     [](int fd, const std::string&) { return Lock(fd, F_SETLK, 9); }},
    {"GetLock", "ok ok ok ok ok EBADF EBADF EBADF ok ok ok ok ok ok ok EBADF",
     [](int fd, const std::string&) { return Lock(fd, F_GETLK, F_WRLCK); }},
    {"GetPipeSize",
     "EBADF EBADF EBADF EBADF EBADF EBADF EBADF EBADF ok ok ok EBADF EBADF EBADF EBADF EBADF",
     [](int fd, const std::string&) { return long{fcntl(fd, F_GETPIPE_SZ)}; }},
    {"GetFlags", "ok ok ok ok ok ok ok ok ok ok ok ok ok ok ok EBADF",
     [](int fd, const std::string&) { return long{fcntl(fd, F_GETFL)}; }},
    {"SetFlags", "ok ok ok ok ok EBADF EBADF EBADF ok ok ok ok ok ok ok EBADF",
     [](int fd, const std::string&) { return long{fcntl(fd, F_SETFL, O_NONBLOCK)}; }},
    {"GetDescriptorFlags", "ok ok ok ok ok ok ok ok ok ok ok ok ok ok ok EBADF",
     [](int fd, const std::string&) { return long{fcntl(fd, F_GETFD)}; }},
    {"GetOwner", "ok ok ok ok ok EBADF EBADF EBADF ok ok ok ok ok ok ok EBADF",
     [](int fd, const std::string&) { return long{fcntl(fd, F_GETOWN)}; }},
    {"UnknownFcntl",
     "EINVAL EINVAL EINVAL EINVAL EINVAL EBADF EBADF EBADF EINVAL EINVAL EINVAL EINVAL EINVAL "
     "EINVAL EINVAL EBADF",
     [](int fd, const std::string&) { return long{fcntl(fd, 4711, 0)}; }},
    {"Dup", "ok ok ok ok ok ok ok ok ok ok ok ok ok ok ok EBADF",
     [](int fd, const std::string&) {
       const int copy = dup(fd);
       if (copy >= 0) close(copy);
       return long{copy};
     }},
    {"IoctlFionread", "ok ok ok ok ENOTTY EBADF EBADF EBADF ok ok ok ok ENOTTY EINVAL ENOTTY EBADF",
     [](int fd, const std::string&) {
       int count;
       return long{ioctl(fd, FIONREAD, &count)};
     }},
    {"IoctlFionbio", "ok ok ok ok ok EBADF EBADF EBADF ok ok ok ok ok ok ok EBADF",
     [](int fd, const std::string&) {
       int on = 1;
       return long{ioctl(fd, FIONBIO, &on)};
     }},
    {"IoctlFioclex", "ok ok ok ok ok EBADF EBADF EBADF ok ok ok ok ok ok ok EBADF",
     [](int fd, const std::string&) { return long{ioctl(fd, FIOCLEX)}; }},
    {"IoctlTcgets",
     "ENOTTY ENOTTY ENOTTY ENOTTY ENOTTY EBADF EBADF EBADF ENOTTY ENOTTY ENOTTY ENOTTY ENOTTY "
     "EINVAL ENOTTY EBADF",
     [](int fd, const std::string&) {
       termios settings;
       return long{ioctl(fd, TCGETS, &settings)};
     }},
    {"IoctlUnknown",
     "ENOTTY ENOTTY ENOTTY ENOTTY ENOTTY EBADF EBADF EBADF ENOTTY ENOTTY ENOTTY ENOTTY ENOTTY "
     "EINVAL ENOTTY EBADF",
     [](int fd, const std::string&) { return long{ioctl(fd, 0x5678, nullptr)}; }},
    {"MapPrivately",
     "ok EACCES ok ok ENODEV EBADF EBADF EBADF ENODEV ENODEV EACCES ENODEV ENODEV ENODEV ENODEV "
     "EBADF",
     [](int fd, const std::string&) { return Map(fd, PROT_READ, MAP_PRIVATE); }},
    {"MapSharedForReading",
     "ok EACCES ok ok ENODEV EBADF EBADF EBADF ENODEV ENODEV EACCES ENODEV ENODEV ENODEV ENODEV "
     "EBADF",
     [](int fd, const std::string&) { return Map(fd, PROT_READ, MAP_SHARED); }},
    {"MapSharedForWriting",
     "EACCES EACCES ok ok EACCES EBADF EBADF EBADF ENODEV EACCES EACCES ENODEV ENODEV ENODEV "
     "ENODEV EBADF",
     [](int fd, const std::string&) { return Map(fd, PROT_READ | PROT_WRITE, MAP_SHARED); }},
    {"OpenBelow",
     "ENOTDIR ENOTDIR ENOTDIR ENOTDIR ok ENOTDIR ok ENOTDIR ENOTDIR ENOTDIR ENOTDIR ENOTDIR "
     "ENOTDIR ENOTDIR ENOTDIR EBADF",
     [](int fd, const std::string&) {
       const int made = openat(fd, "inner", O_RDONLY);
       if (made >= 0) close(made);
       return long{made};
     }},
    {"StatBelow",
     "ENOTDIR ENOTDIR ENOTDIR ENOTDIR ok ENOTDIR ok ENOTDIR ENOTDIR ENOTDIR ENOTDIR ENOTDIR "
     "ENOTDIR ENOTDIR ENOTDIR EBADF",
     [](int fd, const std::string&) {
       struct stat st;
       return long{fstatat(fd, "inner", &st, 0)};
     }},
    {"StatOfItself", "ok ok ok ok ok ok ok ok ok ok ok ok ok ok ok EBADF",
     [](int fd, const std::string&) {
       struct stat st;
       return long{fstatat(fd, "", &st, AT_EMPTY_PATH)};
     }},
    {"StatOfAnEmptyPath",
     "ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT "
     "ENOENT ENOENT ENOENT",
     [](int fd, const std::string&) {
       struct stat st;
       return long{fstatat(fd, "", &st, 0)};
     }},
    {"ReadlinkOfItself",
     "ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT ENOENT ok ENOENT ENOENT ENOENT ENOENT ENOENT "
     "ENOENT ENOENT EBADF",
     [](int fd, const std::string&) { return long{readlinkat(fd, "", g_bytes, sizeof g_bytes)}; }},
    {"ChownOfItself", "ok ok ok ok ok ok ok ok ok ok ok ok ok ok ok EBADF",
     [](int fd, const std::string&) {
       return HasNoType(fd) ? 0L : long{fchownat(fd, "", -1, -1, AT_EMPTY_PATH)};
     }},
    {"LinkOfItself", "ok ok ok ok EPERM ok EPERM ok ok EXDEV EXDEV EXDEV EXDEV EXDEV EXDEV EBADF",
     [](int fd, const std::string& d) {
       const long made = linkat(fd, "", AT_FDCWD, (d + "/fresh").c_str(), AT_EMPTY_PATH);
       const int error = errno;
       unlink((d + "/fresh").c_str());
       errno = error;
       return made;
     }},
    {"Reopen", "ok ok ok ok ok ok ok ELOOP ok ok ok ENXIO ENXIO ENXIO ok ENOENT",
     [](int fd, const std::string&) {
       const std::string path = "/proc/self/fd/" + std::to_string(fd);
       const int made = open(path.c_str(), O_RDONLY | O_NONBLOCK);
       const int error = errno;
       if (made >= 0) close(made);
       errno = error;
       return long{made};
     }},
    {"CopyRangeFrom",
     "ok EBADF ok ok EISDIR EBADF EBADF EBADF EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL "
     "EBADF",
     [](int fd, const std::string& d) {
       return long{copy_file_range(fd, nullptr, Other(d, O_WRONLY).get(), nullptr, 2, 0)};
     }},
    {"CopyRangeTo",
     "EBADF ok ok EBADF EISDIR EBADF EBADF EBADF EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL EINVAL "
     "EBADF",
     [](int fd, const std::string& d) {
       return long{copy_file_range(Other(d, O_RDONLY).get(), nullptr, fd, nullptr, 2, 0)};
     }},
    {"SendfileFrom",
     "ok EBADF ok ok EINVAL EBADF EBADF EBADF EINVAL EINVAL EBADF EINVAL EINVAL EINVAL EINVAL "
     "EBADF",
     [](int fd, const std::string& d) {
       return long{sendfile(Other(d, O_WRONLY).get(), fd, nullptr, 2)};
     }},
    {"SendfileTo",
     "EBADF ok ok EINVAL EBADF EBADF EBADF EBADF ok EBADF ok ok EINVAL EINVAL ok EBADF",
     [](int fd, const std::string& d) {
       return long{sendfile(fd, Other(d, O_RDONLY).get(), nullptr, 8)};
     }},
    {"SpliceFrom",
     "ok EBADF ok ok EINVAL EBADF EBADF EBADF EAGAIN EAGAIN EBADF EAGAIN EINVAL EINVAL EINVAL "
     "EBADF",
     [](int fd, const std::string&) {
       return WithPipe([&](Pipe& pipe) {
         return long{splice(fd, nullptr, pipe.write.get(), nullptr, 2, SPLICE_F_NONBLOCK)};
       });
     }},
    {"SpliceTo", "EBADF ok ok EINVAL EBADF EBADF EBADF EBADF ok EBADF ok ok EINVAL EINVAL ok EBADF",
     [](int fd, const std::string&) {
       return WithPipe([&](Pipe& pipe) {
         return long{splice(pipe.read.get(), nullptr, fd, nullptr, 2, SPLICE_F_NONBLOCK)};
       });
     }},
    {"TeeTo",
     "EBADF EINVAL EINVAL EINVAL EBADF EBADF EBADF EBADF ok EBADF ok EINVAL EINVAL EINVAL EINVAL "
     "EBADF",
     [](int fd, const std::string&) {
       return WithPipe(
           [&](Pipe& pipe) { return long{tee(pipe.read.get(), fd, 2, SPLICE_F_NONBLOCK)}; });
     }},
    {"Vmsplice",
     "EBADF EBADF EBADF EBADF EBADF EBADF EBADF EBADF ok EAGAIN ok EBADF EBADF EBADF EBADF EBADF",
     [](int fd, const std::string&) { return long{vmsplice(fd, &g_piece, 1, SPLICE_F_NONBLOCK)}; }},
    {"EpollAdd", "EPERM EPERM EPERM EPERM EPERM EBADF EBADF EBADF ok ok ok ok ok ok EPERM EBADF",
     [](int fd, const std::string&) {
       UniqueFd epoll(epoll_create1(0));
       epoll_event event = {.events = EPOLLIN, .data = {.u64 = 0}};
       return long{epoll_ctl(epoll.get(), EPOLL_CTL_ADD, fd, &event)};
     }},
    {"Accept",
     "ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK ENOTSOCK EBADF EBADF EBADF ENOTSOCK ENOTSOCK ENOTSOCK "
     "EINVAL ENOTSOCK ENOTSOCK ENOTSOCK EBADF",
     [](int fd, const std::string&) { return long{accept(fd, nullptr, nullptr)}; }},
};

class Descriptors : public testing::TestWithParam<std::tuple<Place, size_t>> {};
INSTANTIATE_TEST_SUITE_P(, Descriptors,
                         testing::Combine(testing::ValuesIn(Places()),
                                          testing::Range<size_t>(0, std::size(kCalls))),
                         [](const auto& info) {
                           return NameOf(std::get<0>(info.param)) + "_" +
                                  kCalls[std::get<1>(info.param)].name;
                         });

TEST_P(Descriptors, AsLinuxAnswers) {
  const FdCall& call = kCalls[std::get<1>(GetParam())];
  setenv("CONFORMANCE_DIR", DirectoryOf(std::get<0>(GetParam())).c_str(), 1);
  TempDir base;
  const Kinds kinds(base / "tree");
  ScopedAction no_pipe(SIGPIPE, SIG_IGN);
  std::string line;
  for (const UniqueFd& fd : kinds.fds) {
    if (!line.empty()) line += ' ';
    line += ResultOf(call.run(fd.valid() ? fd.get() : -1, base / "tree"));
  }
  EXPECT_EQ(line, call.results) << call.name;
}

}  // namespace
