// Leader and followers: for each channel one worker waits for notifications and handles what it
// receives, on the core of the thread that called. Before it blocks it lets another one lead.
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "base/host_cpus.h"
#include "base/log.h"
#include "platform/systrap/core.h"

namespace platform::systrap {
namespace {

// Handlers are ordinary functions with bounded frames.
constexpr size_t kThreadStack = 256 * 1024;
// Followers beyond these end instead of waiting for work.
constexpr int kMaxIdleFollowers = 8;
// Sleeping in the host until a notification comes takes longer.
constexpr int64_t kQueuedNs = 1'200;
// A program that has made calls will make more: what it counts for when another is to be placed, as
// opposed to one that is just starting.
constexpr uint64_t kManyCalls = 128, kMostLoad = 7;

}  // namespace

thread_local Systrap::Worker* Systrap::current_ = nullptr;

Systrap::Worker& Systrap::Here() { return *current_; }

Systrap::Systrap(std::vector<std::unique_ptr<Channel>> channels, Layout layout,
                 const DispositionTable& dispositions, std::unique_ptr<FastPathMemory> fast_path,
                 bool eager, bool chaos)
    : channels_(std::move(channels)),
      layout_(layout),
      dispositions_(dispositions),
      fast_path_(std::move(fast_path)),
      self_interrupts_(fast_path_ != nullptr && CanStoreFpState()),
      eager_(eager),
      chaos_(chaos),
      nothing_(memfd_create("closed", MFD_CLOEXEC)) {}

Systrap::~Systrap() = default;

void* Systrap::WorkerMain(void* self) {
  static_cast<Systrap*>(self)->WorkerLoop();
  return nullptr;
}

bool Systrap::Spawn(void* (*main)(void*)) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, kThreadStack);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  // The spinner's own CPU is not for those that it leaves work to.
  if (current_ != nullptr && current_->spins) {
    pthread_attr_setaffinity_np(&attributes, sizeof(cpu_set_t), &HostCpus());
  }
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, main, this);
  pthread_attr_destroy(&attributes);
  if (error != 0) LOG_WARNING("cannot start a thread: errno %d", error);
  return error == 0;
}

// Without one calls wait until a worker is free again: slow, not wrong.
void Systrap::SpawnWorker() { (void)Spawn(&Systrap::WorkerMain); }

Channel* Systrap::LeaderlessLocked() {
  for (const auto& channel : channels_) {
    if (channel->wanted && !channel->led) return channel.get();
  }
  return nullptr;
}

bool Systrap::TakeLead(Worker& worker) {
  absl::MutexLock lock(&mu_);
  Channel* channel = nullptr;
  while (!stopped_ && handed_on_.empty() && strands_.empty() &&
         (channel = LeaderlessLocked()) == nullptr) {
    if (idle_followers_ >= kMaxIdleFollowers) return false;
    ++idle_followers_;
    while (called_followers_ == 0 && !stopped_) follower_wake_.Wait(&mu_);
    --idle_followers_;
    if (called_followers_ > 0) --called_followers_;
  }
  if (stopped_) return false;
  if (!strands_.empty()) {
    worker.strand = std::move(strands_.front());
    strands_.pop_front();
    return true;
  }
  if (!handed_on_.empty()) {
    worker.handed = handed_on_.front();
    handed_on_.pop_front();
    return true;
  }
  channel->led = true;
  worker.leads = channel;
  return true;
}

bool Systrap::LeaveLocked(Channel& channel) {
  channel.led = false;
  if (channel.awaiting > 0) {
    for (const auto& [tid, thread] : threads_) {
      if (thread->awaited && &thread->process->channel == &channel) thread->arrived.Signal();
    }
  }
  return channel.wanted && running_ && CallFollowerLocked();
}

bool Systrap::CallFollowerLocked() {
  if (idle_followers_ <= called_followers_) return true;
  ++called_followers_;
  follower_wake_.Signal();
  return false;
}

void Systrap::StartThread(HostThread& thread) {
  bool spawn = false;
  {
    absl::MutexLock lock(&mu_);
    thread.start_requested = true;
    if (!thread.runs) {
      ResumeIfReadyLocked(thread);
      return;
    }
    thread.started = true;
    const auto early = std::exchange(thread.early, std::nullopt);
    if (!early.has_value()) return;
    Channel& channel = thread.process->channel;
    if (current_ != nullptr && current_->leads == &channel) {
      channel.deferred.push_back(*early);
    } else {
      handed_on_.push_back({&channel, *early});
      spawn = CallFollowerLocked();
    }
  }
  if (spawn) SpawnWorker();
}

void Systrap::StartChannel(Channel& channel) {
  bool spawn = false;
  {
    absl::MutexLock lock(&mu_);
    if (channel.wanted) return;
    channel.wanted = true;
    spawn = !channel.led && LeaveLocked(channel);
  }
  if (spawn) SpawnWorker();
}

std::optional<seccomp_notif> Systrap::TakeDeferred(Channel& channel) {
  absl::MutexLock lock(&mu_);
  if (channel.deferred.empty()) return std::nullopt;
  const seccomp_notif notification = channel.deferred.front();
  channel.deferred.pop_front();
  return notification;
}

