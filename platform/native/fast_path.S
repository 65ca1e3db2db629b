// Where patched call sites go (layout.h). Part of stub.S.
//
// The application has lost nothing when it gets here but what the syscall instruction may change:
// %rax, %rcx and %r11, which points to the site's record. There is no stack to use (the red zone
// below it may be in use) and the flags are the application's, which is why tests are made with
// jrcxz. The mailbox is found through the segment base of %gs: where the application uses that for
// itself, it lies outside the stub region, and the call is made in the ordinary way. A thread that is
// interrupted here is put back in front of its call, or behind it, by platform/systrap/fast_path.cc,
// which knows the labels:
//   up to `posted`, and from `slow` on    the call has not been made, flags are untouched; a number
//                                         that the record does not know is in %rax, and from
//                                         `numbered` on in the mailbox
//   from `carry` to `out`                 flags, %rdi, %rsi, %rdx and %r10 are in the mailbox; its
//                                         state tells
//   at `any_done`                         the call is answered, %r11 is its record
//   at `out`                              the call has been made, %r11 is where it returns to
//
// Small reads and writes take their data along (MAILBOX_DATA), and calls with paths the path; what comes
// back goes where the answer says. Where the memory is not there, or not
// writable, the call is made in the ordinary way, which knows what to answer: a fault between `carry`
// and `out` is never the application's.
//
// The error of a call with a path may be known (platform/api/known_errors.h); it is told whether somebody
// looks at the mailbox or not. Until it is told the call has not been made.

// %rdx bytes from \from_base + \from to \to_base + \to; %rax, %rdi and %r11 are lost. The direction
// flag is the application's, so that there is no `rep movs`.
.macro COPY from, from_base, to, to_base
    xorl %r11d, %r11d
    leaq -32(%rdx), %rax
.Lblocks\@:
    cmpq %rax, %r11
    jg .Lbytes\@
    movq \from(\from_base, %r11), %rdi
    movq %rdi, \to(\to_base, %r11)
    movq \from+8(\from_base, %r11), %rdi
    movq %rdi, \to+8(\to_base, %r11)
    movq \from+16(\from_base, %r11), %rdi
    movq %rdi, \to+16(\to_base, %r11)
    movq \from+24(\from_base, %r11), %rdi
    movq %rdi, \to+24(\to_base, %r11)
    addq $32, %r11
    jmp .Lblocks\@
.Lbytes\@:
    cmpq %rdx, %r11
    jae .Lcopied\@
    movb \from(\from_base, %r11), %al
    movb %al, \to(\to_base, %r11)
    incq %r11
    jmp .Lbytes\@
.Lcopied\@:
.endm

    .globl sandbox_stub_fast_carry
    .hidden sandbox_stub_fast_carry
    .globl sandbox_stub_fast_local, sandbox_stub_fast_call, sandbox_stub_fast_posted
    .globl sandbox_stub_fast_any, sandbox_stub_fast_any_done, sandbox_stub_fast_numbered
    .globl sandbox_stub_fast_out, sandbox_stub_fast_slow, sandbox_stub_fast_end
    .hidden sandbox_stub_fast_any, sandbox_stub_fast_any_done, sandbox_stub_fast_numbered
    .hidden sandbox_stub_fast_local, sandbox_stub_fast_call, sandbox_stub_fast_posted
    .hidden sandbox_stub_fast_out, sandbox_stub_fast_slow, sandbox_stub_fast_end

// The number is in %rax, which there is nowhere to save until it is in the mailbox.
    .balign 64
sandbox_stub_fast_any:
    rdgsbase %rcx
    rorxq $29, %rcx, %rcx
    leal -0x3ffff(%rcx), %ecx
    jrcxz .Lany_mailbox
.Lany_slow:
    jmp *SITE_TAIL(%r11)
.Lany_mailbox:
    movl %eax, %ecx
    rorxq $SITE_CALLS_BITS, %rcx, %rcx
    movl %ecx, %ecx             // What is left is not 0 if the number is beyond the table.
    jrcxz .Lany_known
    jmp *SITE_TAIL(%r11)
