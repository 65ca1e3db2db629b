// The parts of the systrap platform: host processes and threads, the workers that take
// notifications, and what routes one to the other.
#ifndef PLATFORM_SYSTRAP_CORE_H_
#define PLATFORM_SYSTRAP_CORE_H_

#include <pthread.h>
#include <sched.h>

#include <deque>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "platform/api/platform.h"
#include "platform/native/address_space.h"
#include "platform/native/host_file.h"
#include "platform/native/zygote.h"
#include "platform/systrap/channel.h"
#include "platform/systrap/fast_path.h"
#include "platform/systrap/fiber.h"
#include "platform/systrap/run_queue.h"

namespace platform::systrap {

class Systrap;

// A stub. Everything but the constants is guarded by Systrap::mu().
struct HostProcess : RefCounted {
  HostProcess(pid_t pid, Channel& channel, Ref<native::NativeAddressSpace> space, Ref<Sites> sites)
      : pid(pid), channel(channel), space(std::move(space)), sites(std::move(sites)) {}
  const pid_t pid;
  Channel& channel;
  const Ref<native::NativeAddressSpace> space;
  const Ref<Sites> sites;  // Of the same memory.
  // Who has forked whom, across execve; 0: an image, or nobody.
  uint64_t family = 0;
  uint64_t parent_family = 0;
  uint64_t calls = 0;  // Since its execve.
  // What it has executed, if that is known, and whether it was born with patched calls. Not of who
  // was forked.
  Ref<ImageCache::File> program;
  bool born_patched = false;
  bool killed = false;  // By us: its threads get no call-backs any more.
  bool reaped = false;
  bool gone() const { return killed || reaped; }
  // Injected and not closed yet, and what they are, as long as that is certain.
  std::map<int, std::optional<native::HostFileId>> descriptors;
  std::set<int> released;  // Those of them that were closed by other means than close(2).
  std::set<size_t> slots;  // Of its threads, to be freed when it dies: others may share the memory.
  Ref<UsageLedger> ledger;  // Empty in an image.
  CpuTimes before;          // Of the host processes that it has replaced.
};

// A thread of a stub; survives execve, which gives it another process. Guarded by Systrap::mu().
struct HostThread : RefCounted {
  explicit HostThread(Guest* guest) : guest(guest) {}
  Guest* guest;  // nullptr in an image, and once the owner is gone.
  Ref<HostProcess> process;
  pid_t tid = 0;
  size_t slot = 0;
  bool ended = false;  // No call-backs any more.
  bool in_callback = false;
  pthread_t caller{};        // The worker, while in_callback.
  pthread_t death_caller{};  // Valid while in_death_callback.
  bool in_death_callback = false;
  bool interrupt_pending = false;
  bool alive() const { return !ended && !process->gone(); }

  // Before Start: the notification by which it waits, and whether Start has been called.
  bool started = false;
  bool start_requested = false;
  std::optional<uint64_t> parked;
  int resume_command = 0;  // STUB_COMMAND_RESUME or LEAVE_SETUP.
  // It does not wait for Start, but its first notification does.
  bool runs = false;
  std::optional<seccomp_notif> early;

  // A worker takes this thread's notifications itself (Systrap::Await). To be set before the answer
  // that makes the next one come, which another worker may receive at once.
  bool awaited = false;
  std::optional<seccomp_notif> inbox;
  absl::CondVar arrived;
  absl::CondVar idle;  // Signalled when a call-back has ended.

