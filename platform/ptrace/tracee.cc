#include "platform/ptrace/tracee.h"

#include <elf.h>
#include <linux/ptrace.h>
#include <sched.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <utility>

#include "platform/native/fp_state.h"
#include "platform/native/stub.h"
#include "platform/ptrace/seccomp_rules.h"

namespace platform::ptrace {
namespace {

constexpr uint64_t kSyscallSize = 2;     // The instruction.
constexpr uint64_t kPlainFlags = 0x202;  // Nothing set that a stub would notice.
constexpr uint64_t kVsyscallPage = 0xffffffffff600000;
constexpr uint64_t kStepFlag = 1 << 8;  // TF.
constexpr uint64_t kMaxFrame = 64 << 10;
constexpr uint16_t kUserCode = 0x33, kUserStack = 0x2b;

// Signals come in between; more of them than this and the stub's code is not what it was.
constexpr int kMaxStrayStops = 64;

// About 30 us, and how many waits are made asleep after so long in vain.
constexpr int kLooks = 64;
constexpr int kMostSkipped = 63;

uint64_t StubCall() { return native::StubAddress(sandbox_stub_syscall, STUB_CODE); }

// The errors of include/linux/errno.h with which the host starts a call again.
bool IsRestart(uint64_t result) {
  const int64_t code = -static_cast<int64_t>(result);
  return code == 512 || code == 513 || code == 514 || code == 516;
}

int CountCpus() {
  cpu_set_t cpus;
  return sched_getaffinity(0, sizeof(cpus), &cpus) == 0 ? CPU_COUNT(&cpus) : 1;
}

// Stubs that have been let run and are waited for, for as long as this lives.
class RunningStub {
 public:
  RunningStub() : others_(count_.fetch_add(1, std::memory_order_relaxed)) {}
  RunningStub(const RunningStub&) = delete;
  ~RunningStub() { count_.fetch_sub(1, std::memory_order_relaxed); }
  // Whether whoever looks for its stop keeps nobody from running.
  bool LeavesACore() const {
    static const int cpus = CountCpus();
    return others_ + 2 <= cpus;
  }

