// ptrace(2) on one stub thread: what it costs to stop it, see its registers and make it call the
// host.
#ifndef PLATFORM_PTRACE_TRACEE_H_
#define PLATFORM_PTRACE_TRACEE_H_

#include <signal.h>
#include <sys/types.h>
#include <sys/user.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"
#include "platform/api/platform.h"
#include "platform/native/address_space.h"
#include "platform/native/stub.h"

namespace platform::ptrace {

// What the processor said about a fault; the names are struct sigcontext's.
struct Exception {
  uint64_t error_code = 0, trapno = 0, cr2 = 0;
};

// Used by one thread only, the tracer: the host answers no other. Once the thread has died every
// operation does nothing, Wait says kGone, and the dead thread waits to be reaped.
class Tracee {
 public:
  enum class Stop : uint8_t {
    kGone,    // Dead, not reaped.
    kCall,    // In front of a system call, from which Resume leads into the host.
    kSignal,  // About to get signal(), which it will not.
    kOther,
  };
  using Args = std::array<uint64_t, 6>;

  Tracee() = default;
  Tracee(Tracee&& other) noexcept { *this = std::move(other); }
  Tracee& operator=(Tracee&& other) noexcept;

  // Stops thread `tid`, wherever it is. EPERM where that is not allowed, ESRCH when it has died.
  Status Attach(pid_t tid);
  // Lets it go to where it waits for a tracer.
  void Detach();

  pid_t tid() const { return tid_; }
  // The registers with which the application goes on. Change them through the functions below.
  const user_regs_struct& regs() const { return regs_; }
  void GetRegisters(Registers& out) const;
  // Sets the general registers. A call in whose front the thread stands is not made any more.
  void SetRegisters(const Registers& registers);
  // The result of the call in whose front the thread stands.
  void SetResult(uint64_t value);

  // Lets the application run, or the host execute the call in whose front the thread stands.
  void Resume();
  // The next stop. Waits for it.
  Stop Wait();
  int signal() const { return signal_; }
  Result<siginfo_t> SignalInfo();
  // What the processor said about the fault whose signal the thread stands at. ptrace(2) does not
  // tell, but the frame for a handler does: the host builds one below `stack`, memory of the
  // stub's, and the thread goes on as if nothing had been. EIO when it did not come to that.
  Result<Exception> ReadException(native::NativeAddressSpace& space, uint64_t stack);
  // True when the stop has interrupted a call that the host would start again: the thread then
  // stands in front of it, as if it had never been made.
  bool RewindInterruptedCall();

  // If the thread stands inside a restartable sequence (rseq(2)) it goes on where that is aborted,
  // as the host has it before a handler runs: it would not see where the thread was.
  void AbortSequence(native::NativeAddressSpace& space);

  bool in_call() const { return in_call_; }
  SyscallArgs Arguments() const;
  // The call stands in the vsyscall page: the host returns from it by itself, with the result.
  bool in_vsyscall() const;

  // Makes the thread execute one host call from the stub's code. The application's registers stay
  // as they are, segment bases excepted. A call of the application in whose front it stands is not
  // made any more. EIO when the thread has died, otherwise the call's own error.
  Result<uint64_t> Call(uint64_t nr, const Args& args);
  // Has a stub that is being filled make calls by itself, up to the first that fails, and returns
  // the last one's result: one stop for all of them. At most native::kMaxBatch.
  Result<uint64_t> RunBatch(native::NativeAddressSpace& space,
                            std::span<const native::BatchCall> calls);
  // Makes it call exit(2). The next stop is kGone, once nobody has to wait for this thread's end.
  void Exit();

  Result<std::vector<std::byte>> ReadXstate();
  Status WriteXstate(std::span<const std::byte> xstate);
  // The host's signal mask: nothing is blocked.
  void UnblockSignals();

 private:
  enum class RawStop : uint8_t { kGone, kCall, kCallEnd, kSignal, kOther };

  long Request(int request, uintptr_t addr, const void* data) const;
  RawStop WaitRaw(user_regs_struct& regs);
  // waitid(2) for the next stop or the end.
  int AwaitStop(siginfo_t& info);
  // From any stop to the front of the call described by `call`. False when the thread died.
  bool RunToCall(const user_regs_struct& call);

  pid_t tid_ = 0;
  bool gone_ = true;
  bool in_call_ = false;
  bool dirty_ = false;  // The host has other registers than regs_.
  int signal_ = 0;
  int vain_looks_ = 0;  // So many waits are to be made asleep …
  int skipped_ = 0;     // … and so many have been, since the last look in vain.
  user_regs_struct regs_{};
};

}  // namespace platform::ptrace

#endif  // PLATFORM_PTRACE_TRACEE_H_
