#include "sentry/fs/host/host_terminal.h"

#include <asm/termbits.h>
#include <sys/ioctl.h>

#include <array>
#include <cstddef>
#include <span>

#include "sentry/task/job_control.h"
#include "sentry/task/kernel.h"
#include "sentry/task/task.h"

namespace sentry {
namespace {

// The kernel's structures are copied as bytes: some have padding, and all are zeroed before the host
// fills them.
template <typename T>
struct Bytes {
  alignas(T) std::array<std::byte, sizeof(T)> raw{};
};

template <typename T>
Result<int64_t> Get(Task& task, int host_fd, uint32_t command, uint64_t arg) {
  Bytes<T> value;
  if (ioctl(host_fd, command, value.raw.data()) != 0) return Errno::Last();
  TRY(task.mem().WriteBytes(UserAddr{arg}, value.raw));
  return int64_t{0};
}

template <typename T>
Result<int64_t> Set(Task& task, File& file, int host_fd, uint32_t command, uint64_t arg) {
  Bytes<T> value;
  TRY(task.mem().ReadBytes(UserAddr{arg}, value.raw));
  TRY(file.CheckTerminalAccess(task, File::TerminalAccess::kChange));
  if (ioctl(host_fd, command, value.raw.data()) != 0) return Errno::Last();
  return int64_t{0};
}

// Calls with a number instead of an address.
Result<int64_t> Control(Task& task, File& file, int host_fd, uint32_t command, uint64_t arg) {
  TRY(file.CheckTerminalAccess(task, File::TerminalAccess::kChange));
  if (ioctl(host_fd, command, static_cast<unsigned long>(static_cast<uint32_t>(arg))) != 0) {
    return Errno::Last();
  }
  return int64_t{0};
}

// struct termio of old programs (include/uapi/asm-generic/termios.h), which clashes with libc's.
struct KernelTermio {
  uint16_t iflag, oflag, cflag, lflag;
  uint8_t line, cc[8];
};

Result<int64_t> JobControlIoctl(Task& task, File& file, uint32_t command, uint64_t arg) {
  const UserPtr<Pid> out{UserAddr{arg}};
  switch (command) {
    case TIOCGPGRP:
      TRY(task.mem().Write(out, TRY(ForegroundGroup(task, file))));
      return int64_t{0};
    case TIOCSPGRP: {
      const Pid pgid = TRY(task.mem().Read(UserPtr<const Pid>{UserAddr{arg}}));
      TRY(file.CheckTerminalAccess(task, File::TerminalAccess::kChange));
      TRY(SetForegroundGroup(task, file, pgid));
      return int64_t{0};
    }
    case TIOCGSID:
      TRY(task.mem().Write(out, TRY(TerminalSession(task, file))));
      return int64_t{0};
    case TIOCSCTTY:
      TRY(SetControllingTerminal(task, Ref<File>::Share(file)));
      return int64_t{0};
    case TIOCNOTTY:
      TRY(DropControllingTerminal(task, file));
      return int64_t{0};
    default:
      return Errno(ENOTTY);
  }
}

}  // namespace

Result<int64_t> HostTerminalIoctl(Task& task, File& file, int host_fd, uint32_t command,
                                  uint64_t arg) {
  switch (command) {
    case TCGETS:
      return Get<struct termios>(task, host_fd, command, arg);
    case TCGETS2:
      return Get<struct termios2>(task, host_fd, command, arg);
    case TCGETA:
      return Get<KernelTermio>(task, host_fd, command, arg);
    case TIOCGWINSZ:
      return Get<winsize>(task, host_fd, command, arg);
    case TIOCOUTQ:
    case TIOCGETD:
      return Get<int32_t>(task, host_fd, command, arg);
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
      return Set<struct termios>(task, file, host_fd, command, arg);
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2:
      return Set<struct termios2>(task, file, host_fd, command, arg);
    case TCSETA:
    case TCSETAW:
    case TCSETAF:
      return Set<KernelTermio>(task, file, host_fd, command, arg);
    case TIOCSWINSZ:
      return Set<winsize>(task, file, host_fd, command, arg);
    case TCFLSH:
    case TCSBRK:
    case TCSBRKP:
    case TCXONC:
      return Control(task, file, host_fd, command, arg);
    default:
      return JobControlIoctl(task, file, command, arg);
  }
}

bool HostTerminalStopsOutput(int host_fd) {
  struct termios settings {};
  return ioctl(host_fd, TCGETS, &settings) == 0 && (settings.c_lflag & TOSTOP) != 0;
}

}  // namespace sentry