.Lany_known:
    movl %eax, %eax
    movzbl SITE_TABLE + SITE_CALLS(%rax), %ecx
    jrcxz .Lany_slow
    leal -SITE_CALL_MASK(%rcx), %ecx
    jrcxz .Lany_mask
    movzbl SITE_TABLE + SITE_CALLS(%rax), %ecx
    leal -SITE_CALL_ACTION(%rcx), %ecx
    jrcxz .Lany_action
    movzbl SITE_TABLE + SITE_CALLS(%rax), %ecx
    leal -1(%rcx), %ecx
    jrcxz .Lany_call
    movq %gs:(MAILBOX_LOCAL - 8)(,%rcx,8), %rcx
    jrcxz .Lany_call
.Lany_answer:
    leaq -1(%rcx), %rax
sandbox_stub_fast_any_done:
    jmp *SITE_RETURN(%r11)
.Lany_mask:
    jmp sandbox_stub_fast_mask
.Lany_action:
    jmp sandbox_stub_fast_action
.Lany_call:
    movq %gs:MAILBOX_POLLED, %rcx
    jrcxz .Lany_unwatched
.Lany_number:
    movq %rax, MAILBOX_NUMBER(%rcx)
    jmp .Lnumbered
.Lany_unwatched:
    movq SITE_TABLE + SITE_ERRORS_ANY, %rcx
    jrcxz .Lany_slow
    rdgsbase %rcx
    jmp .Lany_number

// set_robust_list(2): the sentry looks for the head in the mailbox. Who is interrupted here does it
// once more, which changes nothing.
    .globl sandbox_stub_fast_robust
    .hidden sandbox_stub_fast_robust
    .balign 64
sandbox_stub_fast_robust:
    movl $273, %eax
    leaq -24(%rsi), %rcx        // sizeof(struct robust_list_head)
    jrcxz .Lrobust_size
.Lrobust_slow:
    jmp *SITE_TAIL(%r11)
.Lrobust_size:
    rdgsbase %rcx
    rorxq $29, %rcx, %rcx
    leal -0x3ffff(%rcx), %ecx
    jrcxz .Lrobust_mailbox
    jmp *SITE_TAIL(%r11)
.Lrobust_mailbox:
    movq %gs:MAILBOX_SIGNAL_PENDING, %rcx
    jrcxz .Lrobust_alone
    jmp *SITE_TAIL(%r11)
.Lrobust_alone:
    movq %rdi, %gs:MAILBOX_ROBUST_LIST
    movl $1, %ecx
    jmp .Lany_answer

// Answers from the mailbox if it can.
    .balign 64
sandbox_stub_fast_local:
    rdgsbase %rcx
    rorxq $29, %rcx, %rax       // The stub region is the last 2^29 bytes below 2^47.
    leal -0x3ffff(%rax), %ecx
    jrcxz .Llocal
    movl SITE_NUMBER(%r11), %eax
    jmp *SITE_TAIL(%r11)
.Llocal:
    rdgsbase %rcx
    movq SITE_LOCAL(%r11), %rax
    movq (%rcx,%rax), %rcx
    jrcxz .Lfast_call
    leaq -1(%rcx), %rax
    jmp *SITE_RETURN(%r11)

    .balign 64
sandbox_stub_fast_call:
.Lfast_call:
    rdgsbase %rcx
    rorxq $29, %rcx, %rax
    leal -0x3ffff(%rax), %ecx
    jrcxz .Lmailbox
.Lnobody_looks:
    jmp .Lfast_slow
.Lunwatched:
    movq SITE_TABLE + SITE_ERRORS_ANY, %rcx
    jrcxz .Lnobody_looks
    rdgsbase %rcx
    jmp .Lwatched
.Lmailbox:
    rdgsbase %rcx
    movq MAILBOX_POLLED(%rcx), %rcx
    jrcxz .Lunwatched
.Lwatched:
    movl SITE_NUMBER(%r11), %eax
    movq %rax, MAILBOX_NUMBER(%rcx)
sandbox_stub_fast_numbered:
.Lnumbered:
    lahf
    seto %al
    movq %rax, MAILBOX_FLAGS(%rcx)
    movq SITE_RETURN(%r11), %rax
    movq %rax, MAILBOX_RETURN(%rcx)
    movq %r11, MAILBOX_RECORD(%rcx)
    movq %rdi, MAILBOX_ARGS(%rcx)
    movq %rsi, MAILBOX_ARGS+8(%rcx)
    movq %rdx, MAILBOX_ARGS+16(%rcx)
    movq %r10, MAILBOX_ARGS+24(%rcx)
    movq %r8, MAILBOX_ARGS+32(%rcx)
    movq %r9, MAILBOX_ARGS+40(%rcx)
