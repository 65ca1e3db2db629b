// What the sentry sees of a platform: a way to run application code and to be told when it asks
// for something. Assumes neither memory shared with the application nor one thread model.
//
// Life of a thread. Every guest thread is a platform::Thread, bound to one Guest (the sentry's
// task). The platform calls the Guest when the thread makes a system call, faults, or has been
// interrupted; the call-back runs on a sentry thread and may block, between BlockingSection's
// constructor and destructor (see Platform). While a call-back runs, the guest thread stands
// still, and no second call-back for the same Guest starts.
#ifndef PLATFORM_API_PLATFORM_H_
#define PLATFORM_API_PLATFORM_H_

#include <sched.h>
#include <signal.h>

#include <cstddef>
#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "platform/api/known_errors.h"
#include "platform/api/local_signals.h"
#include "platform/api/registers.h"
#include "platform/api/usage.h"

namespace platform {

struct SyscallArgs {
  uint64_t nr = 0;
  uint64_t args[6] = {};
  uint64_t ip = 0;  // Of the instruction after the call.
  bool operator==(const SyscallArgs&) const = default;
};

// What becomes of a call that a Guest was asked about.
struct Verdict {
  enum class Kind : uint8_t {
    kReturn,      // The call returns `value` (a negative errno on failure).
    kContinue,    // The host executes the call as it stands. With `host_fd` >= 0 that descriptor
                  // first appears in the guest process under the number `guest_fd`.
    kExitThread,  // The thread ends (exit(2)). No call-back follows.
    kGone,        // The thread's process has been killed or replaced meanwhile.
  };
  Kind kind = Kind::kReturn;
  int64_t value = 0;
  int host_fd = -1;  // Borrowed until the call-back's caller is done with the verdict.
  int guest_fd = -1;
  // The platform may give the answer of a call that is kLocal again without asking, until
  // Thread::ForgetAnswers.
  bool may_keep = true;
};

// Memory of one process, or of several that share it (CLONE_VM). Thread-safe.
class AddressSpace : public RefCounted {
 public:
  // Copy guest memory with the guest's own protections. Return the bytes copied: fewer than
  // asked when an inaccessible page was met.
  virtual size_t Read(uint64_t addr, std::span<std::byte> dst) = 0;
  virtual size_t Write(uint64_t addr, std::span<const std::byte> src) = 0;
  // Likewise, where the sentry's side is a mapping of a file that others may cut meanwhile: a page
  // that is gone ends the copy and is no fault of the sentry's. 0 where the platform cannot.
  virtual size_t ReadIntoMapped(uint64_t addr, std::span<std::byte> dst) { return 0; }
  virtual size_t WriteFromMapped(uint64_t addr, std::span<const std::byte> src) { return 0; }
  // Memory that may be filled instead of [addr, addr+size), from its front on, where the platform
  // brings its contents there by itself; empty where it does not. Until WroteInPlace tells how much
  // has been written the caller does nothing else here.
  virtual std::span<std::byte> WriteInPlace(uint64_t addr, size_t size) { return {}; }
  virtual void WroteInPlace(size_t size) {}
  // The same for many places at once: how many of them were read whole, before the first that was
  // not.
  struct Piece {
    uint64_t addr = 0;
    std::span<std::byte> dst;
  };
  virtual size_t ReadPieces(std::span<const Piece> pieces) {
    size_t whole = 0;
    while (whole < pieces.size() &&
           Read(pieces[whole].addr, pieces[whole].dst) == pieces[whole].dst.size()) {
      ++whole;
    }
    return whole;
  }

