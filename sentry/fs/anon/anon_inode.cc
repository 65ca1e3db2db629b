#include "sentry/fs/anon/anon_inode.h"

#include <atomic>

namespace sentry {
namespace {

uint64_t NextNumber() {
  static std::atomic<uint64_t> next{1};
  return next.fetch_add(1, std::memory_order_relaxed);
}

timespec RealtimeNow() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return now;
}

}  // namespace

AnonInode::AnonInode(uint64_t device, uint32_t mode) : number_(NextNumber()) {
  const timespec now = RealtimeNow();
  absl::MutexLock lock(&mu_);
  attributes_ = {.dev = device, .ino = number_, .mode = mode, .atime = now, .mtime = now,
                 .ctime = now, .btime = now};
}

Result<Attributes> AnonInode::GetAttributes() {
  absl::MutexLock lock(&mu_);
  return attributes_;
}

Status AnonInode::SetAttributes(const AttributeChange& change) {
  if (change.size) return Errno(EINVAL);
  absl::MutexLock lock(&mu_);
  if (change.mode) attributes_.mode = (attributes_.mode & S_IFMT) | (*change.mode & 07777);
  if (change.uid) attributes_.uid = *change.uid;
  if (change.gid) attributes_.gid = *change.gid;
  if (change.atime) attributes_.atime = *change.atime;
  if (change.mtime) attributes_.mtime = *change.mtime;
  attributes_.ctime = RealtimeNow();
  return kOk;
}

Ref<Inode> NewAnonInode() { return MakeRef<AnonInode>(AnonInode::kAnonDevice, 0600); }

}  // namespace sentry
