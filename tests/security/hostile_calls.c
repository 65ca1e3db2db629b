// An application that knows how its stub and the sentry talk, and lies: it reports signals that have
// not come, and is then told to make calls in the stub (clone, mmap), which it does not make, or not
// as told, or says to have made with another result. Each attack is a child's, who may die of it;
// others must not notice. Prints a line for each that they do, and "done".
#define _GNU_SOURCE
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "platform/native/layout.h"

enum { POOL_FD = 1021, PAGE = 4096 };

long site_lseek(long fd, long offset, long whence);
asm(".text\n.globl site_lseek\nsite_lseek: mov $8, %eax\n syscall\n ret\n");

// A syscall instruction of the stub's behind which the code goes where a mailbox says, which it finds
// by the base of %gs: with one of our own it comes back.
static uint64_t Site;
static uint64_t Box[512] __attribute__((aligned(PAGE)));
static uint8_t Frame[2 * PAGE] __attribute__((aligned(PAGE)));
static _Atomic uint32_t* Shared;

static int FindSite(void) {
  static const uint8_t kBytes[] = {0x0f, 0x05, 0xf3, 0x48, 0x0f, 0xae, 0xc9};  // rdgsbase %rcx
  const uint8_t* stub = (const uint8_t*)STUB_CODE;
  for (int i = 0; i + (int)sizeof(kBytes) <= STUB_CODE_SIZE; ++i) {
    if (memcmp(stub + i, kBytes, sizeof(kBytes)) == 0) return Site = STUB_CODE + i, 1;
  }
  return 0;
}

static void StubCall(uint64_t nr, const uint64_t* args) {
  Box[MAILBOX_CARRIED / 8] = 0;
  Box[MAILBOX_STATE / 8] = MAILBOX_DONE;
  register uint64_t r10 asm("r10") = args[3];
  register uint64_t r8 asm("r8") = args[4];
  register uint64_t r9 asm("r9") = args[5];
  uint64_t rdi = args[0], rsi = args[1], rdx = args[2];
  asm volatile(
      "wrgsbase %[box]\n"
      "lea 1f(%%rip), %%r11\n"
      "mov %%r11, %c[back](%[box])\n"
      "jmp *%[site]\n"
      "1:\n"
      : "+D"(rdi), "+S"(rsi), "+d"(rdx), "+r"(r10), "+r"(r8), "+r"(r9), "+a"(nr)
      : [box] "b"(Box), [site] "m"(Site), [back] "i"(MAILBOX_RETURN)
      : "rcx", "r11", "memory", "cc");
}

static void Report(uint64_t event, uint64_t argument) {
  const uint64_t args[6] = {event, argument, (uint64_t)Frame};
  StubCall(STUB_NOTIFY_CALL, args);
}

// As if the filter had stopped fork(2). Comes back when the sentry wants a call to be made.
static void ReportFork(void) {
  ucontext_t* context = (ucontext_t*)Frame;
  context->uc_mcontext.gregs[REG_RAX] = SYS_fork;
  Report(SIGSYS, 0);
}

// What it wants.
static const uint64_t* Batch(void) { return (const uint64_t*)(STUB_SLOTS + 64); }

static void Tell(uint32_t value) {
  *Shared = value;
  syscall(SYS_futex, Shared, FUTEX_WAKE, 1, NULL, NULL, 0);
}
static void Hear(uint32_t value) {
  for (uint32_t now; (now = *Shared) != value;) {
    syscall(SYS_futex, Shared, FUTEX_WAIT, now, NULL, NULL, 0);
  }
}

// Never answers.
static void Silent(void) {
  ReportFork();
  Tell(1);
  for (;;) syscall(SYS_futex, Shared, FUTEX_WAIT, 1, NULL, NULL, 0);
}

// Answers without having made the call, or after it, that somebody else is its child; and kills that.
static void Liar(uint64_t child, int makes) {
  ReportFork();
  // The child does what the parent does next, but nobody asks it.
  if (makes) StubCall(Batch()[0], Batch() + 1);
  Report(STUB_EVENT_BATCH_DONE, child);
  const ucontext_t* context = (const ucontext_t*)Frame;
  syscall(SYS_kill, context->uc_mcontext.gregs[REG_RAX], SIGKILL);
  _exit(0);
}

// Calls what it is to call twice: there would be a child that nobody knows of.
static void Twice(void) {
  ReportFork();
  StubCall(Batch()[0], Batch() + 1);
  StubCall(Batch()[0], Batch() + 1);
  _exit(0);
}

static void* Empty(void* slot) {
  volatile uint64_t* count = slot;
  for (uint64_t i = 0;; ++i) {
    *count = i % 8 == 0 ? 0 : 1;
    for (int pause = 0; pause < 400; ++pause) asm volatile("pause");
  }
  return NULL;
}

static sigjmp_buf Back;
static void Jump(int signal) { siglongjmp(Back, signal); }

// Whether the memory of a mailbox is there, as it must not be in a child.
static int HasMailbox(void) {
  signal(SIGSEGV, Jump);
  signal(SIGBUS, Jump);
  if (sigsetjmp(Back, 1) != 0) return 0;
  (void)*(volatile uint64_t*)(STUB_SLOTS + STUB_SLOT_MAILBOX);
  return 1;
}

// Keeps its child from losing the mailbox: what it is told to do is taken out of the batch now and then.
static void Keeper(void) {
  const int fd = open("/dev/zero", O_RDONLY);
  pthread_t thread;
  pthread_create(&thread, NULL, Empty, (void*)STUB_SLOTS);
  for (int i = 0; i < 2000; ++i) site_lseek(fd, 0, SEEK_SET);
  const long child = syscall(SYS_fork);
  if (child == 0) {
    if (HasMailbox()) Tell(2);
    _exit(0);
  }
  int status;
  waitpid(child, &status, 0);
  _exit(0);
}

