// Leader and followers: one worker waits for notifications and handles what it receives, on the
// core of the thread that called. Before it blocks it lets another one lead.
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "base/log.h"
#include "platform/systrap/core.h"

namespace platform::systrap {
namespace {

// Handlers are ordinary functions with bounded frames.
constexpr size_t kWorkerStack = 256 * 1024;
// Followers beyond these end instead of waiting for work.
constexpr int kMaxIdleFollowers = 8;

}  // namespace

thread_local Systrap::Worker* Systrap::current_ = nullptr;

Systrap::Systrap(std::unique_ptr<native::Zygote> zygote, Listener listener, Layout layout,
                 const DispositionTable& dispositions, std::unique_ptr<MailboxPool> pool,
                 bool eager)
    : zygote_(std::move(zygote)),
      listener_(std::move(listener)),
      layout_(layout),
      dispositions_(dispositions),
      pool_(std::move(pool)),
      self_interrupts_(pool_ != nullptr && CanStoreFpState()),
      eager_(eager),
      nothing_(memfd_create("closed", MFD_CLOEXEC)) {}

Systrap::~Systrap() = default;

void* Systrap::WorkerMain(void* self) {
  static_cast<Systrap*>(self)->WorkerLoop();
  return nullptr;
}

void Systrap::SpawnWorker() {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kWorkerStack);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, &Systrap::WorkerMain, this);
  pthread_attr_destroy(&attributes);
  // Calls wait until a worker is free again: slow, not wrong.
  if (error != 0) LOG_WARNING("cannot start a worker thread: errno %d", error);
}

bool Systrap::TakeLead(Worker& worker) {
  absl::MutexLock lock(&mu_);
  while (leader_active_ && !stopped_) {
    if (idle_followers_ >= kMaxIdleFollowers) return false;
    ++idle_followers_;
    follower_wake_.Wait(&mu_);
    --idle_followers_;
  }
  if (stopped_) return false;
  leader_active_ = true;
  worker.leader = true;
  return true;
}

std::optional<seccomp_notif> Systrap::TakeDeferred() {
  absl::MutexLock lock(&mu_);
  if (deferred_.empty()) return std::nullopt;
  const seccomp_notif notification = deferred_.front();
  deferred_.pop_front();
  return notification;
}

void Systrap::WorkerLoop() {
  Worker worker;
  current_ = &worker;
  while (TakeLead(worker)) {
    while (worker.leader) {
      if (const auto deferred = TakeDeferred()) {
        Serve(*deferred);
        continue;
      }
      const Result<seccomp_notif> received = listener_.Receive();
      if (received.ok()) {
        Serve(*received);
      } else if (received.error() != Errno(ENOENT) && received.error() != Errno(EINTR)) {
        LOG_ERROR("receiving seccomp notifications: errno %d", received.error().code());
        Stop();
        return;
      }
    }
  }
  current_ = nullptr;
}

void Systrap::EnterBlocking() {
  Worker* worker = current_;
  if (worker != nullptr && worker->polled != nullptr && !worker->blocked) {
    worker->blocked = true;
    StopPolling(*worker->polled);
  }
  if (worker == nullptr || !worker->leader) return;
  bool spawn = false;
  {
    absl::MutexLock lock(&mu_);
    worker->leader = false;
    leader_active_ = false;
    spawn = idle_followers_ == 0;
    if (!spawn) follower_wake_.Signal();
  }
  if (spawn) SpawnWorker();
}

// The main thread reaps: it sleeps in waitpid(2) and costs nothing.
void Systrap::Run() {
  SpawnWorker();
  bool zygote_gone = false;  // Its death is what wakes this thread to stop: without it, look.
  for (;;) {
    int status = 0;
    rusage usage{};
    const pid_t pid = wait4(-1, &status, zygote_gone ? __WALL | WNOHANG : __WALL, &usage);
    const int error = pid < 0 ? errno : 0;
    const bool nothing = pid == 0 || (zygote_gone && error == ECHILD);
    {
      absl::MutexLock lock(&mu_);
      if (nothing && !stopped_) stop_wake_.WaitWithTimeout(&mu_, absl::Milliseconds(20));
      if (stopped_) return;
    }
    if (nothing) continue;
    if (pid < 0) {
      if (error == EINTR) continue;
      LOG_ERROR("waiting for stubs: errno %d", error);
      return;
    }
    if (pid == zygote_->pid()) {
      zygote_gone = true;
      LOG_ERROR("the zygote has died: no process can be started any more");
      continue;
    }
    ReportDeath(pid, status, usage);
  }
}

void Systrap::Stop() {
  {
    absl::MutexLock lock(&mu_);
    if (stopped_) return;
    stopped_ = true;
    follower_wake_.SignalAll();
    stop_wake_.SignalAll();
    for (auto& [pid, process] : processes_) KillLocked(*process);
  }
  zygote_->Kill();  // Its death wakes Run.
}

}  // namespace platform::systrap