sandbox_stub_fast_carry:
    movq $0, MAILBOX_CARRIED(%rcx)
    movq MAILBOX_NUMBER(%rcx), %rax
    cmpq $0, MAILBOX_POLLED(%rcx)
    je .Lcarry_path
    cmpq $45, %rax              // recvfrom
    ja .Lcarry_path
    movabsq $CARRY_CALLS, %r11
    btq %rax, %r11
    jnc .Lcarry_path
    movabsq $CARRY_WRITES, %r11
    btq %rax, %r11
    jc .Lcarry_in
    movq %rdx, %rax
// %rax bytes may be written to %rsi, of which the first are looked at.
.Lcarry_out:
    movl $MAILBOX_DATA_SIZE, %r11d
    cmpq %r11, %rax
    cmovbq %rax, %r11
    subq $1, %r11
    jb .Lpost
    lock orb $0, (%rsi)         // No more than two pages.
    lock orb $0, (%rsi, %r11)
    movq $CARRY_OUT, MAILBOX_CARRIED(%rcx)
    jmp .Lpost
.Lcarry_in:
    leaq -1(%rdx), %r11
    cmpq $(MAILBOX_DATA_SIZE - 1), %r11
    ja .Lpost
    COPY from=0, from_base=%rsi, to=MAILBOX_DATA, to_base=%rcx
    movq MAILBOX_ARGS(%rcx), %rdi
    movq $CARRY_IN, MAILBOX_CARRIED(%rcx)
    jmp .Lpost
.Lcarry_others:
    cmpq $0, MAILBOX_POLLED(%rcx)
    je .Lwithdrawn
    cmpl $233, %eax             // epoll_ctl
    je .Lcarry_event
    movl %eax, %r11d
    movq %rdx, %rax
    cmpl $217, %r11d            // getdents64
    je .Lcarry_out
    leal (%rdx, %rdx, 2), %eax
    shll $2, %eax               // Of struct epoll_event, which is packed.
    cmpl $CARRY_MOST_EVENTS, %edx
    ja .Lpost
    cmpl $232, %r11d            // epoll_wait
    je .Lcarry_out
    cmpl $281, %r11d            // epoll_pwait
    je .Lcarry_out
    jmp .Lpost
.Lcarry_event:
    cmpq $4095, %r10            // Where there is none.
    jbe .Lpost
    movq (%r10), %r11
    movq %r11, MAILBOX_DATA(%rcx)
    movl 8(%r10), %r11d
    movl %r11d, MAILBOX_DATA+8(%rcx)
    movq $CARRY_IN, MAILBOX_CARRIED(%rcx)
    jmp .Lpost
.Lcarry_path:
    btq %rax, SITE_TABLE + SITE_PATH_FIRST
    jc .Lpath
    btq %rax, SITE_TABLE + SITE_PATH_SECOND
    jnc .Lcarry_others
    movq %rsi, %rdi
.Lpath:
    cmpq $4095, %rdi            // NULL means something to some, and is a fault to the others.
    jbe .Lno_path
    xorl %r11d, %r11d
.Lpath_byte:
    movb (%rdi, %r11), %al
    movb %al, MAILBOX_DATA(%rcx, %r11)
    incq %r11
    testb %al, %al
    jz .Lpath_ends
    cmpq $CARRY_PATH_SIZE, %r11
    jb .Lpath_byte
    jmp .Lno_path
.Lpath_ends:
    movq $0, MAILBOX_DATA(%rcx, %r11)
    movq %r11, %rax
    shlq $CARRY_SIZE_SHIFT, %rax
    orq $CARRY_PATH, %rax
    movq %rax, MAILBOX_CARRIED(%rcx)
    cmpq $0, SITE_TABLE + SITE_ERRORS_ANY
    je .Lno_path
    cmpq $ERROR_PATH_SIZE, %r11
    ja .Lno_path
    movl MAILBOX_NUMBER(%rcx), %eax
    leaq 7(%r11), %rdi
    andq $-8, %rdi