  // Patched calls. The mailbox is mapped and the thread knows of it; it is looked at while
  // `polled`.
  native::MailboxPage* mailbox = nullptr;
  bool polled = false;
  bool displaced = false;         // It may not run on the spinner's CPU.
  std::optional<cpu_set_t> cpus;  // Where it wants to run, if it has said so.
  // Calls that came the slow way all the same, since when.
  int missed = 0;
  int64_t missed_since = 0;
  bool uses_gs = false;  // The application has set %gs: there is no place for a mailbox's address.
  // A notification that came while a call by mailbox was being handled, and one by which the thread
  // waits for its answer.
  std::optional<seccomp_notif> late;
  std::optional<uint64_t> asleep;
  // While a call by mailbox is handled, or an interrupt that the stub has made for itself, no
  // signal is sent: what is `deferred` goes with the answer.
  bool in_mail = false;
  bool in_self = false;
  bool deferred = false;
  bool dozes = false;  // It has been told to sleep until its call by mailbox is answered.
  // Found, but not told: an interrupt is on its way and tells it.
  std::optional<MailAnswer> answer;
  // A call by mailbox that the host is to execute: it is made again as an ordinary one.
  std::optional<SyscallArgs> approved;
  // A site to be patched at the next interrupt: the address behind its call, and the number.
  std::optional<Sites::Record> patch;
  // How many calls have come since `window`. Only the worker in charge uses these.
  uint32_t calls = 0;
  int64_t window = 0;
  bool busy = false;
  // Nothing has been forgotten since the call-back began: its answer may be kept.
  bool fresh = false;

  // The last answer, for hosts that lose answers to interrupted callers (before Linux 6.18).
  struct {
    bool valid = false;
    uint64_t ip = 0;
    uint64_t nr = 0;
    int64_t value = 0;
  } last_reply;
};

// A thread whose mailbox is looked at.
struct Polled {
  Ref<HostThread> thread;
  native::MailboxPage* page = nullptr;
  int64_t last_call = 0;
  int64_t disturbed = 0;
  bool waits = false;  // Its call does.
};

// A stack on which calls are answered, one of which may be waiting.
struct Strand {
  std::unique_ptr<Fiber> fiber;
  // While it waits: for this word to have another value, or until then (CLOCK_MONOTONIC).
  std::atomic<uint32_t>* word = nullptr;
  uint32_t value = 0;
  int64_t deadline_ns = INT64_MAX;
};
using Strands = std::vector<std::unique_ptr<Strand>>;

// What patched calls need, made before there are stubs.
struct FastPathMemory {
  std::unique_ptr<MailboxPool> mailboxes;
  std::unique_ptr<SiteTables> tables;
  RunQueue run_queue;
};

class Systrap final : public Platform {
 public:
  // `fast_path` is nullptr without patched calls.
  Systrap(std::vector<std::unique_ptr<Channel>> channels, Layout layout,
          const DispositionTable& dispositions, std::unique_ptr<FastPathMemory> fast_path,
          bool eager, bool chaos);
  ~Systrap() override;

  // Platform.
  const char* name() const override { return "systrap"; }
  Layout layout() const override { return layout_; }
  Result<std::unique_ptr<Image>> NewImage() override;
  Result<UniqueFd> ReopenReadOnly(int fd) override { return zygote().ReopenReadOnly(fd); }
  void Run() override ABSL_LOCKS_EXCLUDED(mu_);
  void Stop() override ABSL_LOCKS_EXCLUDED(mu_);
  void EnterBlocking() override ABSL_LOCKS_EXCLUDED(mu_);
  void LeaveBlocking() override;
  void Park(std::atomic<uint32_t>& word, uint32_t value, int64_t deadline_ns) override
      ABSL_LOCKS_EXCLUDED(mu_);
  void Unpark(const std::atomic<uint32_t>& word) override ABSL_LOCKS_EXCLUDED(mu_);

  absl::Mutex& mu() ABSL_LOCK_RETURNED(mu_) { return mu_; }
  // The one that answers questions about the host.
  native::Zygote& zygote() const { return *channels_.front()->zygote; }
  MailboxPool* pool() const {
    return fast_path_ == nullptr ? nullptr : fast_path_->mailboxes.get();
  }
  SiteTables& tables() const { return *fast_path_->tables; }  // Where there is a pool.
  // What a new process executes, as it is known so far; nothing where calls are not patched.
  Ref<ImageCache::File> FindProgram(int host_fd);
  // Whether it gets a mailbox from the start: somebody here has been busy, and those that executed
  // the same were no short ones.
  bool BirthsPatched(const ImageCache::File* program) const;
  // The descriptor of which an executable private mapping is made: that of a copy with patched
  // calls where there is one, which `copy` then holds.
  int MapExecutable(Sites& sites, int host_fd, uint64_t addr, uint64_t length, uint64_t offset,
                    Ref<const ImageCache::Copy>& copy) ABSL_LOCKS_EXCLUDED(mu_);

