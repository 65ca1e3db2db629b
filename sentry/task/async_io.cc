#include "sentry/task/async_io.h"

#include <poll.h>
#include <signal.h>

#include <utility>

#include "sentry/task/task.h"

namespace sentry {

Ref<AsyncIo> AsyncIo::Find(File& file) {
  Ref<RefCounted> holder;
  FileOwner* const owner = file.owner(holder);
  return owner == nullptr ? Ref<AsyncIo>() : Ref<AsyncIo>::Share(static_cast<AsyncIo&>(*owner));
}

Ref<AsyncIo> AsyncIo::Of(Kernel& kernel, File& file) {
  Ref<AsyncIo> mine = Ref<AsyncIo>::Adopt(new AsyncIo(kernel));
  AsyncIo* const borrowed = mine.get();
  file.SetOwner(std::move(mine), borrowed);
  return Find(file);
}

void AsyncIo::FollowFlag(Kernel& kernel, File& file, Fd fd) {
  if (file.flags().has(O_ASYNC)) {
    Of(kernel, file)->Enable(file, fd);
  } else if (const Ref<AsyncIo> async = Find(file)) {
    async->Disable();
  }
}

bool AsyncIo::Exists(const Owner& owner) {
  switch (owner.kind) {
    case Kind::kThread:
      return kernel_.FindTask(owner.id).get() != nullptr;
    case Kind::kProcess:
      return kernel_.FindGroup(owner.id).get() != nullptr;
    case Kind::kGroup:
      break;
  }
  // Signal 0 is not sent, but the group is looked for.
  return kernel_.SendToProcessGroup(owner.id, SignalInfo{}).ok();
}

Status AsyncIo::SetOwner(Kind kind, Pid id, const Credentials& creds) {
  const Owner owner{kind, id};
  if (id < 0) return Errno(ESRCH);
  if (id != 0 && !Exists(owner)) return Errno(ESRCH);
  absl::MutexLock lock(&mu_);
  owner_ = owner;
  uid_ = creds.uid;
  euid_ = creds.euid;
  return kOk;
}

AsyncIo::Owner AsyncIo::owner() {
  Owner owner;
  {
    absl::MutexLock lock(&mu_);
    owner = owner_;
  }
  if (owner.id != 0 && !Exists(owner)) owner.id = 0;
  return owner;
}

void AsyncIo::Enable(File& file, Fd fd) {
  WaitQueue* const queue = file.wait_queue();
  if (queue == nullptr) return;  // Always ready: nothing ever happens.
  {
    // In one step: registered twice, it would be taken out once and called when it is gone.
    absl::MutexLock lock(&mu_);
    if (queue_ != nullptr) queue_->Remove(*this);
    fd_ = static_cast<int>(fd);
    queue_ = queue;
    queue->Add(*this, POLLIN | POLLOUT);
  }
  file.ArmHostEvents(POLLIN | POLLOUT);
  // The last close may have come in between, and has found nothing to end.
  if (!file.has_descriptors()) Disable();
}

void AsyncIo::Disable() {
  absl::MutexLock lock(&mu_);
  WaitQueue* const queue = std::exchange(queue_, nullptr);
  if (queue != nullptr) queue->Remove(*this);
}

void AsyncIo::FollowUrgent(File& file) {
  WaitQueue* const queue = file.wait_queue();
  {
    absl::MutexLock lock(&mu_);
    if (urgent_queue_ != nullptr) return;
    urgent_queue_ = queue;
    queue->Add(urgent_, POLLPRI);
  }
  if (!file.has_descriptors()) OnFileClosed();
}

void AsyncIo::OnFileClosed() {
  Disable();
  absl::MutexLock lock(&mu_);
  WaitQueue* const queue = std::exchange(urgent_queue_, nullptr);
  if (queue != nullptr) queue->Remove(urgent_);
}

void AsyncIo::OnReady(uint32_t events) { Tell(events & (POLLIN | POLLOUT | POLLHUP | POLLERR)); }

void AsyncIo::Tell(uint32_t told) {
  if (told == 0) return;
  pending_.fetch_or(told, std::memory_order_relaxed);
  TimerQueue::Get().Arm(*this, 1);
}

void AsyncIo::OnAlarm() {
  const uint32_t events = pending_.exchange(0, std::memory_order_relaxed);
  if ((events & POLLPRI) != 0) SendToOwner(MakeKernelSignalInfo(SIGURG));
  {
    // Closed or switched off since.
    absl::MutexLock lock(&mu_);
    if (queue_ == nullptr) return;
  }
  if ((events & (POLLIN | POLLHUP)) != 0) Send(POLLIN | POLLRDNORM, POLL_IN);
  if ((events & (POLLOUT | POLLERR)) != 0) Send(POLLOUT | POLLWRNORM | POLLWRBAND, POLL_OUT);
}

// send_sigio() of Linux.
void AsyncIo::Send(uint32_t event, int code) {
  SignalInfo info = MakeKernelSignalInfo(SIGIO);
  {
    absl::MutexLock lock(&mu_);
    if (const int signal = this->signal(); signal != 0) {
      info = SignalInfo{};
      info.si_signo = signal;
      info.si_code = code;
      info.si_band = static_cast<long>(event);
      info.si_fd = fd_;
    }
  }
  SendToOwner(info);
}

void AsyncIo::SendToOwner(const SignalInfo& info) {
  Owner owner;
  uint32_t uid, euid;
  {
    absl::MutexLock lock(&mu_);
    owner = owner_;
    uid = uid_;
    euid = euid_;
  }
  if (owner.id == 0) return;
  if (owner.kind == Kind::kGroup) {
    (void)kernel_.SendToProcessGroup(owner.id, info);
    return;
  }
  const Result<Credentials> to = kernel_.CredentialsOf(owner.id);
  const bool may = to.ok() && (euid == 0 || euid == to->suid || euid == to->uid ||
                               uid == to->suid || uid == to->uid);
  if (!may) return;
  if (owner.kind == Kind::kThread) {
    if (const Ref<Task> task = kernel_.FindTask(owner.id)) kernel_.SendTo(*task, info);
  } else if (const Ref<ThreadGroup> group = kernel_.FindGroup(owner.id)) {
    kernel_.SendTo(*group, info);
  }
}

}  // namespace sentry
