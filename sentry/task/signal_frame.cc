#include "sentry/task/signal_frame.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

namespace sentry {
namespace {

// struct sigcontext_64.
struct SignalContext {
  uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
  uint64_t rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, eflags;
  uint16_t cs, gs, fs, ss;
  uint64_t error_code, trapno, oldmask, cr2;
  uint64_t fpstate;  // Address of the extended state, 64-byte aligned.
  uint64_t reserved[8];
};
static_assert(sizeof(SignalContext) == 256);

struct Frame {
  uint64_t return_address;  // sa_restorer.
  uint64_t uc_flags, uc_link;
  SignalStack stack;
  SignalContext context;
  uint64_t mask;
  std::byte info[128];
};
static_assert(sizeof(Frame) == 440 && sizeof(SignalInfo) == 128);

constexpr uint64_t kUcFlags = 7;  // UC_FP_XSTATE | UC_SIGCONTEXT_SS | UC_STRICT_RESTORE_SS.
constexpr uint16_t kUserCs = 0x33, kUserSs = 0x2b;
constexpr uint64_t kRedZone = 128;
constexpr uint64_t kSaRestorer = 0x04000000;
constexpr int32_t kAutoDisarm = static_cast<int32_t>(1u << 31);
constexpr uint64_t kTf = 1 << 8, kDf = 1 << 10, kRf = 1 << 16;
// CF PF AF ZF SF TF DF OF RF AC: what an application may choose.
constexpr uint64_t kUserFlags = 0x1 | 0x4 | 0x10 | 0x40 | 0x80 | kTf | kDf | 0x800 | kRf | 0x40000;
// The extended state: fxsave area, where its software-reserved bytes lie, and bounds.
constexpr size_t kFxSize = 512, kSoftwareBytes = 464, kMaxFpSize = 64 * 1024;
constexpr uint32_t kFpMagic1 = 0x46505853;

bool WithinSignalStack(const SignalStack& stack, uint64_t sp) {
  return sp > stack.base && sp - stack.base <= stack.size;
}

SignalContext SaveRegisters(const platform::Registers& r, SignalSet mask, uint64_t fpstate) {
  SignalContext c{};
  c.r8 = r.r8, c.r9 = r.r9, c.r10 = r.r10, c.r11 = r.r11;
  c.r12 = r.r12, c.r13 = r.r13, c.r14 = r.r14, c.r15 = r.r15;
  c.rdi = r.rdi, c.rsi = r.rsi, c.rbp = r.rbp, c.rbx = r.rbx;
  c.rdx = r.rdx, c.rax = r.rax, c.rcx = r.rcx, c.rsp = r.rsp;
  c.rip = r.rip, c.eflags = r.eflags;
  c.cs = kUserCs, c.ss = kUserSs;
  c.error_code = r.error_code, c.trapno = r.trapno, c.cr2 = r.cr2;
  c.oldmask = mask.bits(), c.fpstate = fpstate;
  return c;
}

void RestoreRegisters(const SignalContext& c, platform::Registers& r) {
  r.r8 = c.r8, r.r9 = c.r9, r.r10 = c.r10, r.r11 = c.r11;
  r.r12 = c.r12, r.r13 = c.r13, r.r14 = c.r14, r.r15 = c.r15;
  r.rdi = c.rdi, r.rsi = c.rsi, r.rbp = c.rbp, r.rbx = c.rbx;
  r.rdx = c.rdx, r.rax = c.rax, r.rcx = c.rcx, r.rsp = c.rsp;
  r.rip = c.rip;
  r.eflags = (r.eflags & ~kUserFlags) | (c.eflags & kUserFlags);
}

// The extended state at `address`, sized as its own header says. `near` is what has been read there
// already, as far as it goes.
Result<std::vector<std::byte>> ReadFrameFpState(UserMemory& mem, uint64_t address,
                                                std::span<const std::byte> near) {
  std::vector<std::byte> state(kFxSize);
  if (near.size() >= kFxSize) {
    std::copy_n(near.begin(), kFxSize, state.begin());
  } else {
    TRY(mem.ReadBytes(UserAddr{address}, state));
  }
  uint32_t software[2];  // Magic and the size with everything behind the fxsave area.
  std::memcpy(software, &state[kSoftwareBytes], sizeof(software));
  if (software[0] != kFpMagic1 || software[1] <= kFxSize) return state;
  if (software[1] > kMaxFpSize) return Errno(EINVAL);
  if (near.size() >= software[1]) return std::vector(near.begin(), near.begin() + software[1]);
  state.resize(software[1]);
  TRY(mem.ReadBytes(UserAddr{address}, state));
  return state;
}

}  // namespace

bool OnSignalStack(const SignalStack& stack, uint64_t sp) {
  if ((stack.flags & kAutoDisarm) != 0 || stack.size == 0) return false;
  return WithinSignalStack(stack, sp);
}

Status PushSignalFrame(UserMemory& mem, platform::Context& context, const SignalInfo& info,
                       const SignalAction& action, SignalSet mask, SignalStack& stack) {
  if ((action.flags & kSaRestorer) == 0) return Errno(EFAULT);
  platform::Registers& regs = context.regs;
  const std::vector<std::byte> fpstate = TRY(context.ReadFpState());

  const bool on_stack = OnSignalStack(stack, regs.rsp);
  uint64_t sp = regs.rsp - kRedZone;
  bool entering = false;
  if ((action.flags & SA_ONSTACK) != 0 && stack.size != 0 && !OnSignalStack(stack, sp)) {
    sp = stack.base + stack.size;
    entering = true;
  }
  const uint64_t top = sp;
  sp = (sp - fpstate.size()) & ~uint64_t{63};
  const uint64_t fp_address = fpstate.empty() ? 0 : sp;
  sp = ((sp - sizeof(Frame)) & ~uint64_t{15}) - 8;
  if (sp > top) return Errno(EFAULT);
  if ((on_stack || entering) && !WithinSignalStack(stack, sp)) return Errno(EFAULT);

  Frame frame{};
  frame.return_address = action.restorer;
  frame.uc_flags = kUcFlags;
  frame.stack = stack;
  frame.context = SaveRegisters(regs, mask, fp_address);
  frame.mask = mask.bits();
  std::memcpy(frame.info, &info, sizeof(info));

  // One copy for both: the state lies closely above.
  std::vector<std::byte> bytes(fpstate.empty() ? sizeof(frame) : fp_address - sp + fpstate.size());
  std::memcpy(bytes.data(), &frame, sizeof(frame));
  if (!fpstate.empty()) std::memcpy(&bytes[fp_address - sp], fpstate.data(), fpstate.size());
  TRY(mem.WriteBytes(UserAddr{sp}, bytes));

  if ((stack.flags & kAutoDisarm) != 0) stack = SignalStack{};
  regs.rdi = static_cast<uint64_t>(info.si_signo);
  regs.rsi = sp + offsetof(Frame, info);
  regs.rdx = sp + offsetof(Frame, uc_flags);
  regs.rax = 0;
  regs.rip = action.handler;
  regs.rsp = sp;
  regs.eflags &= ~(kDf | kRf | kTf);
  return kOk;
}

Result<RestoredState> PopSignalFrame(UserMemory& mem, platform::Context& context) {
  const uint64_t address = context.regs.rsp - 8;
  // In one copy with the state above it, where there is one.
  std::array<std::byte, 3584> bytes;
  const std::span<const std::byte> window =
      std::span(bytes).first(mem.ReadSome(UserAddr{address}, bytes));
  if (window.size() < sizeof(Frame)) return Errno(EFAULT);
  Frame frame;
  std::memcpy(&frame, window.data(), sizeof(frame));
  std::vector<std::byte> fpstate;
  if (const uint64_t at = frame.context.fpstate; at != 0) {
    const bool near = at >= address && at - address <= window.size();
    fpstate = TRY(ReadFrameFpState(mem, at, near ? window.subspan(at - address) : window.first(0)));
  }
  TRY(context.WriteFpState(fpstate));
  RestoreRegisters(frame.context, context.regs);
  return RestoredState{SignalSet(frame.mask) & ~SignalSet::Unmaskable(), frame.stack};
}

}  // namespace sentry