  // [lowest, highest) of what the application may use; the platform keeps the rest.
  virtual uint64_t user_end() const = 0;
  // Where the vDSO is mapped, for AT_SYSINFO_EHDR; 0 without one.
  virtual uint64_t vdso() const = 0;
  // The text of the host's maps file for this address space without the platform's own regions,
  // in the format of proc_pid_maps(5). ENOSYS where the platform cannot tell.
  virtual Result<std::string> HostMaps() = 0;
  // Other files of the host's /proc about the process that has this memory, as the host writes them:
  // their times and sizes include what the platform itself needs. ENOSYS where it cannot tell.
  enum class HostFile : uint8_t {
    kSmaps,        // Without the platform's own regions.
    kStat,         // Of the whole process, or with `host_tid` of that thread.
    kStatus,       // Likewise.
    kSchedstat,    // Likewise: nanoseconds run, nanoseconds waited, time slices.
    kSyscall,      // Likewise: what the thread is in the host's kernel for, proc_pid_syscall(5).
    kWaitChannel,  // Likewise: the function of that kernel where it sleeps; 0: nowhere, or a secret.
  };
  // `host_tid` is Thread::host_tid() of one of its threads, 0 for whichever. Asks another process: not
  // with locks held.
  virtual Result<std::string> HostProc(HostFile file, int host_tid = 0) { return Errno(ENOSYS); }
  // A piece of the host's pagemap (8 bytes for each page), with zeroes where nothing of the
  // application's is: beyond user_end().
  virtual Status ReadPagemap(uint64_t offset, std::span<std::byte> dst) { return Errno(ENOSYS); }
};

class Guest;
class Thread;

struct CloneRequest {
  uint64_t flags = 0;      // CLONE_VM, CLONE_THREAD, CLONE_SETTLS, CLONE_CHILD_CLEARTID count.
  uint64_t tls = 0;        // With CLONE_SETTLS.
  uint64_t child_tid = 0;  // With CLONE_CHILD_CLEARTID: cleared and woken by the host at exit.
  Registers registers;     // The child's first registers (rax = 0, its stack, …).
  // The child may run before Thread::Start, up to its first call-back: of threads only.
  bool may_run = false;
};

// A thread that stands still with all its registers at hand: during a context system call, a
// fault or an interrupt. Valid until the call-back that received it returns; what was written to
// it takes effect then.
class Context {
 public:
  virtual ~Context() = default;

  Registers regs;
  // With `restartable_syscall` of Guest::OnInterrupt: the host had begun the call. Otherwise the
  // thread may stand in front of it by chance.
  bool cut_short = false;

  // The extended state (x87, SSE, AVX, …) exactly as it stands in a signal frame: an XSAVE area
  // in standard form with the software-reserved bytes at offset 464 and the magic word behind it.
  virtual Result<std::vector<std::byte>> ReadFpState() = 0;
  // The reverse. An empty span resets it. Contents come from the application: what the hardware
  // would refuse is EINVAL.
  virtual Status WriteFpState(std::span<const std::byte> state) = 0;

  // Executes a host call inside the guest thread: set_tid_address, arch_prctl, mmap, futex, ….
  // The result is the call's own. `host_fd` >= 0 is made visible as `guest_fd` first, and closed
  // there again afterwards. EIO when the thread has been killed meanwhile.
  struct HostCallRequest {
    uint64_t nr = 0;
    uint64_t args[6] = {};
    int host_fd = -1;
    int guest_fd = -1;
  };
  virtual Result<uint64_t> HostCall(const HostCallRequest& request) = 0;

  // A second host thread or process beside this one. It stands still until Thread::Start.
  virtual Result<std::unique_ptr<Thread>> Clone(const CloneRequest& request, Guest& guest) = 0;