  // The host has been seen to place program breaks.
  bool places_breaks() const { return places_breaks_.load(std::memory_order_relaxed); }
  void SetPlacesBreaks() { places_breaks_.store(true, std::memory_order_relaxed); }

  // Enters a thread and takes over a notification that came before it was known.
  void Register(HostThread& thread) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void Unregister(HostThread& thread) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Marked as reaped when it has ended already.
  void AddProcess(Ref<HostProcess> process) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  CpuTimes CpuSplitLocked(const HostProcess& process) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void KillLocked(HostProcess& process) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void InterruptLocked(HostThread& thread) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void ResumeIfReadyLocked(HostThread& thread) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // For Thread::Start.
  void StartThread(HostThread& thread) ABSL_LOCKS_EXCLUDED(mu_);

  // The sentry stops looking at a thread's mailbox; the thread forgets it.
  void StopPollingLocked(HostThread& thread) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Nobody but the spinner runs on its CPU, of those whom it answers: woken threads would be put
  // there, and wait for it. `back`: again.
  void MakeRoomLocked(HostThread& thread, bool back = false) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // sched_setaffinity(2), as far as the spinner lets it.
  Status BindLocked(HostThread& thread, const cpu_set_t& cpus) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  void DetachMailboxLocked(HostThread& thread) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Keeps the answer of a call, if it stays the same, and forgets what the call may have changed.
  void Keep(HostThread& thread, uint64_t nr, const Verdict& verdict)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // Ends the wait of a stub at one of the mailboxes for events.
  void AnswerEvent(HostThread& thread, native::Mailbox& box, int command) ABSL_LOCKS_EXCLUDED(mu_);
  // A thread that interrupted itself goes on: signals may be sent to it again.
  void LeaveSelf(HostThread& thread) ABSL_LOCKS_EXCLUDED(mu_);

  // From here on its stubs call: somebody receives.
  void StartChannel(Channel& channel) ABSL_LOCKS_EXCLUDED(mu_);
  uint64_t NewFamilyLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return ++last_family_; }
  // The next notification of a registered thread that is awaited; EIO when it died instead.
  Result<seccomp_notif> Await(HostThread& thread) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether a thread or process of this number is what a stub's clone has just made: the stub says
  // so, which anybody could. It is nobody known, and its memory has the batch marked so.
  bool IsNewborn(const HostThread& parent, uint64_t tid, uint64_t mark) ABSL_LOCKS_EXCLUDED(mu_);
  uint64_t NewMark() { return marks_.fetch_add(1, std::memory_order_relaxed) + 1; }
  // See Sites::PoolUse. A fork waits until nothing is being mapped, and so does who maps a file by
  // the same number.
  void BeginFork(HostThread& thread) ABSL_LOCKS_EXCLUDED(mu_);
  void EndFork(HostThread& thread) ABSL_LOCKS_EXCLUDED(mu_);
  void BeginMappingByPoolFd(HostThread& thread) ABSL_LOCKS_EXCLUDED(mu_);
  // False when it cannot be now.
  bool OpenPool(HostThread& thread) ABSL_LOCKS_EXCLUDED(mu_);
  void ClosePool(Sites& sites) ABSL_LOCKS_EXCLUDED(mu_);
  // This thread is about to wait for others: what it has woken is for them.
  void HandReadyOn() ABSL_LOCKS_EXCLUDED(mu_);

