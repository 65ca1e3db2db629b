#include "sentry/fs/host/host_terminal.h"

#include <asm/termbits.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstring>
#include <map>
#include <span>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "sentry/fs/host/host_file.h"
#include "sentry/task/job_control.h"
#include "sentry/task/kernel.h"
#include "sentry/task/task.h"
#include "sentry/tty/terminal_ioctl.h"

namespace sentry {
namespace {

// The kernel's structures are copied as bytes: some have padding, and all are zeroed before the
// host fills them.
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

Termios HostSettings(int host_fd) {
  Termios settings;
  struct termios host {};
  static_assert(sizeof(host) <= sizeof(settings));
  if (ioctl(host_fd, TCGETS, &host) == 0)
    memcpy(static_cast<void*>(&settings), &host, sizeof(host));
  return settings;
}

}  // namespace

Ref<HostTerminal> HostTerminal::Of(int fd, uint64_t host_device) {
  static absl::Mutex mu(absl::kConstInit);
  static auto* const terminals = new std::map<uint64_t, Ref<HostTerminal>>;
  absl::MutexLock lock(&mu);
  // One whose other end is closed has no number any more: the host gives it to the next.
  std::erase_if(*terminals, [](const auto& entry) {
    pollfd line{.fd = entry.second->fd_.get(), .events = 0, .revents = 0};
    return poll(&line, 1, 0) > 0 && (line.revents & POLLHUP) != 0;
  });
  Ref<HostTerminal>& terminal = (*terminals)[host_device];
  if (!terminal) terminal = MakeRef<HostTerminal>(UniqueFd(fcntl(fd, F_DUPFD_CLOEXEC, 0)));
  return terminal;
}

Result<Ref<File>> HostTerminal::Open(Ref<Inode> node, OpenFlags flags) {
  UniqueFd fd(fcntl(fd_.get(), F_DUPFD_CLOEXEC, 0));
  if (!fd.valid()) return Errno::Last();
  const Ref<File> file = MakeRef<HostFile>(std::move(node), std::move(fd), flags.Without(O_NOCTTY),
                                           S_IFCHR, Ref<HostTerminal>::Share(*this));
  if (Task* const task = Task::Current()) ClaimOnOpen(*task, *this, flags);
  return file;
}

Result<int64_t> HostTerminal::Ioctl(Task& task, File& file, uint32_t command, uint64_t arg) {
  const int host_fd = fd_.get();
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
      return JobControlIoctl(task, file, *this, TerminalEnd::kLine, command, arg);
  }
}

bool HostTerminal::StopsOutput() const { return (HostSettings(fd_.get()).lflag & TOSTOP) != 0; }

ReadRules HostTerminal::rules() const { return ReadRules::Of(HostSettings(fd_.get())); }

size_t HostTerminal::ReadableAtOnce(size_t size) const {
  if ((HostSettings(fd_.get()).lflag & ICANON) != 0) return size;
  int there = 0;
  if (ioctl(fd_.get(), FIONREAD, &there) != 0 || there <= 0) return size;
  return std::min(size, static_cast<size_t>(there));
}

}  // namespace sentry
