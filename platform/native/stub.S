// The code in every guest process: position independent, copied to STUB_CODE and STUB_SETUP.
// Nothing in it is trusted by the sentry, and nothing in it can be misused: each call that it makes
// is either harmless or reported, see the filter (platform/systrap/filter.h).
//
// Registers of the loop:  %r12 frame (struct ucontext)   %r13 event   %r14 its argument
//                         %r15 slot                      %rbx batch entry   %rbp entries left
#include "platform/native/layout.h"

// What has just been posted in the mailbox at \box awaits its answer: `answered`; or is withdrawn when
// nobody takes it: `withdrawn`. Falls through when somebody has taken it and is not done soon: going to
// sleep costs more than most answers take. %rax holds the patience of the page, at \page, and is lost.
.macro AWAIT_ANSWER box, page, answered, withdrawn
.Ltaking\@:
    testl $(MAILBOX_DONE | MAILBOX_ASLEEP), MAILBOX_STATE(\box)
    jnz .Lnews\@
    pause
    decq %rax
    jnz .Ltaking\@
    lock btrq $MAILBOX_POSTED_BIT, MAILBOX_STATE(\box)
    jc \withdrawn
    movq MAILBOX_PATIENCE(\page), %rax
    shlq $1, %rax
.Lanswering\@:
    testl $(MAILBOX_DONE | MAILBOX_ASLEEP), MAILBOX_STATE(\box)
    jnz .Lnews\@
    pause
    decq %rax
    jnz .Lanswering\@
.Lnews\@:
    testl $MAILBOX_DONE, MAILBOX_STATE(\box)
    jnz \answered
.endm

    .section .rodata.stub, "a", @progbits
    .balign 64
    .globl sandbox_stub_begin
    .hidden sandbox_stub_begin
sandbox_stub_begin:

// The handler of every host signal: %rdi signal, %rsi siginfo, %rdx ucontext, on the slot's stack.
    .globl sandbox_stub_handler
    .hidden sandbox_stub_handler
sandbox_stub_handler:
    movq %rdx, %r12
    movl %edi, %r13d
    movq %rsi, %r14
    cld
    movq %rsp, %r15
    andq $-STUB_SLOT_SIZE, %r15
    cmpq $0, STUB_SLOT_HAS_MAILBOX(%r15)
    je .Lnotify
    cmpl $31, %edi              // SIGSYS: what such calls ask for (clone, execve) wants a notification,
    jne .Lreport_by_mailbox
    cmpl $15, 24(%rsi)          // but for rt_sigreturn (si_syscall).
    je .Lreport_by_mailbox
    jmp .Lnotify

// Reports the event and does what it is told.
.Lreport:
    movq %rsp, %r15
    andq $-STUB_SLOT_SIZE, %r15
.Lnotify:
    movl $STUB_NOTIFY_CALL, %eax
    movq %r13, %rdi
    movq %r14, %rsi
    movq %r12, %rdx
    syscall
.Lobey:
    cmpq $STUB_COMMAND_BATCH, %rax
    je .Lbatch
    cmpq $STUB_COMMAND_LEAVE_SETUP, %rax
    je .Lleave_setup
    testq %rax, %rax
    jns .Lresume
    xorl %r12d, %r12d           // Nobody listens any more: a frame that cannot be read is the end.
.Lresume:
    movq %r12, %rsp
    movl $15, %eax              // rt_sigreturn: its frame begins at the ucontext.
    syscall
    ud2

.Lreport_by_mailbox:
    leaq STUB_SLOT_MAILBOX(%r15), %rcx
    cmpq $0, MAILBOX_POLLED(%rcx)
    je .Lnotify
    cmpl $31, %r13d             // The sentry need not fetch the frame of a SIGSYS.
    jne .Lpost_event
    movq %rcx, %rdx
    leaq MAILBOX_XSTATE(%rcx), %rdi
    movq %r12, %rsi
    leaq STUB_SLOT_USED(%r15), %rcx
    subq %r12, %rcx
    cmpq $MAILBOX_FRAME_SIZE, %rcx
    ja .Lframe_copied
    rep movsb
.Lframe_copied:
    movq %rdx, %rcx