.Lhash_word:
    subq $8, %rdi
    crc32q MAILBOX_DATA(%rcx, %rdi), %rax
    jnz .Lhash_word             // As the subtraction has left it.
    movl %eax, %edi
    andl $((1 << SITE_ERRORS_BITS) - 1), %edi
    btl %edi, SITE_TABLE + SITE_ERRORS_KEPT
    jnc .Lno_path
    shll $ERROR_RECORD_BITS, %edi
    movq SITE_ERRORS + ERROR_VERSION(%rdi), %rax
    movq %rax, MAILBOX_TO(%rcx)
    testb $1, %al
    jnz .Lno_path
    movq SITE_ERRORS + ERROR_NUMBER(%rdi), %rax
    cmpq MAILBOX_NUMBER(%rcx), %rax
    jne .Lno_path
    cmpq SITE_ERRORS + ERROR_SIZE(%rdi), %r11
    jne .Lno_path
    movq %rsi, %rax
    xorq SITE_ERRORS + ERROR_ARGS(%rdi), %rax
    testq SITE_ERRORS + ERROR_MASKS(%rdi), %rax
    jnz .Lno_path
    movq %rdx, %rax
    xorq SITE_ERRORS + ERROR_ARGS + 8(%rdi), %rax
    testq SITE_ERRORS + ERROR_MASKS + 8(%rdi), %rax
    jnz .Lno_path
    movq %r10, %rax
    xorq SITE_ERRORS + ERROR_ARGS + 16(%rdi), %rax
    testq SITE_ERRORS + ERROR_MASKS + 16(%rdi), %rax
    jnz .Lno_path
    addq $7, %r11
    andq $-8, %r11
.Lknown_word:
    movq MAILBOX_DATA - 8(%rcx, %r11), %rax
    addq %rdi, %r11
    cmpq SITE_ERRORS + ERROR_PATH - 8(%r11), %rax
    jne .Lno_path
    subq %rdi, %r11
    subq $8, %r11
    jnz .Lknown_word
    movq SITE_ERRORS + ERROR_VALUE(%rdi), %rax
    movq %rax, MAILBOX_VALUE(%rcx)
    movq SITE_ERRORS + ERROR_VERSION(%rdi), %rax
    cmpq MAILBOX_TO(%rcx), %rax
    jne .Lno_path
    movq SITE_ERRORS + ERROR_GENERATION(%rdi), %rax
    cmpq SITE_TABLE + SITE_ERRORS_GENERATION, %rax
    jne .Lno_path
    movq MAILBOX_ARGS(%rcx), %rdi
    jmp .Ltell
.Lno_path:
    movq MAILBOX_ARGS(%rcx), %rdi
    cmpq $0, MAILBOX_POLLED(%rcx)
    je .Lwithdrawn
.Lpost:
    movq MAILBOX_PATIENCE(%rcx), %rax
    movq $MAILBOX_POSTED, MAILBOX_STATE(%rcx)
sandbox_stub_fast_posted:
    AWAIT_ANSWER box=%rcx, page=%rcx, answered=.Lanswered, withdrawn=.Lwithdrawn
.Lsleep:
    testl $MAILBOX_ASLEEP, MAILBOX_STATE(%rcx)
    jz .Lsleep_in_notification
    leaq MAILBOX_STATE(%rcx), %rdi
    xorl %esi, %esi             // FUTEX_WAIT
    movl $MAILBOX_ASLEEP, %edx
    xorl %r10d, %r10d
    movl $202, %eax             // futex
    syscall
    jmp .Lawake
.Lsleep_in_notification:
    movl $STUB_NOTIFY_CALL, %eax
    movl $STUB_EVENT_MAILBOX, %edi
    syscall
.Lawake:
    rdgsbase %rcx
    movq MAILBOX_ARGS(%rcx), %rdi
    movq MAILBOX_ARGS+8(%rcx), %rsi
    movq MAILBOX_ARGS+16(%rcx), %rdx
    movq MAILBOX_ARGS+24(%rcx), %r10
    testl $MAILBOX_DONE, MAILBOX_STATE(%rcx)
    jz .Lsleep
    jmp .Lanswered

.Lwithdrawn:
    movq MAILBOX_RECORD(%rcx), %r11
    movl MAILBOX_FLAGS(%rcx), %eax
    addb $0x7f, %al             // Overflows if it was set.
    sahf
    movl MAILBOX_NUMBER(%rcx), %eax
    jmp *SITE_TAIL(%r11)

