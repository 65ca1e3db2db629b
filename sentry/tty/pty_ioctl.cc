// ioctl_tty(2) on either end of a pseudo-terminal.
#include <linux/capability.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>

#include <array>
#include <cstring>

#include "sentry/task/job_control.h"
#include "sentry/task/kernel.h"
#include "sentry/task/task.h"
#include "sentry/tty/devpts.h"
#include "sentry/tty/pty_file.h"
#include "sentry/tty/terminal_ioctl.h"

namespace sentry {
namespace {

static_assert(sizeof(winsize) == 8);
constexpr size_t kTermiosSize = offsetof(Termios, ispeed);  // struct termios, without speeds.

Result<int64_t> PutInt(Task& task, uint64_t arg, int32_t value) {
  TRY(task.mem().Write(UserPtr<int32_t>{UserAddr{arg}}, value));
  return int64_t{0};
}

Result<int32_t> GetInt(Task& task, uint64_t arg) {
  return task.mem().Read(UserPtr<const int32_t>{UserAddr{arg}});
}

template <typename T>
std::span<std::byte> BytesOf(T& value, size_t size = sizeof(T)) {
  return std::as_writable_bytes(std::span(&value, 1)).first(size);
}

bool IsAdmin(Task& task) { return task.creds().HasCapability(CAP_SYS_ADMIN); }

}  // namespace

// In Linux's order: what every terminal has, job control, the driver's own, the discipline's.
Result<int64_t> PtyFile::Ioctl(Task& task, uint32_t command, uint64_t arg) {
  if (IsCutOff()) return Errno(command == TIOCSPGRP ? ENOTTY : EIO);
  const auto mine = [](const Result<int64_t>& r) { return r.ok() || r.error() != Errno(ENOTTY); };
  Result<int64_t> result = LineIoctl(task, command, arg);
  if (mine(result)) return result;
  const TerminalEnd end = end_ == Pty::End::kMaster ? TerminalEnd::kMaster : TerminalEnd::kLine;
  result = JobControlIoctl(task, *this, *pty_, end, command, arg);
  if (mine(result)) return result;
  result = OwnIoctl(task, command, arg);
  if (mine(result)) return result;
  result = FlowIoctl(task, command, arg);
  if (mine(result)) return result;
  return ModeIoctl(task, command, arg);
}

Result<int64_t> PtyFile::LineIoctl(Task& task, uint32_t command, uint64_t arg) {
  switch (command) {
    case TIOCSTI:
      return TypeByte(task, arg);
    case TIOCGWINSZ: {
      winsize window = pty_->window();
      TRY(task.mem().WriteBytes(UserAddr{arg}, BytesOf(window)));
      return int64_t{0};
    }
    case TIOCSWINSZ: {
      winsize window{};
      TRY(task.mem().ReadBytes(UserAddr{arg}, BytesOf(window)));
      pty_->SetWindow(window);
      return int64_t{0};
    }
    case TIOCEXCL:
    case TIOCNXCL:
      pty_->set_exclusive(end_, command == TIOCEXCL);
      return int64_t{0};
    case TIOCGEXCL:
      return PutInt(task, arg, pty_->exclusive(end_) ? 1 : 0);
    case TIOCGETD:
      return PutInt(task, arg, N_TTY);
    case TIOCSETD: {
      if (end_ == Pty::End::kSlave) TRY(CheckChange(task));
      // Other disciplines are modules of a host.
      return TRY(GetInt(task, arg)) == N_TTY ? Result<int64_t>(int64_t{0}) : Errno(EINVAL);
    }
    case TIOCVHANGUP:
      if (!IsAdmin(task)) return Errno(EPERM);
      HangUp(task.kernel(), *pty_);
      return int64_t{0};
    case TIOCGDEV: {
      const uint64_t device = pty_->device();
      const uint32_t low = gnu_dev_minor(device);
      return PutInt(task, arg,
                    static_cast<int32_t>((low & 0xff) | gnu_dev_major(device) << 8 |
                                         (low & ~uint32_t{0xff}) << 12));
    }
    default:
      return Errno(ENOTTY);
  }
}

// Without CAP_SYS_ADMIN only on the own terminal: it types for others.
Result<int64_t> PtyFile::TypeByte(Task& task, uint64_t arg) {
  if (!IsAdmin(task) && (end_ == Pty::End::kMaster || !IsControllingTerminal(task, *pty_))) {
    return Errno(EPERM);
  }
  pty_->Type(end_, TRY(task.mem().Read(UserPtr<const uint8_t>{UserAddr{arg}})));
  return int64_t{0};
}

// Breaks mean nothing without a wire.
Result<int64_t> PtyFile::FlowIoctl(Task& task, uint32_t command, uint64_t arg) {
  const bool slave = end_ == Pty::End::kSlave;
  switch (command) {
    case TIOCSBRK:
    case TIOCCBRK:
    case TCSBRK:
    case TCSBRKP:
      if (slave) TRY(CheckChange(task));
      return int64_t{0};
    case TCFLSH:
      if (slave) TRY(CheckChange(task));
      TRY(pty_->Flush(end_, static_cast<int>(arg)));
      return int64_t{0};
    case TCXONC:
      if (slave) TRY(CheckChange(task));
      TRY(pty_->FlowControl(end_, static_cast<int>(arg)));
      return int64_t{0};
    case TIOCOUTQ:
      return PutInt(task, arg, 0);  // What was written has arrived.
    case FIONREAD:
      return PutInt(task, arg, static_cast<int32_t>(pty_->InputCount(end_)));
    default:
      return Errno(ENOTTY);
  }
}

Result<int64_t> PtyFile::ModeIoctl(Task& task, uint32_t command, uint64_t arg) {
  switch (command) {
    case TCGETS:
    case TCGETS2:
    case TCGETA:
      return GetModes(task, command, arg);
    case TCSETS:
    case TCSETSW:
    case TCSETSF:
    case TCSETS2:
    case TCSETSW2:
    case TCSETSF2:
    case TCSETA:
    case TCSETAW:
    case TCSETAF:
      return SetModes(task, command, arg);
    case TIOCGLCKTRMIOS:
    case TIOCSLCKTRMIOS:
      return LockedModes(task, command, arg);
    case TIOCGSOFTCAR:
      return PutInt(task, arg, (pty_->termios().cflag & CLOCAL) != 0 ? 1 : 0);
    case TIOCSSOFTCAR: {
      Termios termios = pty_->termios();
      termios.cflag =
          (termios.cflag & ~uint32_t{CLOCAL}) | (TRY(GetInt(task, arg)) != 0 ? CLOCAL : 0);
      pty_->SetTermios(termios, false);
      return int64_t{0};
    }
    default:
      return Errno(ENOTTY);
  }
}

Result<int64_t> PtyFile::GetModes(Task& task, uint32_t command, uint64_t arg) {
  Termios termios = pty_->termios();
  if (command == TCGETA) {
    Termio old = ToTermio(termios);
    TRY(task.mem().WriteBytes(UserAddr{arg}, BytesOf(old)));
    return int64_t{0};
  }
  const size_t size = command == TCGETS ? kTermiosSize : sizeof(Termios);
  TRY(task.mem().WriteBytes(UserAddr{arg}, BytesOf(termios, size)));
  return int64_t{0};
}

Result<int64_t> PtyFile::SetModes(Task& task, uint32_t command, uint64_t arg) {
  TRY(CheckChange(task));
  Termios termios = pty_->termios();
  const bool old_kind = command == TCSETA || command == TCSETAW || command == TCSETAF;
  if (old_kind) {
    Termio change{};
    TRY(task.mem().ReadBytes(UserAddr{arg}, BytesOf(change)));
    termios = WithTermio(termios, change);
  } else {
    const bool with_speeds = command == TCSETS2 || command == TCSETSW2 || command == TCSETSF2;
    const size_t size = with_speeds ? sizeof(Termios) : kTermiosSize;
    TRY(task.mem().ReadBytes(UserAddr{arg}, BytesOf(termios, size)));
  }
  termios.DeriveSpeeds();
  // There is nothing to drain: output goes out when it is written.
  pty_->SetTermios(termios, command == TCSETSF || command == TCSETSF2 || command == TCSETAF);
  return int64_t{0};
}

Result<int64_t> PtyFile::LockedModes(Task& task, uint32_t command, uint64_t arg) {
  Termios mask = pty_->locked_termios();
  if (command == TIOCGLCKTRMIOS) {
    TRY(task.mem().WriteBytes(UserAddr{arg}, BytesOf(mask, kTermiosSize)));
    return int64_t{0};
  }
  if (!IsAdmin(task)) return Errno(EPERM);
  TRY(task.mem().ReadBytes(UserAddr{arg}, BytesOf(mask, kTermiosSize)));
  pty_->set_locked_termios(mask);
  return int64_t{0};
}

Result<int64_t> PtyMasterFile::OwnIoctl(Task& task, uint32_t command, uint64_t arg) {
  switch (command) {
    case TIOCSPTLCK:
      pty_->set_locked(TRY(GetInt(task, arg)) != 0);
      return int64_t{0};
    case TIOCGPTLCK:
      return PutInt(task, arg, pty_->locked() ? 1 : 0);
    case TIOCPKT:
      pty_->set_packet_mode(TRY(GetInt(task, arg)) != 0);
      return int64_t{0};
    case TIOCGPKT:
      return PutInt(task, arg, pty_->packet_mode() ? 1 : 0);
    case TIOCGPTN:
      return PutInt(task, arg, static_cast<int32_t>(pty_->index()));
    case TIOCSIG: {
      const int sig = static_cast<int>(arg);
      if (sig != SIGINT && sig != SIGQUIT && sig != SIGTSTP) return Errno(EINVAL);
      SignalForeground(task.kernel(), *pty_, sig);
      return int64_t{0};
    }
    case TIOCGPTPEER:
      return OpenPeer(task, arg);
    default:
      return Errno(ENOTTY);
  }
}

Result<int64_t> PtyMasterFile::OpenPeer(Task& task, uint64_t raw_flags) {
  const OpenFlags flags(static_cast<uint32_t>(raw_flags) &
                        (O_ACCMODE | O_NOCTTY | O_NONBLOCK | O_CLOEXEC));
  const Ref<Inode> node = TRY(pty_->devpts().Node(pty_->index()));
  Ref<File> file = TRY(pty_->Open(node, flags.Without(O_CLOEXEC).With(0100000)));
  const Result<Path> path = pty_->devpts().PathOf(task, pty_->index());
  if (path.ok()) file->set_path(*path);
  return static_cast<int64_t>(TRY(task.AddFd(std::move(file), flags.has(O_CLOEXEC))));
}

}  // namespace sentry