.Lpost_event:
    leaq MAILBOX_EVENT(%rcx), %rdx
    movq %r13, MAILBOX_ARGS(%rdx)
    movq %r14, MAILBOX_ARGS+8(%rdx)
    movq %r12, MAILBOX_ARGS+16(%rdx)
    movq MAILBOX_PATIENCE(%rcx), %rax
    movq $MAILBOX_POSTED, MAILBOX_STATE(%rdx)
    AWAIT_ANSWER box=%rdx, page=%rcx, answered=.Levent_answered, withdrawn=.Lnotify
.Lawait_event_asleep:
    movl $STUB_NOTIFY_CALL, %eax
    movl $STUB_EVENT_MAILBOX, %edi
    syscall
    testl $MAILBOX_DONE, MAILBOX_STATE(%rdx)
    jz .Lawait_event_asleep
.Levent_answered:
    movq MAILBOX_VALUE(%rdx), %rax
    movq $0, MAILBOX_STATE(%rdx)
    cmpq $STUB_COMMAND_NOTIFY, %rax
    je .Lnotify
    cmpq $STUB_COMMAND_STORE, %rax
    jne .Lobey
    leaq (STUB_SLOT_MAILBOX + MAILBOX_CONTEXT)(%r15), %rsi
    leaq UCONTEXT_REGISTERS(%r12), %rdi
    movl $(MAILBOX_CONTEXT_SIZE / 8), %ecx
    rep movsq
    jmp .Lresume

.Lleave_setup:
    movabsq $(STUB_CODE + (.Lclose_setup - sandbox_stub_begin)), %rax
    jmp *%rax
.Lclose_setup:                  // Only ever reached in the copy at STUB_CODE.
    movabsq $STUB_SETUP, %rdi   // Not munmap: a hole could be filled by the application, with code.
    movl $STUB_CODE_SIZE, %esi
    xorl %edx, %edx             // PROT_NONE
    movl $10, %eax              // mprotect
    syscall
    testq %rax, %rax
    jz .Lresume
    ud2

// struct Batch at %r15: count, then {nr, six arguments, mailbox} each. The sixth argument of
// clone, which Linux does not use, is the child's frame.
    .globl sandbox_stub_batch
    .hidden sandbox_stub_batch
sandbox_stub_batch:
.Lbatch:
    movq 0(%r15), %rbp
    leaq 64(%r15), %rbx
    xorl %r14d, %r14d
.Lnext_call:
    testq %rbp, %rbp
    jz .Lbatch_done
    movq 0(%rbx), %rax
    movq 8(%rbx), %rdi
    movq 16(%rbx), %rsi
    movq 24(%rbx), %rdx
    movq 32(%rbx), %r10
    movq 40(%rbx), %r8
    movq 48(%rbx), %r9
    movq 56(%rbx), %r14
    movq %rax, %r13
    cmpq $STUB_STORE_CALL, %rax
    je .Lstore
    syscall
    cmpq $56, %r13              // clone: the child goes its own way.
    jne .Lparent
    testq %rax, %rax
    jz .Lchild
.Lparent:
    movq %rax, %r14
    cmpq $-4095, %rax           // Stop at the first failure.
    jae .Lbatch_done
    addq $64, %rbx
    decq %rbp
    jmp .Lnext_call
.Lstore:
    xorl %eax, %eax
    cmpq $1, %rdx
    je .Lstore_byte
    movw %si, (%rdi)
    jmp .Lparent
.Lstore_byte:
    movb %sil, (%rdi)
    jmp .Lparent
.Lbatch_done:
    movl $STUB_EVENT_BATCH_DONE, %r13d
    jmp .Lreport

// A new thread stands on its own slot; a forked process on its copy of its parent's.
.Lchild:
    movq %r9, %r12
    movl %r14d, %ebx
    andq $~STUB_CHILD_RUNS, %r14
    movq %rsp, %r15
    andq $-STUB_SLOT_SIZE, %r15
    movq $0, STUB_SLOT_HAS_MAILBOX(%r15)
    testq %r14, %r14            // The parent's mailbox is not the child's.
    jz .Lno_mailbox
    xorl %eax, %eax
    cmpq $STUB_MAILBOX_OF_PARENT, %r14
    je .Lleave_mailbox
    movq %r14, %rax
    movq %r14, STUB_SLOT_HAS_MAILBOX(%r15)
