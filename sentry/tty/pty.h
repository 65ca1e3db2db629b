// Pseudo-terminals: pty(7).
#ifndef SENTRY_TTY_PTY_H_
#define SENTRY_TTY_PTY_H_

#include <sys/ioctl.h>

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/file.h"
#include "sentry/fs/wait_queue.h"
#include "sentry/task/terminal.h"
#include "sentry/tty/line_discipline.h"
#include "sentry/tty/read_rules.h"

namespace sentry {

class Devpts;
class Kernel;

// Both ends of one pseudo-terminal, and the terminal that its slave is. Shared by the files of both
// ends, the node in devpts (as long as the master is open) and the processes that it controls. A
// line discipline stands on the slave's side; the master passes bytes through. Thread-safe.
//
// Signals that input causes are sent after mu_ has been released: Kernel::mu() is before it.
class Pty final : public Terminal, private TtyDriver {
 public:
  // What is on its way in either direction beside the reader's own 4096 bytes (Linux's flip
  // buffers).
  static constexpr size_t kInTransit = 8192;

  Pty(Kernel& kernel, Ref<Devpts> devpts, uint32_t index);
  ~Pty() override;

  uint32_t index() const { return index_; }
  Kernel& kernel() const { return kernel_; }
  Devpts& devpts() const { return *devpts_; }

  // Terminal.
  uint64_t device() const override;
  // EIO while locked and once the master is closed; EBUSY with TIOCEXCL for who may not.
  Result<Ref<File>> Open(Ref<Inode> node, OpenFlags flags) override;
  void CutOff() override ABSL_LOCKS_EXCLUDED(mu_);

  // The slave's side. `session` is what OpenSlave gave: a description that has been cut off since
  // reads 0 and writes EIO. EAGAIN when nothing is there, or no room.
  uint64_t OpenSlave() ABSL_LOCKS_EXCLUDED(mu_);
  void CloseSlave(uint64_t session) ABSL_LOCKS_EXCLUDED(mu_);
  bool IsCutOff(uint64_t session) const ABSL_LOCKS_EXCLUDED(mu_);
  Result<size_t> SlaveRead(std::span<uint8_t> dst, uint64_t session) ABSL_LOCKS_EXCLUDED(mu_);
  Result<size_t> SlaveWrite(std::span<const uint8_t> bytes, uint64_t session)
      ABSL_LOCKS_EXCLUDED(mu_);
  uint32_t SlavePoll(uint64_t session) const ABSL_LOCKS_EXCLUDED(mu_);
  ReadRules SlaveRules() const ABSL_LOCKS_EXCLUDED(mu_);

  // The master's. EIO once nobody has the slave open any more.
  Result<size_t> MasterRead(std::span<uint8_t> dst) ABSL_LOCKS_EXCLUDED(mu_);
  Result<size_t> MasterWrite(std::span<const uint8_t> bytes) ABSL_LOCKS_EXCLUDED(mu_);
  uint32_t MasterPoll() const ABSL_LOCKS_EXCLUDED(mu_);
  // The slave hangs up, its node goes.
  void CloseMaster() ABSL_LOCKS_EXCLUDED(mu_);

  // Settings. `flush` throws away input first (TCSAFLUSH).
  Termios termios() const ABSL_LOCKS_EXCLUDED(mu_);
  void SetTermios(const Termios& termios, bool flush) ABSL_LOCKS_EXCLUDED(mu_);
  Termios locked_termios() const ABSL_LOCKS_EXCLUDED(mu_);
  void set_locked_termios(const Termios& mask) ABSL_LOCKS_EXCLUDED(mu_);
  winsize window() const ABSL_LOCKS_EXCLUDED(mu_);
  void SetWindow(const winsize& window) ABSL_LOCKS_EXCLUDED(mu_);  // SIGWINCH when it changes.
  bool locked() const ABSL_LOCKS_EXCLUDED(mu_);
  void set_locked(bool locked) ABSL_LOCKS_EXCLUDED(mu_);
  bool packet_mode() const ABSL_LOCKS_EXCLUDED(mu_);
  void set_packet_mode(bool on) ABSL_LOCKS_EXCLUDED(mu_);

  enum class End : uint8_t { kSlave, kMaster };
  bool exclusive(End end) const ABSL_LOCKS_EXCLUDED(mu_);
  void set_exclusive(End end, bool on) ABSL_LOCKS_EXCLUDED(mu_);
  size_t InputCount(End end) const ABSL_LOCKS_EXCLUDED(mu_);
  // TCFLSH: `queues` is TCIFLUSH, TCOFLUSH or TCIOFLUSH; EINVAL otherwise.
  Status Flush(End end, int queues) ABSL_LOCKS_EXCLUDED(mu_);
  // TCXONC: `action` is TCOOFF, TCOON, TCIOFF or TCION; EINVAL otherwise.
  Status FlowControl(End end, int action) ABSL_LOCKS_EXCLUDED(mu_);
  // TIOCSTI: as if typed.
  void Type(End end, uint8_t c) ABSL_LOCKS_EXCLUDED(mu_);

  WaitQueue& queue(End end) { return end == End::kSlave ? slave_queue_ : master_queue_; }

 private:
  // TtyDriver, for the slave's discipline.
  size_t Room() const override;
  void Put(std::string_view bytes) override;
  void FlushOutput() override;
  void RaiseSignal(int sig) override;
  void TellStatus(uint8_t appear, uint8_t disappear) override;

  // Hands what is in transit to the discipline, and tells the slave.
  void DeliverLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void TellFlowModeLocked(const Termios& old) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Ends a change: wakes who waits. Returns the signals that are to be sent once mu_ is released.
  uint32_t SettleLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void SendSignals(uint32_t signals) ABSL_LOCKS_EXCLUDED(mu_);

  Kernel& kernel_;
  const Ref<Devpts> devpts_;
  const uint32_t index_;
  WaitQueue slave_queue_, master_queue_;

  mutable absl::Mutex mu_;  // After Kernel::mu(), before the wait queues'.
  LineDiscipline discipline_ ABSL_GUARDED_BY(mu_);
  std::string to_slave_ ABSL_GUARDED_BY(mu_);   // At most kInTransit.
  std::string to_master_ ABSL_GUARDED_BY(mu_);  // At most kInTransit and a reader's buffer.
  Termios locked_termios_ ABSL_GUARDED_BY(mu_);
  winsize window_ ABSL_GUARDED_BY(mu_){};
  uint32_t signals_ ABSL_GUARDED_BY(mu_) = 0;  // Bits 1 << signal, not sent yet.
  uint8_t status_ ABSL_GUARDED_BY(mu_) = 0;    // TIOCPKT_* that the master has not read.
  bool packet_mode_ ABSL_GUARDED_BY(mu_) = false;
  bool locked_ ABSL_GUARDED_BY(mu_) = true;
  bool slave_exclusive_ ABSL_GUARDED_BY(mu_) = false;
  bool master_exclusive_ ABSL_GUARDED_BY(mu_) = false;
  bool master_stopped_ ABSL_GUARDED_BY(mu_) = false;
  bool master_open_ ABSL_GUARDED_BY(mu_) = true;
  bool slave_gone_ ABSL_GUARDED_BY(mu_) = false;  // It was open once and is not any more.
  uint32_t slaves_ ABSL_GUARDED_BY(mu_) = 0;      // Descriptions that are not cut off.
  uint64_t session_ ABSL_GUARDED_BY(mu_) = 0;     // Counts hang-ups.
};

}  // namespace sentry

#endif  // SENTRY_TTY_PTY_H_
