#include "platform/ptrace/guest_thread.h"

#include <signal.h>
#include <sys/syscall.h>

#include "base/log.h"
#include "platform/native/direct.h"
#include "platform/ptrace/guest_context.h"

namespace platform::ptrace {
namespace {

// Enough for call-backs: what they recurse on is bounded. Sanitizers make every frame larger.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr size_t kStackSize = 2 << 20;
#else
constexpr size_t kStackSize = 256 << 10;
#endif

bool IsFaultSignal(int signal) {
  return signal == SIGSEGV || signal == SIGBUS || signal == SIGFPE || signal == SIGILL ||
         signal == SIGTRAP;
}

// The exception as it follows from the signal, for when the host's frame could not be had.
void DescribeFault(const siginfo_t& info, Registers& regs) {
  constexpr uint64_t kUserMode = 4, kPresent = 1;
  constexpr int kFromKernel = 0x80;  // SI_KERNEL: no address.
  switch (info.si_signo) {
    case SIGSEGV:
    case SIGBUS:
      regs.trapno = info.si_code == kFromKernel ? 13 : 14;
      if (info.si_code == kFromKernel) break;
      regs.cr2 = reinterpret_cast<uint64_t>(info.si_addr);
      regs.error_code = kUserMode | (info.si_code == SEGV_ACCERR ? kPresent : 0);
      break;
    case SIGFPE:
      regs.trapno = info.si_code == FPE_INTDIV ? 0 : 16;
      break;
    case SIGILL:
      regs.trapno = 6;
      break;
    case SIGTRAP:
      regs.trapno = info.si_code == kFromKernel ? 3 : 1;
      break;
  }
}

}  // namespace

Result<Ref<GuestThread>> GuestThread::Create(Ref<Core> core, Guest& guest) {
  Ref<GuestThread> thread = Ref<GuestThread>::Adopt(new GuestThread(std::move(core), guest));
  pthread_attr_t attr;
  if (pthread_attr_init(&attr) != 0) return Errno(EAGAIN);
  pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
  pthread_attr_setstacksize(&attr, kStackSize);
  // Signals to the sentry are not for tracers.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  pthread_t tracer;
  const int error = pthread_create(&tracer, &attr, &TracerMain, Ref<GuestThread>(thread).Leak());
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  pthread_attr_destroy(&attr);
  if (error != 0) {
    thread->Release();  // The reference that the tracer would have had.
    return Errno(EAGAIN);
  }
  return thread;
}

void* GuestThread::TracerMain(void* self) {
  const Ref<GuestThread> thread = Ref<GuestThread>::Adopt(static_cast<GuestThread*>(self));
  thread->Serve();
  return nullptr;
}

void GuestThread::Trace(Ref<HostProcess> process, pid_t tid, const Registers& registers) {
  absl::MutexLock lock(&mu_);
  process_ = std::move(process);
  tid_ = tid;
  first_registers_ = registers;
}

void GuestThread::Abandon() {
  absl::MutexLock lock(&mu_);
  abandoned_ = true;
}

void GuestThread::Start() {
  absl::MutexLock lock(&mu_);
  started_ = true;
}

void GuestThread::Interrupt() {
  absl::MutexLock lock(&mu_);
  if (interrupt_pending_ || ended_ || !process_) return;
  interrupt_pending_ = true;
  // Otherwise the tracer looks before it lets the application run.
  if (running_) process_->Interrupt(tid_);
}

void GuestThread::KillProcess() {
  absl::MutexLock lock(&mu_);
  if (process_) process_->Kill();
}

AddressSpace& GuestThread::address_space() const {
  absl::MutexLock lock(&mu_);
  return process_->space();
}

int GuestThread::host_tid() const {
  absl::MutexLock lock(&mu_);
  return tid_;
}

void GuestThread::ReleaseGuest() {
  absl::MutexLock lock(&mu_);
  const auto outside = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return !in_guest_; };
  // The tracer itself may be at it, on its way out.
  if (!pthread_equal(tracer_, pthread_self())) mu_.Await(absl::Condition(&outside));
  released_ = true;
}

