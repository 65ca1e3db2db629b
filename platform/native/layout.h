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
//   (the mailbox of patched calls will be mapped here too, shared with the sentry)
#define STUB_SLOT_SIZE 0x8000
#define STUB_SLOT_FRAME 0x1000
#define STUB_SLOT_STACK 0x4000

// The call number by which the stub reports to the sentry. Not a Linux call, and not an x32 one.
#define STUB_NOTIFY_CALL 0x2b000001

// First argument of that call: a signal number, or one of these.
#define STUB_EVENT_PARKED 0x100      // A fresh stub from the zygote.
#define STUB_EVENT_CHILD 0x101       // A new thread or process of clone.
#define STUB_EVENT_BATCH_DONE 0x102  // Second argument: the result of the last call made.

// What the sentry answers.
#define STUB_COMMAND_RESUME 0       // rt_sigreturn to the frame.
#define STUB_COMMAND_BATCH 1        // Make the calls of the batch, then report.
#define STUB_COMMAND_LEAVE_SETUP 2  // Take the set-up copy away, then as RESUME.

// The one host signal that the sentry sends to stubs.
#define STUB_INTERRUPT_SIGNAL 63

#endif  // PLATFORM_NATIVE_LAYOUT_H_
