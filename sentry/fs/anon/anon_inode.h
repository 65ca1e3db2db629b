// Inodes of files without a place in any tree: pipes, eventfds, epoll instances, ….
#ifndef SENTRY_FS_ANON_ANON_INODE_H_
#define SENTRY_FS_ANON_ANON_INODE_H_

#include <cstdint>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "sentry/fs/file.h"
#include "sentry/fs/inode.h"

namespace sentry {

// One for each anonymous file (Linux shares one among eventfds and the like; programs cannot rely on
// that). Its number is unique within the sandbox. fchmod and fchown work, as in Linux.
class AnonInode : public Inode {
 public:
  // Device numbers that stat(2) reports.
  static constexpr uint64_t kPipeDevice = 12, kAnonDevice = 13, kSocketDevice = 8;

  // `mode`: S_IF* (0 for anon_inode files) and permission bits.
  AnonInode(uint64_t device, uint32_t mode);

  Result<Attributes> GetAttributes() override ABSL_LOCKS_EXCLUDED(mu_);
  Status SetAttributes(const AttributeChange& change) override ABSL_LOCKS_EXCLUDED(mu_);
  // Linux cannot open these again through /proc/PID/fd. Pipes can be: PipeInode.
  Result<Ref<File>> Open(OpenFlags flags) override { return Errno(ENXIO); }
  uint64_t number() const { return number_; }

 private:
  const uint64_t number_;
  absl::Mutex mu_;  // Leaf.
  Attributes attributes_ ABSL_GUARDED_BY(mu_);
};

// A fresh inode for an eventfd and its like: mode 0600 without a type.
Ref<Inode> NewAnonInode();

}  // namespace sentry

#endif  // SENTRY_FS_ANON_ANON_INODE_H_
