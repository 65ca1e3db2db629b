// Mapping pieces of what all processes share: their mailboxes and tables of sites. For that time the
// whole of it is open in the stub by a number (kPoolFd). Another thread of the process could map it
// by that number as well, if it has just been allowed to map a file of its own by the same one; and
// whoever forks then has the piece in two processes.
#include "platform/systrap/core.h"

namespace platform::systrap {

bool Systrap::OpenPool(HostThread& thread) {
  absl::MutexLock lock(&mu_);
  Sites::PoolUse& use = thread.process->sites->pool_use;
  // The thread itself has made the call by now.
  use.same_number.erase(thread.tid);
  if (use.open || use.forks != 0 || !use.same_number.empty()) return false;
  use.open = true;
  return true;
}

void Systrap::ClosePool(Sites& sites) {
  absl::MutexLock lock(&mu_);
  sites.pool_use.open = false;
  pool_closed_.SignalAll();
}

void Systrap::AwaitPoolLocked(HostThread& thread) {
  const Sites& sites = *thread.process->sites;
  if (!sites.pool_use.open) return;
  // It is for a thread of the application to end that.
  mu_.Unlock();
  EnterBlocking();
  mu_.Lock();
  while (sites.pool_use.open && thread.alive()) {
    pool_closed_.WaitWithTimeout(&mu_, absl::Milliseconds(100));  // Nobody tells of deaths.
  }
}

void Systrap::BeginFork(HostThread& thread) {
  absl::MutexLock lock(&mu_);
  AwaitPoolLocked(thread);
  ++thread.process->sites->pool_use.forks;
}

void Systrap::EndFork(HostThread& thread) {
  absl::MutexLock lock(&mu_);
  --thread.process->sites->pool_use.forks;
}

void Systrap::BeginMappingByPoolFd(HostThread& thread) {
  absl::MutexLock lock(&mu_);
  AwaitPoolLocked(thread);
  thread.process->sites->pool_use.same_number.insert(thread.tid);
}

}  // namespace platform::systrap
