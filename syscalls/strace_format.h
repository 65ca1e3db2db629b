// How the arguments of each call are shown.
#ifndef SYSCALLS_STRACE_FORMAT_H_
#define SYSCALLS_STRACE_FORMAT_H_

#include <array>
#include <cstdint>

namespace syscalls {

// What an argument is. Those from kFirstOutput on are what the call writes, shown afterwards.
enum class TraceArg : uint8_t {
  kNone,  // The call takes no more arguments.
  kHex,
  kInt,
  kUnsigned,  // 64 bits: sizes, offsets, addresses of no interest.
  kLong,
  kFd,
  kDirFd,
  kPath,
  kBuffer,        // Bytes; the next argument says how many.
  kIovec,         // Pieces of memory that are written to a file; the next says how many.
  kOpenFlags,
  kMode,          // Octal.
  kProt,
  kMapFlags,
  kAtFlags,
  kAccess,
  kWhence,
  kCloneFlags,
  kFcntl,
  kFcntlArg,      // As the argument before says.
  kSignal,
  kSigHow,
  kSigset,
  kSigaction,
  kClock,
  kTimespec,
  kTimeval,
  kItimerval,
  kItimerspec,
  kWaitOptions,
  kResource,
  kRlimit,
  kMadvice,
  kFutex,
  kPrctl,
  kArchPrctl,
  kEpollOp,
  kEpollEvent,
  kIoctl,
  kFlock,
  kRusageWho,
  kItimer,
  kMremapFlags,
  kMemfdFlags,
  kMountFlags,
  kRenameFlags,
  kRandomFlags,
  kStrings,       // A vector of strings that ends with a null pointer.
  kEnvironment,   // Likewise, of which only the number is shown.
  kOpenHow,
  kFirstOutput,
  kOutBuffer,     // As many bytes as the result says.
  kOutIovec,
  kOutString,     // Ends with a NUL.
  kOutInt,
  kOutIntPair,
  kOutWaitStatus,
  kOutStat,
  kOutStatx,
  kOutTimespec,
  kOutTimeval,
  kOutItimerval,
  kOutItimerspec,
  kOutSigset,
  kOutSigaction,
  kOutRlimit,
  kOutUname,
  kPollFds,       // The next argument says how many.
  kOutEpollEvents,
  kOutOffset,
};

struct TraceFormat {
  std::array<TraceArg, 6> args{};
  bool address = false;  // The result is one.
};

TraceFormat FindTraceFormat(uint64_t nr);

}  // namespace syscalls

#endif  // SYSCALLS_STRACE_FORMAT_H_
