#include "platform/ptrace/host_process.h"

#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>

#include "platform/native/host_limit.h"
#include "platform/native/host_usage.h"
#include "platform/native/stub.h"

namespace platform::ptrace {

HostProcess::HostProcess(pid_t tgid, Ref<native::NativeAddressSpace> space)
    : tgid_(tgid), space_(std::move(space)) {
  AddThread(tgid);
}

bool HostProcess::killed() const {
  absl::MutexLock lock(&mu_);
  return killed_;
}

void HostProcess::Kill() {
  absl::MutexLock lock(&mu_);
  if (!killed_ && !leader_reaped_) kill(tgid_, SIGKILL);
  killed_ = true;
}

void HostProcess::AwaitKilled() {
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(&killed_));
}

void HostProcess::Interrupt(pid_t tid) {
  absl::MutexLock lock(&mu_);
  if (killed_ || std::find(tids_.begin(), tids_.end(), tid) == tids_.end()) return;
  syscall(SYS_tgkill, tgid_, tid, STUB_INTERRUPT_SIGNAL);
}

Status HostProcess::SetAffinity(pid_t tid, const cpu_set_t& cpus) {
  absl::MutexLock lock(&mu_);
  if (std::find(tids_.begin(), tids_.end(), tid) == tids_.end()) return Errno(ESRCH);
  return sched_setaffinity(tid, sizeof(cpus), &cpus) == 0 ? Status(kOk) : Errno::Last();
}

void HostProcess::AddThread(pid_t tid) {
  absl::MutexLock lock(&mu_);
  tids_.push_back(tid);
  space_->AddThread(tid);
}

void HostProcess::RemoveLocked(pid_t tid) {
  const auto it = std::find(tids_.begin(), tids_.end(), tid);
  if (it == tids_.end()) return;
  tids_.erase(it);
  space_->RemoveThread(tid);
}

void HostProcess::RemoveThread(pid_t tid) {
  absl::MutexLock lock(&mu_);
  RemoveLocked(tid);
}

bool HostProcess::TryReap(pid_t tid, int* status) {
  absl::MutexLock lock(&mu_);
  int how = 0;
  rusage usage{};
  const pid_t reaped = wait4(tid, &how, __WALL | WNOHANG, &usage);
  if (reaped == 0 || (reaped == tid && WIFSTOPPED(how))) return false;
  if (status != nullptr) *status = how;
  RemoveLocked(tid);
  if (tid == tgid_ && !leader_reaped_) {
    leader_reaped_ = true;
    if (ledger_) ledger_->Close(usage);
  }
  return true;
}

Result<Exception> HostProcess::ReadException(Tracee& tracee) {
  absl::MutexLock lock(&frame_mu_);
  return tracee.ReadException(*space_, native::SlotAddress(0) + STUB_SLOT_USED - 64);
}

CpuTimes HostProcess::CpuSplit() {
  absl::MutexLock lock(&mu_);
  if (!leader_reaped_) cpu_ = native::ReadCpuTimes(tgid_);
  return cpu_;
}

void HostProcess::SetLedger(Ref<UsageLedger> ledger) {
  absl::MutexLock lock(&mu_);
  if (leader_reaped_) return;
  ledger_ = std::move(ledger);
  ledger_->Open();
}

Status HostProcess::SetLimit(int resource, uint64_t value) {
  absl::MutexLock lock(&mu_);
  return leader_reaped_ ? Status(Errno(ESRCH)) : native::SetHostLimit(tgid_, resource, value);
}

}  // namespace platform::ptrace