.Lleave_mailbox:
    wrgsbase %rax
.Lno_mailbox:
    testl $STUB_CHILD_RUNS, %ebx
    jnz .Lresume                // Its frame sets the alternate stack as well.
    subq $32, %rsp
    leaq STUB_SLOT_STACK(%r15), %rax
    movq %rax, 0(%rsp)          // ss_sp
    movq $0, 8(%rsp)            // ss_flags
    movq $(STUB_SLOT_USED - STUB_SLOT_STACK), 16(%rsp)
    movl $131, %eax             // sigaltstack; refused in a forked child, which has it already.
    movq %rsp, %rdi
    xorl %esi, %esi
    syscall
    addq $32, %rsp
    movl $STUB_EVENT_CHILD, %r13d
    xorl %r14d, %r14d
    jmp .Lreport

// The zygote: %rdi control socket, %rsi 1 when stubs report by themselves and 0 when they wait to
// be traced, %rdx and %rcx the vDSO's range, to be kept, %r8 and %r9 the ranges of descriptors to
// close (pairs) and their number, %r10 a /proc or -1. Runs in the copy at STUB_SETUP.
    .globl sandbox_stub_zygote
    .hidden sandbox_stub_zygote
sandbox_stub_zygote:
    movq %rdi, %r12
    movq %rsi, %r13
    movq %r10, %r14
    movq %rdx, %rbx
    movq %rcx, %rbp
    xorl %edi, %edi             // Everything below the vDSO …
    movq %rbx, %rsi
    movl $11, %eax
    syscall
    movq %rbp, %rdi             // … and between it and the stub.
    movabsq $STUB_REGION_START, %rsi
    subq %rbp, %rsi
    jz .Lfiles
    movl $11, %eax
    syscall
.Lfiles:
    movq %r8, %rbx
    movq %r9, %rbp
.Lclose_range:
    movq 0(%rbx), %rdi          // close_range(first, last, CLOSE_RANGE_UNSHARE)
    movq 8(%rbx), %rsi
    movl $2, %edx
    movl $436, %eax
    syscall
    addq $16, %rbx
    decq %rbp
    jnz .Lclose_range
    xorl %esi, %esi             // arch_prctl(ARCH_SET_FS, 0): the sentry's TLS is gone.
    movl $0x1002, %edi
    movl $158, %eax
    syscall
// Requests of 32 bytes: 's' for one stub, 'm' and a path below /proc for a text, 'o' and such a path
// for a descriptor of it, for reading only.
.Lserve:
    movq %rsp, %r15
    subq $64, %rsp
    xorl %eax, %eax             // read(control, request, 32)
    movq %r12, %rdi
    movq %rsp, %rsi
    movl $32, %edx
    syscall
    cmpq $32, %rax
    jne .Lexit
    cmpb $'m', (%rsp)
    je .Ltext
    cmpb $'o', (%rsp)
    je .Lopen
    movl $56, %eax              // clone(CLONE_PARENT | SIGCHLD)
    movl $(0x8000 | 17), %edi
    xorl %esi, %esi
    xorl %edx, %edx
    xorl %r10d, %r10d
    xorl %r8d, %r8d
    syscall
    testq %rax, %rax
    jz .Lfresh
    movq %rax, (%rsp)
    movl $1, %eax               // write(control, the child's pid or an error, 8)
    movq %r12, %rdi
    movq %rsp, %rsi
    movl $8, %edx
    syscall
    movq %r15, %rsp
    jmp .Lserve

// Answers with pieces, each behind its size; 0 or a negative errno ends them.
.Ltext:
    movl $257, %eax             // openat(/proc, path, O_RDONLY)
    movq %r14, %rdi
    leaq 1(%rsp), %rsi
    xorl %edx, %edx
    xorl %r10d, %r10d
    syscall
    movq %rax, %rbx
    movq %rax, %rbp
    testq %rax, %rax
    js .Lpiece