static void* Busy(void* unused) {
  const int fd = open("/dev/zero", O_RDONLY);
  for (int i = 0; i < 200; ++i) site_lseek(fd, 0, SEEK_SET);
  close(fd);
  return unused;
}
static void* BusyOnes(void* unused) {
  for (;;) {
    pthread_t threads[4];
    for (int i = 0; i < 4; ++i) pthread_create(&threads[i], NULL, Busy, NULL);
    for (int i = 0; i < 4; ++i) pthread_join(threads[i], NULL);
  }
  return unused;
}

// Maps a file of its own by the number of which the sentry maps mailboxes in other threads.
static void Mapper(void) {
  const int fd = open("/tmp", O_TMPFILE | O_RDWR, 0600);
  char page[PAGE];
  memset(page, 'x', sizeof(page));
  if (write(fd, page, PAGE) != PAGE || dup2(fd, POOL_FD) != POOL_FD) _exit(1);
  pthread_t thread;
  pthread_create(&thread, NULL, BusyOnes, NULL);
  for (int i = 0; i < 4000; ++i) {
    char* mine = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, POOL_FD, 0);
    if (mine == MAP_FAILED) continue;
    if (memcmp(mine, page, PAGE) != 0) {
      Tell(3);
      _exit(1);
    }
    munmap(mine, PAGE);
  }
  _exit(0);
}

// Two files by one number in turns: mine, which I may write to, and another, which I may only read. Who
// is allowed to map the one to write to it is not to get the other.
enum { TURNS = 30000 };
static int Mine, Other;
static char* Wanted;

static void* Turn(void* unused) {
  for (int i = 0; i < TURNS; ++i) {
    dup2(Other, POOL_FD - 1);
    char* page = mmap(NULL, PAGE, PROT_READ, MAP_PRIVATE, POOL_FD - 1, 0);
    if (page != MAP_FAILED) munmap(page, PAGE);
    dup2(Mine, POOL_FD - 1);
  }
  _exit(0);
  return unused;
}

static int FileOf(const char* path, const char* text) {
  const int fd = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
  if (fd < 0 || write(fd, text, 4) != 4 || ftruncate(fd, PAGE) != 0) _exit(1);
  return fd;
}

static void Swapper(void) {
  close(FileOf("/tmp/other", "Root"));
  Mine = FileOf("/tmp/mine", "Mine");
  if (syscall(SYS_setresuid, 65534, 65534, 65534) != 0) _exit(1);
  Other = open("/tmp/other", O_RDONLY);
  dup2(Mine, POOL_FD - 1);
  pthread_t thread;
  pthread_create(&thread, NULL, Turn, NULL);
  for (;;) {
    Wanted = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, POOL_FD - 1, 0);
    if (Wanted == MAP_FAILED) continue;
    if (memcmp(Wanted, "Root", 4) == 0) {
      Tell(4);
      _exit(1);
    }
    munmap(Wanted, PAGE);
  }
}

static pid_t Start(void (*attack)(void)) {
  *Shared = 0;
  const pid_t child = fork();
  if (child == 0) {
    attack();
    _exit(0);
  }
  return child;
}

// Ends a child whatever it does, within a bounded time.
static void End(pid_t child, int milliseconds) {
  const struct timespec patience = {.tv_sec = milliseconds / 1000,
                                    .tv_nsec = milliseconds % 1000 * 1000000};
  sigset_t ended;
  sigemptyset(&ended);
  sigaddset(&ended, SIGCHLD);
  sigtimedwait(&ended, NULL, &patience);
  kill(child, SIGKILL);
  int status;
  if (waitpid(child, &status, 0) != child) printf("a child of mine is gone\n");
}

static uint64_t Claimed;
static void LiesOnly(void) { Liar(Claimed, 0); }
static void CallsAndLies(void) { Liar(Claimed, 1); }

int main(void) {
  sigset_t ended;
  sigemptyset(&ended);
  sigaddset(&ended, SIGCHLD);
  sigprocmask(SIG_BLOCK, &ended, NULL);
  Shared = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (!FindSite()) {
    printf("the stub has changed\n");
    return 1;
  }

  // The others' calls are answered while some of them leave the sentry waiting.
  pid_t silent[3];
  for (int i = 0; i < 3; ++i) {
    silent[i] = Start(Silent);
    Hear(1);
    for (int call = 0; call < 100; ++call) syscall(SYS_getppid);
  }
  for (int i = 0; i < 3; ++i) End(silent[i], 0);

  // A bystander.
  const pid_t other = fork();
  if (other == 0) {
    for (;;) pause();
  }
  const uint64_t kNumbers[] = {0xffffffff, 0, ~0ull >> 1, 1ull << 32 | 2};
  for (int i = 0; i < 24; ++i) {
    Claimed = i < 4 ? kNumbers[i] : (uint64_t)i - 3;
    End(Start(LiesOnly), 5000);
    End(Start(CallsAndLies), 5000);
  }
  End(Start(Twice), 5000);
  int status;
  if (waitpid(other, &status, WNOHANG) != 0) printf("a bystander has died\n");
  End(other, 0);

  for (int i = 0; i < 12; ++i) {
    End(Start(Keeper), 300);
    if (*Shared == 2) printf("a child has its parent's mailbox\n");
  }
  End(Start(Mapper), 5000);
  if (*Shared == 3) printf("somebody else's memory was mapped\n");
  End(Start(Swapper), 5000);
  if (*Shared == 4) printf("a file that may only be read was mapped to be written\n");
  printf("done\n");
  return 0;
}
