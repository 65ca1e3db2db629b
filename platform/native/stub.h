// What the sentry and the stub share: the batch, and the frames of rt_sigreturn(2).
#ifndef PLATFORM_NATIVE_STUB_H_
#define PLATFORM_NATIVE_STUB_H_

#include <linux/prctl.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <span>

#include "platform/api/local_signals.h"
#include "platform/api/registers.h"
#include "platform/native/layout.h"

extern "C" {
extern const char sandbox_stub_begin[];
extern const char sandbox_stub_end[];
extern const char sandbox_stub_handler[];
extern const char sandbox_stub_zygote[];
extern const char sandbox_stub_wait_for_tracer[];
extern const char sandbox_stub_syscall[];
extern const char sandbox_stub_batch[];
extern const char sandbox_stub_fast_call[];
extern const char sandbox_stub_fast_local[];
extern const char sandbox_stub_fast_any[];
extern const char sandbox_stub_fast_any_done[];
extern const char sandbox_stub_fast_numbered[];
extern const char sandbox_stub_fast_carry[];
extern const char sandbox_stub_fast_posted[];
extern const char sandbox_stub_fast_out[];
extern const char sandbox_stub_fast_slow[];
extern const char sandbox_stub_fast_end[];
extern const char sandbox_stub_fast_robust[];
extern const char sandbox_stub_fast_mask[];
extern const char sandbox_stub_fast_mask_saved[];
extern const char sandbox_stub_fast_masked[];
extern const char sandbox_stub_fast_mask_undone[];
extern const char sandbox_stub_fast_mask_tell[];
extern const char sandbox_stub_fast_mask_told[];
extern const char sandbox_stub_fast_mask_out[];
extern const char sandbox_stub_fast_mask_end[];
extern const char sandbox_stub_fast_action[];
extern const char sandbox_stub_fast_action_saved[];
extern const char sandbox_stub_fast_action_out[];
extern const char sandbox_stub_fast_action_end[];
extern const char sandbox_stub_fast_self[];
extern const char sandbox_stub_fast_self_resume[];
extern const char sandbox_stub_fast_self_end[];
}

