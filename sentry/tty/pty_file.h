// Open descriptions of both ends of a pseudo-terminal.
#ifndef SENTRY_TTY_PTY_FILE_H_
#define SENTRY_TTY_PTY_FILE_H_

#include <atomic>
#include <cstdint>
#include <string>

#include "base/ref.h"
#include "sentry/fs/file.h"
#include "sentry/tty/pty.h"

namespace sentry {

// What both ends have in common.
class PtyFile : public File {
 public:
  Result<int64_t> Ioctl(Task& task, uint32_t command, uint64_t arg) override;
  WaitQueue* wait_queue() override { return &pty_->queue(end_); }
  bool is_terminal() const override { return true; }
  std::string AnonymousName() const override;
  Pty& pty() { return *pty_; }

 protected:
  PtyFile(Ref<Inode> inode, Ref<Pty> pty, OpenFlags flags, Pty::End end)
      : File(std::move(inode), OpenFlags(flags.Without(O_NOCTTY))),
        pty_(std::move(pty)),
        end_(end) {}

  // True once the terminal has hung up on this description.
  virtual bool IsCutOff() const { return false; }
  // Commands of this end only; ENOTTY for others.
  virtual Result<int64_t> OwnIoctl(Task& task, uint32_t command, uint64_t arg) {
    return Errno(ENOTTY);
  }
  // What a background process may not do.
  Status CheckChange(Task& task);

  const Ref<Pty> pty_;
  const Pty::End end_;

 private:
  // pty_ioctl.cc, by theme. ENOTTY: not one of these.
  Result<int64_t> LineIoctl(Task& task, uint32_t command, uint64_t arg);
  Result<int64_t> FlowIoctl(Task& task, uint32_t command, uint64_t arg);
  Result<int64_t> ModeIoctl(Task& task, uint32_t command, uint64_t arg);
  Result<int64_t> GetModes(Task& task, uint32_t command, uint64_t arg);
  Result<int64_t> SetModes(Task& task, uint32_t command, uint64_t arg);
  Result<int64_t> LockedModes(Task& task, uint32_t command, uint64_t arg);
  Result<int64_t> TypeByte(Task& task, uint64_t arg);
};

class PtySlaveFile final : public PtyFile {
 public:
  PtySlaveFile(Ref<Inode> inode, Ref<Pty> pty, OpenFlags flags);
  ~PtySlaveFile() override;

  Result<size_t> Read(IoDst& dst) override;
  Result<size_t> ReadWaiting(Task& task, IoDst& dst) override;
  Result<size_t> Write(IoSrc& src) override;
  uint32_t Poll() override { return pty_->SlavePoll(session_); }
  void OnLastClose() override;
  Status CheckTerminalAccess(Task& task, TerminalAccess access) override;

 private:
  bool IsCutOff() const override { return pty_->IsCutOff(session_); }
  Result<int64_t> OwnIoctl(Task& task, uint32_t command, uint64_t arg) override {
    return Errno(command == TIOCGPTPEER ? EIO : ENOTTY);
  }

  const uint64_t session_;
  std::atomic<bool> open_{true};
};

class PtyMasterFile final : public PtyFile {
 public:
  PtyMasterFile(Ref<Inode> inode, Ref<Pty> pty, OpenFlags flags)
      : PtyFile(std::move(inode), std::move(pty), flags, Pty::End::kMaster) {}
  ~PtyMasterFile() override { pty_->CloseMaster(); }

  Result<size_t> Read(IoDst& dst) override;
  Result<size_t> ReadWaiting(Task& task, IoDst& dst) override;
  Result<size_t> Write(IoSrc& src) override;
  uint32_t Poll() override { return pty_->MasterPoll(); }
  void OnLastClose() override { pty_->CloseMaster(); }

 private:
  Result<int64_t> OwnIoctl(Task& task, uint32_t command, uint64_t arg) override;
  // TIOCGPTPEER: a descriptor of the slave, without a path.
  Result<int64_t> OpenPeer(Task& task, uint64_t flags);
};

}  // namespace sentry

#endif  // SENTRY_TTY_PTY_FILE_H_
