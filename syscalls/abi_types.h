// Structures as the x86-64 kernel lays them out, with every byte named so that nothing of the
// sentry leaks through padding (see UserCopyable).
#ifndef SYSCALLS_ABI_TYPES_H_
#define SYSCALLS_ABI_TYPES_H_

#include <cstdint>

#include "sentry/mm/user_ptr.h"

namespace syscalls::abi {

struct Timespec {
  int64_t sec = 0, nsec = 0;
};
struct Timeval {
  int64_t sec = 0, usec = 0;
};
struct Timezone {
  int32_t minutes_west = 0, dst_time = 0;
};
struct Itimerval {
  Timeval interval, value;
};
struct Itimerspec {
  Timespec interval, value;
};
struct Utimbuf {
  int64_t actime = 0, modtime = 0;
};
struct Tms {
  int64_t utime = 0, stime = 0, cutime = 0, cstime = 0;
};

struct Stat {
  uint64_t dev = 0, ino = 0, nlink = 0;
  uint32_t mode = 0, uid = 0, gid = 0, pad0 = 0;
  uint64_t rdev = 0;
  int64_t size = 0, blksize = 0, blocks = 0;
  Timespec atime, mtime, ctime;
  int64_t unused[3] = {};
};
static_assert(sizeof(Stat) == 144);

struct StatxTime {
  int64_t sec = 0;
  uint32_t nsec = 0;
  int32_t pad = 0;
};
struct Statx {
  uint32_t mask = 0, blksize = 0;
  uint64_t attributes = 0;
  uint32_t nlink = 0, uid = 0, gid = 0;
  uint16_t mode = 0, pad0 = 0;
  uint64_t ino = 0, size = 0, blocks = 0, attributes_mask = 0;
  StatxTime atime, btime, ctime, mtime;
  uint32_t rdev_major = 0, rdev_minor = 0, dev_major = 0, dev_minor = 0;
  uint64_t mnt_id = 0;
  uint32_t dio_mem_align = 0, dio_offset_align = 0;
  uint64_t spare[12] = {};
};
static_assert(sizeof(Statx) == 256);

struct Statfs {
  int64_t type = 0, bsize = 0;
  uint64_t blocks = 0, bfree = 0, bavail = 0, files = 0, ffree = 0;
  int32_t fsid[2] = {};
  int64_t namelen = 0, frsize = 0, flags = 0, spare[4] = {};
};
static_assert(sizeof(Statfs) == 120);

// The fixed part of linux_dirent64 and linux_dirent; the name follows.
struct DirentHeader64 {
  uint64_t ino = 0;
  int64_t next = 0;
  uint16_t length = 0;
  uint8_t type = 0;
} __attribute__((packed));
static_assert(sizeof(DirentHeader64) == 19);
struct DirentHeader {
  uint64_t ino = 0, next = 0;
  uint16_t length = 0;
} __attribute__((packed));
static_assert(sizeof(DirentHeader) == 18);

struct Iovec {
  uint64_t base = 0, length = 0;
};
// struct msghdr, in words.
struct MessageHeader {
  uint64_t name = 0;
  uint32_t name_length = 0, padding = 0;
  uint64_t iov = 0, iov_length = 0;
  uint64_t control = 0, control_length = 0;
  uint32_t flags = 0, more_padding = 0;
};
static_assert(sizeof(MessageHeader) == 56);
// struct mmsghdr.
struct NumberedMessage {
  MessageHeader header;
  uint32_t length = 0, padding = 0;
};
static_assert(sizeof(NumberedMessage) == 64);
struct FileHandle {
  uint32_t handle_bytes = 0;
  int32_t handle_type = 0;
};
static_assert(sizeof(FileHandle) == 8);

struct OpenHow {
  uint64_t flags = 0, mode = 0, resolve = 0;
};
static_assert(sizeof(OpenHow) == 24);

struct XattrArgs {
  uint64_t value = 0;
  uint32_t size = 0, flags = 0;
};
static_assert(sizeof(XattrArgs) == 16);
struct CachestatRange {
  uint64_t offset = 0, length = 0;
};
struct Cachestat {
  uint64_t cached = 0, dirty = 0, writeback = 0, evicted = 0, recently_evicted = 0;
};

struct Flock {
  int16_t type = 0, whence = 0;
  int32_t pad0 = 0;
  int64_t start = 0, length = 0;
  int32_t pid = 0, pad1 = 0;
};
static_assert(sizeof(Flock) == 32);
struct FileOwner {
  int32_t type = 0, pid = 0;
};

struct PollFd {
  int32_t fd = 0;
  int16_t events = 0, revents = 0;
};
static_assert(sizeof(PollFd) == 8);
struct EpollEvent {
  uint32_t events = 0;
  uint64_t data = 0;
} __attribute__((packed));
static_assert(sizeof(EpollEvent) == 12);
// The sixth argument of pselect6(2).
struct SigsetArgument {
  uint64_t set = 0, size = 0;
};

struct Rusage {
  Timeval utime, stime;
  int64_t maxrss = 0, ixrss = 0, idrss = 0, isrss = 0, minflt = 0, majflt = 0, nswap = 0;
  int64_t inblock = 0, oublock = 0, msgsnd = 0, msgrcv = 0, nsignals = 0, nvcsw = 0, nivcsw = 0;
};
static_assert(sizeof(Rusage) == 144);
// struct timex.
struct Timex {
  uint32_t modes = 0, pad0 = 0;
  int64_t offset = 0, frequency = 0, max_error = 0, estimated_error = 0;
  int32_t status = 0, pad1 = 0;
  int64_t constant = 0, precision = 0, tolerance = 0;
  Timeval time;
  int64_t tick = 0, pps_frequency = 0, jitter = 0;
  int32_t shift = 0, pad2 = 0;
  int64_t stability = 0, jitter_count = 0, calibration_count = 0, error_count = 0;
  int64_t stability_count = 0;
  int32_t tai = 0, pad3[11] = {};
};
static_assert(sizeof(Timex) == 208);
struct Rlimit {
  uint64_t current = 0, maximum = 0;
};
struct Utsname {
  char sysname[65] = {}, nodename[65] = {}, release[65] = {}, version[65] = {}, machine[65] = {},
       domainname[65] = {};
};
static_assert(sizeof(Utsname) == 390);
struct Sysinfo {
  int64_t uptime = 0;
  uint64_t loads[3] = {};
  uint64_t totalram = 0, freeram = 0, sharedram = 0, bufferram = 0, totalswap = 0, freeswap = 0;
  uint16_t procs = 0, pad0 = 0;
  uint32_t pad1 = 0;
  uint64_t totalhigh = 0, freehigh = 0;
  uint32_t mem_unit = 0, pad2 = 0;
};
static_assert(sizeof(Sysinfo) == 112);

struct CapHeader {
  uint32_t version = 0;
  int32_t pid = 0;
};
struct CapData {
  uint32_t effective = 0, permitted = 0, inheritable = 0;
};

// struct sigevent: notification and, for SIGEV_THREAD_ID, the thread.
struct Sigevent {
  uint64_t value = 0;
  int32_t signo = 0, notify = 0;
  int32_t tid = 0;
  int32_t pad[11] = {};
};
static_assert(sizeof(Sigevent) == 64);

static_assert(sentry::UserCopyable<Stat> && sentry::UserCopyable<Statx> &&
              sentry::UserCopyable<Statfs> && sentry::UserCopyable<Flock> &&
              sentry::UserCopyable<Sysinfo> && sentry::UserCopyable<EpollEvent> &&
              sentry::UserCopyable<Rusage> && sentry::UserCopyable<Utsname>);

}  // namespace syscalls::abi

#endif  // SYSCALLS_ABI_TYPES_H_
