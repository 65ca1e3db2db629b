// Names of numbers, for strace lines.
#ifndef SYSCALLS_STRACE_NAMES_H_
#define SYSCALLS_STRACE_NAMES_H_

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace syscalls {

struct NumberName {
  uint64_t value = 0;
  std::string_view name;
};

// Sets of bits, and numbers that mean one thing each.
extern const std::span<const NumberName> kOpenFlagNames, kProtNames, kMapFlagNames, kAtFlagNames,
    kAccessNames, kCloneFlagNames, kWaitOptionNames, kSigactionFlagNames, kPollNames,
    kCloseOnExecNames, kMremapNames, kMemfdNames, kMountFlagNames, kEpollEventNames,
    kRenameFlagNames, kRandomFlagNames;
extern const std::span<const NumberName> kWhenceNames, kFcntlNames, kSigHowNames, kClockNames,
    kResourceNames, kMadviceNames, kFutexNames, kPrctlNames, kArchPrctlNames, kEpollOpNames,
    kIoctlNames, kFlockNames, kRusageNames, kItimerNames;

// "O_RDONLY|O_CLOEXEC"; bits without a name follow in hexadecimal. `none` stands for no bit.
std::string FormatFlags(std::span<const NumberName> names, uint64_t value,
                        std::string_view none = "0");
// The name, or the number in decimal.
std::string FormatEnum(std::span<const NumberName> names, uint64_t value);

// "ENOENT" and "No such file or directory"; empty for numbers that are no errno.
std::string_view ErrnoName(int code);
std::string_view ErrnoText(int code);
// "SIGINT", "SIGRT_3"; the number itself for what is no signal.
std::string SignalName(int sig);
// "[INT CHLD]", or "~[KILL]" when most are in it.
std::string FormatSignalSet(uint64_t bits);
// A string or buffer in quotes, cut after `limit` bytes with "..." behind it.
std::string Quote(std::string_view bytes, size_t limit);

}  // namespace syscalls

#endif  // SYSCALLS_STRACE_NAMES_H_
