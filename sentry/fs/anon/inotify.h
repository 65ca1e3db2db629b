// inotify(7).
#ifndef SENTRY_FS_ANON_INOTIFY_H_
#define SENTRY_FS_ANON_INOTIFY_H_

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/fs/file.h"
#include "sentry/fs/notify.h"

namespace sentry {

// An instance: a queue of events of the inodes it watches. Thread-safe.
class InotifyFile final : public File, private notify::Watcher {
 public:
  static constexpr char kKind = 0;
  static constexpr size_t kMaxQueuedEvents = 16384;  // fs.inotify.max_queued_events.
  static constexpr size_t kMaxInstances = 128;       // fs.inotify.max_user_instances.

  // `uid`: whose limits it counts against.
  InotifyFile(uint32_t uid, OpenFlags flags);
  ~InotifyFile() override;

  // As many events as fit. EINVAL when the next does not, EAGAIN.
  Result<size_t> Read(IoDst& dst) override;
  uint32_t Poll() override;
  Result<int64_t> Seek(int64_t offset, int whence) override { return 0; }  // noop_llseek().
  WaitQueue* wait_queue() override { return &queue_; }
  Result<int64_t> Ioctl(Task& task, uint32_t command, uint64_t arg) override;  // FIONREAD.
  void OnLastClose() override;
  std::string AnonymousName() const override { return "anon_inode:inotify"; }
  const void* kind() const override { return &kKind; }

  // inotify_add_watch(2) of what a walk has found; the mask has been checked. ENOSPC, EEXIST.
  Result<int> AddWatch(const Path& place, uint32_t mask);
  // EINVAL.
  Status RemoveWatch(int wd);
  // The lines in /proc/PID/fdinfo.
  std::string FdInfo();

 private:
  struct Event {
    int wd;
    uint32_t mask;
    uint32_t cookie;
    std::string name;
    size_t size() const;  // As read(2) writes it.
  };
  void OnEvent(int wd, uint32_t mask, uint32_t cookie, std::string_view name) override;

  const uint32_t uid_;
  absl::Mutex watches_mu_;  // Before the table's.
  int next_wd_ ABSL_GUARDED_BY(watches_mu_) = 1;
  absl::Mutex mu_;  // Leaf.
  std::deque<Event> events_ ABSL_GUARDED_BY(mu_);
  size_t bytes_ ABSL_GUARDED_BY(mu_) = 0;  // Of all queued events, as read(2) writes them.
  WaitQueue queue_;
};

// inotify_init1(2). `flags`: IN_NONBLOCK, IN_CLOEXEC (for the caller); EINVAL, EMFILE.
Result<Ref<File>> CreateInotify(uint32_t uid, int flags);

}  // namespace sentry

#endif  // SENTRY_FS_ANON_INOTIFY_H_