  // Replaces the process below this context with `image` (execve); the old one is killed, and
  // `regs` is what the new one starts with. The thread's platform::Thread stays the same object.
  virtual Status Exec(class Image& image) = 0;
};

// The sentry's side of a guest thread. Called by the platform on a sentry thread.
class Guest {
 public:
  virtual ~Guest() = default;
  // A call with disposition emulate, approve, local, or direct but out of bounds.
  virtual Verdict OnSyscall(const SyscallArgs& call) = 0;
  // A call with disposition context; regs.rip stands behind the instruction, regs.rax holds the
  // call number and is the result when the call-back returns. After kExitThread or kGone nothing
  // of `context` is used any more; kContinue is not allowed.
  virtual Verdict OnContextSyscall(const SyscallArgs& call, Context& context) = 0;
  // Comes soon after Thread::Interrupt. The thread runs no instruction between a system call that
  // was being handled when it was interrupted and this call: regs.rax is that call's result.
  // In a call the host executes (futex), it stands in front of the instruction, to be restarted,
  // and `restartable_syscall` is true.
  virtual Verdict OnInterrupt(Context& context, bool restartable_syscall) = 0;
  // A hardware fault: SIGSEGV, SIGBUS, SIGFPE, SIGILL or SIGTRAP, with the host's siginfo.
  virtual Verdict OnFault(const siginfo_t& info, Context& context) = 0;
  // The host process ended without the sentry's doing. `wait_status` as in wait(2). Comes at most
  // once for each thread, instead of any further call-back, possibly during another one.
  virtual void OnHostDeath(int wait_status) = 0;
  // From now on the thread's signal mask lives in `signals`, which begin as the guest fills them
  // here; nullptr: no longer. While the thread stands still, without locks held, possibly outside a
  // call-back.
  virtual void ShareSignals(LocalSignals* signals) {}
};

// A host thread that runs application code for one Guest. Owned by the sentry's task; destroyed
// after the thread ended (kExitThread, Kill, OnHostDeath) and outside its call-backs.
class Thread {
 public:
  virtual ~Thread() = default;
  // Lets a thread made by Clone or Image::Start run. Call once.
  virtual void Start() = 0;
  // Asks for an OnInterrupt as soon as the thread is not inside a call-back. Idempotent until it
  // has come. Callable from any thread, with locks held; never blocks.
  virtual void Interrupt() = 0;
  // Kills the whole host process (all threads that share its thread group). Callable from any
  // thread, with locks held. No call-back starts after it returns; one under way goes on, and its
  // verdict is ignored.
  virtual void KillProcess() = 0;
  // True when the guest process still holds a descriptor under `guest_fd` from an earlier
  // Verdict::kContinue: close(2) of it must then be answered kContinue.
  virtual bool HoldsDescriptor(int guest_fd) = 0;
  // The application has closed what lay from `first` to `last` by other means than close(2) (dup2,
  // close_range): what was put there for a mapping is to go before long.
  virtual void ReleaseDescriptors(uint32_t first, uint32_t last) {}
  // What the platform keeps of answers of kLocal calls may not be true any more. When this returns
  // it is not given any more, nor is the answer to a call under way kept. Callable from any thread,
  // with locks held.
  virtual void ForgetAnswers() {}
  // Where errors of this thread's path calls may be kept; nullptr if they cannot. From any thread.
  virtual Ref<KnownErrors> known_errors() { return nullptr; }
  virtual AddressSpace& address_space() = 0;
  // CPU time used by this thread's whole process, in nanoseconds, user and system together.
  virtual uint64_t CpuTimeNs() = 0;
  // The same divided, those of the host processes before the last execve included.
  virtual CpuTimes CpuSplit() { return {.user_ns = CpuTimeNs()}; }
  // Where the host's accounts of this thread's process go, and those of its successors by execve.
  // Call once, before Start, for the first thread of a process.
  virtual void SetLedger(Ref<UsageLedger> ledger) {}
  // Has the host keep the soft limit of RLIMIT_AS, RLIMIT_DATA, RLIMIT_STACK or RLIMIT_MEMLOCK for
  // this thread's process, as far as its own limits allow. Children inherit it; execve's new
  // process does not. `value` in bytes of the application's. Callable from any thread, with locks
  // held.
  virtual Status SetHostLimit(int resource, uint64_t value) { return Errno(EOPNOTSUPP); }
  // Binds this thread to CPUs. Threads and processes that it clones inherit it; execve's new process
  // does not. Callable from any thread, with locks held.
  virtual Status SetAffinity(const cpu_set_t& cpus) { return Errno(EOPNOTSUPP); }
  // The host's thread id, for logs and HostProc.
  virtual int host_tid() const = 0;
};

// A new address space being filled for execve. Nothing of it runs before Context::Exec or Start.
class Image {
 public:
  virtual ~Image() = default;

