#include <sched.h>

#include <algorithm>

#include "platform/native/host_limit.h"
#include "platform/native/host_usage.h"
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
  if (busy()) {
    // They may have been woken by this very thread.
    platform_.mu().Unlock();
    platform_.HandReadyOn();
    platform_.mu().Lock();
  }
  while (busy()) host.idle.Wait(&platform_.mu());
  host.guest = nullptr;
  platform_.Unregister(host);
}

void StubThread::Start() { platform_.StartThread(*host_); }

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
       it != process.descriptors.end() && it->first <= limit; ++it) {
    process.released.insert(it->first);
  }
}

void StubThread::ForgetAnswers() {
  absl::MutexLock lock(&platform_.mu());
  host_->fresh = false;
  if (host_->mailbox != nullptr) ForgetLocal(host_->mailbox->call);
}

Ref<KnownErrors> StubThread::known_errors() {
  absl::MutexLock lock(&platform_.mu());
  if (host_->mailbox == nullptr) return nullptr;
  const Ref<SiteTable>& table = host_->process->sites->table;
  return table && !table->closed() ? table : nullptr;
}

AddressSpace& StubThread::address_space() {
  absl::MutexLock lock(&platform_.mu());
  return *host_->process->space;
}

CpuTimes Systrap::CpuSplitLocked(const HostProcess& process) {
  if (process.reaped) return process.before;
  const CpuTimes now = native::ReadCpuTimes(process.pid);
  return {process.before.user_ns + now.user_ns, process.before.system_ns + now.system_ns};
}

CpuTimes StubThread::CpuSplit() {
  absl::MutexLock lock(&platform_.mu());
  return platform_.CpuSplitLocked(*host_->process);
}

void StubThread::SetLedger(Ref<UsageLedger> ledger) {
  absl::MutexLock lock(&platform_.mu());
  HostProcess& process = *host_->process;
  if (process.reaped) return;
  process.ledger = std::move(ledger);
  process.ledger->Open();
}

Status StubThread::SetHostLimit(int resource, uint64_t value) {
  absl::MutexLock lock(&platform_.mu());
  if (host_->process->reaped) return Errno(ESRCH);
  return native::SetHostLimit(host_->process->pid, resource, value);
}

Status StubThread::SetAffinity(const cpu_set_t& cpus) {
  absl::MutexLock lock(&platform_.mu());
  if (host_->ended || host_->process->reaped) return Errno(ESRCH);
  return platform_.BindLocked(*host_, cpus);
}

int StubThread::host_tid() const {
  absl::MutexLock lock(&platform_.mu());
  return host_->tid;
}

}  // namespace platform::systrap