 private:
  static std::atomic<int> count_;
  const int others_;
};
std::atomic<int> RunningStub::count_{0};

void SetArguments(const Tracee::Args& args, user_regs_struct& regs) {
  regs.rdi = args[0];
  regs.rsi = args[1];
  regs.rdx = args[2];
  regs.r10 = args[3];
  regs.r8 = args[4];
  regs.r9 = args[5];
}

bool SameCall(const user_regs_struct& a, const user_regs_struct& b) {
  return a.rdi == b.rdi && a.rsi == b.rsi && a.rdx == b.rdx && a.r10 == b.r10 && a.r8 == b.r8 &&
         a.r9 == b.r9;
}

}  // namespace

Tracee& Tracee::operator=(Tracee&& other) noexcept {
  tid_ = std::exchange(other.tid_, 0);
  gone_ = std::exchange(other.gone_, true);
  in_call_ = other.in_call_;
  dirty_ = other.dirty_;
  signal_ = other.signal_;
  regs_ = other.regs_;
  vain_looks_ = other.vain_looks_;
  skipped_ = other.skipped_;
  return *this;
}

long Tracee::Request(int request, uintptr_t addr, const void* data) const {
  // Not libc's function, whose PTRACE_PEEK* convention has no use here.
  return syscall(SYS_ptrace, request, tid_, addr, data);
}

Status Tracee::Attach(pid_t tid) {
  tid_ = tid;
  signal_ = 0;
  in_call_ = dirty_ = false;
  constexpr uintptr_t kOptions = PTRACE_O_TRACESYSGOOD | PTRACE_O_EXITKILL | PTRACE_O_TRACESECCOMP;
  if (Request(PTRACE_SEIZE, 0, reinterpret_cast<void*>(kOptions)) != 0) return Errno::Last();
  gone_ = false;
  if (Request(PTRACE_INTERRUPT, 0, nullptr) != 0) return Errno::Last();
  // Any stop will do: the host reports none for the interrupt when there is another.
  const RawStop stop = WaitRaw(regs_);
  if (stop == RawStop::kGone) return Errno(ESRCH);
  in_call_ = stop == RawStop::kCall;
  regs_.orig_rax = ~uint64_t{0};  // pause(2) is not to be started again.
  dirty_ = true;
  return kOk;
}

void Tracee::Detach() {
  if (gone_) return;
  regs_.rip = native::StubAddress(sandbox_stub_wait_for_tracer, STUB_CODE);
  regs_.orig_rax = ~uint64_t{0};
  Request(PTRACE_SETREGS, 0, &regs_);
  Request(PTRACE_DETACH, 0, nullptr);
  gone_ = true;
}

void Tracee::GetRegisters(Registers& r) const {
  r = Registers{.r15 = regs_.r15,
                .r14 = regs_.r14,
                .r13 = regs_.r13,
                .r12 = regs_.r12,
                .rbp = regs_.rbp,
                .rbx = regs_.rbx,
                .r11 = regs_.r11,
                .r10 = regs_.r10,
                .r9 = regs_.r9,
                .r8 = regs_.r8,
                .rax = regs_.rax,
                .rcx = regs_.rcx,
                .rdx = regs_.rdx,
                .rsi = regs_.rsi,
                .rdi = regs_.rdi,
                .rip = regs_.rip,
                .eflags = regs_.eflags,
                .rsp = regs_.rsp};
}

void Tracee::SetRegisters(const Registers& r) {
  regs_.r15 = r.r15, regs_.r14 = r.r14, regs_.r13 = r.r13, regs_.r12 = r.r12;
  regs_.rbp = r.rbp, regs_.rbx = r.rbx, regs_.r11 = r.r11, regs_.r10 = r.r10;
  regs_.r9 = r.r9, regs_.r8 = r.r8, regs_.rax = r.rax, regs_.rcx = r.rcx;
  regs_.rdx = r.rdx, regs_.rsi = r.rsi, regs_.rdi = r.rdi;
  regs_.rip = r.rip, regs_.eflags = r.eflags, regs_.rsp = r.rsp;
  regs_.orig_rax = ~uint64_t{0};
  dirty_ = true;
}

void Tracee::SetResult(uint64_t value) {
  regs_.rax = value;
  regs_.orig_rax = ~uint64_t{0};
  dirty_ = true;
}

SyscallArgs Tracee::Arguments() const {
  return {.nr = static_cast<uint32_t>(regs_.orig_rax),
          .args = {regs_.rdi, regs_.rsi, regs_.rdx, regs_.r10, regs_.r8, regs_.r9},
          .ip = regs_.rip};
}

bool Tracee::in_vsyscall() const {
  return in_call_ && (regs_.rip & ~uint64_t{0xfff}) == kVsyscallPage;
}

void Tracee::Resume() {
  if (gone_) return;
  if (dirty_) Request(PTRACE_SETREGS, 0, &regs_);
  dirty_ = in_call_ = false;
  Request(PTRACE_CONT, 0, nullptr);
}

// Another core that sleeps takes longer to wake than most stubs run between two calls. Who looks in
// vain does so less and less often.
int Tracee::AwaitStop(siginfo_t& info) {
  // Leaves the dead for whoever keeps the numbers.
  constexpr int kStops = WEXITED | WSTOPPED | WNOWAIT | __WALL;
  const auto tid = static_cast<id_t>(tid_);
  const RunningStub running;
  if (skipped_ < vain_looks_ || !running.LeavesACore()) {
    ++skipped_;
    return waitid(P_PID, tid, &info, kStops);
  }
  for (int look = 0; look < kLooks; ++look) {
    if (waitid(P_PID, tid, &info, kStops | WNOHANG) != 0) return -1;
    if (info.si_pid != 0) {
      vain_looks_ = 0;
      return 0;
    }
    __builtin_ia32_pause();
  }
  vain_looks_ = std::min(2 * vain_looks_ + 1, kMostSkipped);
  skipped_ = 0;
  return waitid(P_PID, tid, &info, kStops);
}

Tracee::RawStop Tracee::WaitRaw(user_regs_struct& regs) {
  while (!gone_) {
    siginfo_t info{};
    if (AwaitStop(info) != 0) {
      if (errno == EINTR) continue;
      break;
    }
    if (info.si_code != CLD_TRAPPED) break;
    // Fails in a stop that a SIGKILL has just ended.
    if (Request(PTRACE_GETREGS, 0, &regs) != 0) continue;
    const int status = info.si_status;
    if (status == (SIGTRAP | 0x80)) return RawStop::kCallEnd;
    if (status >> 8 == PTRACE_EVENT_SECCOMP) return RawStop::kCall;
    if (status >> 8 != 0) return RawStop::kOther;
    signal_ = status;
    return RawStop::kSignal;
  }
  gone_ = true;
  return RawStop::kGone;
}

Tracee::Stop Tracee::Wait() {
  const RawStop stop = WaitRaw(regs_);
  in_call_ = stop == RawStop::kCall;
  dirty_ = false;
  switch (stop) {
    case RawStop::kGone:
      return Stop::kGone;
    case RawStop::kCall:
      return Stop::kCall;
    case RawStop::kSignal:
      return Stop::kSignal;
    default:
      return Stop::kOther;
  }
}

Result<siginfo_t> Tracee::SignalInfo() {
  siginfo_t info{};
  if (gone_ || Request(PTRACE_GETSIGINFO, 0, &info) != 0) return Errno(EIO);
  return info;
}

Result<Exception> Tracee::ReadException(native::NativeAddressSpace& space, uint64_t stack) {
  const std::vector<std::byte> xstate = TRY(ReadXstate());
  user_regs_struct at = regs_;
  at.rsp = stack;
  at.orig_rax = ~uint64_t{0};
  at.eflags &= ~kStepFlag;
  dirty_ = true;  // regs_ comes back at the next resume.
  const int signal = signal_;
  Request(PTRACE_SETREGS, 0, &at);
  Request(PTRACE_SINGLESTEP, 0, reinterpret_cast<void*>(static_cast<uintptr_t>(signal)));
  user_regs_struct handler{};
  const RawStop stop = WaitRaw(handler);
  const bool entered = stop == RawStop::kSignal && signal_ == SIGTRAP && handler.rsp < stack &&
                       handler.rsp > stack - kMaxFrame && handler.rip != regs_.rip;
  signal_ = signal;
  if (stop == RawStop::kGone) return Errno(EIO);
  native::UserContext frame{};
  constexpr uint64_t kReturnAddress = 8;  // In front of the context.
  const bool read = entered && space.ReadObject(handler.rsp + kReturnAddress, frame);
  UnblockSignals();
  TRY(WriteXstate(xstate));
  if (!read) return Errno(EIO);
  return Exception{frame.machine.err, frame.machine.trapno, frame.machine.cr2};
}

bool Tracee::RewindInterruptedCall() {
  if (in_call_ || static_cast<int64_t>(regs_.orig_rax) < 0) return false;
  const bool restart = IsRestart(regs_.rax);
  if (restart) {
    regs_.rax = regs_.orig_rax;
    regs_.rip -= kSyscallSize;
  }
  regs_.orig_rax = ~uint64_t{0};
  dirty_ = true;
  return restart;
}

void Tracee::AbortSequence(native::NativeAddressSpace& space) {
  // <linux/ptrace.h> and <linux/rseq.h>: some hosts' headers have neither.
  struct {
    uint64_t area = 0;
    uint32_t size = 0, signature = 0, flags = 0, pad = 0;
  } registered;
  struct {
    uint32_t version = 0, flags = 0;
    uint64_t start = 0, length = 0, abort = 0;
  } sequence;
  constexpr uint64_t kSequenceOffset = 8;
  uint64_t at = 0;
  uint32_t signature = 0;
  constexpr auto kSize = static_cast<long>(sizeof(registered));
  if (in_call_ || gone_ ||
      Request(kGetRseqConfiguration, sizeof(registered), &registered) != kSize ||
      registered.area == 0 || !space.ReadObject(registered.area + kSequenceOffset, at) || at == 0 ||
      !space.ReadObject(at, sequence) || regs_.rip - sequence.start >= sequence.length) {
    return;
  }
  // What is not as it should be is for the host to punish.
  if (sequence.version != 0 || sequence.abort - sequence.start < sequence.length ||
      !space.ReadObject(sequence.abort - sizeof(signature), signature) ||
      signature != registered.signature ||
      !space.WriteObject(registered.area + kSequenceOffset, uint64_t{0})) {
    return;
  }
  regs_.rip = sequence.abort;
  dirty_ = true;
}

bool Tracee::RunToCall(const user_regs_struct& call) {
  Request(PTRACE_SETREGS, 0, &call);
  for (int i = 0; i < kMaxStrayStops; ++i) {
    Request(PTRACE_CONT, 0, nullptr);
    user_regs_struct at{};
    const RawStop stop = WaitRaw(at);
    if (stop == RawStop::kGone) return false;
    if (stop == RawStop::kCall) {
      return static_cast<uint32_t>(at.orig_rax) == call.rax && at.rip == call.rip + kSyscallSize &&
             SameCall(at, call);
    }
  }
  return false;
}

Result<uint64_t> Tracee::Call(uint64_t nr, const Args& args) {
  user_regs_struct call = regs_;
  SetArguments(args, call);
  call.eflags = kPlainFlags;
  call.cs = kUserCode;
  call.ss = kUserStack;
  regs_.orig_rax = ~uint64_t{0};
  dirty_ = true;
  for (int i = 0; i < kMaxStrayStops && !gone_; ++i) {
    if (in_call_ && !in_vsyscall()) {
      // This call takes the place of the application's.
      call.orig_rax = nr;
      call.rax = static_cast<uint64_t>(-ENOSYS);
      call.rip = StubCall() + kSyscallSize;
      Request(PTRACE_SETREGS, 0, &call);
    } else {
      call.orig_rax = ~uint64_t{0};
      call.rax = nr;
      call.rip = StubCall();
      if (!RunToCall(call)) break;
    }
    in_call_ = false;
    Request(PTRACE_SYSCALL, 0, nullptr);
    user_regs_struct after{};
    if (WaitRaw(after) != RawStop::kCallEnd) break;
    regs_.fs_base = after.fs_base;
    regs_.gs_base = after.gs_base;
    // What interrupted it stops the thread on the way to the next attempt.
    if (IsRestart(after.rax)) continue;
    const int64_t error = -static_cast<int64_t>(after.rax);
    if (error > 0 && error < 4096) return Errno(static_cast<int>(error));
    return static_cast<uint64_t>(after.rax);
  }
  return Errno(EIO);
}

Result<uint64_t> Tracee::RunBatch(native::NativeAddressSpace& space,
                                  std::span<const native::BatchCall> calls) {
  const uint64_t slot = native::SlotAddress(0);
  const native::BatchHeader header{.count = calls.size()};
  const native::NativeAddressSpace::WritePiece pieces[] = {
      {.addr = slot, .bytes = std::as_bytes(std::span(&header, 1))},
      {.addr = slot + sizeof(header), .bytes = std::as_bytes(calls)}};
  if (gone_ || calls.size() > native::kMaxBatch || !space.WriteAll(pieces)) return Errno(EIO);
  user_regs_struct run = regs_;
  run.rip = native::StubAddress(sandbox_stub_batch, STUB_SETUP);
  run.r15 = slot;
  run.rsp = slot + STUB_SLOT_USED - 64;
  run.orig_rax = ~uint64_t{0};
  run.eflags = kPlainFlags;
  run.cs = kUserCode;
  run.ss = kUserStack;
  regs_.orig_rax = ~uint64_t{0};
  dirty_ = true;
  Request(PTRACE_SETREGS, 0, &run);
  user_regs_struct at{};
  RawStop stop = RawStop::kOther;
  for (int i = 0; i < kMaxStrayStops && stop != RawStop::kCall; ++i) {
    Request(PTRACE_CONT, 0, nullptr);
    stop = WaitRaw(at);
    if (stop == RawStop::kGone) return Errno(EIO);
  }
  in_call_ = stop == RawStop::kCall;
  if (!in_call_ || at.orig_rax != STUB_NOTIFY_CALL || at.rdi != STUB_EVENT_BATCH_DONE) {
    return Errno(EIO);
  }
  const int64_t error = -static_cast<int64_t>(at.rsi);
  if (error > 0 && error < 4096) return Errno(static_cast<int>(error));
  return static_cast<uint64_t>(at.rsi);
}

void Tracee::Exit() {
  user_regs_struct call = regs_;
  SetArguments({}, call);
  call.eflags = kPlainFlags;
  call.cs = kUserCode;
  call.ss = kUserStack;
  if (in_call_ && !in_vsyscall()) {
    call.orig_rax = SYS_exit;
    call.rip = StubCall() + kSyscallSize;
    Request(PTRACE_SETREGS, 0, &call);
  } else {
    call.orig_rax = ~uint64_t{0};
    call.rax = SYS_exit;
    call.rip = StubCall();
    if (!RunToCall(call)) return;
  }
  Request(PTRACE_CONT, 0, nullptr);
}

Result<std::vector<std::byte>> Tracee::ReadXstate() {
  std::vector<std::byte> xstate(native::kMaxXstate);
  iovec span{.iov_base = xstate.data(), .iov_len = xstate.size()};
  if (gone_ || Request(PTRACE_GETREGSET, NT_X86_XSTATE, &span) != 0) return Errno(EIO);
  xstate.resize(span.iov_len);
  return xstate;
}

Status Tracee::WriteXstate(std::span<const std::byte> xstate) {
  const iovec span{.iov_base = const_cast<std::byte*>(xstate.data()), .iov_len = xstate.size()};
  if (gone_) return Errno(EIO);
  if (Request(PTRACE_SETREGSET, NT_X86_XSTATE, &span) != 0) {
    return Errno(errno == ESRCH ? EIO : EINVAL);
  }
  return kOk;
}

void Tracee::UnblockSignals() {
  const uint64_t none = 0;
  Request(PTRACE_SETSIGMASK, sizeof(none), &none);
}

}  // namespace platform::ptrace