bool GuestThread::EnterGuest() {
  absl::MutexLock lock(&mu_);
  running_ = false;
  if (process_->killed()) {
    next_ = Next::kDie;
  } else if (released_) {
    next_ = Next::kExit;
  } else {
    in_guest_ = true;
  }
  return in_guest_;
}

void GuestThread::LeaveGuest() {
  absl::MutexLock lock(&mu_);
  in_guest_ = false;
}

bool GuestThread::TakeInterruptOrRun() {
  absl::MutexLock lock(&mu_);
  // Of an interrupted call the guest is told, whoever interrupted it: what is left of its time
  // counts.
  if (!(interrupt_pending_ || rewound_) || released_ || process_->killed()) {
    running_ = true;
    return false;
  }
  interrupt_pending_ = false;
  in_guest_ = true;
  return true;
}

void GuestThread::MarkRunning() {
  absl::MutexLock lock(&mu_);
  running_ = true;
  if (interrupt_pending_) process_->Interrupt(tid_);
}

bool GuestThread::Attach() {
  const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return abandoned_ || process_; };
  pid_t tid;
  Registers registers;
  {
    absl::MutexLock lock(&mu_);
    tracer_ = pthread_self();
    mu_.Await(absl::Condition(&ready));
    if (abandoned_) return false;
    host_ = process_;
    tid = tid_;
    registers = first_registers_;
  }
  const Status attached = tracee_.Attach(tid);
  if (attached.ok()) {
    tracee_.SetRegisters(registers);
  } else {
    LOG_DEBUG("ptrace: attaching to %d: errno %d", tid, attached.error().code());
  }
  const auto go = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) {
    return started_ || released_ || process_->killed();
  };
  absl::MutexLock lock(&mu_);
  mu_.Await(absl::Condition(&go));
  if (!attached.ok()) {
    next_ = Next::kDie;
  } else if (!started_) {
    next_ = Next::kExit;
  }
  return true;
}

void GuestThread::Serve() {
  if (!Attach()) return;
  while (Continue()) {
    const Tracee::Stop stop = tracee_.Wait();
    if (stop == Tracee::Stop::kGone) break;
    Handle(stop);
  }
  End();
}

bool GuestThread::Continue() {
  if (next_ == Next::kRun && tracee_.in_vsyscall()) next_ = Next::kExecute;
  while (next_ == Next::kRun && TakeInterruptOrRun()) RunInterrupt();
  switch (next_) {
    case Next::kRun:
      break;
    case Next::kExecute:
      MarkRunning();
      break;
    case Next::kExit: {
      host_->RemoveThread(tracee_.tid());
      {
        absl::MutexLock lock(&mu_);
        ended_ = true;
      }
      tracee_.Exit();
      return false;
    }
    case Next::kHalt:
      host_->AwaitKilled();
      return false;
    case Next::kDie:
      host_->Kill();
      return false;
  }
  tracee_.Resume();
  return true;
}

void GuestThread::Handle(Tracee::Stop stop) {
  next_ = Next::kRun;
  rewound_ = false;
  switch (stop) {
    case Tracee::Stop::kCall:
      HandleCall();
      break;
    case Tracee::Stop::kSignal:
    case Tracee::Stop::kOther:
      rewound_ = tracee_.RewindInterruptedCall();
      if (stop == Tracee::Stop::kSignal && !rewound_) tracee_.AbortSequence(host_->space());
      if (stop == Tracee::Stop::kSignal) HandleSignal();
      break;
    case Tracee::Stop::kGone:
      break;
  }
}

void GuestThread::HandleCall() {
  const SyscallArgs call = tracee_.Arguments();
  const Disposition disposition = core_->DispositionOf(call.nr);
  if (disposition == Disposition::kDirect && native::IsDirect(call) && !tracee_.in_vsyscall()) {
    next_ = Next::kExecute;
    return;
  }
  if (!EnterGuest()) return;
  if (disposition == Disposition::kContext) {
    GuestContext context(*this);
    context.regs.rax = call.nr;
    Obey(guest_.OnContextSyscall(call, context), context);
  } else {
    Apply(guest_.OnSyscall(call), call);
  }
  LeaveGuest();
}

