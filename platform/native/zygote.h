// The process from which all stubs are forked: the stub region and the vDSO, nothing else.
#ifndef PLATFORM_NATIVE_ZYGOTE_H_
#define PLATFORM_NATIVE_ZYGOTE_H_

#include <linux/filter.h>
#include <sys/types.h>

#include <array>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "platform/api/platform.h"

namespace platform::native {

// What applications may use: stubs have the mapping area of this process.
Platform::Layout NativeLayout();

// Thread-safe after Create.
class Zygote {
 public:
  struct Report;
  struct Options {
    std::span<const sock_filter> filter;  // Installed before any stub exists.
    bool notify = false;  // With a listener (seccomp_unotify(2)); stubs then report by themselves,
                          // otherwise they pause until they are traced.
    int keep_fd = -1;     // Stays open in the stubs, under the same number.
    std::array<int, 2> setup_fds = {-1, -1};  // Likewise; whoever fills a stub closes them.
    int proc_fd = -1;  // A procfs of this pid namespace, kept by the zygote only, for ReadProc.
  };
  // Forks it. Call while the process has a single thread.
  static Result<std::unique_ptr<Zygote>> Create(const Options& options);
  // The same in two steps, for several that get ready at the same time: forks it, and waits for it.
  // Nothing else may be called in between.
  static Result<std::unique_ptr<Zygote>> Begin(const Options& options);
  Status Finish() ABSL_LOCKS_EXCLUDED(mu_);
  ~Zygote();

  // A fresh stub, parked in the copy at STUB_SETUP with slot 0; a child of this process.
  Result<pid_t> Spawn() ABSL_LOCKS_EXCLUDED(mu_);
  // Has the next one forked ahead of need: when whoever took the last has other things to do.
  void Prepare() ABSL_LOCKS_EXCLUDED(mu_);
  // The text of a file of procfs, "17/maps" for instance: the sentry itself cannot open any path.
  // EBADF without a procfs, EIO when the zygote is gone. Its size is bounded by the host.
  Result<std::string> ReadProc(std::string_view path) ABSL_LOCKS_EXCLUDED(mu_);
  // A second description of the file behind this process's descriptor `fd`, for reading only: what
  // a mapping is made of that must never become writable. Errors of open(2); EIO when the zygote is
  // gone.
  Result<UniqueFd> ReopenReadOnly(int fd) ABSL_LOCKS_EXCLUDED(mu_);
  // A file of procfs, for reading. The same errors.
  Result<UniqueFd> OpenProc(std::string_view path) ABSL_LOCKS_EXCLUDED(mu_);
  UniqueFd TakeListener() { return std::move(listener_); }
  uint64_t vdso() const { return vdso_; }
  pid_t pid() const { return pid_; }
  // Kills it; stubs that exist live on.
  void Kill();
  // Ends it and the stub that was forked ahead, and reaps both. Nothing may be spawned any more.
  void Shutdown() ABSL_LOCKS_EXCLUDED(mu_);

 private:
  Zygote() = default;

  pid_t pid_ = -1;
  pid_t own_pid_ = -1;  // Of the process that asks.
  uint64_t vdso_ = 0;
  UniqueFd listener_;
  void DropReport();
  Report* report_ = nullptr;  // Until Finish: a page shared with the zygote.
  UniqueFd theirs_;           // Likewise, its end of the socket.
  static constexpr size_t kRequestSize = 32;
  bool Request(char kind, std::string_view path);
  bool ReceiveAll(void* buffer, size_t size);
  // Reads the pid of a stub that is being forked ahead: its answer comes before any other.
  bool TakeSpare() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  absl::Mutex mu_;  // Leaf.
  UniqueFd control_;
  bool requested_ ABSL_GUARDED_BY(mu_) = false;  // A stub, whose pid has not been read yet.
  // The stub forked ahead, or an error, once that has been read.
  int64_t spare_ ABSL_GUARDED_BY(mu_) = 0;
};

}  // namespace platform::native

#endif  // PLATFORM_NATIVE_ZYGOTE_H_
