#include "platform/ptrace/host_process.h"

#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "platform/native/host_limit.h"

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
  const pid_t reaped = waitpid(tid, &how, __WALL | WNOHANG);
  if (reaped == 0 || (reaped == tid && WIFSTOPPED(how))) return false;
  if (status != nullptr) *status = how;
  RemoveLocked(tid);
  if (tid == tgid_) leader_reaped_ = true;
  return true;
}

uint64_t HostProcess::CpuTimeNs() {
  // The clock of another process, see clock_getcpuclockid(3). There is none for another's thread.
  const clockid_t clock = static_cast<clockid_t>((~static_cast<uint32_t>(tgid_)) << 3 | 2);
  timespec now{};
  absl::MutexLock lock(&mu_);
  if (!leader_reaped_ && clock_gettime(clock, &now) == 0) {
    cpu_time_ns_ =
        static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<uint64_t>(now.tv_nsec);
  }
  return cpu_time_ns_;
}

Status HostProcess::SetLimit(int resource, uint64_t value) {
  absl::MutexLock lock(&mu_);
  return leader_reaped_ ? Status(Errno(ESRCH)) : native::SetHostLimit(tgid_, resource, value);
}

}  // namespace platform::ptrace
