#include "syscalls/table.h"

#include <array>
#include <cstddef>
#include <string_view>

#include "absl/strings/str_format.h"
#include "syscalls/attributes.h"
#include "syscalls/copy.h"
#include "syscalls/create.h"
#include "syscalls/dir.h"
#include "syscalls/exec.h"
#include "syscalls/fd.h"
#include "syscalls/futex.h"
#include "syscalls/handles.h"
#include "syscalls/ids.h"
#include "syscalls/info.h"
#include "syscalls/inotify.h"
#include "syscalls/ipc.h"
#include "syscalls/memory.h"
#include "syscalls/memory_advice.h"
#include "syscalls/mempolicy.h"
#include "syscalls/mount.h"
#include "syscalls/namespaces.h"
#include "syscalls/open.h"
#include "syscalls/path.h"
#include "syscalls/poll.h"
#include "syscalls/priority.h"
#include "syscalls/process.h"
#include "syscalls/process_vm.h"
#include "syscalls/rw.h"
#include "syscalls/sched.h"
#include "syscalls/seccomp.h"
#include "syscalls/signal.h"
#include "syscalls/socket.h"
#include "syscalls/socket_message.h"
#include "syscalls/stat.h"
#include "syscalls/thread.h"
#include "syscalls/time.h"
#include "syscalls/xattr.h"