.Lnot_just_an_answer:
    testl $MAILBOX_REFUSED, MAILBOX_STATE(%rcx)
    jz sandbox_stub_fast_self
    movq $0, MAILBOX_STATE(%rcx)
    jmp .Lwithdrawn

.Lanswered:
    cmpq $0, MAILBOX_CARRIED(%rcx)
    je .Lnothing_carried
    movq MAILBOX_CARRIED(%rcx), %rdx
    movq MAILBOX_TO(%rcx), %rsi
    COPY from=MAILBOX_DATA, from_base=%rcx, to=0, to_base=%rsi
    movq MAILBOX_ARGS(%rcx), %rdi
    movq MAILBOX_ARGS+8(%rcx), %rsi
    movq MAILBOX_ARGS+16(%rcx), %rdx
    movq $0, MAILBOX_CARRIED(%rcx)
.Lnothing_carried:
    testl $(MAILBOX_REFUSED | MAILBOX_INTERRUPT), MAILBOX_STATE(%rcx)
    jnz .Lnot_just_an_answer
.Ltell:
    movq MAILBOX_RETURN(%rcx), %r11
    movl MAILBOX_FLAGS(%rcx), %eax
    addb $0x7f, %al
    sahf
    movq MAILBOX_VALUE(%rcx), %rax
    movq $0, MAILBOX_STATE(%rcx)
sandbox_stub_fast_out:
    jmp *%r11

sandbox_stub_fast_slow:
.Lfast_slow:
    movl SITE_NUMBER(%r11), %eax
    jmp *SITE_TAIL(%r11)
sandbox_stub_fast_end:

// Of calls about signals that the thread makes itself. BEGIN_ALONE asks the sentry while something is
// pending, or in the ordinary way where there is no mailbox; else %rcx is the mailbox, which has the
// flags and where the call returns to, so that all of %rax, %r11 and the flags may be used.
    .macro BEGIN_ALONE nr
    movl $\nr, %eax
    rdgsbase %rcx
    rorxq $29, %rcx, %rcx
    leal -0x3ffff(%rcx), %ecx
    jrcxz .Lalone_mailbox\@
    jmp *SITE_TAIL(%r11)
.Lalone_mailbox\@:
    movq %gs:MAILBOX_SIGNAL_PENDING, %rcx
    jrcxz .Lalone_begin\@
    jmp .Lany_call
.Lalone_begin\@:
    rdgsbase %rcx
    lahf
    seto %al
    movq %rax, MAILBOX_FLAGS(%rcx)
    movq SITE_RETURN(%r11), %rax
    movq %rax, MAILBOX_RETURN(%rcx)
    movq %r11, MAILBOX_RECORD(%rcx)
    .endm

    .macro RESTORE_FLAGS
    movl MAILBOX_FLAGS(%rcx), %eax
    addb $0x7f, %al
    sahf
    .endm

// The sentry makes the call after all.
    .macro ASK_INSTEAD nr
    movq MAILBOX_RECORD(%rcx), %r11
    RESTORE_FLAGS
    movl $\nr, %eax
    jmp .Lany_call
    .endm

// The call has succeeded; %r11 is where it returns to.
    .macro END_ALONE
    RESTORE_FLAGS
    movq MAILBOX_RETURN(%rcx), %r11
    movl $0, %eax
    .endm

// rt_sigprocmask(2) of a thread for which no signal waits. Faults are nobody's signal here, either:
// up to `masked` the call is made in the ordinary way, behind it the answer is EFAULT, as on Linux.
//   up to `mask_saved`                       as up to `posted` above
//   up to `masked`, `mask_undone` to `tell`  the call has not been made, flags are in the mailbox
//   `masked` to `undone`, `tell` to `told`   it has, the old mask is in %r11 and still to be told
//   from `told` to `out`                     it has; at `out` %r11 is where it returns to
    .globl sandbox_stub_fast_mask, sandbox_stub_fast_mask_saved, sandbox_stub_fast_masked
    .globl sandbox_stub_fast_mask_undone, sandbox_stub_fast_mask_tell, sandbox_stub_fast_mask_told
    .globl sandbox_stub_fast_mask_out, sandbox_stub_fast_mask_end
    .hidden sandbox_stub_fast_mask, sandbox_stub_fast_mask_saved, sandbox_stub_fast_masked
    .hidden sandbox_stub_fast_mask_undone, sandbox_stub_fast_mask_tell, sandbox_stub_fast_mask_told
    .hidden sandbox_stub_fast_mask_out, sandbox_stub_fast_mask_end
    .balign 64
