#include <sched.h>
#include <time.h>

#include <algorithm>

#include "platform/native/host_limit.h"
#include "platform/systrap/core.h"

namespace platform::systrap {

StubThread::~StubThread() {
  absl::MutexLock lock(&platform_.mu());
  HostThread& host = *host_;
  // A worker may be about to call the guest, or the reaper to tell it of its death: it has to be
  // there until they are done, unless it is one of them that destroys it.
  host.ended = true;
  const auto busy = [&host] {
    const pthread_t self = pthread_self();
    return (host.in_callback && !pthread_equal(host.caller, self)) ||
           (host.in_death_callback && !pthread_equal(host.death_caller, self));
  };
  while (busy()) host.idle.Wait(&platform_.mu());
  host.guest = nullptr;
  platform_.Unregister(host);
}

void StubThread::Start() {
  absl::MutexLock lock(&platform_.mu());
  host_->start_requested = true;
  platform_.ResumeIfReadyLocked(*host_);
}

void StubThread::Interrupt() {
  absl::MutexLock lock(&platform_.mu());
  platform_.InterruptLocked(*host_);
}

void StubThread::KillProcess() {
  absl::MutexLock lock(&platform_.mu());
  platform_.KillLocked(*host_->process);
}

bool StubThread::HoldsDescriptor(int guest_fd) {
  absl::MutexLock lock(&platform_.mu());
  return host_->process->descriptors.contains(guest_fd);
}

void StubThread::ReleaseDescriptors(uint32_t first, uint32_t last) {
  absl::MutexLock lock(&platform_.mu());
  HostProcess& process = *host_->process;
  const int limit = static_cast<int>(std::min<uint32_t>(last, INT32_MAX));
  for (auto it =
           process.descriptors.lower_bound(static_cast<int>(std::min<uint32_t>(first, INT32_MAX)));
       it != process.descriptors.end() && *it <= limit; ++it) {
    process.released.insert(*it);
  }
}

AddressSpace& StubThread::address_space() {
  absl::MutexLock lock(&platform_.mu());
  return *host_->process->space;
}

uint64_t StubThread::CpuTimeNs() {
  pid_t pid;
  {
    absl::MutexLock lock(&platform_.mu());
    if (host_->process->reaped) return 0;
    pid = host_->process->pid;
  }
  // The host tells other processes' clocks by process only (CPUCLOCK_SCHED of the group).
  const clockid_t clock = static_cast<clockid_t>(~static_cast<unsigned>(pid) << 3 | 2);
  timespec now;
  if (clock_gettime(clock, &now) != 0) return 0;
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
}

Status StubThread::SetHostLimit(int resource, uint64_t value) {
  absl::MutexLock lock(&platform_.mu());
  if (host_->process->reaped) return Errno(ESRCH);
  return native::SetHostLimit(host_->process->pid, resource, value);
}

Status StubThread::SetAffinity(const cpu_set_t& cpus) {
  absl::MutexLock lock(&platform_.mu());
  if (host_->ended || host_->process->reaped) return Errno(ESRCH);
  return sched_setaffinity(host_->tid, sizeof(cpus), &cpus) == 0 ? Status(kOk) : Errno::Last();
}

int StubThread::host_tid() const {
  absl::MutexLock lock(&platform_.mu());
  return host_->tid;
}

}  // namespace platform::systrap
