#include "syscalls/strace_names.h"

#include <asm/prctl.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>

#include <bit>

#include "absl/strings/str_format.h"

namespace syscalls {
namespace {

#define NAME(constant) \
  NumberName { static_cast<uint64_t>(constant), #constant }

constexpr NumberName kOpen[] = {
    NAME(O_TMPFILE),  NAME(O_CREAT),    NAME(O_EXCL),     NAME(O_NOCTTY),    NAME(O_TRUNC),
    NAME(O_APPEND),   NAME(O_NONBLOCK), NAME(O_SYNC),     NAME(O_DSYNC),     NAME(O_ASYNC),
    NAME(O_DIRECT),   NAME(O_NOFOLLOW), NAME(O_DIRECTORY), NAME(O_NOATIME),  NAME(O_CLOEXEC),
    NAME(O_PATH),     {0100000, "O_LARGEFILE"}};
constexpr NumberName kProt[] = {NAME(PROT_READ), NAME(PROT_WRITE), NAME(PROT_EXEC),
                                NAME(PROT_GROWSDOWN), NAME(PROT_GROWSUP)};
constexpr NumberName kMap[] = {
    NAME(MAP_SHARED_VALIDATE), NAME(MAP_SHARED),     NAME(MAP_PRIVATE),
    NAME(MAP_FIXED),           NAME(MAP_ANONYMOUS),  NAME(MAP_GROWSDOWN),
    NAME(MAP_DENYWRITE),       NAME(MAP_EXECUTABLE), NAME(MAP_LOCKED),
    NAME(MAP_NORESERVE),       NAME(MAP_POPULATE),   NAME(MAP_NONBLOCK),
    NAME(MAP_STACK),           NAME(MAP_HUGETLB),    NAME(MAP_SYNC),
    NAME(MAP_FIXED_NOREPLACE)};
constexpr NumberName kAt[] = {NAME(AT_SYMLINK_NOFOLLOW), NAME(AT_REMOVEDIR),
                              NAME(AT_SYMLINK_FOLLOW),   NAME(AT_NO_AUTOMOUNT),
                              NAME(AT_EMPTY_PATH),       {0x2000, "AT_STATX_FORCE_SYNC"},
                              {0x4000, "AT_STATX_DONT_SYNC"}};
constexpr NumberName kAccess[] = {NAME(R_OK), NAME(W_OK), NAME(X_OK)};
constexpr NumberName kClone[] = {
    NAME(CLONE_VM),         NAME(CLONE_FS),          NAME(CLONE_FILES),
    NAME(CLONE_SIGHAND),    NAME(CLONE_PIDFD),       NAME(CLONE_PTRACE),
    NAME(CLONE_VFORK),      NAME(CLONE_PARENT),      NAME(CLONE_THREAD),
    NAME(CLONE_NEWNS),      NAME(CLONE_SYSVSEM),     NAME(CLONE_SETTLS),
    NAME(CLONE_PARENT_SETTID), NAME(CLONE_CHILD_CLEARTID), NAME(CLONE_DETACHED),
    NAME(CLONE_UNTRACED),   NAME(CLONE_CHILD_SETTID), NAME(CLONE_NEWCGROUP),
    NAME(CLONE_NEWUTS),     NAME(CLONE_NEWIPC),      NAME(CLONE_NEWUSER),
    NAME(CLONE_NEWPID),     NAME(CLONE_NEWNET),      NAME(CLONE_IO)};
constexpr NumberName kWait[] = {NAME(WNOHANG),    NAME(WSTOPPED), NAME(WEXITED),
                                NAME(WCONTINUED), NAME(WNOWAIT),  NAME(__WNOTHREAD),
                                NAME(__WALL),     NAME(__WCLONE)};
constexpr NumberName kSigaction[] = {
    NAME(SA_NOCLDSTOP), NAME(SA_NOCLDWAIT), NAME(SA_SIGINFO),   {0x04000000, "SA_RESTORER"},
    NAME(SA_ONSTACK),   NAME(SA_RESTART),   NAME(SA_NODEFER),   {0x80000000, "SA_RESETHAND"}};
constexpr NumberName kPoll[] = {NAME(POLLIN),     NAME(POLLPRI),    NAME(POLLOUT),
                                NAME(POLLERR),    NAME(POLLHUP),    NAME(POLLNVAL),
                                NAME(POLLRDNORM), NAME(POLLRDBAND), NAME(POLLWRNORM),
                                NAME(POLLWRBAND), NAME(POLLMSG),    NAME(POLLRDHUP)};
constexpr NumberName kCloseOnExec[] = {NAME(FD_CLOEXEC)};
constexpr NumberName kMremap[] = {NAME(MREMAP_MAYMOVE), NAME(MREMAP_FIXED),
                                  NAME(MREMAP_DONTUNMAP)};
constexpr NumberName kMemfd[] = {NAME(MFD_CLOEXEC), NAME(MFD_ALLOW_SEALING), NAME(MFD_HUGETLB)};
constexpr NumberName kMount[] = {
    NAME(MS_RDONLY), NAME(MS_NOSUID), NAME(MS_NODEV), NAME(MS_NOEXEC),  NAME(MS_REMOUNT),
    NAME(MS_BIND),   NAME(MS_MOVE),   NAME(MS_REC),   NAME(MS_PRIVATE), NAME(MS_SLAVE),
    NAME(MS_SHARED), NAME(MS_RELATIME), NAME(MS_NOATIME)};
constexpr NumberName kEpollEvents[] = {NAME(EPOLLIN),        NAME(EPOLLPRI),  NAME(EPOLLOUT),
                                       NAME(EPOLLERR),       NAME(EPOLLHUP),  NAME(EPOLLRDHUP),
                                       NAME(EPOLLEXCLUSIVE), NAME(EPOLLONESHOT), NAME(EPOLLET)};
constexpr NumberName kRename[] = {NAME(RENAME_NOREPLACE), NAME(RENAME_EXCHANGE),
                                  NAME(RENAME_WHITEOUT)};
constexpr NumberName kRandom[] = {NAME(GRND_NONBLOCK), NAME(GRND_RANDOM), NAME(GRND_INSECURE)};

constexpr NumberName kWhence[] = {NAME(SEEK_SET), NAME(SEEK_CUR), NAME(SEEK_END), NAME(SEEK_DATA),
                                  NAME(SEEK_HOLE)};
constexpr NumberName kFcntl[] = {
    NAME(F_DUPFD),     NAME(F_GETFD),      NAME(F_SETFD),      NAME(F_GETFL),
    NAME(F_SETFL),     NAME(F_GETLK),      NAME(F_SETLK),      NAME(F_SETLKW),
    NAME(F_SETOWN),    NAME(F_GETOWN),     NAME(F_SETSIG),     NAME(F_GETSIG),
    NAME(F_SETOWN_EX), NAME(F_GETOWN_EX),  NAME(F_OFD_GETLK),  NAME(F_OFD_SETLK),
    NAME(F_OFD_SETLKW), NAME(F_SETLEASE),  NAME(F_GETLEASE),   NAME(F_NOTIFY),
    NAME(F_DUPFD_CLOEXEC), NAME(F_SETPIPE_SZ), NAME(F_GETPIPE_SZ), NAME(F_ADD_SEALS),
    NAME(F_GET_SEALS)};
constexpr NumberName kSigHow[] = {NAME(SIG_BLOCK), NAME(SIG_UNBLOCK), NAME(SIG_SETMASK)};
constexpr NumberName kClock[] = {
    NAME(CLOCK_REALTIME),         NAME(CLOCK_MONOTONIC),       NAME(CLOCK_PROCESS_CPUTIME_ID),
    NAME(CLOCK_THREAD_CPUTIME_ID), NAME(CLOCK_MONOTONIC_RAW),  NAME(CLOCK_REALTIME_COARSE),
    NAME(CLOCK_MONOTONIC_COARSE), NAME(CLOCK_BOOTTIME),        NAME(CLOCK_TAI)};
constexpr NumberName kResource[] = {
    NAME(RLIMIT_CPU),    NAME(RLIMIT_FSIZE),      NAME(RLIMIT_DATA),     NAME(RLIMIT_STACK),
    NAME(RLIMIT_CORE),   NAME(RLIMIT_RSS),        NAME(RLIMIT_NPROC),    NAME(RLIMIT_NOFILE),
    NAME(RLIMIT_MEMLOCK), NAME(RLIMIT_AS),        NAME(RLIMIT_LOCKS),    NAME(RLIMIT_SIGPENDING),
    NAME(RLIMIT_MSGQUEUE), NAME(RLIMIT_NICE),     NAME(RLIMIT_RTPRIO),   NAME(RLIMIT_RTTIME)};
constexpr NumberName kMadvice[] = {
    NAME(MADV_NORMAL),   NAME(MADV_RANDOM),     NAME(MADV_SEQUENTIAL), NAME(MADV_WILLNEED),
    NAME(MADV_DONTNEED), NAME(MADV_FREE),       NAME(MADV_REMOVE),     NAME(MADV_DONTFORK),
    NAME(MADV_DOFORK),   NAME(MADV_HUGEPAGE),   NAME(MADV_NOHUGEPAGE), NAME(MADV_DONTDUMP),
    NAME(MADV_DODUMP),   NAME(MADV_WIPEONFORK), NAME(MADV_KEEPONFORK)};
constexpr NumberName kFutex[] = {
    NAME(FUTEX_WAIT),        NAME(FUTEX_WAKE),         NAME(FUTEX_REQUEUE),
    NAME(FUTEX_CMP_REQUEUE), NAME(FUTEX_WAKE_OP),      NAME(FUTEX_LOCK_PI),
    NAME(FUTEX_UNLOCK_PI),   NAME(FUTEX_TRYLOCK_PI),   NAME(FUTEX_WAIT_BITSET),
    NAME(FUTEX_WAKE_BITSET), NAME(FUTEX_WAIT_PRIVATE), NAME(FUTEX_WAKE_PRIVATE),
    NAME(FUTEX_WAIT_BITSET_PRIVATE)};
constexpr NumberName kPrctl[] = {
    NAME(PR_SET_PDEATHSIG),    NAME(PR_GET_PDEATHSIG),    NAME(PR_GET_DUMPABLE),
    NAME(PR_SET_DUMPABLE),     NAME(PR_GET_KEEPCAPS),     NAME(PR_SET_KEEPCAPS),
    NAME(PR_SET_NAME),         NAME(PR_GET_NAME),         NAME(PR_GET_SECCOMP),
    NAME(PR_SET_SECCOMP),      NAME(PR_CAPBSET_READ),     NAME(PR_CAPBSET_DROP),
    NAME(PR_GET_SECUREBITS),   NAME(PR_SET_SECUREBITS),   NAME(PR_SET_TIMERSLACK),
    NAME(PR_GET_TIMERSLACK),   NAME(PR_SET_MM),           NAME(PR_SET_CHILD_SUBREAPER),
    NAME(PR_GET_CHILD_SUBREAPER), NAME(PR_SET_NO_NEW_PRIVS), NAME(PR_GET_NO_NEW_PRIVS),
    NAME(PR_CAP_AMBIENT),      {0x53564d41, "PR_SET_VMA"}};
constexpr NumberName kArchPrctl[] = {NAME(ARCH_SET_GS), NAME(ARCH_SET_FS), NAME(ARCH_GET_FS),
                                     NAME(ARCH_GET_GS), {0x3001, "ARCH_CET_STATUS"}};
constexpr NumberName kEpollOp[] = {NAME(EPOLL_CTL_ADD), NAME(EPOLL_CTL_DEL), NAME(EPOLL_CTL_MOD)};
constexpr NumberName kIoctl[] = {
    NAME(TCGETS),     NAME(TCSETS),    NAME(TCSETSW),  NAME(TCSETSF),    NAME(TIOCSCTTY),
    NAME(TIOCGPGRP),  NAME(TIOCSPGRP), NAME(TIOCGWINSZ), NAME(TIOCSWINSZ), NAME(FIONREAD),
    NAME(FIONBIO),    NAME(TIOCNOTTY), NAME(FIONCLEX), NAME(FIOCLEX),    NAME(FIOASYNC),
    NAME(TIOCGSID),   NAME(FICLONE),   NAME(TCFLSH),   NAME(TIOCSTI),    NAME(TIOCGPTN),
    NAME(TIOCSPTLCK), NAME(TIOCGPTLCK), NAME(TIOCGPTPEER), NAME(TIOCPKT), NAME(TIOCGPKT),
    NAME(TIOCSIG),    NAME(TCXONC),    NAME(TCSBRK),   NAME(TCSBRKP),    NAME(TIOCOUTQ),
    NAME(TIOCEXCL),   NAME(TIOCNXCL),  NAME(TIOCGEXCL), NAME(TIOCGETD),  NAME(TIOCSETD),
    NAME(TIOCVHANGUP)};
constexpr NumberName kFlock[] = {NAME(LOCK_SH), NAME(LOCK_EX), NAME(LOCK_UN),
                                 {LOCK_SH | LOCK_NB, "LOCK_SH|LOCK_NB"},
                                 {LOCK_EX | LOCK_NB, "LOCK_EX|LOCK_NB"}};
constexpr NumberName kRusage[] = {NAME(RUSAGE_SELF), NAME(RUSAGE_CHILDREN), NAME(RUSAGE_THREAD)};
constexpr NumberName kItimer[] = {NAME(ITIMER_REAL), NAME(ITIMER_VIRTUAL), NAME(ITIMER_PROF)};

#undef NAME

}  // namespace

const std::span<const NumberName> kOpenFlagNames = kOpen, kProtNames = kProt, kMapFlagNames = kMap,
                                  kAtFlagNames = kAt, kAccessNames = kAccess,
                                  kCloneFlagNames = kClone, kWaitOptionNames = kWait,
                                  kSigactionFlagNames = kSigaction, kPollNames = kPoll,
                                  kCloseOnExecNames = kCloseOnExec, kMremapNames = kMremap,
                                  kMemfdNames = kMemfd, kMountFlagNames = kMount,
                                  kEpollEventNames = kEpollEvents, kRenameFlagNames = kRename,
                                  kRandomFlagNames = kRandom;
const std::span<const NumberName> kWhenceNames = kWhence, kFcntlNames = kFcntl,
                                  kSigHowNames = kSigHow, kClockNames = kClock,
                                  kResourceNames = kResource, kMadviceNames = kMadvice,
                                  kFutexNames = kFutex, kPrctlNames = kPrctl,
                                  kArchPrctlNames = kArchPrctl, kEpollOpNames = kEpollOp,
                                  kIoctlNames = kIoctl, kFlockNames = kFlock,
                                  kRusageNames = kRusage, kItimerNames = kItimer;

std::string FormatFlags(std::span<const NumberName> names, uint64_t value, std::string_view none) {
  std::string text;
  for (const NumberName& entry : names) {
    if (entry.value == 0 || (value & entry.value) != entry.value) continue;
    if (!text.empty()) text.push_back('|');
    text.append(entry.name);
    value &= ~entry.value;
  }
  if (value != 0) absl::StrAppendFormat(&text, "%s%#x", text.empty() ? "" : "|", value);
  return text.empty() ? std::string(none) : text;
}

std::string FormatEnum(std::span<const NumberName> names, uint64_t value) {
  for (const NumberName& entry : names) {
    if (entry.value == value) return std::string(entry.name);
  }
  return absl::StrFormat("%d", static_cast<int64_t>(value));
}

std::string_view ErrnoName(int code) {
  const char* name = strerrorname_np(code);
  return name != nullptr ? name : "";
}

std::string_view ErrnoText(int code) {
  const char* text = strerrordesc_np(code);
  return text != nullptr ? text : "";
}

std::string SignalName(int sig) {
  if (sig >= 32 && sig <= 64) return absl::StrFormat("SIGRT_%d", sig - 32);
  const char* name = sig > 0 && sig < 32 ? sigabbrev_np(sig) : nullptr;
  return name != nullptr ? absl::StrFormat("SIG%s", name) : absl::StrFormat("%d", sig);
}

std::string FormatSignalSet(uint64_t bits) {
  const bool inverted = std::popcount(bits) > 32;
  if (inverted) bits = ~bits;
  std::string text = inverted ? "~[" : "[";
  for (int sig = 1; sig <= 64; ++sig) {
    if ((bits >> (sig - 1) & 1) == 0) continue;
    if (text.back() != '[') text.push_back(' ');
    std::string name = SignalName(sig);
    text.append(name.starts_with("SIG") ? name.substr(3) : name);
  }
  return text + "]";
}

std::string Quote(std::string_view bytes, size_t limit) {
  std::string text = "\"";
  for (const unsigned char c : bytes.substr(0, limit)) {
    switch (c) {
      case '\n':
        text += "\\n";
        break;
      case '\t':
        text += "\\t";
        break;
      case '\r':
        text += "\\r";
        break;
      case '"':
      case '\\':
        text += {'\\', static_cast<char>(c)};
        break;
      default:
        if (c >= 0x20 && c < 0x7f) text.push_back(static_cast<char>(c));
        else absl::StrAppendFormat(&text, "\\%o", c);
    }
  }
  text.push_back('"');
  if (bytes.size() > limit) text += "...";
  return text;
}

}  // namespace syscalls