namespace platform::native {

// The address of a stub symbol in the copy that starts at `copy` (STUB_CODE or STUB_SETUP).
inline uint64_t StubAddress(const char* symbol, uint64_t copy) {
  return copy + static_cast<uint64_t>(symbol - sandbox_stub_begin);
}
inline bool InStub(uint64_t ip, uint64_t copy) { return ip > copy && ip <= copy + STUB_CODE_SIZE; }

struct BatchCall {
  uint64_t nr = 0;
  uint64_t args[6] = {};
  // Of clone: STUB_MAILBOX_OF_PARENT, or where the child has its own; with STUB_CHILD_RUNS.
  uint64_t mailbox = 0;
};
struct BatchHeader {
  uint64_t count = 0;
  uint64_t mark = 0;  // Of this batch and no other, not 0: by it a child of clone is known.
  uint64_t unused[6] = {};
};
static_assert(sizeof(BatchCall) == 64 && sizeof(BatchHeader) == 64);
// The last 128 bytes of the page carry a struct argument (prctl_mm_map).
inline constexpr size_t kBatchStruct = 0xf80;
inline constexpr size_t kMaxBatch = (kBatchStruct - sizeof(BatchHeader)) / sizeof(BatchCall);

inline constexpr size_t kMaxSlots = (STUB_REGION_END - STUB_SLOTS) / STUB_SLOT_SIZE;
constexpr uint64_t SlotAddress(size_t index) {
  return STUB_SLOTS + index * uint64_t{STUB_SLOT_SIZE};
}

// struct ucontext of arch/x86/include/uapi/asm/{ucontext,sigcontext}.h, up to the signal mask.
struct SignalStackRecord {
  uint64_t base = 0;
  uint64_t flags = 0;
  uint64_t size = 0;
};
struct MachineContext {
  uint64_t r8 = 0, r9 = 0, r10 = 0, r11 = 0, r12 = 0, r13 = 0, r14 = 0, r15 = 0;
  uint64_t rdi = 0, rsi = 0, rbp = 0, rbx = 0, rdx = 0, rax = 0, rcx = 0, rsp = 0, rip = 0;
  uint64_t eflags = 0;
  uint16_t cs = 0, gs = 0, fs = 0, ss = 0;
  uint64_t err = 0, trapno = 0, oldmask = 0, cr2 = 0, fpstate = 0;
  uint64_t reserved[8] = {};
};
struct UserContext {
  uint64_t flags = 0;
  uint64_t link = 0;
  SignalStackRecord stack;
  MachineContext machine;
  uint64_t mask = 0;
};
static_assert(sizeof(MachineContext) == MAILBOX_CONTEXT_SIZE && sizeof(UserContext) == 304);
static_assert(offsetof(UserContext, machine) == UCONTEXT_REGISTERS);

// A record of the table of patched sites, see layout.h.
struct SiteRecord {
  uint64_t entry;    // The address of `code`: what the patched site jumps through.
  uint8_t code[24];  // What the site did in front of its call, if not a step does that; loads %r11
                     // with the address of the record and goes on as the head says.
  uint64_t after;    // The instruction behind the call.
  uint64_t tail;     // The syscall instruction.
  uint64_t nr;
  uint64_t local;
};
static_assert(sizeof(SiteRecord) == SITE_RECORD_SIZE && offsetof(SiteRecord, code) == SITE_CODE &&
              offsetof(SiteRecord, after) == SITE_RETURN &&
              offsetof(SiteRecord, tail) == SITE_TAIL && offsetof(SiteRecord, nr) == SITE_NUMBER &&
              offsetof(SiteRecord, local) == SITE_LOCAL);
// A record of a known error, see layout.h.
struct ErrorRecord {
  std::atomic<uint64_t> version;
  uint64_t generation;
  uint64_t nr;
  uint64_t size;
  int64_t value;
  uint64_t masks[3];
  uint64_t args[3];
  uint64_t unused;
  uint64_t path[ERROR_PATH_SIZE / 8];
};
static_assert(sizeof(ErrorRecord) == 1 << ERROR_RECORD_BITS &&
              sizeof(ErrorRecord) << SITE_ERRORS_BITS == SITE_ERRORS_SIZE &&
              offsetof(ErrorRecord, version) == ERROR_VERSION &&
              offsetof(ErrorRecord, generation) == ERROR_GENERATION &&
              offsetof(ErrorRecord, nr) == ERROR_NUMBER &&
              offsetof(ErrorRecord, size) == ERROR_SIZE &&
              offsetof(ErrorRecord, value) == ERROR_VALUE &&
              offsetof(ErrorRecord, masks) == ERROR_MASKS &&
              offsetof(ErrorRecord, args) == ERROR_ARGS &&
              offsetof(ErrorRecord, path) == ERROR_PATH);
inline constexpr size_t kFirstSite = SITE_FIRST;
inline constexpr size_t kMaxSites = SITE_TABLE_SIZE / SITE_RECORD_SIZE;

// A page shared by a thread with patched calls and the sentry, which trusts nothing in it.
struct alignas(256) Mailbox {
  std::atomic<uint64_t> polled;
  std::atomic<uint64_t> patience;
  alignas(64) std::atomic<uint64_t> state;
  uint64_t nr;
  uint64_t after;
  uint64_t flags;  // %ax after lahf and seto.
  uint64_t record;
  uint64_t args[6];
  uint64_t value;
  uint64_t carried;
  uint64_t to;
  alignas(256) std::atomic<uint64_t> local[32];
  LocalSignals signals;
};
static_assert(
    offsetof(Mailbox, state) == MAILBOX_STATE && offsetof(Mailbox, patience) == MAILBOX_PATIENCE &&
    offsetof(Mailbox, nr) == MAILBOX_NUMBER && offsetof(Mailbox, after) == MAILBOX_RETURN &&
    offsetof(Mailbox, flags) == MAILBOX_FLAGS && offsetof(Mailbox, record) == MAILBOX_RECORD &&
    offsetof(Mailbox, args) == MAILBOX_ARGS && offsetof(Mailbox, value) == MAILBOX_VALUE &&
    offsetof(Mailbox, carried) == MAILBOX_CARRIED && offsetof(Mailbox, to) == MAILBOX_TO &&
    offsetof(Mailbox, local) == MAILBOX_LOCAL &&
    offsetof(Mailbox, signals) + offsetof(LocalSignals, mask) == MAILBOX_SIGNAL_MASK &&
    offsetof(Mailbox, signals) + offsetof(LocalSignals, pending) == MAILBOX_SIGNAL_PENDING &&
    offsetof(Mailbox, signals) + offsetof(LocalSignals, untouched) == MAILBOX_SIGNAL_UNTOUCHED &&
    offsetof(Mailbox, signals) + offsetof(LocalSignals, robust_list) == MAILBOX_ROBUST_LIST &&
    sizeof(Mailbox) <= STUB_MAILBOX_SIZE);

static_assert(sizeof(Mailbox) <= MAILBOX_CONTEXT);

// The pages of a thread. Only the first of its mailboxes has `polled`, `patience`, `local` and
// `signals`.
struct MailboxPage {
  Mailbox call;
  alignas(MAILBOX_CONTEXT) MachineContext context;
  alignas(MAILBOX_EVENT - MAILBOX_CONTEXT) Mailbox event;
  alignas(MAILBOX_SELF - MAILBOX_EVENT) Mailbox self;
  alignas(MAILBOX_XSTATE) std::byte xstate[MAILBOX_DATA - MAILBOX_XSTATE];
  std::byte data[MAILBOX_DATA_SIZE];
};
static_assert(offsetof(MailboxPage, context) == MAILBOX_CONTEXT &&
              offsetof(MailboxPage, event) == MAILBOX_EVENT &&
              offsetof(MailboxPage, self) == MAILBOX_SELF &&
              offsetof(MailboxPage, xstate) == MAILBOX_XSTATE &&
              offsetof(MailboxPage, data) == MAILBOX_DATA &&
              sizeof(MailboxPage) == STUB_MAILBOX_SIZE);
static_assert(offsetof(MachineContext, r15) == CONTEXT_R15 &&
              offsetof(MachineContext, rdi) == CONTEXT_RDI &&
              offsetof(MachineContext, rbx) == CONTEXT_RBX &&
              offsetof(MachineContext, rsp) == CONTEXT_RSP &&
              offsetof(MachineContext, rip) == CONTEXT_RIP &&
              offsetof(MachineContext, eflags) == CONTEXT_FLAGS);

// The argument of prctl(PR_SET_MM_MAP) that places the break at `start`.
prctl_mm_map BreakMap(uint64_t start, uint64_t stack_top);

void LoadRegisters(const MachineContext& machine, Registers& regs);
void StoreRegisters(const Registers& regs, MachineContext& machine);
// A frame for a thread that was not interrupted by a signal; without extended state.
UserContext MakeFrame(const Registers& regs, uint64_t slot);

// Where a synthetic frame's extended state goes, and how much fits.
inline constexpr size_t kFrameFpState = STUB_SLOT_FRAME + 0x400;
inline constexpr size_t kMaxFpState = STUB_SLOT_STACK - kFrameFpState;

// The size of the extended state in a signal frame whose first 512 bytes are given: with the magic
// behind it, or 512 for a frame without the software-reserved bytes.
size_t FpStateSize(std::span<const std::byte, 512> legacy);

}  // namespace platform::native

#endif  // PLATFORM_NATIVE_STUB_H_
