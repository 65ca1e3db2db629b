// Which host threads and processes there are, and how they end.
#include <sched.h>
#include <signal.h>

#include "base/host_cpus.h"
#include "platform/systrap/core.h"

namespace platform::systrap {
namespace {

// Those where the caller is not; empty where there is one only.
cpu_set_t OtherCpus() {
  cpu_set_t cpus = HostCpus();
  const int here = sched_getcpu();
  if (here >= 0 && here < CPU_SETSIZE) CPU_CLR(here, &cpus);
  return cpus;
}

}  // namespace

void Systrap::Register(HostThread& thread) {
  threads_[thread.tid] = Ref<HostThread>::Share(thread);
  thread.process->space->AddThread(thread.tid);
  const auto early = unclaimed_.find(thread.tid);
  if (early == unclaimed_.end()) return;
  const auto [channel, notification] = early->second;
  unclaimed_.erase(early);
  // A number is used again only after its thread has gone; so may what it left behind.
  if (channel != &thread.process->channel || !channel->listener.IsValid(notification.id)) return;
  if (thread.awaited) {
    thread.inbox = notification;
  } else if (thread.runs) {
    thread.early = notification;
  } else {
    thread.parked = notification.id;
    ResumeIfReadyLocked(thread);
  }
}

void Systrap::Unregister(HostThread& thread) {
  const auto it = threads_.find(thread.tid);
  if (it != threads_.end() && it->second.get() == &thread) {
    thread.process->space->RemoveThread(thread.tid);
    threads_.erase(it);
  }
  StopPollingLocked(thread);
  // What it has been told to map it has mapped, or never will.
  thread.process->sites->pool_use.same_number.erase(thread.tid);
}

void Systrap::AddProcess(Ref<HostProcess> process) {
  const pid_t pid = process->pid;
  if (early_deaths_.erase(pid) != 0) {
    process->reaped = true;
    return;
  }
  processes_[pid] = std::move(process);
}

void Systrap::KillLocked(HostProcess& process) {
  if (process.killed) return;
  process.killed = true;
  if (process.program) {
    images_.NoteCalls(*process.program, process.calls, process.born_patched);
  }
  if (!process.reaped) {
    if (!stopped_ && CallsAlone(process)) {
      current_->doomed.push_back(Ref<HostProcess>::Share(process));
    } else {
      kill(process.pid, SIGKILL);
    }
  }
  std::vector<Ref<HostThread>> members;
  for (const auto& [tid, thread] : threads_) {
    if (thread->process.get() == &process) members.push_back(thread);
  }
  for (const auto& thread : members) {
    thread->ended = true;
    Unregister(*thread);
    thread->arrived.SignalAll();
  }
}

// It has one thread, for which this call-back is.
bool Systrap::CallsAlone(const HostProcess& process) {
  return current_ != nullptr && current_->serves != nullptr &&
         current_->serves->process.get() == &process && process.slots.size() <= 1;
}

void Systrap::KillDoomed(Worker& worker) {
  if (worker.doomed.empty()) return;
  std::vector<Ref<HostProcess>> doomed;
  doomed.swap(worker.doomed);
  const cpu_set_t elsewhere = OtherCpus();
  absl::MutexLock lock(&mu_);
  for (const auto& process : doomed) {
    if (process->reaped) continue;
    const sched_param none{};
    sched_setscheduler(process->pid, SCHED_BATCH, &none);  // It displaces nobody when it is woken.
    // Here is who goes on instead, or has waited for its end, and has only just been woken as well. It
    // begins elsewhere; where there is more to do than here, the host may move it.
    const bool moved = CPU_COUNT(&elsewhere) != 0 &&
                       sched_setaffinity(process->pid, sizeof(elsewhere), &elsewhere) == 0;
    kill(process->pid, SIGKILL);
    if (moved) sched_setaffinity(process->pid, sizeof(cpu_set_t), &HostCpus());
  }
}

void Systrap::EndThread(HostThread& thread) {
  absl::MutexLock lock(&mu_);
  thread.ended = true;
  Unregister(thread);
  thread.process->space->FreeSlot(thread.slot);
  thread.process->slots.erase(thread.slot);
}

// Threads that had ended for the sentry, and called once more before they died.
void Systrap::ForgetUnclaimedLocked() {
  constexpr size_t kFew = 64;
  if (unclaimed_.size() < kFew) return;
  absl::erase_if(unclaimed_, [](const auto& entry) {
    return !entry.second.channel->listener.IsValid(entry.second.notification.id);
  });
}

void Systrap::ReportDeath(pid_t pid, int wait_status, const rusage& usage) {
  std::vector<Ref<HostThread>> orphans;
  {
    absl::MutexLock lock(&mu_);
    const auto it = processes_.find(pid);
    if (it == processes_.end()) {
      early_deaths_.insert(pid);
      return;
    }
    const Ref<HostProcess> process = it->second;
    processes_.erase(it);
    process->reaped = true;
    for (const size_t slot : process->slots) process->space->FreeSlot(slot);
    process->slots.clear();
    ForgetUnclaimedLocked();
    if (process->ledger) process->ledger->Close(usage);
    if (!process->killed) {
      for (const auto& [tid, thread] : threads_) {
        if (thread->process == process && thread->guest != nullptr) orphans.push_back(thread);
      }
    }
    KillLocked(*process);
    for (const auto& thread : orphans) {
      thread->in_death_callback = true;
      thread->death_caller = pthread_self();
    }
  }
  for (const auto& thread : orphans) {
    thread->guest->OnHostDeath(wait_status);
    absl::MutexLock lock(&mu_);
    thread->in_death_callback = false;
    thread->idle.SignalAll();
  }
}

}  // namespace platform::systrap
