// prctl(2).
#include <linux/prctl.h>
#include <linux/securebits.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>
#include <string>

#include "sentry/task/kernel.h"
#include "syscalls/process.h"
#include "syscalls/seccomp.h"

namespace syscalls {
namespace {

using sentry::Credentials;

constexpr int kCapSetpcap = 8;
constexpr int kCapSysResource = 24;
constexpr uint64_t kLastCapability = 40;
// Of Linux 6.4 and 6.18.
constexpr int kSetMemoryMerge = 67, kGetMemoryMerge = 68, kGetAuxv = 0x41555856;
constexpr int kSetMdwe = 65, kGetMdwe = 66;  // PR_SET_MDWE, PR_GET_MDWE: Linux 6.3.
constexpr uint64_t kExceptAdvised = 2;

Result<int64_t> SetName(Task& task, uint64_t address) {
  // At most 16 bytes with the NUL; longer names are cut off.
  std::array<char, 16> name{};
  for (size_t i = 0; i < name.size() - 1; ++i) {
    name[i] = TRY(task.mem().Read(UserPtr<const char>{UserAddr{address + i}}));
    if (name[i] == '\0') break;
  }
  std::string comm(name.data());
  absl::MutexLock lock(&task.kernel().mu());
  std::swap(task.comm, comm);
  return 0;
}

Result<int64_t> GetName(Task& task, uint64_t address) {
  std::array<char, 16> name{};
  {
    absl::MutexLock lock(&task.kernel().mu());
    task.comm.copy(name.data(), name.size() - 1);
  }
  TRY(task.mem().WriteBytes(UserAddr{address}, std::as_bytes(std::span(name))));
  return 0;
}

Result<int64_t> WriteInt(Task& task, uint64_t address, int value) {
  TRY(task.mem().Write(UserPtr<int>{UserAddr{address}}, value));
  return 0;
}

Result<int64_t> DeathSignal(Task& task, int option, uint64_t arg) {
  if (option == PR_GET_PDEATHSIG) {
    int sig = 0;
    {
      absl::MutexLock lock(&task.kernel().mu());
      sig = task.pdeath_signal;
    }
    return WriteInt(task, arg, sig);
  }
  if (arg > sentry::kSignalCount) return Errno(EINVAL);
  absl::MutexLock lock(&task.kernel().mu());
  task.pdeath_signal = static_cast<int>(arg);
  return 0;
}

// Settings of the process that are plain numbers.
Result<int64_t> ProcessSetting(Task& task, int option, uint64_t arg) {
  int subreaper = 0;
  {
    absl::MutexLock lock(&task.kernel().mu());
    sentry::ThreadGroup& group = task.group();
    switch (option) {
      case PR_GET_DUMPABLE:
        return group.dumpable;
      case PR_SET_DUMPABLE:
        if (arg > 1) return Errno(EINVAL);
        group.dumpable = static_cast<int>(arg);
        return 0;
      case PR_SET_CHILD_SUBREAPER:
        group.child_subreaper = arg != 0;
        return 0;
      default:
        subreaper = group.child_subreaper ? 1 : 0;
    }
  }
  return WriteInt(task, arg, subreaper);
}

Result<int64_t> NoNewPrivs(Task& task, int option, uint64_t arg2, uint64_t arg3, uint64_t arg4,
                           uint64_t arg5) {
  if (arg3 != 0 || arg4 != 0 || arg5 != 0) return Errno(EINVAL);
  if (option == PR_GET_NO_NEW_PRIVS) {
    if (arg2 != 0) return Errno(EINVAL);
    return task.creds().no_new_privs ? 1 : 0;
  }
  if (arg2 != 1) return Errno(EINVAL);
  Credentials creds = task.creds();
  creds.no_new_privs = true;
  task.set_creds(std::move(creds));
  return 0;
}

Result<int64_t> KeepCaps(Task& task, int option, uint64_t arg) {
  Credentials creds = task.creds();
  if (option == PR_GET_KEEPCAPS) return (creds.securebits & SECBIT_KEEP_CAPS) != 0 ? 1 : 0;
  if (arg > 1) return Errno(EINVAL);
  if ((creds.securebits & SECBIT_KEEP_CAPS_LOCKED) != 0) return Errno(EPERM);
  creds.securebits &= ~uint32_t{SECBIT_KEEP_CAPS};
  if (arg == 1) creds.securebits |= SECBIT_KEEP_CAPS;
  task.set_creds(std::move(creds));
  return 0;
}

Result<int64_t> SecureBits(Task& task, int option, uint64_t bits) {
  Credentials creds = task.creds();
  const auto current = static_cast<uint64_t>(creds.securebits);
  if (option == PR_GET_SECUREBITS) return static_cast<int64_t>(current);
  const uint64_t locked = (current & SECURE_ALL_LOCKS) >> 1;
  const bool changes_locked = (locked & (current ^ bits)) != 0;
  const bool drops_lock = (current & SECURE_ALL_LOCKS & ~bits) != 0;
  if (changes_locked || drops_lock || (bits & ~uint64_t{SECURE_ALL_LOCKS | SECURE_ALL_BITS}) != 0 ||
      !creds.HasCapability(kCapSetpcap)) {
    return Errno(EPERM);
  }
  creds.securebits = static_cast<uint32_t>(bits);
  task.set_creds(std::move(creds));
  return 0;
}

Result<int64_t> BoundingSet(Task& task, int option, uint64_t capability) {
  if (capability > kLastCapability) return Errno(EINVAL);
  const uint64_t bit = uint64_t{1} << capability;
  Credentials creds = task.creds();
  if (option == PR_CAPBSET_READ) return (creds.bounding & bit) != 0 ? 1 : 0;
  if (!creds.HasCapability(kCapSetpcap)) return Errno(EPERM);
  creds.bounding &= ~bit;
  task.set_creds(std::move(creds));
  return 0;
}

Result<int64_t> Ambient(Task& task, uint64_t what, uint64_t capability, uint64_t arg4,
                        uint64_t arg5) {
  Credentials creds = task.creds();
  if (what == PR_CAP_AMBIENT_CLEAR_ALL) {
    if (capability != 0 || arg4 != 0 || arg5 != 0) return Errno(EINVAL);
    creds.ambient = 0;
    task.set_creds(std::move(creds));
    return 0;
  }
  if (capability > kLastCapability || arg4 != 0 || arg5 != 0) return Errno(EINVAL);
  const uint64_t bit = uint64_t{1} << capability;
  switch (what) {
    case PR_CAP_AMBIENT_IS_SET:
      return (creds.ambient & bit) != 0 ? 1 : 0;
    case PR_CAP_AMBIENT_RAISE:
      if ((creds.permitted & creds.inheritable & bit) == 0 ||
          (creds.securebits & SECBIT_NO_CAP_AMBIENT_RAISE) != 0) {
        return Errno(EPERM);
      }
      creds.ambient |= bit;
      break;
    case PR_CAP_AMBIENT_LOWER:
      creds.ambient &= ~bit;
      break;
    default:
      return Errno(EINVAL);
  }
  task.set_creds(std::move(creds));
  return 0;
}

// What nothing here can act on, huge pages, failing memory and merging of pages: remembered and
// inherited.
Result<int64_t> Recorded(Task& task, int option, uint64_t arg2, uint64_t arg3, uint64_t arg4,
                         uint64_t arg5) {
  absl::MutexLock lock(&task.kernel().mu());
  sentry::ThreadGroup& group = task.group();
  switch (option) {
    case PR_GET_THP_DISABLE:
      if (arg2 != 0 || arg3 != 0 || arg4 != 0 || arg5 != 0) return Errno(EINVAL);
      return group.thp_disabled;
    case PR_SET_THP_DISABLE:
      // Since Linux 6.18 the third argument may except what was advised.
      if ((arg3 & ~kExceptAdvised) != 0 || arg4 != 0 || arg5 != 0) return Errno(EINVAL);
      if (arg2 == 0 && arg3 != 0) return Errno(EINVAL);
      group.thp_disabled = arg2 != 0 ? 1 | static_cast<int>(arg3) : 0;
      return 0;
    case kSetMemoryMerge:
      if (arg3 != 0 || arg4 != 0 || arg5 != 0) return Errno(EINVAL);
      group.merges_memory = arg2 != 0;
      return 0;
    case kGetMemoryMerge:
      if (arg2 != 0 || arg3 != 0 || arg4 != 0 || arg5 != 0) return Errno(EINVAL);
      return group.merges_memory ? 1 : 0;
    case PR_MCE_KILL_GET:
      if (arg2 != 0 || arg3 != 0 || arg4 != 0 || arg5 != 0) return Errno(EINVAL);
      return group.mce_policy;
    default:
      break;
  }
  if (arg4 != 0 || arg5 != 0) return Errno(EINVAL);
  if (arg2 == PR_MCE_KILL_CLEAR && arg3 == 0) {
    group.mce_policy = PR_MCE_KILL_DEFAULT;
  } else if (arg2 == PR_MCE_KILL_SET && arg3 <= PR_MCE_KILL_DEFAULT) {
    group.mce_policy = static_cast<int>(arg3);
  } else {
    return Errno(EINVAL);
  }
  return 0;
}

Result<int64_t> Timing(int option, uint64_t arg) {
  if (option == PR_GET_TIMING) return PR_TIMING_STATISTICAL;
  return arg == PR_TIMING_STATISTICAL ? Result<int64_t>(int64_t{0}) : Errno(EINVAL);
}

Result<int64_t> TimerSlack(Task& task, int option, uint64_t ns) {
  constexpr uint64_t kDefault = 50000;
  if (option == PR_GET_TIMERSLACK) return static_cast<int64_t>(task.timer_slack_ns);
  task.timer_slack_ns = ns == 0 || ns > static_cast<uint64_t>(INT64_MAX) ? kDefault : ns;
  return 0;
}

Result<int64_t> IoFlusher(Task& task, int option, uint64_t arg2, uint64_t arg3, uint64_t arg4,
                          uint64_t arg5) {
  if (!task.creds().HasCapability(kCapSysResource)) return Errno(EPERM);
  if (arg3 != 0 || arg4 != 0 || arg5 != 0) return Errno(EINVAL);
  if (option == PR_GET_IO_FLUSHER) {
    if (arg2 != 0) return Errno(EINVAL);
    return task.io_flusher ? 1 : 0;
  }
  if (arg2 > 1) return Errno(EINVAL);
  task.io_flusher = arg2 == 1;
  return 0;
}

// As on a machine that leaves processes no choice: nothing is held back, and the first-level cache
// is not flushed.
Result<int64_t> Speculation(int option, uint64_t which, uint64_t arg3, uint64_t arg4,
                            uint64_t arg5) {
  const bool sets = option == PR_SET_SPECULATION_CTRL;
  if ((!sets && arg3 != 0) || arg4 != 0 || arg5 != 0) return Errno(EINVAL);
  switch (which) {
    case PR_SPEC_STORE_BYPASS:
    case PR_SPEC_INDIRECT_BRANCH:
      return sets ? Result<int64_t>(Errno(ENXIO)) : int64_t{PR_SPEC_ENABLE};
    case PR_SPEC_L1D_FLUSH:
      return sets ? Result<int64_t>(Errno(EPERM)) : int64_t{PR_SPEC_FORCE_DISABLE};
    default:
      return Errno(ENODEV);
  }
}

// The field of the layout that an option of PR_SET_MM is about; nullptr for those that are not
// here: the program break is the host's, and executable and auxiliary vector stay what execve(2)
// made them.
uint64_t* FieldOf(sentry::Mm::Layout& layout, uint64_t what) {
  switch (what) {
    case PR_SET_MM_START_CODE:
      return &layout.start_code;
    case PR_SET_MM_END_CODE:
      return &layout.end_code;
    case PR_SET_MM_START_DATA:
      return &layout.start_data;
    case PR_SET_MM_END_DATA:
      return &layout.end_data;
    case PR_SET_MM_ARG_START:
      return &layout.arg_start;
    case PR_SET_MM_ARG_END:
      return &layout.arg_end;
    case PR_SET_MM_ENV_START:
      return &layout.env_start;
    case PR_SET_MM_ENV_END:
      return &layout.env_end;
    default:
      return nullptr;
  }
}

// prctl_set_mm() of the kernel. What /proc/PID/cmdline shows is changed this way.
Result<int64_t> SetMm(Task& task, uint64_t what, uint64_t addr, uint64_t arg4, uint64_t arg5) {
  constexpr uint64_t kLowest = 65536;  // vm.mmap_min_addr
  const bool map = what == PR_SET_MM_MAP || what == PR_SET_MM_MAP_SIZE;
  if (arg5 != 0 || (arg4 != 0 && !map && what != PR_SET_MM_AUXV)) return Errno(EINVAL);
  if (what == PR_SET_MM_MAP_SIZE) {
    return WriteInt(task, addr, static_cast<int>(sizeof(prctl_mm_map)));
  }
  if (what == PR_SET_MM_MAP) return Errno(EINVAL);
  if (!task.creds().HasCapability(kCapSysResource)) return Errno(EPERM);
  if (addr >= task.mem().space().user_end() || addr < kLowest) return Errno(EINVAL);
  sentry::Mm::Layout layout = task.mm().layout();
  uint64_t* const field = FieldOf(layout, what);
  if (field == nullptr) return Errno(EINVAL);
  *field = addr;
  if (layout.start_code >= layout.end_code || layout.start_data > layout.end_data ||
      layout.arg_start > layout.arg_end || layout.env_start > layout.env_end) {
    return Errno(EINVAL);
  }
  task.mm().SetLayout(layout);
  return 0;
}

// The vector as execve(2) left it, and how large the kernel's copy is: with room for entries of all
// machines.
Result<int64_t> GetAuxv(Task& task, uint64_t address, uint64_t size, uint64_t arg4, uint64_t arg5) {
  constexpr size_t kSize = 56 * sizeof(uint64_t);
  if (arg4 != 0 || arg5 != 0) return Errno(EINVAL);
  std::array<std::byte, kSize> vector{};
  const sentry::Mm::Layout layout = task.mm().layout();
  const auto told = std::span(vector).first(std::min<size_t>(layout.auxv_size, kSize));
  (void)task.mem().ReadSome(UserAddr{layout.auxv}, told);
  TRY(task.mem().WriteBytes(UserAddr{address}, std::span(vector).first(std::min(size, kSize))));
  return static_cast<int64_t>(kSize);
}

Result<int64_t> PrctlOption(Task& task, int option, uint64_t arg2, uint64_t arg3, uint64_t arg4,
                            uint64_t arg5) {
  switch (option) {
    case PR_SET_NAME:
      return SetName(task, arg2);
    case PR_GET_NAME:
      return GetName(task, arg2);
    case PR_SET_PDEATHSIG:
    case PR_GET_PDEATHSIG:
      return DeathSignal(task, option, arg2);
    case PR_SET_DUMPABLE:
    case PR_GET_DUMPABLE:
    case PR_SET_CHILD_SUBREAPER:
    case PR_GET_CHILD_SUBREAPER:
      return ProcessSetting(task, option, arg2);
    case PR_SET_NO_NEW_PRIVS:
    case PR_GET_NO_NEW_PRIVS:
      return NoNewPrivs(task, option, arg2, arg3, arg4, arg5);
    case PR_SET_KEEPCAPS:
    case PR_GET_KEEPCAPS:
      return KeepCaps(task, option, arg2);
    case PR_SET_SECUREBITS:
    case PR_GET_SECUREBITS:
      return SecureBits(task, option, arg2);
    case PR_CAPBSET_READ:
    case PR_CAPBSET_DROP:
      return BoundingSet(task, option, arg2);
    case PR_CAP_AMBIENT:
      return Ambient(task, arg2, arg3, arg4, arg5);
    case PR_SET_THP_DISABLE:
    case PR_GET_THP_DISABLE:
    case kSetMemoryMerge:
    case kGetMemoryMerge:
    case PR_MCE_KILL:
    case PR_MCE_KILL_GET:
      return Recorded(task, option, arg2, arg3, arg4, arg5);
    case PR_GET_TIMING:
    case PR_SET_TIMING:
      return Timing(option, arg2);
    case PR_SET_IO_FLUSHER:
    case PR_GET_IO_FLUSHER:
      return IoFlusher(task, option, arg2, arg3, arg4, arg5);
    case PR_GET_SPECULATION_CTRL:
    case PR_SET_SPECULATION_CTRL:
      return Speculation(option, arg2, arg3, arg4, arg5);
    case PR_SET_MM:
      return SetMm(task, arg2, arg3, arg4, arg5);
    case kGetAuxv:
      return GetAuxv(task, arg2, arg3, arg4, arg5);
    case PR_SET_SYSCALL_USER_DISPATCH:
      // It is off, and stays off.
      return arg2 == PR_SYS_DISPATCH_OFF && arg3 == 0 && arg4 == 0 && arg5 == 0
                 ? Result<int64_t>(int64_t{0})
                 : Errno(EINVAL);
    case PR_GET_SECCOMP:
      return SeccompMode(task);
    case PR_SET_SECCOMP:
      return SetSeccomp(task, arg2, arg3);
    case kSetMdwe:
    case kGetMdwe:
      // Nothing is denied, and nothing can be: the host maps anonymous memory unasked.
      return arg2 == 0 && arg3 == 0 && arg4 == 0 && arg5 == 0 ? Result<int64_t>(int64_t{0})
                                                              : Errno(EINVAL);
    case PR_TASK_PERF_EVENTS_DISABLE:
    case PR_TASK_PERF_EVENTS_ENABLE:
      return 0;  // There are no counters.
    case PR_SET_TIMERSLACK:
    case PR_GET_TIMERSLACK:
      return TimerSlack(task, option, arg2);
    case PR_GET_TID_ADDRESS:
      TRY(task.mem().Write(UserPtr<uint64_t>{UserAddr{arg2}}, task.clear_child_tid));
      return 0;
    default:
      return Errno(EINVAL);
  }
}

}  // namespace

Control Prctl(Task& task, int option, uint64_t arg2, uint64_t arg3, uint64_t arg4, uint64_t arg5) {
  // The host's thread, and what is forked from it, traps rdtsc; nothing for the sentry to do.
  if (option == PR_GET_TSC || option == PR_SET_TSC) return Control::Continue();
  const Result<int64_t> result = PrctlOption(task, option, arg2, arg3, arg4, arg5);
  return result.ok() ? Control::Return(*result) : Control::Fail(result.error());
}

}  // namespace syscalls