.Lread:
    xorl %eax, %eax             // read(file, buffer below the stack pointer)
    movq %rbx, %rdi
    leaq -0x2000(%rsp), %rsi
    movl $0x2000, %edx
    syscall
    movq %rax, %rbp
.Lpiece:
    movq %rbp, 32(%rsp)
    movl $1, %eax               // write(control, size, 8)
    movq %r12, %rdi
    leaq 32(%rsp), %rsi
    movl $8, %edx
    syscall
    testq %rbp, %rbp
    jle .Ltext_done
    movl $1, %eax               // write(control, piece, size)
    movq %r12, %rdi
    leaq -0x2000(%rsp), %rsi
    movq %rbp, %rdx
    syscall
    jmp .Lread
.Ltext_done:
    movl $3, %eax               // close(file)
    movq %rbx, %rdi
    syscall
    movq %r15, %rsp
    jmp .Lserve

// Answers with eight bytes, 0 or a negative errno, and the descriptor beside them.
.Lopen:
    movl $257, %eax             // openat(/proc, path, O_RDONLY | O_CLOEXEC)
    movq %r14, %rdi
    leaq 1(%rsp), %rsi
    movl $0x80000, %edx
    xorl %r10d, %r10d
    syscall
    movq %rax, %rbx
    xorl %ecx, %ecx             // What is told: an error, or 0.
    xorl %edx, %edx             // The size of the control data: none, or one descriptor's.
    testq %rax, %rax
    cmovs %rax, %rcx
    js .Lanswer
    movl $24, %edx
.Lanswer:
    movq %rcx, -8(%rsp)
    movq $20, -32(%rsp)         // struct cmsghdr: cmsg_len
    movl $1, -24(%rsp)          // cmsg_level = SOL_SOCKET
    movl $1, -20(%rsp)          // cmsg_type = SCM_RIGHTS
    movq %rbx, -16(%rsp)
    leaq -8(%rsp), %rax
    movq %rax, -48(%rsp)        // struct iovec
    movq $8, -40(%rsp)
    movq $0, -104(%rsp)         // struct msghdr: msg_name
    movq $0, -96(%rsp)          // msg_namelen
    leaq -48(%rsp), %rax
    movq %rax, -88(%rsp)        // msg_iov
    movq $1, -80(%rsp)          // msg_iovlen
    leaq -32(%rsp), %rax
    movq %rax, -72(%rsp)        // msg_control
    movq %rdx, -64(%rsp)        // msg_controllen
    movq $0, -56(%rsp)          // msg_flags
    movl $46, %eax              // sendmsg(control, message, 0)
    movq %r12, %rdi
    leaq -104(%rsp), %rsi
    xorl %edx, %edx
    syscall
    testq %rbx, %rbx
    js .Lopen_done
    movl $3, %eax               // close(descriptor)
    movq %rbx, %rdi
    syscall
.Lopen_done:
    movq %r15, %rsp
    jmp .Lserve

.Lexit:
    movl $231, %eax
    xorl %edi, %edi
    syscall
    ud2

.Lfresh:
    movl $3, %eax               // close(control), close(/proc)
    movq %r12, %rdi
    syscall
    movl $3, %eax
    movq %r14, %rdi
    syscall
    movq %rsp, %r15
    andq $-STUB_SLOT_SIZE, %r15
    leaq STUB_SLOT_FRAME(%r15), %r12
    testq %r13, %r13
    jz .Lwait_for_tracer
    movl $STUB_EVENT_PARKED, %r13d
    xorl %r14d, %r14d
    jmp .Lreport

// Without memory accesses: other threads could write to them.
    .globl sandbox_stub_wait_for_tracer
    .hidden sandbox_stub_wait_for_tracer
sandbox_stub_wait_for_tracer:
.Lwait_for_tracer:
    movl $34, %eax              // pause
    syscall
    jmp .Lwait_for_tracer

// One call with the registers as they are, for the tracer.
    .globl sandbox_stub_syscall
    .hidden sandbox_stub_syscall
sandbox_stub_syscall:
    syscall
    jmp .Lwait_for_tracer

#include "platform/native/fast_path.S"

    .globl sandbox_stub_end
    .hidden sandbox_stub_end
sandbox_stub_end:
    .section .note.GNU-stack, "", @progbits