namespace syscalls {
namespace {

struct Binding {
  uint16_t nr = 0;
  Handler handler = nullptr;
  bool needs_context = false;
  bool bound = false;  // gcc cannot compare `handler` with nullptr while compiling under UBSan.
};

template <auto Fn>
constexpr Binding On(uint16_t nr) {
  return {nr, &Adapter<Fn>::Call, Adapter<Fn>::kNeedsContext, true};
}

constexpr Binding kBindings[] = {
    // clang-format off
    On<Read>(0), On<Write>(1), On<Open>(2), On<Close>(3), On<Stat>(4), On<Fstat>(5), On<Lstat>(6),
    On<Poll>(7), On<Lseek>(8), On<Mmap>(9), On<Mprotect>(10), On<Munmap>(11), On<Brk>(12),
    On<RtSigaction>(13), On<RtSigprocmask>(14), On<RtSigreturn>(15), On<Ioctl>(16), On<Pread64>(17),
    On<Pwrite64>(18), On<Readv>(19), On<Writev>(20), On<Access>(21), On<Pipe>(22), On<Select>(23),
    On<SchedYield>(24), On<Mremap>(25), On<Msync>(26), On<Mincore>(27), On<Madvise>(28),
    On<Shmget>(29), On<Shmat>(30), On<Shmctl>(31), On<Dup>(32), On<Dup2>(33), On<Pause>(34), On<Nanosleep>(35), On<Getitimer>(36), On<Alarm>(37),
    On<Setitimer>(38), On<Getpid>(39), On<Sendfile>(40), On<Socket>(41),
    On<Connect>(42), On<Accept>(43), On<Sendto>(44), On<Recvfrom>(45), On<Sendmsg>(46), On<Recvmsg>(47),
    On<Shutdown>(48), On<Bind>(49), On<Listen>(50), On<Getsockname>(51), On<Getpeername>(52),
    On<Socketpair>(53), On<Setsockopt>(54), On<Getsockopt>(55), On<Clone>(56), On<Fork>(57), On<Vfork>(58),
    On<Execve>(59), On<Exit>(60), On<Wait4>(61), On<Kill>(62), On<Uname>(63),
    On<Semget>(64), On<Semop>(65), On<Semctl>(66), On<Shmdt>(67), On<Msgget>(68), On<Msgsnd>(69),
    On<Msgrcv>(70), On<Msgctl>(71), On<Fcntl>(72),
    On<Flock>(73), On<Fsync>(74),
    On<Fsync>(75),  // fdatasync: there is no metadata that could be left out.
    On<Truncate>(76), On<Ftruncate>(77), On<Getdents>(78), On<Getcwd>(79), On<Chdir>(80),
    On<Fchdir>(81), On<Rename>(82), On<Mkdir>(83), On<Rmdir>(84), On<Creat>(85), On<Link>(86),
    On<Unlink>(87), On<Symlink>(88), On<Readlink>(89), On<Chmod>(90), On<Fchmod>(91), On<Chown>(92),
    On<Fchown>(93), On<Lchown>(94), On<Umask>(95), On<Gettimeofday>(96), On<Getrlimit>(97),
    On<Getrusage>(98), On<Sysinfo>(99), On<Times>(100), On<Getuid>(102), On<Syslog>(103),
    On<Getgid>(104), On<Setuid>(105), On<Setgid>(106), On<Geteuid>(107), On<Getegid>(108),
    On<Setpgid>(109), On<Getppid>(110), On<Getpgrp>(111), On<Setsid>(112), On<Setreuid>(113),
    On<Setregid>(114), On<Getgroups>(115), On<Setgroups>(116), On<Setresuid>(117),
    On<Getresuid>(118), On<Setresgid>(119), On<Getresgid>(120), On<Getpgid>(121), On<Setfsuid>(122),
    On<Setfsgid>(123), On<Getsid>(124), On<Capget>(125), On<Capset>(126), On<RtSigpending>(127),
    On<RtSigtimedwait>(128), On<RtSigqueueinfo>(129), On<RtSigsuspend>(130), On<Sigaltstack>(131),
    On<Utime>(132), On<Mknod>(133), On<Personality>(135), On<Statfs>(137), On<Fstatfs>(138), On<Sysfs>(139),
    On<Getpriority>(140), On<Setpriority>(141), On<SchedSetparam>(142), On<SchedGetparam>(143),
    On<SchedSetscheduler>(144), On<SchedGetscheduler>(145), On<SchedGetPriorityMax>(146),
    On<SchedGetPriorityMin>(147), On<SchedRrGetInterval>(148), On<Mlock>(149), On<Munlock>(150),
    On<Mlockall>(151), On<Munlockall>(152), On<Vhangup>(153), On<PivotRoot>(155), On<Prctl>(157), On<ArchPrctl>(158),
    On<Adjtimex>(159), On<Setrlimit>(160), On<Chroot>(161), On<Sync>(162), On<Settimeofday>(164),
    On<Mount>(165), On<Umount2>(166), On<Sethostname>(170),
    On<Setdomainname>(171), On<Gettid>(186), On<Readahead>(187), On<Setxattr>(188),
    On<Lsetxattr>(189), On<Fsetxattr>(190), On<Getxattr>(191), On<Lgetxattr>(192),
    On<Fgetxattr>(193), On<Listxattr>(194), On<Llistxattr>(195), On<Flistxattr>(196),
    On<Removexattr>(197), On<Lremovexattr>(198), On<Fremovexattr>(199), On<Tkill>(200),
    On<Time>(201), On<Futex>(202), On<SchedSetaffinity>(203), On<SchedGetaffinity>(204),
    On<EpollCreate>(213), On<RemapFilePages>(216), On<Getdents64>(217), On<SetTidAddress>(218), On<RestartSyscall>(219),
    On<Semtimedop>(220),
    On<Fadvise64>(221), On<TimerCreate>(222), On<TimerSettime>(223), On<TimerGettime>(224),
    On<TimerGetoverrun>(225), On<TimerDelete>(226), On<ClockSettime>(227), On<ClockGettime>(228), On<ClockGetres>(229),
    On<ClockNanosleep>(230), On<ExitGroup>(231), On<EpollWait>(232), On<EpollCtl>(233),
    On<Tgkill>(234), On<Utimes>(235), On<Mbind>(237), On<SetMempolicy>(238),
    On<GetMempolicy>(239), On<MqOpen>(240), On<MqUnlink>(241), On<MqTimedsend>(242),
    On<MqTimedreceive>(243), On<MqNotify>(244), On<MqGetsetattr>(245), On<Waitid>(247), On<IoprioSet>(251), On<IoprioGet>(252),
    On<InotifyInit>(253), On<InotifyAddWatch>(254), On<InotifyRmWatch>(255), On<MigratePages>(256),
    On<Openat>(257), On<Mkdirat>(258), On<Mknodat>(259), On<Fchownat>(260), On<Futimesat>(261),
    On<Newfstatat>(262), On<Unlinkat>(263), On<Renameat>(264), On<Linkat>(265), On<Symlinkat>(266),
    On<Readlinkat>(267), On<Fchmodat>(268), On<Faccessat>(269), On<Pselect6>(270), On<Ppoll>(271),
    On<Unshare>(272), On<SetRobustList>(273), On<GetRobustList>(274), On<Splice>(275),
    On<Tee>(276),
    On<SyncFileRange>(277), On<Vmsplice>(278), On<MovePages>(279), On<Utimensat>(280), On<EpollPwait>(281), On<Signalfd>(282),
    On<TimerfdCreate>(283), On<Eventfd>(284), On<Fallocate>(285), On<TimerfdSettime>(286),
    On<TimerfdGettime>(287), On<Accept4>(288), On<Signalfd4>(289), On<Eventfd2>(290), On<EpollCreate1>(291),
    On<Dup3>(292), On<Pipe2>(293), On<InotifyInit1>(294), On<Preadv>(295), On<Pwritev>(296), On<RtTgsigqueueinfo>(297),
    On<Recvmmsg>(299), On<Prlimit64>(302), On<NameToHandleAt>(303), On<OpenByHandleAt>(304), On<ClockAdjtime>(305), On<Syncfs>(306),
    On<Sendmmsg>(307), On<Setns>(308), On<Getcpu>(309),
    On<ProcessVmReadv>(310), On<ProcessVmWritev>(311), On<Kcmp>(312), On<SchedSetattr>(314), On<SchedGetattr>(315),
    On<Renameat2>(316), On<Seccomp>(317), On<Getrandom>(318), On<MemfdCreate>(319), On<Execveat>(322),
    On<Membarrier>(324), On<Mlock2>(325), On<CopyFileRange>(326), On<Preadv2>(327),
    On<Pwritev2>(328), On<PkeyMprotect>(329), On<PkeyAlloc>(330), On<PkeyFree>(331), On<Statx>(332),
    On<Rseq>(334), On<PidfdSendSignal>(424), On<OpenTree>(428), On<MoveMount>(429),
    On<Fsopen>(430), On<Fsconfig>(431), On<Fsmount>(432), On<Fspick>(433), On<PidfdOpen>(434), On<Clone3>(435),
    On<CloseRange>(436), On<Openat2>(437), On<PidfdGetfd>(438), On<Faccessat2>(439),
    On<ProcessMadvise>(440), On<EpollPwait2>(441), On<MountSetattr>(442), On<QuotactlFd>(443), On<ProcessMrelease>(448), On<FutexWaitv>(449),
    On<SetMempolicyHomeNode>(450), On<Cachestat>(451), On<Fchmodat2>(452), On<FutexWake>(454), On<FutexWait>(455),
    On<FutexRequeue>(456), On<Statmount>(457), On<Listmount>(458), On<Mseal>(462), On<Setxattrat>(463), On<Getxattrat>(464), On<Listxattrat>(465),
    On<Removexattrat>(466), On<OpenTreeAttr>(467),
    // clang-format on
};

using Joined = std::array<Binding, abi::kRowCount>;

constexpr Joined Join() {
  Joined joined{};
  for (const Binding& binding : kBindings) joined[binding.nr] = binding;
  return joined;
}
constexpr Joined kJoined = Join();

constexpr bool IsOrdered() {
  for (size_t i = 1; i < std::size(kBindings); ++i) {
    if (kBindings[i - 1].nr >= kBindings[i].nr) return false;
  }
  return true;
}

// The first number whose row and handler contradict each other, or -1.
constexpr int FirstMismatch() {
  for (const AbiRow& row : abi::kRows) {
    const Binding& binding = kJoined[row.nr];
    const bool real = row.support == Support::kFull || row.support == Support::kPartial;
    if (real != binding.bound) return row.nr;
    const bool context = row.disposition == platform::Disposition::kContext;
    if (binding.bound && context != binding.needs_context) return row.nr;
  }
  return -1;
}

static_assert(IsOrdered(), "handlers in the order of their numbers, each number once");
static_assert(FirstMismatch() == -1,
              "a row is real exactly when it has a handler, and has disposition context exactly "
              "when its handler wants the registers");

constexpr std::string_view Word(platform::Disposition disposition) {
  switch (disposition) {
    case platform::Disposition::kEmulate:
      return "emulate";
    case platform::Disposition::kApprove:
      return "approve";
    case platform::Disposition::kContext:
      return "context";
    case platform::Disposition::kLocal:
      return "local";
    case platform::Disposition::kDirect:
      return "direct";
  }
  return "";
}

constexpr std::string_view Word(Support support) {
  switch (support) {
    case Support::kFull:
      return "full";
    case Support::kPartial:
      return "partial";
    case Support::kMissing:
      return "missing";
    case Support::kRemoved:
      return "removed";
    case Support::kGap:
      return "gap";
  }
  return "";
}

}  // namespace

Handler FindHandler(uint64_t nr) { return nr < kJoined.size() ? kJoined[nr].handler : nullptr; }

std::string DescribeSyscalls() {
  std::array<int, 5> counts{};
  std::string text =
      absl::StrFormat("%-4s %-24s %-8s %-8s %s\n", "nr", "name", "how", "support", "note");
  for (const AbiRow& row : abi::kRows) {
    ++counts[static_cast<size_t>(row.support)];
    if (row.support == Support::kGap) continue;
    const std::string_view how =
        row.support == Support::kMissing || row.support == Support::kRemoved
            ? "-"
            : Word(row.disposition);
    std::string line = absl::StrFormat("%-4d %-24s %-8s %-8s %s", row.nr, row.name, how,
                                       Word(row.support), row.note);
    line.erase(line.find_last_not_of(' ') + 1);
    text.append(line).push_back('\n');
  }
  text +=
      absl::StrFormat("%d full, %d partial, %d missing, %d removed, %d numbers without a call\n",
                      counts[0], counts[1], counts[2], counts[3], counts[4]);
  return text;
}

}  // namespace syscalls