  struct Mapping {
    uint64_t addr = 0;    // Page-aligned, chosen by the caller; must be free.
    uint64_t length = 0;  // Page-aligned.
    int prot = 0;         // PROT_*.
    int flags = 0;        // MAP_PRIVATE and so on; MAP_FIXED_NOREPLACE is implied.
    int host_fd = -1;     // Borrowed until Flush; < 0 maps anonymous memory.
    uint64_t offset = 0;
  };
  // Queues a mapping; Flush executes what was queued. The first failure is reported and ends the
  // image's life.
  virtual void Map(const Mapping& mapping) = 0;
  // Places the program break (prctl_set_mm(2), PR_SET_MM_MAP), so that brk(2) is the host's: at once
  // or with the next Flush. `stack_top` is the first address above the stack. False where the host
  // cannot.
  virtual bool SetBreak(uint64_t start, uint64_t stack_top) = 0;
  virtual Status Flush() = 0;
  // Has the process write "0" to each of these descriptors: files of control groups of the host, in
  // which it is from then on, with all that it forks. At once; the error of the first failure.
  virtual Status JoinGroups(std::span<const int> files) { return Errno(ENOSYS); }
  virtual Ref<AddressSpace> address_space() = 0;
  // Makes the image the sandbox's first process. It stands still until Thread::Start.
  virtual Result<std::unique_ptr<Thread>> Start(const Registers& registers, Guest& guest) = 0;
};

// Brackets every wait inside a call-back, so that a platform which handles calls in
// leader/followers order can let another worker take the lead. Cheap when nothing is to do.
class BlockingHooks {
 public:
  virtual ~BlockingHooks() = default;
  virtual void EnterBlocking() = 0;
  virtual void LeaveBlocking() = 0;
  // In front of them, for a wait on a word: lets the platform use the thread otherwise until
  // `*word` is not `value` any more or CLOCK_MONOTONIC reaches `deadline_ns` (INT64_MAX: never). May
  // return at any time, on another thread; no lock may be held. The platform may set kParked in the
  // word meanwhile, and takes it back: who changes a word with that bit calls Unpark.
  virtual void Park(std::atomic<uint32_t>& word, uint32_t value, int64_t deadline_ns) {}
  // From any thread. Of the word, which may be gone by then, only the address is used.
  virtual void Unpark(const std::atomic<uint32_t>& word) {}
  static constexpr uint32_t kParked = uint32_t{1} << 31;
};

class Platform : public BlockingHooks {
 public:
  // The address range applications may use, before any image exists.
  struct Layout {
    uint64_t mmap_top = 0;   // Below this the host places mappings, top down.
    uint64_t stack_low = 0;  // [stack_low, stack_high): free room for the first stack.
    uint64_t stack_high = 0;
  };
  virtual const char* name() const = 0;
  virtual Layout layout() const = 0;
  virtual Result<std::unique_ptr<Image>> NewImage() = 0;
  // A description of its own, for reading only, of the file behind the sentry's descriptor `fd`:
  // what a shared mapping is made of that must never become writable. ENOSYS where the platform
  // cannot.
  virtual Result<UniqueFd> ReopenReadOnly(int fd) { return Errno(ENOSYS); }
  // Serves guests until Stop. Call from the sentry's main thread once the first guest is started.
  virtual void Run() = 0;
  // Makes Run return. Callable from a call-back.
  virtual void Stop() = 0;
};

}  // namespace platform

#endif  // PLATFORM_API_PLATFORM_H_