  // Has the thread map the mailbox of a slot of its process, unless it is there, and empties it.
  Result<native::MailboxPage*> MapMailbox(class StubContext& context, HostThread& thread,
                                          size_t slot) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Received {
    Channel* channel;
    seccomp_notif notification;
  };
  struct Worker {
    Channel* leads = nullptr;
    HostThread* serves = nullptr;          // In a call-back.
    bool spins = false;                    // The spinner, while it looks at mailboxes.
    Fiber home;                            // The thread's own stack.
    std::unique_ptr<Strand> strand;        // On which it runs, unless that is its own.
    bool parks = false;                    // That strand is left, as its call waits.
    int blocks = 0;                        // Between EnterBlocking and LeaveBlocking.
    Strands ready;                         // Whose waits this thread has ended.
    Strands spare;
    std::vector<Ref<HostProcess>> doomed;  // To be killed when the call-back is over.
    std::optional<Received> handed;
  };
  static thread_local Worker* current_;
  // For code that may go on on another thread: there the address of a thread's variable must not be
  // known from before, as compilers would have it.
  [[gnu::noinline]] static Worker& Here();
  // More threads than CPUs: for how long, how much of it without a call to answer (both in
  // nanoseconds), how many calls, and how many that waited.
  struct Contention {
    int64_t passed = 0, idle = 0, calls = 0, waits = 0;
  };
  // What the spinner does from when it is wanted until it is not. Times are CLOCK_MONOTONIC, in ns.
  struct Spell {
    std::vector<Polled> set;                       // Whom it looks at.
    Strands waiting;                               // Their calls that wait.
    cpu_set_t allowed;
    int cpu = -1;  // Which it keeps for itself; -1: as long as it looks at one thread only, none.
    uint32_t turns = 0;
    bool any = false;  // There was a call since `last_look`.
    int64_t served = 0;
    int64_t judged = 0;  // Of those.
    int64_t looked = 0;  // Likewise.
    // Time without a call to answer, since the last look by that: time stamps, and nanoseconds.
    uint64_t idle_ticks = 0, looked_ticks = 0, start_ticks = 0;
    int64_t idle = 0;
    int64_t lost = 0;
    int64_t start = 0;
    int64_t last_look = 0;
    int64_t last_call = 0;
    int64_t next_tidying = 0;
    int64_t next_disturbance = 0;
    int64_t patience = 0;
    bool no_spare = false;  // More want to run than there are CPUs: the next look is at next_count.
    int64_t next_count = 0;
    Contention contention;  // Since the spell began; what is long ago counts less.
    int64_t resumed = 0;  // Waits that ended since the last look.
    bool crowded = false;
    bool moved = false;
    bool blocked = false;  // A handler waits, and holds the thread.
    bool tired = false;    // Nobody calls.
    bool over() const { return crowded || blocked || tired; }
  };
  // What the host does for a process that dies takes longer than most calls, on the core of whoever
  // kills it: a process that does nothing more anyway is killed when all others have been served.
  void KillDoomed(Worker& worker) ABSL_LOCKS_EXCLUDED(mu_);
  static bool CallsAlone(const HostProcess& process) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu());

  static void* WorkerMain(void* self);
  void WorkerLoop() ABSL_LOCKS_EXCLUDED(mu_);
  // What comes next for a worker; false when nothing does before others have run.
  bool ServeNext() ABSL_LOCKS_EXCLUDED(mu_);
  void ReceiveAndServe(Channel& channel) ABSL_LOCKS_EXCLUDED(mu_);

  // parking.cc
  // Chooses what a worker goes on with; false when it is to end.
  bool ChooseStrand(Worker& worker) ABSL_LOCKS_EXCLUDED(mu_);
  // The worker has left its strand, which waits from now on, or is free.
  void LeaveStrand(Worker& worker) ABSL_LOCKS_EXCLUDED(mu_);
  // Keeps a strand until its word changes; gives it back when it has changed already.
  std::unique_ptr<Strand> ParkLocked(std::unique_ptr<Strand> strand)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::unique_ptr<Strand> UnparkLocked(const std::atomic<uint32_t>& word)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // For any follower. True when another thread is needed.
  bool QueueLocked(std::unique_ptr<Strand> strand) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  static void* TimekeeperMain(void* self);
  void KeepTime() ABSL_LOCKS_EXCLUDED(mu_);
  // A thread of the sentry, which begins with `main(this)`; false without one.
  bool Spawn(void* (*main)(void*));
  void SpawnWorker();
  // Whether this was a zygote, whose death has just been noticed.
  bool LoseZygote(pid_t pid) ABSL_LOCKS_EXCLUDED(mu_);
  // Becomes the leader of a channel without one; false when the worker is to end.
  // Or returns with a notification that another one has handed on.
  bool TakeLead(Worker& worker) ABSL_LOCKS_EXCLUDED(mu_);
  Channel* LeaderlessLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Gives up leading a channel. True when another thread is needed that does not exist yet.
  bool LeaveLocked(Channel& channel) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // Calls a follower; true when there is none.
  bool CallFollowerLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  std::optional<seccomp_notif> TakeDeferred(Channel& channel) ABSL_LOCKS_EXCLUDED(mu_);
  // For a new program: with as few others as possible that are not waiting for it.
  Channel& ChooseChannel() ABSL_LOCKS_EXCLUDED(mu_);
  void AwaitPoolLocked(HostThread& thread) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  Result<seccomp_notif> AwaitLocked(HostThread& thread, Channel& channel, bool leads)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // By who leads a channel: takes what comes next, for whomever. False when nothing comes, and
  // others are waiting.
  bool ReceiveLocked(Channel& channel) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // serve.cc
  void Serve(Channel& channel, const seccomp_notif& notification) ABSL_LOCKS_EXCLUDED(mu_);
  // Hands a notification to who waits for it, or keeps it for later; otherwise the thread is marked
  // as being in a call-back and returned.
  Ref<HostThread> Route(Channel& channel, const seccomp_notif& notification)
      ABSL_LOCKS_EXCLUDED(mu_);
  // And what has come meanwhile, until the call-back is over.
  void ServeAll(HostThread& thread, std::optional<seccomp_notif> notification);
  // True: the call-back is over, and another thread may have begun the next one.
  bool ServeOne(HostThread& thread, const seccomp_notif& notification);
  bool ServeSyscall(HostThread& thread, const seccomp_notif& notification);
  // The stub's handler has reported a signal: by a notification, or by the event mailbox.
  void ServeEvent(HostThread& thread, std::optional<uint64_t> notification,
                  std::span<const uint64_t, 3> args);
  // Whether the thread waits at a mailbox although nothing will come.
  bool AwaitsAnswer(HostThread& thread) ABSL_LOCKS_EXCLUDED(mu_);
  // The interrupted call has been answered with data that the thread has not copied yet.
  static void CopyCarried(HostThread& thread, Registers& regs, const CarriedBack& back);
  void EndTampered(HostThread& thread) ABSL_LOCKS_EXCLUDED(mu_);
  void ServeSelf(HostThread& thread, std::optional<uint64_t> notification) ABSL_LOCKS_EXCLUDED(mu_);
  bool FinishSyscall(HostThread& thread, const seccomp_notif& notification, const Verdict& verdict)
      ABSL_LOCKS_EXCLUDED(mu_);
  void FinishContext(HostThread& thread, class StubContext& context, const Verdict& verdict)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Puts a descriptor of ours in the place of one of the process's, unless it is there already.
  Status Inject(HostThread& thread, uint64_t id, int host_fd, int guest_fd)
      ABSL_LOCKS_EXCLUDED(mu_);
  // For a call that the host is to execute with a descriptor.
  Status InjectFor(HostThread& thread, const seccomp_notif& notification, const Verdict& verdict)
      ABSL_LOCKS_EXCLUDED(mu_);
  // Replaces the descriptors that have been released by one that holds nothing. `id` is a call of
  // the process that still waits for its answer.
  void DropReleased(HostProcess& process, uint64_t id) ABSL_LOCKS_EXCLUDED(mu_);
  void EndThread(HostThread& thread) ABSL_LOCKS_EXCLUDED(mu_);
  // Ends a call-back, unless a notification has come meanwhile: then that is next.
  std::optional<seccomp_notif> LeaveCallback(HostThread& thread) ABSL_LOCKS_EXCLUDED(mu_);
  static void EndCallbackLocked(HostThread& thread);
  void ReportDeath(pid_t pid, int wait_status, const rusage& usage) ABSL_LOCKS_EXCLUDED(mu_);
  void ForgetUnclaimedLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  // patching.cc: whether a busy thread's calls should come by mailbox; called between a call and
  // its answer.
  void Observe(HostThread& thread, const SyscallArgs& call) ABSL_LOCKS_EXCLUDED(mu_);
  static void Count(HostThread& thread);
  // What it calls from, for copies to come.
  void Learn(HostThread& thread, const SyscallArgs& call) ABSL_LOCKS_EXCLUDED(mu_);
  void Patch(class StubContext& context, HostThread& thread, const Sites::Record& site)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The base of %gs is the application's until a mailbox takes it, which the application does not
  // see. True when that answers an approved arch_prctl(2).
  bool AnswerSegmentBase(HostThread& thread, const seccomp_notif& notification)
      ABSL_LOCKS_EXCLUDED(mu_);
  Status AttachMailbox(StubContext& context, HostThread& thread) ABSL_LOCKS_EXCLUDED(mu_);
  Status WriteSite(StubContext& context, HostThread& thread, const Sites::Record& site)
      ABSL_LOCKS_EXCLUDED(mu_);
  // The table is mapped for the first site.
  Status EnsureTable(StubContext& context, HostThread& thread) ABSL_LOCKS_EXCLUDED(mu_);
  // `maps`: its page is not there yet.
  static Status WriteStep(StubContext& context, native::NativeAddressSpace& space, uint64_t step,
                          std::span<const uint8_t> code, bool maps);

  // spinner.cc
  static void* SpinnerMain(void* self);
  void SpinnerLoop() ABSL_LOCKS_EXCLUDED(mu_);
  // Looks at mailboxes until there is nothing to do.
  void Spin(Worker& worker) ABSL_LOCKS_EXCLUDED(mu_);
  static void StrandMain(void* self);
  void RunStrand() ABSL_LOCKS_EXCLUDED(mu_);
  void LookAround() ABSL_LOCKS_EXCLUDED(mu_);
  void TakeNewcomers() ABSL_LOCKS_EXCLUDED(mu_);
  // One that none of those whom it looks at needs; -1 if there is none.
  int ChooseCpuLocked() const ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // By the clock: whether looking on is worth it.
  void Judge(int64_t now);
  void TidyUp(int64_t now) ABSL_LOCKS_EXCLUDED(mu_);
  // Goes on with a call whose wait is over, on this thread.
  bool ResumeWaiting();
  std::unique_ptr<Strand> NewStrand(Strands& spare);
  // Ends a spell as far as others are concerned: nobody is looked at any more, and each call that
  // waits gets a worker to wait on.
  void HandOn() ABSL_LOCKS_EXCLUDED(mu_);
  // If this is the spinner: its thread is about to wait.
  void StopSpinning() ABSL_LOCKS_EXCLUDED(mu_);
  void Disturb(int64_t now) ABSL_LOCKS_EXCLUDED(mu_);
  void RequestPollingLocked(HostThread& thread) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);
  // True when there was a call, or an event.
  bool TryMailbox(const Polled& polled) ABSL_LOCKS_EXCLUDED(mu_);
  bool TakeMail(const Polled& polled, native::Mailbox& box) ABSL_LOCKS_EXCLUDED(mu_);
  void ServeMail(HostThread& thread, native::Mailbox& box) ABSL_LOCKS_EXCLUDED(mu_);
  // `carried`: where so many bytes of the mailbox's data go with the answer.
  void FinishMail(HostThread& thread, native::Mailbox& box, const SyscallArgs& call,
                  const Verdict& verdict, const native::CarriedBuffer::Place& carried)
      ABSL_LOCKS_EXCLUDED(mu_);

  const std::vector<std::unique_ptr<Channel>> channels_;  // At least one.
  const Layout layout_;
  const DispositionTable dispositions_;
  const std::unique_ptr<FastPathMemory> fast_path_;
  ImageCache images_;
  std::atomic<bool> warm_{false};
  std::atomic<bool> places_breaks_{false};
  const bool self_interrupts_;  // Threads can store their extended state by themselves.
  const bool eager_;            // For tests: patches at the first call, and never tires of looking.
  const bool chaos_;            // For tests: interrupts whom it looks at, at random.
  const UniqueFd nothing_;      // An empty file, see DropReleased.

  absl::Mutex mu_;  // A leaf for the sentry: no call-back runs under it.
  absl::flat_hash_map<pid_t, Ref<HostThread>> threads_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<pid_t, Ref<HostProcess>> processes_ ABSL_GUARDED_BY(mu_);
  // Notifications of stubs that nobody has claimed yet.
  absl::flat_hash_map<pid_t, Received> unclaimed_ ABSL_GUARDED_BY(mu_);
  // Processes that were gone before they were known.
  std::set<pid_t> early_deaths_ ABSL_GUARDED_BY(mu_);
  uint64_t last_family_ ABSL_GUARDED_BY(mu_) = 0;
  std::atomic<uint64_t> marks_{0};
  absl::CondVar pool_closed_;
  bool running_ ABSL_GUARDED_BY(mu_) = false;  // There may be workers.
  int idle_followers_ ABSL_GUARDED_BY(mu_) = 0;
  int called_followers_ ABSL_GUARDED_BY(mu_) = 0;  // Of those, who are to look for a channel.
  // For a follower to serve: who has them does not lead their channel, and has a call to finish.
  std::deque<Received> handed_on_ ABSL_GUARDED_BY(mu_);
  std::deque<std::unique_ptr<Strand>> strands_ ABSL_GUARDED_BY(mu_);  // For a follower, as well.
  // Those that wait, and when they are to go on at the latest.
  absl::flat_hash_map<const std::atomic<uint32_t>*, std::unique_ptr<Strand>> parked_
      ABSL_GUARDED_BY(mu_);
  std::set<std::pair<int64_t, const std::atomic<uint32_t>*>> deadlines_ ABSL_GUARDED_BY(mu_);
  bool timekeeper_exists_ ABSL_GUARDED_BY(mu_) = false;
  absl::CondVar deadline_wake_;
  absl::CondVar follower_wake_;
  absl::CondVar stop_wake_;  // For Run, when there is no zygote whose death wakes it.
  bool stopped_ ABSL_GUARDED_BY(mu_) = false;

  bool spinner_exists_ ABSL_GUARDED_BY(mu_) = false;
  bool spinning_ ABSL_GUARDED_BY(mu_) = false;
  absl::CondVar spinner_wake_;
  std::vector<Polled> to_poll_ ABSL_GUARDED_BY(mu_);
  size_t polled_ ABSL_GUARDED_BY(mu_) = 0;  // How many the spinner looks at.
  int busy_cpu_ ABSL_GUARDED_BY(mu_) = -1;  // Where the thread runs that wants to be looked at.
  std::atomic<bool> more_to_poll_{false};
  Spell spell_;  // The spinner's own.
  // From which CPU threads are displaced, and where they may run otherwise.
  int spinner_cpu_ ABSL_GUARDED_BY(mu_) = -1;
  cpu_set_t spell_cpus_ ABSL_GUARDED_BY(mu_);
  Strands idle_strands_;                   // The spinner's own.
  std::atomic<bool> spin_no_more_{false};  // The stubs do better without.
  // After a spell that did not pay: not before this time (CLOCK_MONOTONIC), and how long the next
  // pause is.
  int64_t spin_not_before_ ABSL_GUARDED_BY(mu_) = 0;
  int64_t spin_pause_ ABSL_GUARDED_BY(mu_) = 0;
};

// The platform::Thread that the sentry owns.
class StubThread final : public Thread {
 public:
  StubThread(Systrap& platform, Ref<HostThread> host) : platform_(platform), host_(host) {}
  ~StubThread() override;

  void Start() override;
  void Interrupt() override;
  void KillProcess() override;
  bool HoldsDescriptor(int guest_fd) override;
  void ReleaseDescriptors(uint32_t first, uint32_t last) override;
  void ForgetAnswers() override;
  Ref<KnownErrors> known_errors() override;
  AddressSpace& address_space() override;
  uint64_t CpuTimeNs() override { return CpuSplit().total_ns(); }
  CpuTimes CpuSplit() override;
  void SetLedger(Ref<UsageLedger> ledger) override;
  Status SetHostLimit(int resource, uint64_t value) override;
  Status SetAffinity(const cpu_set_t& cpus) override;
  int host_tid() const override;

 private:
  Systrap& platform_;
  const Ref<HostThread> host_;
};

}  // namespace platform::systrap

#endif  // PLATFORM_SYSTRAP_CORE_H_
