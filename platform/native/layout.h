// Where the stub lives in every guest process. Included from assembly too: plain macros only.
//
//   0x7fff e000 0000  code      the stub, read-only and executable
//   0x7fff e001 0000  set-up    a second copy of it, present until the application starts; the
//                               filter lets it make any call
//   0x7fff e010 0000  slots     one for each thread
//   0x7fff ffff f000  end       of what Linux gives to user space
//
// The rest of the region is reserved with PROT_NONE, so that nothing else is ever placed there.
#ifndef PLATFORM_NATIVE_LAYOUT_H_
#define PLATFORM_NATIVE_LAYOUT_H_

#define STUB_REGION_START 0x7fffe0000000
#define STUB_REGION_END 0x7ffffffff000
#define STUB_CODE STUB_REGION_START
#define STUB_CODE_SIZE 0x1000
#define STUB_SETUP 0x7fffe0010000
#define STUB_SLOTS 0x7fffe0100000

// A slot, aligned to its size so that code finds it from its stack pointer:
//   +0      the batch of host calls to make (struct Batch in stub.h)
//   +0x1000 a frame for rt_sigreturn, where the thread was not interrupted by a signal
//   +0x4000 the stack on which the host delivers signals
//   +0x8000 the mailbox of a thread with patched calls, shared with the sentry; mapped on demand
#define STUB_SLOT_SIZE 0x10000
#define STUB_SLOT_FRAME 0x1000
#define STUB_SLOT_HAS_MAILBOX 0xff8  // Behind the batch: not 0 if the mailbox is mapped.
#define STUB_SLOT_STACK 0x4000
#define STUB_SLOT_USED 0x8000  // So much is memory of the slot's own.
#define STUB_SLOT_MAILBOX 0x8000
#define STUB_MAILBOX_SIZE 0x3000

// The call number by which the stub reports to the sentry. Not a Linux call, and not an x32 one.
#define STUB_NOTIFY_CALL 0x2b000001

// First argument of that call: a signal number, or one of these.
#define STUB_EVENT_PARKED 0x100      // A fresh stub from the zygote.
#define STUB_EVENT_CHILD 0x101       // A new thread or process of clone.
#define STUB_EVENT_BATCH_DONE 0x102  // Second argument: the result of the last call made.
#define STUB_EVENT_MAILBOX 0x103     // The thread waits for the answer in its mailbox.
#define STUB_EVENT_SELF 0x104        // An answer said that an interrupt is due: no signal was needed.

// What the sentry answers.
#define STUB_COMMAND_RESUME 0       // rt_sigreturn to the frame.
#define STUB_COMMAND_BATCH 1        // Make the calls of the batch, then report.
#define STUB_COMMAND_LEAVE_SETUP 2  // Take the set-up copy away, then as RESUME.
#define STUB_COMMAND_NOTIFY 3       // To an event by mailbox: report it by a notification.
#define STUB_COMMAND_STORE 4        // To a SIGSYS by mailbox: registers from there, then as RESUME.

// In a batch with clone: what becomes of the segment base that leads the caller to its mailbox. 0: it
// has none; the address of the child's own; or
#define STUB_MAILBOX_OF_PARENT 1  // The child has none.
// And, added to it: the child does not report first but goes on to its frame.
#define STUB_CHILD_RUNS 2

// In a batch: not a call but a store of the second argument to the first, the third says of how many
// bytes (1 or 2). What others may execute meanwhile must not change piecemeal.
#define STUB_STORE_CALL 0x2b000002

// Patched calls. `mov $nr,%eax; syscall` becomes `jmp *[0x050fXXXX]`, whose last two bytes still are
// the syscall instruction (systrap/site_form.h): there is a table at 0x050f0000, one record for each
// site. A table is the process's own, read-only and executable.
#define SITE_TABLE 0x050f0000
#define SITE_TABLE_SIZE 0x10000
#define SITE_RECORD_SIZE 64
// The first fourteen are the head: where the code of records goes on, and a byte for each call
// number, what to do where the number is not known before: 0 to make the call, 1 to ask the sentry
// through the mailbox, n + 2 to look for the mailbox's known answer n first, SITE_CALL_MASK for the
// mask, SITE_CALL_ACTION for rt_sigaction.
#define SITE_HEADER_CALL 0   // Asks the sentry through the mailbox.
#define SITE_HEADER_LOCAL 8  // Looks for an answer in the mailbox first.
#define SITE_HEADER_ANY 16   // The number is in %eax.
#define SITE_HEADER_MASK 24  // rt_sigprocmask: changes the mask in the mailbox.
#define SITE_HEADER_ACTION 32  // rt_sigaction: tells what has never been set.
#define SITE_HEADER_ROBUST 40  // set_robust_list: the head is kept in the mailbox.
#define SITE_CALLS 64
#define SITE_CALL_MASK 255
#define SITE_CALL_ACTION 254
#define SITE_CALLS_BITS 9    // As many numbers, see kMaxSyscalls.
// Then a bit for each number: the first, or the second, argument is a path that the call takes
// along.
#define SITE_PATH_FIRST 576
#define SITE_PATH_SECOND 640
// Errors of path calls that are told without asking: each holds as long as the generation is its
// own.
#define SITE_ERRORS_GENERATION 704
#define SITE_ERRORS_ANY 712   // Not 0 once there have been some.
#define SITE_ERRORS_KEPT 720  // A bit for each place that has been used.
#define SITE_FIRST 14
// The others (struct SiteRecord):
#define SITE_CODE 8     // What the site jumps to.
#define SITE_RETURN 32  // The instruction behind the call.
#define SITE_TAIL 40    // The syscall instruction itself.
#define SITE_NUMBER 48  // Of the call.
#define SITE_LOCAL 56   // Offset of a known answer in the mailbox.

