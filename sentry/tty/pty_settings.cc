// What ioctl(2) asks of a pseudo-terminal.
#include <signal.h>

#include <cstring>
#include <utility>

#include "sentry/task/job_control.h"
#include "sentry/tty/pty.h"

namespace sentry {
namespace {

// A bit that is set in `locked` keeps its old value; so does a character that is not 0 there.
Termios KeepLocked(const Termios& wanted, const Termios& old, const Termios& locked) {
  Termios result = wanted;
  const auto keep = [](uint32_t& now, uint32_t before, uint32_t mask) {
    now = (now & ~mask) | (before & mask);
  };
  keep(result.iflag, old.iflag, locked.iflag);
  keep(result.oflag, old.oflag, locked.oflag);
  keep(result.cflag, old.cflag, locked.cflag);
  keep(result.lflag, old.lflag, locked.lflag);
  if (locked.line != 0) result.line = old.line;
  for (size_t i = 0; i < result.cc.size(); ++i) {
    if (locked.cc[i] != 0) result.cc[i] = old.cc[i];
  }
  return result;
}

// Whether ^S and ^Q stop and start output, so that who has the master can do that by itself.
bool PlainFlowControl(const Termios& t) {
  return (t.iflag & IXON) != 0 && t.cc[VSTOP] == '\023' && t.cc[VSTART] == '\021';
}

}  // namespace

Termios Pty::termios() const {
  absl::MutexLock lock(&mu_);
  return discipline_.termios();
}

void Pty::SetTermios(const Termios& termios, bool flush) {
  uint32_t signals = 0;
  {
    absl::MutexLock lock(&mu_);
    const Termios old = discipline_.termios();
    Termios next = KeepLocked(termios, old, locked_termios_);
    // A line without wires has eight bits and no parity.
    next.cflag = (next.cflag & ~uint32_t{CSIZE | PARENB}) | CS8 | CREAD;
    if (flush) {
      to_slave_.clear();
      discipline_.FlushInput();
    }
    discipline_.SetTermios(next);
    TellFlowModeLocked(old);
    DeliverLocked();
    slave_queue_.Notify(POLLOUT | POLLWRNORM);
    signals = SettleLocked();
  }
  SendSignals(signals);
}

void Pty::TellFlowModeLocked(const Termios& old) {
  const Termios& now = discipline_.termios();
  const bool before = PlainFlowControl(old), after = PlainFlowControl(now);
  if (before != after) {
    TellStatus(after ? TIOCPKT_DOSTOP : TIOCPKT_NOSTOP, TIOCPKT_DOSTOP | TIOCPKT_NOSTOP);
  }
  if (((old.lflag | now.lflag) & EXTPROC) != 0) TellStatus(TIOCPKT_IOCTL, 0);
}

Termios Pty::locked_termios() const {
  absl::MutexLock lock(&mu_);
  return locked_termios_;
}

void Pty::set_locked_termios(const Termios& mask) {
  absl::MutexLock lock(&mu_);
  locked_termios_ = mask;
}

winsize Pty::window() const {
  absl::MutexLock lock(&mu_);
  return window_;
}

void Pty::SetWindow(const winsize& window) {
  {
    absl::MutexLock lock(&mu_);
    if (memcmp(&window, &window_, sizeof(window)) == 0) return;
    window_ = window;
  }
  SignalForeground(kernel_, *this, SIGWINCH);
}

bool Pty::locked() const {
  absl::MutexLock lock(&mu_);
  return locked_;
}

void Pty::set_locked(bool locked) {
  absl::MutexLock lock(&mu_);
  locked_ = locked;
}

bool Pty::packet_mode() const {
  absl::MutexLock lock(&mu_);
  return packet_mode_;
}

void Pty::set_packet_mode(bool on) {
  absl::MutexLock lock(&mu_);
  if (on && !packet_mode_) status_ = 0;
  packet_mode_ = on;
}

bool Pty::exclusive(End end) const {
  absl::MutexLock lock(&mu_);
  return end == End::kSlave ? slave_exclusive_ : master_exclusive_;
}

void Pty::set_exclusive(End end, bool on) {
  absl::MutexLock lock(&mu_);
  (end == End::kSlave ? slave_exclusive_ : master_exclusive_) = on;
}

size_t Pty::InputCount(End end) const {
  absl::MutexLock lock(&mu_);
  return end == End::kSlave ? discipline_.InputCount() : to_master_.size();
}

Status Pty::Flush(End end, int queues) {
  if (queues != TCIFLUSH && queues != TCOFLUSH && queues != TCIOFLUSH) return Errno(EINVAL);
  const bool input = queues != TCOFLUSH, output = queues != TCIFLUSH;
  absl::MutexLock lock(&mu_);
  if (end == End::kSlave) {
    if (input) {
      to_slave_.clear();
      discipline_.FlushInput();
      master_queue_.Notify(POLLOUT | POLLWRNORM);
    }
    if (output) FlushOutput();
    return kOk;
  }
  if (input) {
    to_master_.clear();
    discipline_.FlushEchoes();
    slave_queue_.Notify(POLLOUT | POLLWRNORM);
  }
  if (output) {
    to_slave_.clear();
    master_queue_.Notify(POLLOUT | POLLWRNORM);
  }
  return kOk;
}

Status Pty::FlowControl(End end, int action) {
  uint32_t signals = 0;
  {
    absl::MutexLock lock(&mu_);
    const bool slave = end == End::kSlave;
    switch (action) {
      case TCOOFF:
        if (slave)
          discipline_.Stop(LineDiscipline::StoppedBy::kProgram);
        else
          master_stopped_ = true;
        break;
      case TCOON:
        if (slave)
          discipline_.Start(LineDiscipline::StoppedBy::kProgram);
        else
          master_stopped_ = false;
        master_queue_.Notify(POLLOUT | POLLWRNORM);
        break;
      case TCIOFF:
      case TCION: {
        const Termios keep = slave ? discipline_.termios() : Termios::Raw();
        const uint8_t c = keep.cc[action == TCIOFF ? VSTOP : VSTART];
        if (c == 0) break;
        if (slave) {
          discipline_.SendFlowCharacter(c);
        } else if (to_slave_.size() < kInTransit) {
          to_slave_ += static_cast<char>(c);
          DeliverLocked();
        }
        break;
      }
      default:
        return Errno(EINVAL);
    }
    signals = SettleLocked();
  }
  SendSignals(signals);
  return kOk;
}

void Pty::Type(End end, uint8_t c) {
  uint32_t signals = 0;
  {
    absl::MutexLock lock(&mu_);
    if (end == End::kMaster) {
      if (Room() > 0) Put({reinterpret_cast<const char*>(&c), 1});
      return;
    }
    (void)discipline_.Receive({&c, 1});
    signals = SettleLocked();
  }
  SendSignals(signals);
}

}  // namespace sentry