sandbox_stub_fast_mask:
    BEGIN_ALONE 14
sandbox_stub_fast_mask_saved:
    cmpq $8, %r10
    jne .Lmask_back
    testq %rsi, %rsi
    jz .Lmask_back
    cmpl $2, %edi
    ja .Lmask_back
    movq (%rsi), %r11
    testq %rdx, %rdx
    jz .Lmask_change
    lock orb $0, (%rdx)         // No more than two pages.
    lock orb $0, 7(%rdx)
.Lmask_change:
    movq MAILBOX_SIGNAL_MASK(%rcx), %rax
    cmpl $1, %edi
    ja .Lmask_set               // SIG_SETMASK
    je .Lmask_unblock
    orq %rax, %r11
    jmp .Lmask_set
.Lmask_unblock:
    notq %r11
    andq %rax, %r11
.Lmask_set:
    andq $~(1 << 8 | 1 << 18), %r11  // SIGKILL, SIGSTOP
    xchgq %r11, MAILBOX_SIGNAL_MASK(%rcx)
sandbox_stub_fast_masked:
    cmpq $0, MAILBOX_SIGNAL_PENDING(%rcx)
    je .Lmask_tell
    xchgq %r11, MAILBOX_SIGNAL_MASK(%rcx)  // One has come: the sentry decides who takes it.
sandbox_stub_fast_mask_undone:
.Lmask_back:
    ASK_INSTEAD 14
sandbox_stub_fast_mask_tell:
.Lmask_tell:
    testq %rdx, %rdx
    jz .Lmask_told
    movq %r11, (%rdx)
sandbox_stub_fast_mask_told:
.Lmask_told:
    END_ALONE
sandbox_stub_fast_mask_out:
    jmp *%r11
sandbox_stub_fast_mask_end:

// rt_sigaction(2) that asks for the action of a signal which nobody has set yet. Whoever is
// interrupted makes the call in the ordinary way, as often as it takes, since it changes nothing.
//   up to `action_saved`               as up to `posted` above
//   from `action_saved` to `action_out`  the call has not been made, flags are in the mailbox
//   at `action_out`                    it has, %r11 is where it returns to
    .globl sandbox_stub_fast_action, sandbox_stub_fast_action_saved
    .globl sandbox_stub_fast_action_out, sandbox_stub_fast_action_end
    .hidden sandbox_stub_fast_action, sandbox_stub_fast_action_saved
    .hidden sandbox_stub_fast_action_out, sandbox_stub_fast_action_end
    .balign 64
sandbox_stub_fast_action:
    BEGIN_ALONE 13
sandbox_stub_fast_action_saved:
    cmpq $8, %r10
    jne .Laction_back
    testq %rsi, %rsi
    jnz .Laction_back
    leal -1(%rdi), %eax
    cmpl $63, %eax
    ja .Laction_back
    btq %rax, MAILBOX_SIGNAL_UNTOUCHED(%rcx)
    jnc .Laction_back
    testq %rdx, %rdx
    jz .Laction_told
    movq $0, (%rdx)
    movq $0, 8(%rdx)
    movq $0, 16(%rdx)
    movq $0, 24(%rdx)
.Laction_told:
    END_ALONE
sandbox_stub_fast_action_out:
    jmp *%r11
.Laction_back:
    ASK_INSTEAD 13
sandbox_stub_fast_action_end:

// The call is done and an interrupt is due: what the host does for a signal, without one. The
// application's registers stay where they are, all but %rax, %rcx, %r11 and, for a moment, %rdx, until
// there are new ones.
    .globl sandbox_stub_fast_self, sandbox_stub_fast_self_resume, sandbox_stub_fast_self_end
    .hidden sandbox_stub_fast_self, sandbox_stub_fast_self_resume, sandbox_stub_fast_self_end
