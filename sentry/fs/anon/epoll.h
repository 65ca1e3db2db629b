// epoll(7).
#ifndef SENTRY_FS_ANON_EPOLL_H_
#define SENTRY_FS_ANON_EPOLL_H_

#include <sys/epoll.h>

#include <cstdint>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/fs/file.h"

namespace sentry {

// An interest list and the list of those entries that may be ready. Entries are put on the ready
// list by their files' wait queues, so that waiting costs nothing for idle descriptors.
//
// Locks: control_mu_, then a watched file's own and its wait queue's, then ready_mu_. Nested
// instances take them parent before child, and the loop check keeps that acyclic.
class EpollFile final : public File {
 public:
  static constexpr char kKind = 0;

  explicit EpollFile(OpenFlags flags);
  ~EpollFile() override;

  // One operation of epoll_ctl(2) on `file`, which the application calls `fd`. EEXIST, ENOENT,
  // EINVAL (EPOLLEXCLUSIVE misused), ELOOP, ENOSPC. EpollControl has checked the rest.
  Status Add(Fd fd, Ref<File> file, const epoll_event& event) ABSL_LOCKS_EXCLUDED(control_mu_);
  Status Modify(Fd fd, File& file, const epoll_event& event) ABSL_LOCKS_EXCLUDED(control_mu_);
  Status Delete(Fd fd, File& file) ABSL_LOCKS_EXCLUDED(control_mu_);

  // What is ready now, at most `max` events. EAGAIN when nothing is: wait for POLLIN on
  // wait_queue(), exclusively: one of several is told of what comes, and the next one when there
  // is more than the one who collects takes.
  struct Report {
    epoll_event event;
    std::pair<const File*, int> entry;  // Which it is about; only to give back.
  };
  Result<std::vector<Report>> Collect(size_t max) ABSL_LOCKS_EXCLUDED(control_mu_);
  // Of what could not be told: as if it had not been collected.
  void PutBack(std::span<const Report> reports) ABSL_LOCKS_EXCLUDED(control_mu_);

  uint32_t Poll() override ABSL_LOCKS_EXCLUDED(control_mu_);
  WaitQueue* wait_queue() override { return &queue_; }
  void OnWatchedClose(File& file) override ABSL_LOCKS_EXCLUDED(control_mu_);
  std::string AnonymousName() const override { return "anon_inode:[eventpoll]"; }
  Result<int64_t> Seek(int64_t offset, int whence) override { return 0; }  // noop_llseek().
  // Parameters of busy polling are not there.
  Result<int64_t> Ioctl(Task& task, uint32_t command, uint64_t arg) override {
    return Errno(EINVAL);
  }
  const void* kind() const override { return &kKind; }

  // The lines about the entries in /proc/PID/fdinfo.
  std::string FdInfo() ABSL_LOCKS_EXCLUDED(control_mu_);

 private:
  struct Item;
  struct Nesting;  // Which instance watches which; see epoll.cc.
  using Key = std::pair<const File*, int>;

  // Appends and tells one of those that wait. Whether that has woken a task.
  bool MarkReady(Item& item) ABSL_LOCKS_EXCLUDED(ready_mu_);
  // Puts it into the ready list; false when it was there.
  enum class Place : uint8_t { kFirst, kLast };
  bool PutReady(Item& item, Place place = Place::kLast) ABSL_LOCKS_EXCLUDED(ready_mu_);
  // Whether it was on the ready list.
  bool UnmarkReady(Item& item) ABSL_LOCKS_EXCLUDED(ready_mu_);
  // Takes the first of the ready list, nullptr when it is empty.
  Item* TakeReady() ABSL_LOCKS_EXCLUDED(ready_mu_);
  size_t ReadyCount() ABSL_LOCKS_EXCLUDED(ready_mu_);
  // The events of `item` that hold now; arranges for news when there are none.
  static uint32_t PollItem(Item& item);
  // Destroy the item with no lock held.
  std::unique_ptr<Item> RemoveLocked(Key key) ABSL_EXCLUSIVE_LOCKS_REQUIRED(control_mu_);

  absl::Mutex control_mu_;
  std::map<Key, std::unique_ptr<Item>> items_ ABSL_GUARDED_BY(control_mu_);
  absl::Mutex ready_mu_;  // Leaf.
  std::list<Item*> ready_ ABSL_GUARDED_BY(ready_mu_);
  WaitQueue queue_;
};

// epoll_ctl(2) with its checks in Linux's order: EPERM when `file` cannot be waited for, EINVAL
// when `epoll` is no epoll instance or watches itself or `op` is unknown, then those of the
// operation.
Status EpollControl(File& epoll, int op, Fd fd, Ref<File> file, const epoll_event& event);

// epoll_create1(2). `flags`: EPOLL_CLOEXEC; EINVAL otherwise.
Result<Ref<File>> CreateEpoll(int flags);

}  // namespace sentry

#endif  // SENTRY_FS_ANON_EPOLL_H_
