// Where patched call sites go (layout.h). Part of stub.S.
//
// The application has lost nothing when it gets here but what the syscall instruction may change:
// %rax, %rcx and %r11, which points to the site's record. There is no stack to use (the red zone
// below it may be in use) and the flags are the application's, which is why tests are made with
// jrcxz. The mailbox is found through the segment base of %gs: where the application uses that for
// itself, it lies outside the stub region, and the call is made in the ordinary way. A thread that is interrupted here is put back in front of its call, or behind it, by
// platform/systrap/fast_path.cc, which knows the labels:
//   up to `posted`, and from `slow` on    the call has not been made, flags are untouched
//   from `posted` to `out`                flags are in the mailbox; its state tells
//   at `out`                              the call has been made, %r11 is where it returns to
    .globl sandbox_stub_fast_local, sandbox_stub_fast_call, sandbox_stub_fast_posted
    .globl sandbox_stub_fast_out, sandbox_stub_fast_slow, sandbox_stub_fast_end
    .hidden sandbox_stub_fast_local, sandbox_stub_fast_call, sandbox_stub_fast_posted
    .hidden sandbox_stub_fast_out, sandbox_stub_fast_slow, sandbox_stub_fast_end

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
.Lmailbox:
    rdgsbase %rcx
    movq MAILBOX_POLLED(%rcx), %rcx
    jrcxz .Lnobody_looks
    lahf
    seto %al
    movq %rax, MAILBOX_FLAGS(%rcx)
    movl SITE_NUMBER(%r11), %eax
    movq %rax, MAILBOX_NUMBER(%rcx)
    movq SITE_RETURN(%r11), %rax
    movq %rax, MAILBOX_RETURN(%rcx)
    movq %r11, MAILBOX_RECORD(%rcx)
    movq %rdi, MAILBOX_ARGS(%rcx)
    movq %rsi, MAILBOX_ARGS+8(%rcx)
    movq %rdx, MAILBOX_ARGS+16(%rcx)
    movq %r10, MAILBOX_ARGS+24(%rcx)
    movq %r8, MAILBOX_ARGS+32(%rcx)
    movq %r9, MAILBOX_ARGS+40(%rcx)
    movq MAILBOX_PATIENCE(%rcx), %rax
    movq $MAILBOX_POSTED, MAILBOX_STATE(%rcx)
sandbox_stub_fast_posted:
.Lspin:
    testl $MAILBOX_DONE, MAILBOX_STATE(%rcx)
    jnz .Lanswered
    pause
    decq %rax
    jnz .Lspin
    lock btrq $MAILBOX_POSTED_BIT, MAILBOX_STATE(%rcx)
    jnc .Ltaken
.Lwithdrawn:
    movq MAILBOX_RECORD(%rcx), %r11
    movl MAILBOX_FLAGS(%rcx), %eax
    addb $0x7f, %al             // Overflows if it was set.
    sahf
    jmp .Lfast_slow

// The sentry is at it, and not done soon: wait for it asleep.
.Ltaken:
    movq MAILBOX_PATIENCE(%rcx), %rax
.Lspin_more:
    testl $MAILBOX_DONE, MAILBOX_STATE(%rcx)
    jnz .Lanswered
    pause
    decq %rax
    jnz .Lspin_more
.Lsleep:
    movl $STUB_NOTIFY_CALL, %eax
    movl $STUB_EVENT_MAILBOX, %edi
    syscall
    rdgsbase %rcx
    movq MAILBOX_ARGS(%rcx), %rdi
    testl $MAILBOX_DONE, MAILBOX_STATE(%rcx)
    jz .Lsleep
    jmp .Lanswered

.Lrefused:
    movq $0, MAILBOX_STATE(%rcx)
    jmp .Lwithdrawn

.Lanswered:
    testl $MAILBOX_REFUSED, MAILBOX_STATE(%rcx)
    jnz .Lrefused
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
