#include "syscalls/strace.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <vector>

#include "absl/strings/str_format.h"
#include "sentry/task/restart.h"
#include "sentry/task/signal.h"
#include "syscalls/abi.h"
#include "syscalls/abi_types.h"
#include "syscalls/strace_names.h"

namespace syscalls {
namespace {

using sentry::UserAddr;
using sentry::UserMemory;
using sentry::UserPtr;

constexpr size_t kMaxBytes = 32;     // Shown of a buffer.
constexpr size_t kMaxPath = 4096;
constexpr size_t kMaxElements = 16;  // Shown of an array.

std::string Hex(uint64_t value) {
  return value == 0 ? std::string("NULL") : absl::StrFormat("%#x", value);
}

// A string that ends with a NUL or with readable memory.
std::optional<std::string> ReadCString(UserMemory& mem, uint64_t addr) {
  std::string text;
  char chunk[256];
  while (text.size() < kMaxPath) {
    // No further than the page, behind which may be nothing.
    const size_t want = std::min(sizeof(chunk), 4096 - (addr + text.size()) % 4096);
    const size_t got = mem.ReadSome(UserAddr{addr + text.size()},
                                    std::as_writable_bytes(std::span(chunk, want)));
    const size_t length = strnlen(chunk, got);
    text.append(chunk, length);
    if (length < got) return text;
    if (got < want) return std::nullopt;
  }
  return text;
}

std::string String(UserMemory& mem, uint64_t addr) {
  if (addr == 0) return "NULL";
  const auto text = ReadCString(mem, addr);
  return text ? Quote(*text, kMaxPath) : Hex(addr);
}

std::string Bytes(UserMemory& mem, uint64_t addr, uint64_t count) {
  char bytes[kMaxBytes + 1];
  const size_t want = std::min<uint64_t>(count, sizeof(bytes));
  const size_t got =
      mem.ReadSome(UserAddr{addr}, std::as_writable_bytes(std::span(bytes, want)));
  if (got < want) return Hex(addr);
  return Quote(std::string_view(bytes, got), kMaxBytes);
}

template <typename T, typename Format>
std::string Struct(UserMemory& mem, uint64_t addr, Format format) {
  if (addr == 0) return "NULL";
  const Result<T> value = mem.Read(UserPtr<const T>{UserAddr{addr}});
  return value.ok() ? std::string(format(*value)) : Hex(addr);
}

std::string Spec(const abi::Timespec& t) {
  return absl::StrFormat("{tv_sec=%d, tv_nsec=%d}", t.sec, t.nsec);
}
std::string Val(const abi::Timeval& t) {
  return absl::StrFormat("{tv_sec=%d, tv_usec=%d}", t.sec, t.usec);
}

std::string FormatMode(uint32_t mode) {
  static constexpr NumberName kTypes[] = {{S_IFREG, "S_IFREG"}, {S_IFDIR, "S_IFDIR"},
                                          {S_IFLNK, "S_IFLNK"}, {S_IFCHR, "S_IFCHR"},
                                          {S_IFBLK, "S_IFBLK"}, {S_IFIFO, "S_IFIFO"},
                                          {S_IFSOCK, "S_IFSOCK"}};
  return absl::StrFormat("%s|%#o", FormatEnum(kTypes, mode & S_IFMT), mode & 07777);
}

std::string FormatStat(const abi::Stat& stat) {
  if (S_ISCHR(stat.mode) || S_ISBLK(stat.mode)) {
    return absl::StrFormat("{st_mode=%s, st_rdev=makedev(%#x, %#x), ...}", FormatMode(stat.mode),
                           major(stat.rdev), minor(stat.rdev));
  }
  return absl::StrFormat("{st_mode=%s, st_size=%d, ...}", FormatMode(stat.mode), stat.size);
}

std::string FormatOpenFlags(uint64_t flags) {
  static constexpr std::string_view kModes[] = {"O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE"};
  const uint64_t rest = flags & ~uint64_t{O_ACCMODE};
  const std::string text(kModes[flags & O_ACCMODE]);
  return rest == 0 ? text : text + "|" + FormatFlags(kOpenFlagNames, rest);
}

std::string FormatAction(const sentry::SignalAction& action) {
  const std::string handler = action.handler == 0   ? "SIG_DFL"
                              : action.handler == 1 ? "SIG_IGN"
                                                    : absl::StrFormat("%#x", action.handler);
  return absl::StrFormat("{sa_handler=%s, sa_mask=%s, sa_flags=%s}", handler,
                         FormatSignalSet(action.mask),
                         FormatFlags(kSigactionFlagNames, action.flags));
}

std::string FormatWaitStatus(int status) {
  if (WIFEXITED(status)) {
    return absl::StrFormat("[{WIFEXITED(s) && WEXITSTATUS(s) == %d}]", WEXITSTATUS(status));
  }
  if (WIFSTOPPED(status)) {
    return absl::StrFormat("[{WIFSTOPPED(s) && WSTOPSIG(s) == %s}]",
                           SignalName(WSTOPSIG(status)));
  }
  if (WIFSIGNALED(status)) {
    return absl::StrFormat("[{WIFSIGNALED(s) && WTERMSIG(s) == %s}]",
                           SignalName(WTERMSIG(status)));
  }
  return absl::StrFormat("[%#x]", status);
}

std::string FormatLimit(const abi::Rlimit& limit) {
  const auto one = [](uint64_t value) {
    return value == ~uint64_t{0} ? std::string("RLIM64_INFINITY") : absl::StrFormat("%d", value);
  };
  return absl::StrFormat("{rlim_cur=%s, rlim_max=%s}", one(limit.current), one(limit.maximum));
}

// "[a, b, ...]" of at most kMaxElements out of `count`.
template <typename T, typename Format>
std::string Array(UserMemory& mem, uint64_t addr, uint64_t count, Format format) {
  if (addr == 0) return "NULL";
  const size_t shown = std::min<uint64_t>(count, kMaxElements);
  const auto values = mem.ReadArray(UserPtr<const T>{UserAddr{addr}}, shown);
  if (!values.ok()) return Hex(addr);
  std::string text = "[";
  for (const T& value : *values) {
    if (text.size() > 1) text += ", ";
    text += format(value);
  }
  return text + (count > shown ? ", ...]" : "]");
}

// Pieces of memory; `available` bytes of them mean something.
std::string Iovec(UserMemory& mem, uint64_t addr, uint64_t count, uint64_t available) {
  return Array<abi::Iovec>(mem, addr, count, [&](const abi::Iovec& piece) {
    const uint64_t used = std::min(piece.length, available);
    available -= used;
    return absl::StrFormat("{iov_base=%s, iov_len=%d}", Bytes(mem, piece.base, used),
                           piece.length);
  });
}

std::string Strings(UserMemory& mem, uint64_t addr) {
  if (addr == 0) return "NULL";
  std::string text = "[";
  for (size_t i = 0; i < kMaxElements; ++i) {
    const auto string = mem.Read(UserPtr<const uint64_t>{UserAddr{addr + i * sizeof(uint64_t)}});
    if (!string.ok()) return Hex(addr);
    if (*string == 0) return text + "]";
    if (i != 0) text += ", ";
    text += String(mem, *string);
  }
  return text + ", ...]";
}

std::string Environment(UserMemory& mem, uint64_t addr) {
  constexpr size_t kMaxVariables = 4096;
  size_t count = 0;
  for (; count < kMaxVariables; ++count) {
    const auto string =
        mem.Read(UserPtr<const uint64_t>{UserAddr{addr + count * sizeof(uint64_t)}});
    if (!string.ok() || *string == 0) break;
  }
  return absl::StrFormat("%s /* %d vars */", Hex(addr), count);
}

std::string PollFds(UserMemory& mem, uint64_t addr, uint64_t count) {
  return Array<abi::PollFd>(mem, addr, count, [](const abi::PollFd& fd) {
    std::string text = absl::StrFormat("{fd=%d, events=%s", fd.fd,
                                       FormatFlags(kPollNames, static_cast<uint16_t>(fd.events)));
    if (fd.revents != 0) {
      text += ", revents=" + FormatFlags(kPollNames, static_cast<uint16_t>(fd.revents));
    }
    return text + "}";
  });
}

std::string FormatEpollEvent(const abi::EpollEvent& event) {
  const uint64_t data = event.data;
  return absl::StrFormat("{events=%s, data=%#x}", FormatFlags(kEpollEventNames, event.events),
                         data);
}

std::string FcntlArgument(uint64_t command, uint64_t arg) {
  switch (command) {
    case F_SETFD:
      return FormatFlags(kCloseOnExecNames, arg);
    case F_SETFL:
      return FormatOpenFlags(arg);
    case F_GETFD:
    case F_GETFL:
      return "";
    case F_DUPFD:
    case F_DUPFD_CLOEXEC:
    case F_SETPIPE_SZ:
      return absl::StrFormat("%d", arg);
    default:
      return Hex(arg);
  }
}

bool IsOutput(TraceArg kind) { return kind > TraceArg::kFirstOutput; }

// Arguments that a number says everything about.
std::optional<std::string> Scalar(TraceArg kind, uint64_t value, uint64_t previous) {
  const uint32_t low = static_cast<uint32_t>(value);
  switch (kind) {
    case TraceArg::kHex:
      return Hex(value);
    case TraceArg::kInt:
    case TraceArg::kFd:
      return absl::StrFormat("%d", static_cast<int32_t>(low));
    case TraceArg::kUnsigned:
      return absl::StrFormat("%d", value);
    case TraceArg::kLong:
      return absl::StrFormat("%d", static_cast<int64_t>(value));
    case TraceArg::kDirFd:
      return static_cast<int32_t>(low) == AT_FDCWD
                 ? std::string("AT_FDCWD")
                 : absl::StrFormat("%d", static_cast<int32_t>(low));
    case TraceArg::kOpenFlags:
      return FormatOpenFlags(low);
    case TraceArg::kMode:
      return low == 0 ? std::string("000") : absl::StrFormat("%#o", low);
    case TraceArg::kProt:
      return FormatFlags(kProtNames, value, "PROT_NONE");
    case TraceArg::kMapFlags:
      return FormatFlags(kMapFlagNames, low);
    case TraceArg::kAtFlags:
      return FormatFlags(kAtFlagNames, low);
    case TraceArg::kAccess:
      return FormatFlags(kAccessNames, low, "F_OK");
    case TraceArg::kWhence:
      return FormatEnum(kWhenceNames, low);
    case TraceArg::kCloneFlags:
      return FormatFlags(kCloneFlagNames, value & ~uint64_t{0xff}) +
             ((value & 0xff) != 0 ? "|" + SignalName(static_cast<int>(value & 0xff)) : "");
    case TraceArg::kFcntl:
      return FormatEnum(kFcntlNames, low);
    case TraceArg::kFcntlArg:
      return FcntlArgument(previous, value);
    case TraceArg::kSignal:
      return SignalName(static_cast<int>(low));
    case TraceArg::kSigHow:
      return FormatEnum(kSigHowNames, low);
    case TraceArg::kClock:
      return FormatEnum(kClockNames, low);
    case TraceArg::kWaitOptions:
      return FormatFlags(kWaitOptionNames, low);
    case TraceArg::kResource:
      return FormatEnum(kResourceNames, low);
    case TraceArg::kMadvice:
      return FormatEnum(kMadviceNames, low);
    case TraceArg::kFutex:
      return FormatEnum(kFutexNames, low);
    case TraceArg::kPrctl:
      return FormatEnum(kPrctlNames, low);
    case TraceArg::kArchPrctl:
      return FormatEnum(kArchPrctlNames, low);
    case TraceArg::kEpollOp:
      return FormatEnum(kEpollOpNames, low);
    case TraceArg::kIoctl:
      return FormatEnum(kIoctlNames, low);
    case TraceArg::kFlock:
      return FormatEnum(kFlockNames, low);
    case TraceArg::kRusageWho:
      return FormatEnum(kRusageNames, static_cast<uint64_t>(static_cast<int32_t>(low)));
    case TraceArg::kItimer:
      return FormatEnum(kItimerNames, low);
    case TraceArg::kMremapFlags:
      return FormatFlags(kMremapNames, value);
    case TraceArg::kMemfdFlags:
      return FormatFlags(kMemfdNames, low);
    case TraceArg::kMountFlags:
      return FormatFlags(kMountFlagNames, value);
    case TraceArg::kRenameFlags:
      return FormatFlags(kRenameFlagNames, low);
    case TraceArg::kRandomFlags:
      return FormatFlags(kRandomFlagNames, low);
    default:
      return std::nullopt;
  }
}

// What the call reads.
std::string Input(UserMemory& mem, TraceArg kind, uint64_t value, uint64_t next) {
  switch (kind) {
    case TraceArg::kPath:
      return String(mem, value);
    case TraceArg::kBuffer:
      return Bytes(mem, value, next);
    case TraceArg::kIovec:
      return Iovec(mem, value, next, UINT64_MAX);
    case TraceArg::kSigset:
      return Struct<uint64_t>(mem, value, FormatSignalSet);
    case TraceArg::kSigaction:
      return Struct<sentry::SignalAction>(mem, value, FormatAction);
    case TraceArg::kTimespec:
      return Struct<abi::Timespec>(mem, value, Spec);
    case TraceArg::kTimeval:
      return Struct<abi::Timeval>(mem, value, Val);
    case TraceArg::kItimerval:
      return Struct<abi::Itimerval>(mem, value, [](const abi::Itimerval& t) {
        return absl::StrFormat("{it_interval=%s, it_value=%s}", Val(t.interval), Val(t.value));
      });
    case TraceArg::kItimerspec:
      return Struct<abi::Itimerspec>(mem, value, [](const abi::Itimerspec& t) {
        return absl::StrFormat("{it_interval=%s, it_value=%s}", Spec(t.interval), Spec(t.value));
      });
    case TraceArg::kRlimit:
      return Struct<abi::Rlimit>(mem, value, FormatLimit);
    case TraceArg::kEpollEvent:
      return Struct<abi::EpollEvent>(mem, value, FormatEpollEvent);
    case TraceArg::kStrings:
      return Strings(mem, value);
    case TraceArg::kEnvironment:
      return Environment(mem, value);
    case TraceArg::kOpenHow:
      return Struct<abi::OpenHow>(mem, value, [](const abi::OpenHow& how) {
        return absl::StrFormat("{flags=%s, mode=%#o, resolve=%#x}", FormatOpenFlags(how.flags),
                               how.mode, how.resolve);
      });
    default:
      return Hex(value);
  }
}

// What the call has written.
std::string Output(UserMemory& mem, TraceArg kind, uint64_t value, uint64_t next,
                   int64_t result) {
  const uint64_t done = static_cast<uint64_t>(result);
  switch (kind) {
    case TraceArg::kOutBuffer:
      return value == 0 ? "NULL" : Bytes(mem, value, std::min(done, next));
    case TraceArg::kOutIovec:
      return Iovec(mem, value, next, done);
    case TraceArg::kOutString:
      return String(mem, value);
    case TraceArg::kOutInt:
      return Struct<int>(mem, value, [](int n) { return absl::StrFormat("[%d]", n); });
    case TraceArg::kOutIntPair:
      return Array<int>(mem, value, 2, [](int n) { return absl::StrFormat("%d", n); });
    case TraceArg::kOutWaitStatus:
      return result == 0 ? Hex(value) : Struct<int>(mem, value, FormatWaitStatus);
    case TraceArg::kOutStat:
      return Struct<abi::Stat>(mem, value, FormatStat);
    case TraceArg::kOutStatx:
      return Struct<abi::Statx>(mem, value, [](const abi::Statx& stat) {
        return absl::StrFormat("{stx_mask=%#x, stx_mode=%s, stx_size=%d, ...}", stat.mask,
                               FormatMode(stat.mode), stat.size);
      });
    case TraceArg::kOutTimespec:
      return Input(mem, TraceArg::kTimespec, value, 0);
    case TraceArg::kOutTimeval:
      return Input(mem, TraceArg::kTimeval, value, 0);
    case TraceArg::kOutItimerval:
      return Input(mem, TraceArg::kItimerval, value, 0);
    case TraceArg::kOutItimerspec:
      return Input(mem, TraceArg::kItimerspec, value, 0);
    case TraceArg::kOutSigset:
      return Input(mem, TraceArg::kSigset, value, 0);
    case TraceArg::kOutSigaction:
      return Input(mem, TraceArg::kSigaction, value, 0);
    case TraceArg::kOutRlimit:
      return Input(mem, TraceArg::kRlimit, value, 0);
    case TraceArg::kOutUname:
      return Struct<abi::Utsname>(mem, value, [](const abi::Utsname& name) {
        return absl::StrFormat("{sysname=%s, nodename=%s, ...}",
                               Quote(std::string_view(name.sysname), 65),
                               Quote(std::string_view(name.nodename), 65));
      });
    case TraceArg::kPollFds:
      return PollFds(mem, value, next);
    case TraceArg::kOutEpollEvents:
      return Array<abi::EpollEvent>(mem, value, done, FormatEpollEvent);
    case TraceArg::kOutOffset:
      return Struct<int64_t>(mem, value, [](int64_t n) { return absl::StrFormat("[%d]", n); });
    default:
      return Hex(value);
  }
}

std::string FormatResult(const platform::Verdict& verdict, bool address) {
  switch (verdict.kind) {
    case platform::Verdict::Kind::kContinue:
      return "? (by the host)";
    case platform::Verdict::Kind::kExitThread:
    case platform::Verdict::Kind::kGone:
      return "?";
    case platform::Verdict::Kind::kReturn:
      break;
  }
  if (verdict.value < 0 && verdict.value >= -4095) {
    const int code = static_cast<int>(-verdict.value);
    switch (code) {
      case 512:
        return "? ERESTARTSYS (To be restarted if SA_RESTART is set)";
      case 513:
        return "? ERESTARTNOINTR (To be restarted)";
      case 514:
        return "? ERESTARTNOHAND (To be restarted if no handler)";
      case 516:
        return "? ERESTART_RESTARTBLOCK (Interrupted by signal)";
      default:
        return absl::StrFormat("-1 %s (%s)", ErrnoName(code), ErrnoText(code));
    }
  }
  return address ? absl::StrFormat("%#x", verdict.value) : absl::StrFormat("%d", verdict.value);
}

}  // namespace

StraceLine::StraceLine(UserMemory& mem, const platform::SyscallArgs& call)
    : mem_(mem), call_(call), format_(FindTraceFormat(call.nr)) {
  for (size_t i = 0; i < format_.args.size(); ++i) {
    const TraceArg kind = format_.args[i];
    if (kind != TraceArg::kNone && !IsOutput(kind)) arguments_[i] = Argument(i, kind, 0);
  }
}

std::string StraceLine::Argument(size_t index, TraceArg kind, int64_t result) {
  const uint64_t value = call_.args[index];
  const uint64_t next = index + 1 < 6 ? call_.args[index + 1] : 0;
  const uint64_t previous = index > 0 ? call_.args[index - 1] : 0;
  if (auto text = Scalar(kind, value, previous)) return *std::move(text);
  return IsOutput(kind) ? Output(mem_, kind, value, next, result)
                        : Input(mem_, kind, value, next);
}

std::string StraceLine::Finish(const platform::Verdict& verdict) {
  const AbiRow* row = FindRow(call_.nr);
  std::string line = row != nullptr && !row->name.empty()
                         ? std::string(row->name)
                         : absl::StrFormat("syscall_%d", call_.nr);
  const bool done = verdict.kind == platform::Verdict::Kind::kReturn && verdict.value >= 0;
  line.push_back('(');
  for (size_t i = 0; i < format_.args.size() && format_.args[i] != TraceArg::kNone; ++i) {
    const TraceArg kind = format_.args[i];
    // The mode of an open that creates nothing is noise.
    const bool creates = i > 0 && (call_.args[i - 1] & (O_CREAT | (O_TMPFILE & ~O_DIRECTORY))) != 0;
    if (kind == TraceArg::kMode && i > 0 && format_.args[i - 1] == TraceArg::kOpenFlags &&
        !creates) {
      continue;
    }
    if (IsOutput(kind)) {
      const bool known = done || kind == TraceArg::kPollFds;
      arguments_[i] = known ? Argument(i, kind, std::max<int64_t>(verdict.value, 0))
                            : Hex(call_.args[i]);
    }
    if (arguments_[i].empty()) continue;
    if (i != 0) line += ", ";
    line += arguments_[i];
  }
  return line + ") = " + FormatResult(verdict, format_.address);
}

}  // namespace syscalls
