// Waiting for what a stub reports next, while it does what it has been told to. It may never do it.
#include <sys/uio.h>

#include <algorithm>
#include <climits>
#include <cstddef>

#include "platform/native/stub.h"
#include "platform/systrap/core.h"

namespace platform::systrap {

Result<seccomp_notif> Systrap::Await(HostThread& thread) {
  HandReadyOn();  // The stub may take its time.
  bool spawn = false;
  Result<seccomp_notif> result = Errno(EIO);
  {
    absl::MutexLock lock(&mu_);
    Channel& channel = thread.process->channel;
    // It may have come while somebody else received for himself, and this thread was not awaited
    // yet.
    const auto deferred = std::find_if(channel.deferred.begin(), channel.deferred.end(),
                                       [&](const seccomp_notif& notification) {
                                         return static_cast<pid_t>(notification.pid) == thread.tid;
                                       });
    if (deferred != channel.deferred.end()) {
      thread.inbox = *deferred;
      channel.deferred.erase(deferred);
    }
    ++channel.awaiting;
    const bool leads = current_ != nullptr && current_->leads == &channel;
    result = AwaitLocked(thread, channel, leads);
    --channel.awaiting;
    // Who was led by this thread meanwhile is led by another one again.
    if (channel.led && channel.borrowed_by == &thread) {
      channel.borrowed_by = nullptr;
      spawn = LeaveLocked(channel);
    }
  }
  if (spawn) SpawnWorker();
  return result;
}

Result<seccomp_notif> Systrap::AwaitLocked(HostThread& thread, Channel& channel, bool leads) {
  bool gave_up = false;  // To lead: once, or it would be in the way of who is to do that.
  for (;;) {
    if (thread.inbox.has_value()) return *std::exchange(thread.inbox, std::nullopt);
    if (!thread.alive()) return Errno(EIO);
    if (!leads && !channel.led && !gave_up) {
      channel.led = leads = true;
      channel.borrowed_by = &thread;
    }
    if (leads && ReceiveLocked(channel)) continue;
    if (leads) {
      // Others are not to wait for a stub that takes its time, which may be for ever.
      const bool borrowed = std::exchange(channel.borrowed_by, nullptr) == &thread;
      if (!borrowed) {
        current_->leads = nullptr;
        channel.listener.AnswerHere(true);
      }
      leads = false;
      gave_up = true;
      const bool spawn = LeaveLocked(channel);
      mu_.Unlock();
      if (spawn) SpawnWorker();
      mu_.Lock();
      if (thread.inbox.has_value()) continue;
    }
    const bool spins = current_ != nullptr && current_->spins;
    if (!thread.arrived.WaitWithTimeout(&mu_, absl::Milliseconds(spins ? 10 : 100))) continue;
    gave_up = false;
    mu_.Unlock();
    StopSpinning();
    mu_.Lock();
  }
}

bool Systrap::ReceiveLocked(Channel& channel) {
  // Who waits already waits for a stub that is about to answer, or not at all.
  const bool others = !channel.deferred.empty();
  mu_.Unlock();
  // Its death would not end a blocking receive: look up now and then.
  Result<seccomp_notif> received = Errno(EAGAIN);
  const bool came = channel.listener.Wait(others ? 1 : 10);
  if (came) {
    received = channel.listener.Receive();
  } else {
    StopSpinning();  // It takes its time, and may for ever: calls that wait are somebody else's.
  }
  mu_.Lock();
  if (received.ok()) {
    const auto it = threads_.find(static_cast<pid_t>(received->pid));
    if (it == threads_.end()) {
      unclaimed_[static_cast<pid_t>(received->pid)] = {&channel, *received};
    } else if (it->second->awaited) {
      it->second->inbox = *received;
      it->second->arrived.Signal();
    } else {
      channel.deferred.push_back(*received);
    }
  }
  return came || !others || !channel.wanted || !running_;
}

bool Systrap::IsNewborn(const HostThread& parent, uint64_t tid, uint64_t mark) {
  if (tid == 0 || tid > INT_MAX) return false;
  const auto number = static_cast<pid_t>(tid);
  {
    absl::MutexLock lock(&mu_);
    if (threads_.contains(number) || processes_.contains(number)) return false;
  }
  uint64_t found = 0;
  const uint64_t at = native::SlotAddress(parent.slot) + offsetof(native::BatchHeader, mark);
  const iovec local{&found, sizeof(found)};
  const iovec remote{reinterpret_cast<void*>(at), sizeof(found)};
  const ssize_t got = process_vm_readv(number, &local, 1, &remote, 1, 0);
  return got == static_cast<ssize_t>(sizeof(found)) && found == mark;
}

}  // namespace platform::systrap