// Behind the table: known errors (struct ErrorRecord), by the last bits of the CRC-32C of the call
// number and of the path, padded with zeroes, in words of 8 bytes from the last to the first.
#define SITE_ERRORS (SITE_TABLE + SITE_TABLE_SIZE)
#define SITE_ERRORS_BITS 10  // As many places: gcc asks about 250 names for a file.
#define SITE_ERRORS_SIZE 0x40000
#define SITE_MAPPED_SIZE (SITE_TABLE_SIZE + SITE_ERRORS_SIZE)
#define ERROR_RECORD_BITS 8  // Of its size.
#define ERROR_VERSION 0      // Odd while the record is being written.
#define ERROR_GENERATION 8
#define ERROR_NUMBER 16
#define ERROR_SIZE 24   // Of the path, with its NUL.
#define ERROR_VALUE 32  // What the call returns.
#define ERROR_MASKS 40  // Bits of the second to the fourth argument that have to be those below.
#define ERROR_ARGS 64
#define ERROR_PATH 96
#define ERROR_PATH_SIZE 160  // The longest.

// struct Mailbox.
#define MAILBOX_POLLED 0  // Its own address while the sentry looks at it, or 0.
#define MAILBOX_STATE 64
#define MAILBOX_NUMBER 72
#define MAILBOX_RETURN 80
#define MAILBOX_FLAGS 88
#define MAILBOX_RECORD 96
#define MAILBOX_ARGS 104
#define MAILBOX_VALUE 152
// What a call carries in MAILBOX_DATA: when it is posted one of CARRY_*, in an answer the number of
// bytes to be copied to the address in MAILBOX_TO.
#define MAILBOX_CARRIED 160
#define MAILBOX_TO 168
#define CARRY_OUT 1   // read, getdents64, epoll_wait…: the memory that it writes to is there, or its begin.
#define CARRY_IN 2    // write, sendto, epoll_ctl…: its data.
#define CARRY_PATH 4  // A path, whose size with its NUL is above.
#define CARRY_SIZE_SHIFT 8
#define CARRY_PATH_SIZE 1024  // The longest.
// Those whose second argument is the memory, and the third the size.
#define CARRY_WRITES ((1 << 1) | (1 << 18) | (1 << 44))  // write, pwrite64, sendto.
#define CARRY_CALLS (CARRY_WRITES | (1 << 0) | (1 << 17) | (1 << 45))  // read, pread64, recvfrom.
#define CARRY_MOST_EVENTS 0x4000000  // What one can wait for (epoll_wait).
#define MAILBOX_PATIENCE 8  // How often to look for an answer before a call is withdrawn.
#define CONTEXT_R8 0  // In struct MachineContext.
#define CONTEXT_R9 8
#define CONTEXT_R10 16
#define CONTEXT_R11 24
#define CONTEXT_R12 32
#define CONTEXT_R13 40
#define CONTEXT_R14 48
#define CONTEXT_R15 56
#define CONTEXT_RDI 64
#define CONTEXT_RSI 72
#define CONTEXT_RBP 80
#define CONTEXT_RBX 88
#define CONTEXT_RDX 96
#define CONTEXT_RAX 104
#define CONTEXT_RCX 112
#define CONTEXT_RSP 120
#define CONTEXT_RIP 128
#define CONTEXT_FLAGS 136
#define MAILBOX_LOCAL 256   // Known answers, each plus one; 0 is none.
// struct LocalSignals.
#define MAILBOX_SIGNAL_MASK 512
#define MAILBOX_SIGNAL_PENDING 520
#define MAILBOX_SIGNAL_UNTOUCHED 528
#define MAILBOX_ROBUST_LIST 536
// A second one in the same page is for what the stub's signal handler reports: a call may be under
// way in the first. Number, arguments, value and state are used.
#define MAILBOX_EVENT 2048
// And a third for a thread that interrupts itself: signals may still arrive there.
#define MAILBOX_SELF 3072
// The registers of a thread that interrupted itself (struct MachineContext), and its extended state.
// Or, with a SIGSYS in the second mailbox, the frame with all that lies above it in the slot's stack, if
// that is at most MAILBOX_FRAME_SIZE; and the registers that answer it.
#define MAILBOX_FRAME_SIZE 4096
#define MAILBOX_CONTEXT 1024
#define MAILBOX_CONTEXT_SIZE 256
#define UCONTEXT_REGISTERS 40  // Where they are in struct ucontext.
#define MAILBOX_XSTATE 4096
#define MAILBOX_DATA 8192
#define MAILBOX_DATA_SIZE 4096

// Bits of the state. Whoever clears POSTED has the call.
#define MAILBOX_POSTED_BIT 0
#define MAILBOX_POSTED 1
#define MAILBOX_DONE 2
#define MAILBOX_REFUSED 4  // With DONE: make the call in the ordinary way.
#define MAILBOX_INTERRUPT 8  // With DONE: report STUB_EVENT_SELF before going on.
#define MAILBOX_ASLEEP 16    // Taken, and it has to wait: who waits for the answer is to sleep.

// The one host signal that the sentry sends to stubs.
#define STUB_INTERRUPT_SIGNAL 63

#endif  // PLATFORM_NATIVE_LAYOUT_H_
