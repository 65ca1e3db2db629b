// socketpair(2) of AF_UNIX stream sockets, as two pipes. The rest of AF_UNIX (names, messages with
// boundaries, descriptors in flight) comes with the sockets.
#ifndef SENTRY_FS_PIPE_SOCKET_PAIR_H_
#define SENTRY_FS_PIPE_SOCKET_PAIR_H_

#include <string>
#include <utility>

#include "base/ref.h"
#include "base/result.h"
#include "sentry/fs/pipe/pipe.h"

namespace sentry {

// One end: reads from one pipe and writes to the other. Thread-safe.
class SocketPairFile final : public File {
 public:
  static constexpr char kKind = 0;

  SocketPairFile(Ref<Inode> inode, Ref<File> in, Ref<File> out, OpenFlags flags);
  ~SocketPairFile() override;

  Result<size_t> Read(IoDst& dst) override {
    return read_shut_.load() ? Result<size_t>(size_t{0}) : in_->Read(dst);
  }
  Result<size_t> Write(IoSrc& src) override { return out_->Write(src); }
  // Bytes from the front without taking them (MSG_PEEK).
  Result<size_t> Peek(std::span<std::byte> bytes);
  Result<int64_t> Ioctl(Task& task, uint32_t command, uint64_t arg) override {
    return in_->Ioctl(task, command, arg);
  }
  uint32_t Poll() override;
  WaitQueue* wait_queue() override { return &queue_; }
  void OnLastClose() override;
  std::string AnonymousName() const override;
  const void* kind() const override { return &kKind; }
  // shutdown(2): SHUT_RD, SHUT_WR, SHUT_RDWR; EINVAL.
  Status Shutdown(int how);

 private:
  // Tells this end's waiters of what happens to one of its pipes.
  class Forward final : public WaitListener {
   public:
    explicit Forward(WaitQueue& to) : to_(to) {}
    void OnReady(uint32_t events) override { to_.Notify(events | POLLIN | POLLOUT); }

   private:
    WaitQueue& to_;
  };

  const Ref<File> in_, out_;
  std::atomic<bool> read_shut_{false};
  WaitQueue queue_;
  Forward forward_in_{queue_}, forward_out_{queue_};
};

// The two ends. `flags`: O_NONBLOCK.
Result<std::pair<Ref<File>, Ref<File>>> CreateSocketPair(OpenFlags flags);

}  // namespace sentry

#endif  // SENTRY_FS_PIPE_SOCKET_PAIR_H_
