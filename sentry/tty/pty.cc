#include "sentry/tty/pty.h"

#include <linux/capability.h>
#include <signal.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "sentry/fs/wake.h"
#include "sentry/task/job_control.h"
#include "sentry/task/task.h"
#include "sentry/tty/devpts.h"
#include "sentry/tty/pty_file.h"

namespace sentry {
namespace {

constexpr size_t kReadBuffer =
    LineDiscipline::kBufferSize - 1;  // What one read of the master gives.
constexpr uint32_t kReadable = POLLIN | POLLRDNORM;
constexpr uint32_t kWritable = POLLOUT | POLLWRNORM;
constexpr uint32_t kCutOffEvents = kReadable | kWritable | POLLERR | POLLHUP;

std::span<const uint8_t> Bytes(std::string_view text) {
  return {reinterpret_cast<const uint8_t*>(text.data()), text.size()};
}

}  // namespace

Pty::Pty(Kernel& kernel, Ref<Devpts> devpts, uint32_t index)
    : kernel_(kernel), devpts_(std::move(devpts)), index_(index), discipline_(*this) {
  locked_termios_ = Termios{.iflag = 0, .oflag = 0, .cflag = 0, .lflag = 0, .line = 0, .cc = {}};
}

Pty::~Pty() { devpts_->FreeIndex(index_); }

uint64_t Pty::device() const {
  constexpr uint32_t kSlaveMajor = 136;  // Linux has eight of them; minors are wide here.
  return makedev(kSlaveMajor, index_);
}

Result<Ref<File>> Pty::Open(Ref<Inode> node, OpenFlags flags) {
  Task* const task = Task::Current();
  {
    absl::MutexLock lock(&mu_);
    if (!master_open_ || locked_) return Errno(EIO);
    const bool admin = task == nullptr || task->creds().HasCapability(CAP_SYS_ADMIN);
    if (slave_exclusive_ && slaves_ > 0 && !admin) return Errno(EBUSY);
  }
  Ref<File> file = MakeRef<PtySlaveFile>(std::move(node), Ref<Pty>::Share(*this), flags);
  if (task != nullptr) ClaimOnOpen(*task, *this, flags);
  return file;
}

uint64_t Pty::OpenSlave() {
  absl::MutexLock lock(&mu_);
  ++slaves_;
  slave_gone_ = false;
  return session_;
}

void Pty::CloseSlave(uint64_t session) {
  absl::MutexLock lock(&mu_);
  if (session != session_ || --slaves_ != 0) return;
  slave_gone_ = true;
  master_queue_.Notify(kReadable | kWritable | POLLHUP);
}

bool Pty::IsCutOff(uint64_t session) const {
  absl::MutexLock lock(&mu_);
  return session != session_;
}

void Pty::CutOff() {
  absl::MutexLock lock(&mu_);
  ++session_;
  slave_gone_ = slaves_ > 0 || slave_gone_;
  slaves_ = 0;
  to_slave_.clear();
  discipline_.FlushInput();
  discipline_.SetTermios(Termios());
  signals_ = 0;
  slave_queue_.Notify(kCutOffEvents);
  master_queue_.Notify(kReadable | kWritable | POLLHUP);
}

void Pty::CloseMaster() {
  {
    absl::MutexLock lock(&mu_);
    if (!std::exchange(master_open_, false)) return;
    packet_mode_ = false;
    to_master_.clear();
    slave_queue_.Notify(kCutOffEvents);
  }
  devpts_->Remove(index_);
  // A session leader that this kills may have been the owner of another master, and so on: the
  // chain is as long as the application likes, so it is walked, not descended.
  static thread_local std::vector<Ref<Pty>>* waiting = nullptr;
  if (waiting != nullptr) {
    waiting->push_back(Ref<Pty>::Share(*this));
    return;
  }
  const StaysOnThread stays;
  std::vector<Ref<Pty>> chain = {Ref<Pty>::Share(*this)};
  waiting = &chain;
  while (!chain.empty()) {
    const Ref<Pty> pty = std::move(chain.back());
    chain.pop_back();
    HangUp(pty->kernel_, *pty);
  }
  waiting = nullptr;
}

Result<size_t> Pty::SlaveRead(std::span<uint8_t> dst, uint64_t session) {
  uint32_t signals = 0;
  Result<size_t> count = size_t{0};
  {
    absl::MutexLock lock(&mu_);
    if (session != session_) return size_t{0};
    count = discipline_.Read(dst);
    if (!count.ok() && !master_open_) return Errno(EIO);
    if (!count.ok()) return count;
    const bool was_full = to_slave_.size() >= kInTransit;
    DeliverLocked();
    if (was_full) master_queue_.Notify(kWritable);
    signals = SettleLocked();
  }
  SendSignals(signals);
  return count;
}

Result<size_t> Pty::SlaveWrite(std::span<const uint8_t> bytes, uint64_t session) {
  absl::MutexLock lock(&mu_);
  if (session != session_ || !master_open_) return Errno(EIO);
  const size_t taken = discipline_.Write(bytes);
  if (taken == 0) return Errno(EAGAIN);
  return taken;
}

uint32_t Pty::SlavePoll(uint64_t session) const {
  absl::MutexLock lock(&mu_);
  if (session != session_) return kCutOffEvents;
  uint32_t events = 0;
  if (discipline_.Readable(LineDiscipline::Ask::kPoll)) events |= kReadable;
  if (!master_open_) events |= POLLHUP;
  if (discipline_.WriteRoom() > 0) events |= kWritable;
  return events;
}

ReadRules Pty::SlaveRules() const {
  absl::MutexLock lock(&mu_);
  return ReadRules::Of(discipline_.termios());
}

Result<size_t> Pty::MasterRead(std::span<uint8_t> dst) {
  absl::MutexLock lock(&mu_);
  if (dst.empty()) return size_t{0};
  size_t header = 0;
  if (packet_mode_) {
    const uint8_t status = std::exchange(status_, 0);
    if (status != 0) {
      dst[0] = status;
      return size_t{1};
    }
    header = 1;
  }
  if (to_master_.empty()) return Errno(slave_gone_ ? EIO : EAGAIN);
  if (header != 0) dst[0] = TIOCPKT_DATA;
  const size_t count = std::min({dst.size() - header, to_master_.size(), kReadBuffer});
  memcpy(dst.data() + header, to_master_.data(), count);
  to_master_.erase(0, count);
  discipline_.FlushEchoes();
  slave_queue_.Notify(kWritable);
  return header + count;
}

Result<size_t> Pty::MasterWrite(std::span<const uint8_t> bytes) {
  uint32_t signals = 0;
  size_t count = 0;
  {
    absl::MutexLock lock(&mu_);
    const size_t room = master_stopped_ ? 0 : kInTransit - to_slave_.size();
    count = std::min(room, bytes.size());
    if (count == 0) return Errno(EAGAIN);
    to_slave_.append(reinterpret_cast<const char*>(bytes.data()), count);
    DeliverLocked();
    signals = SettleLocked();
  }
  SendSignals(signals);
  return count;
}

uint32_t Pty::MasterPoll() const {
  absl::MutexLock lock(&mu_);
  uint32_t events = 0;
  if (!to_master_.empty()) events |= kReadable;
  if (packet_mode_ && status_ != 0) events |= kReadable | POLLPRI;
  if (slave_gone_) events |= POLLHUP;
  if (!master_stopped_ && to_slave_.size() < kInTransit) events |= kWritable;
  return events;
}

void Pty::DeliverLocked() {
  if (to_slave_.empty()) return;
  const size_t taken = discipline_.Receive(Bytes(to_slave_));
  to_slave_.erase(0, taken);
}

uint32_t Pty::SettleLocked() {
  if (discipline_.Readable(LineDiscipline::Ask::kRead)) slave_queue_.Notify(kReadable);
  return std::exchange(signals_, 0);
}

void Pty::SendSignals(uint32_t signals) {
  for (; signals != 0; signals &= signals - 1) {
    SignalForeground(kernel_, *this, std::countr_zero(signals));
  }
}

size_t Pty::Room() const {
  mu_.AssertHeld();
  return kInTransit + kReadBuffer - std::min(to_master_.size(), kInTransit + kReadBuffer);
}

// VSTOP and VSTART come without asking for room: there are only so many of them.
void Pty::Put(std::string_view bytes) {
  mu_.AssertHeld();
  if (to_master_.size() + bytes.size() > 2 * kInTransit) return;
  to_master_ += bytes;
  master_queue_.Notify(kReadable);
}

void Pty::FlushOutput() {
  mu_.AssertHeld();
  // What the reader's buffer has is the reader's.
  if (to_master_.size() > kReadBuffer) to_master_.resize(kReadBuffer);
  TellStatus(TIOCPKT_FLUSHWRITE, 0);
  slave_queue_.Notify(kWritable);
}

void Pty::RaiseSignal(int sig) {
  mu_.AssertHeld();
  signals_ |= uint32_t{1} << sig;
}

void Pty::TellStatus(uint8_t appear, uint8_t disappear) {
  mu_.AssertHeld();
  if ((disappear & TIOCPKT_STOP) != 0) slave_queue_.Notify(kWritable);
  if (!packet_mode_) return;
  status_ = static_cast<uint8_t>((status_ & ~disappear) | appear);
  master_queue_.Notify(kReadable | POLLPRI);
}

}  // namespace sentry