void GuestThread::HandleSignal() {
  const int signal = tracee_.signal();
  if (!IsFaultSignal(signal)) return;  // An interrupt, or a stray one; Continue looks.
  const Result<siginfo_t> info = tracee_.SignalInfo();
  if (!info.ok() || info->si_code <= 0) return;  // From a process.
  if (!EnterGuest()) return;
  // Traps say enough, and are no place to play with the step flag.
  Result<Exception> exception = Errno(EIO);
  if (signal != SIGTRAP) exception = host_->ReadException(tracee_);
  GuestContext context(*this);
  DescribeFault(*info, context.regs);
  if (exception.ok()) {
    context.regs.error_code = exception->error_code;
    context.regs.trapno = exception->trapno;
    context.regs.cr2 = exception->cr2;
  }
  Obey(guest_.OnFault(*info, context), context);
  LeaveGuest();
}

void GuestThread::RunInterrupt() {
  GuestContext context(*this);
  context.cut_short = rewound_;
  Obey(guest_.OnInterrupt(context, std::exchange(rewound_, false)), context);
  LeaveGuest();
}

void GuestThread::Obey(const Verdict& verdict, GuestContext& context) {
  switch (verdict.kind) {
    case Verdict::Kind::kReturn:
    case Verdict::Kind::kContinue:
      context.Store();
      next_ = Next::kRun;
      return;
    case Verdict::Kind::kExitThread:
      next_ = Next::kExit;
      return;
    case Verdict::Kind::kGone:
      next_ = Next::kHalt;
      return;
  }
}

void GuestThread::Apply(const Verdict& verdict, const SyscallArgs& call) {
  switch (verdict.kind) {
    case Verdict::Kind::kReturn:
      tracee_.SetResult(static_cast<uint64_t>(verdict.value));
      return;
    case Verdict::Kind::kContinue:
      ExecuteApproved(verdict, call);
      return;
    case Verdict::Kind::kExitThread:
      next_ = Next::kExit;
      return;
    case Verdict::Kind::kGone:
      next_ = Next::kHalt;
      return;
  }
}

void GuestThread::ExecuteApproved(const Verdict& verdict, const SyscallArgs& call) {
  if (verdict.host_fd < 0 && tracee_.in_call()) {
    next_ = Next::kExecute;
    return;
  }
  Context::HostCallRequest request{.nr = call.nr, .host_fd = verdict.host_fd};
  std::copy(std::begin(call.args), std::end(call.args), std::begin(request.args));
  const Result<uint64_t> result = HostCall(request);
  tracee_.SetResult(result.ok() ? *result : static_cast<uint64_t>(-int64_t{result.error().code()}));
}

void GuestThread::End() {
  // Nothing else can come but the end; what does not end by itself is made to.
  while (tracee_.Wait() != Tracee::Stop::kGone) host_->Kill();
  int status = SIGKILL;
  if (!host_->TryReap(tracee_.tid(), &status)) core_->Bury(host_, tracee_.tid());
  bool report;
  {
    absl::MutexLock lock(&mu_);
    report = !ended_ && !released_ && !process_->killed();
    ended_ = true;
    running_ = false;
    in_guest_ = report;
  }
  if (!report) return;
  guest_.OnHostDeath(status);
  LeaveGuest();
}

Status GuestThread::SetAffinity(const cpu_set_t& cpus) {
  absl::MutexLock lock(&mu_);
  return process_ && !ended_ ? process_->SetAffinity(tid_, cpus) : Status(Errno(ESRCH));
}

CpuTimes GuestThread::CpuSplit() {
  absl::MutexLock lock(&mu_);
  if (!process_) return {};
  const CpuTimes now = process_->CpuSplit();
  return {cpu_before_exec_.user_ns + now.user_ns, cpu_before_exec_.system_ns + now.system_ns};
}

void GuestThread::SetLedger(Ref<UsageLedger> ledger) {
  absl::MutexLock lock(&mu_);
  ledger_ = std::move(ledger);
  if (process_) process_->SetLedger(ledger_);
}

Status GuestThread::SetHostLimit(int resource, uint64_t value) {
  absl::MutexLock lock(&mu_);
  return process_ ? process_->SetLimit(resource, value) : Status(Errno(ESRCH));
}

}  // namespace platform::ptrace