sandbox_stub_fast_self:
    leaq MAILBOX_CONTEXT(%rcx), %r11
    movq %r8, CONTEXT_R8(%r11)
    movq %r9, CONTEXT_R9(%r11)
    movq %r10, CONTEXT_R10(%r11)
    movq $0, CONTEXT_R11(%r11)
    movq %r12, CONTEXT_R12(%r11)
    movq %r13, CONTEXT_R13(%r11)
    movq %r14, CONTEXT_R14(%r11)
    movq %r15, CONTEXT_R15(%r11)
    movq %rdi, CONTEXT_RDI(%r11)
    movq %rsi, CONTEXT_RSI(%r11)
    movq %rbp, CONTEXT_RBP(%r11)
    movq %rbx, CONTEXT_RBX(%r11)
    movq %rdx, CONTEXT_RDX(%r11)
    movq %rsp, CONTEXT_RSP(%r11)
    movq $0, CONTEXT_RCX(%r11)  // Not what the host makes it: see IsInterruptedWait.
    movq MAILBOX_RETURN(%rcx), %rax
    movq %rax, CONTEXT_RIP(%r11)
    movq MAILBOX_VALUE(%rcx), %rax
    movq %rax, CONTEXT_RAX(%r11)
    movl $~(1 << 18), %eax      // Tile data is too large, and nobody here may use it.
    movl $-1, %edx
    xsave64 MAILBOX_XSTATE(%rcx)
    movq CONTEXT_RDX(%r11), %rdx
    leaq MAILBOX_SELF(%rcx), %r11
    movq $STUB_EVENT_SELF, MAILBOX_ARGS(%r11)
    cmpq $0, MAILBOX_POLLED(%rcx)
    je .Lself_notify
    movq MAILBOX_PATIENCE(%rcx), %rax
    movq $MAILBOX_POSTED, MAILBOX_STATE(%r11)
    AWAIT_ANSWER box=%r11, page=%rcx, answered=.Lself_answered, withdrawn=.Lself_notify
.Lself_sleep:
    movl $STUB_NOTIFY_CALL, %eax
    movl $STUB_EVENT_MAILBOX, %edi
    syscall
    rdgsbase %rcx
    leaq MAILBOX_SELF(%rcx), %r11
    testl $MAILBOX_DONE, MAILBOX_STATE(%r11)
    jz .Lself_sleep
.Lself_answered:
    movq MAILBOX_VALUE(%r11), %rax
    jmp .Lself_obey
.Lself_notify:
    movl $STUB_NOTIFY_CALL, %eax
    movl $STUB_EVENT_SELF, %edi
    syscall
    rdgsbase %rcx
.Lself_obey:
    cmpq $STUB_COMMAND_NOTIFY, %rax
    je .Lself_convert
// New registers, from the context.
sandbox_stub_fast_self_resume:
    movq $0, MAILBOX_STATE(%rcx)
    movq $0, MAILBOX_SELF+MAILBOX_STATE(%rcx)
    leaq -64(%rcx), %rsp        // The slot's own stack ends where the mailbox begins.
    leaq MAILBOX_CONTEXT(%rcx), %rcx
    pushq CONTEXT_FLAGS(%rcx)
    popfq
    movq CONTEXT_R8(%rcx), %r8
    movq CONTEXT_R9(%rcx), %r9
    movq CONTEXT_R10(%rcx), %r10
    movq CONTEXT_R11(%rcx), %r11
    movq CONTEXT_R12(%rcx), %r12
    movq CONTEXT_R13(%rcx), %r13
    movq CONTEXT_R14(%rcx), %r14
    movq CONTEXT_R15(%rcx), %r15
    movq CONTEXT_RDI(%rcx), %rdi
    movq CONTEXT_RSI(%rcx), %rsi
    movq CONTEXT_RBP(%rcx), %rbp
    movq CONTEXT_RBX(%rcx), %rbx
    movq CONTEXT_RDX(%rcx), %rdx
    movq CONTEXT_RAX(%rcx), %rax
    movq CONTEXT_RSP(%rcx), %rsp
    movq CONTEXT_RCX(%rcx), %rcx
    jmp *%gs:(MAILBOX_CONTEXT + CONTEXT_RIP)
sandbox_stub_fast_self_end:

// The sentry needs more than registers: it has made a frame of them.
.Lself_convert:
    movq $0, MAILBOX_STATE(%rcx)
    movq $0, MAILBOX_SELF+MAILBOX_STATE(%rcx)
    leaq -64(%rcx), %rsp
    leaq -STUB_SLOT_MAILBOX(%rcx), %r15
    leaq STUB_SLOT_FRAME(%r15), %r12
    movl $STUB_EVENT_SELF, %r13d
    xorl %r14d, %r14d
    jmp .Lnotify