void Systrap::WorkerLoop() {
  // Not on this stack, which leak checkers do not look at while a strand runs.
  const auto owned = std::make_unique<Worker>();
  Worker& worker = *owned;
  current_ = &worker;
  while (ChooseStrand(worker)) {
    if (worker.strand == nullptr) {  // Without memory for one calls wait on the thread.
      while (ServeNext()) {
      }
      continue;
    }
    Fiber::Switch(worker.home, *worker.strand->fiber);
    LeaveStrand(worker);
  }
  current_ = nullptr;
}

// What a call-back returns to may be another worker.
bool Systrap::ServeNext() {
  Worker& worker = Here();
  if (const auto handed = std::exchange(worker.handed, std::nullopt)) {
    Serve(*handed->channel, handed->notification);
    return true;
  }
  if (worker.leads == nullptr || !worker.ready.empty()) return false;
  Channel& channel = *worker.leads;
  if (const auto deferred = TakeDeferred(channel)) {
    Serve(channel, *deferred);
  } else {
    ReceiveAndServe(channel);
  }
  return true;
}

void Systrap::ReceiveAndServe(Channel& channel) {
  const int64_t before = MonotonicNs();
  const Result<seccomp_notif> received = channel.listener.Receive();
  if (received.ok()) {
    // Who has called while another call was being handled waits on another core, and goes on
    // there: two threads that compute would come together on this one for good.
    const bool queued = MonotonicNs() - before < kQueuedNs;
    if (queued) channel.listener.AnswerHere(false);
    Serve(channel, *received);
    if (queued) channel.listener.AnswerHere(true);
  } else if (received.error() != Errno(ENOENT) && received.error() != Errno(EINTR)) {
    LOG_ERROR("receiving seccomp notifications: errno %d", received.error().code());
    Here().leads = nullptr;
    Stop();
  }
}

void Systrap::StopSpinning() {
  if (current_ == nullptr || !current_->spins || spell_.over()) return;
  spell_.blocked = true;
  HandOn();
}

void Systrap::EnterBlocking() {
  Worker* worker = current_;
  StopSpinning();
  if (worker == nullptr) return;
  KillDoomed(*worker);
  ++worker->blocks;
  HandReadyOn();
  if (worker->leads == nullptr) return;
  // The next leader's callers have not waited for their turn, and this call may take for ever.
  worker->leads->listener.AnswerHere(true);
  bool spawn = false;
  {
    absl::MutexLock lock(&mu_);
    spawn = LeaveLocked(*std::exchange(worker->leads, nullptr));
  }
  if (spawn) SpawnWorker();
}

void Systrap::LeaveBlocking() {
  if (current_ != nullptr) --current_->blocks;
}

Channel& Systrap::ChooseChannel() {
  absl::MutexLock lock(&mu_);
  Channel* best = channels_.front().get();
  absl::flat_hash_set<uint64_t> ancestors;
  if (current_ != nullptr && current_->serves != nullptr) {
    const HostProcess& caller = *current_->serves->process;
    best = &caller.channel;
    absl::flat_hash_map<uint64_t, uint64_t> parents;
    for (const auto& [pid, process] : processes_) parents[process->family] = process->parent_family;
    for (uint64_t family = caller.family; family != 0 && ancestors.insert(family).second;) {
      const auto parent = parents.find(family);
      family = parent == parents.end() ? 0 : parent->second;
    }
  }
  absl::flat_hash_map<const Channel*, uint64_t> load;
  for (const auto& [pid, process] : processes_) {
    if (process->killed || ancestors.contains(process->family)) continue;
    load[&process->channel] += 1 + std::min(process->calls / kManyCalls, kMostLoad);
  }
  for (const auto& channel : channels_) {
    if (!channel->broken && (best->broken || load[channel.get()] < load[best])) {
      best = channel.get();
    }
  }
  return *best;
}

// The main thread reaps: it sleeps in waitpid(2) and costs nothing.
void Systrap::Run() {
  size_t leaders = 0;
  {
    absl::MutexLock lock(&mu_);
    running_ = true;
    for (const auto& channel : channels_) leaders += channel->wanted && !channel->led ? 1 : 0;
  }
  for (; leaders > 0; --leaders) SpawnWorker();
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
    if (LoseZygote(pid)) {
      zygote_gone = true;
      continue;
    }
    ReportDeath(pid, status, usage);
  }
}

bool Systrap::LoseZygote(pid_t pid) {
  absl::MutexLock lock(&mu_);
  for (const auto& channel : channels_) {
    if (channel->zygote->pid() != pid) continue;
    channel->broken = true;
    LOG_ERROR("a zygote has died: fewer processes can be started, or none");
    return true;
  }
  return false;
}

void Systrap::Stop() {
  {
    absl::MutexLock lock(&mu_);
    if (stopped_) return;
    stopped_ = true;
    follower_wake_.SignalAll();
    deadline_wake_.Signal();
    stop_wake_.SignalAll();
    for (auto& [pid, process] : processes_) {
      // Those that somebody is about to kill as well: there may be nobody any more.
      if (process->killed && !process->reaped) kill(pid, SIGKILL);
      KillLocked(*process);
    }
  }
  for (const auto& channel : channels_) channel->zygote->Kill();  // The death wakes Run.
}

}  // namespace platform::systrap
