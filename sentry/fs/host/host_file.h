// Files of the host that were open when the sandbox began: standard input, output and error.
#ifndef SENTRY_FS_HOST_HOST_FILE_H_
#define SENTRY_FS_HOST_HOST_FILE_H_

#include <cstdint>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/unique_fd.h"
#include "sentry/fs/file.h"
#include "sentry/fs/host/host_terminal.h"

namespace sentry {

// A donated host descriptor: a terminal, pipe, socket, device or regular file. The description is
// shared with processes outside, so its O_NONBLOCK is never touched: poll(2) says whether an
// operation may block, and host_poller.h tells when it would not any more.
//
// Job control is the sentry's own: the sandbox's process groups mean nothing to the host's
// terminal.
class HostFile final : public File {
 public:
  static constexpr char kKind = 0;

  // Takes `fd`. The errno of fstat(2) or fcntl(2) when the host will not tell what it is.
  // A terminal, pipe or socket shows `owner` when given: the host's means nothing inside.
  struct Owner {
    uint32_t uid, gid;
  };
  static Result<Ref<File>> Create(UniqueFd fd, std::optional<Owner> owner = std::nullopt);
  // `terminal` is empty for everything else.
  HostFile(Ref<Inode> inode, UniqueFd fd, OpenFlags flags, uint32_t type,
           Ref<HostTerminal> terminal);
  ~HostFile() override;

  Result<size_t> Read(IoDst& dst) override;
  Result<size_t> ReadWaiting(Task& task, IoDst& dst) override;
  Result<size_t> Write(IoSrc& src) override;
  Result<size_t> ReadAt(IoDst& dst, int64_t offset) override;
  Result<size_t> WriteAt(IoSrc& src, int64_t offset) override;
  Result<int64_t> Seek(int64_t offset, int whence) override;
  Status Truncate(uint64_t size) override;
  Status Sync() override;
  Result<int64_t> Ioctl(Task& task, uint32_t command, uint64_t arg) override;
  uint32_t Poll() override;
  WaitQueue* wait_queue() override { return always_ready_ ? nullptr : &queue_; }
  bool HearsFromHost() override { return true; }
  void ArmHostEvents(uint32_t events) override;
  Result<int> HostFdForMapping(bool shared_write) override;
  std::string AnonymousName() const override;
  bool seekable() const override { return seekable_; }
  bool is_terminal() const override { return static_cast<bool>(terminal_); }
  const Ref<HostTerminal>& terminal() const { return terminal_; }
  Status CheckTerminalAccess(Task& task, TerminalAccess access) override;
  const void* kind() const override { return &kKind; }

  int host_fd() const { return fd_.get(); }
  WaitQueue& queue() { return queue_; }

 private:
  // Whether the host would block: EAGAIN, or fine.
  Status ReadyFor(short events);

  const UniqueFd fd_;
  const uint32_t type_;  // S_IF*.
  const Ref<HostTerminal> terminal_;
  const bool seekable_;
  const bool always_ready_;
  WaitQueue queue_;
};

}  // namespace sentry

#endif  // SENTRY_FS_HOST_HOST_FILE_H_
