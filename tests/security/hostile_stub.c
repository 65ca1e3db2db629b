// An application that turns against its own stub: it writes to the mailbox that it shares with the
// sentry, forges calls in it, and jumps into the stub's code with registers of its choice. All of it
// happens in children, which may die of it. Prints "done" when the sandbox has stood it.
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "platform/native/layout.h"

long site_lseek(long fd, long offset, long whence);
asm(".text\n.globl site_lseek\nsite_lseek: mov $8, %eax\n syscall\n ret\n");

enum { NOBODY_FAILED = 77 };

static uint64_t State = 88172645463325252ull;
static uint64_t Random(void) {
  State ^= State << 13;
  State ^= State >> 7;
  State ^= State << 17;
  return State;
}

static volatile uint64_t* Mailbox(void) {
  uint64_t base;
  asm volatile("rdgsbase %0" : "=r"(base));
  return (volatile uint64_t*)base;
}

// Calls until there is a mailbox.
static volatile uint64_t* Attract(int fd) {
  for (int i = 0; i < 20000 && Mailbox() == 0; ++i) site_lseek(fd, 0, SEEK_SET);
  return Mailbox();
}

static void* Scribble(void* mailbox) {
  volatile uint64_t* box = mailbox;
  for (;;) {
    const uint64_t choice = Random();
    switch (choice % 6) {
      case 0:  // Any call, with any arguments.
        box[MAILBOX_NUMBER / 8] = Random() % 512;
        for (int i = 0; i < 6; ++i) box[MAILBOX_ARGS / 8 + i] = Random() >> Random() % 64;
        box[MAILBOX_STATE / 8] = MAILBOX_POSTED;
        break;
      case 1:
        box[MAILBOX_STATE / 8] = Random() % 16;
        break;
      case 2:
        box[MAILBOX_NUMBER / 8] = Random();
        box[MAILBOX_RETURN / 8] = Random();
        box[MAILBOX_RECORD / 8] = Random();
        box[MAILBOX_CARRIED / 8] = Random() >> Random() % 64;
        break;
      case 3:
        box[MAILBOX_POLLED / 8] = choice & 64 ? 0 : (uint64_t)box;
        break;
      case 4:  // Who sends looks at the mask, and who is sent to blocks and unblocks.
        box[MAILBOX_SIGNAL_MASK / 8] = Random();
        box[MAILBOX_SIGNAL_PENDING / 8] = Random() % 2;
        syscall(SYS_kill, getpid(), SIGURG);
        break;
      default:
        box[Random() % 512] = Random();
    }
  }
  return NULL;
}

static void Child(int round) {
  State += (uint64_t)round * 0x9e3779b97f4a7c15ull;
  // A forged write(2) is its own business, but not for whoever reads the verdict.
  const int nowhere = open("/dev/null", O_RDWR);
  for (int standard = 0; standard < 3; ++standard) dup2(nowhere, standard);
  // So are a forged kill(2) and prlimit(2), but for the one who counts: it is somebody else's.
  if (syscall(SYS_setresuid, 65534, 65534, 65534) != 0) _exit(NOBODY_FAILED);
  const int fd = open("/dev/zero", O_RDONLY);
  volatile uint64_t* box = Attract(fd);
  if (round % 2 == 0 && box != NULL) {
    pthread_t thread;
    pthread_create(&thread, NULL, Scribble, (void*)box);
    for (int i = 0; i < 50000; ++i) site_lseek(fd, i, SEEK_SET);
  } else {
    const uint64_t targets[] = {STUB_CODE + Random() % STUB_CODE_SIZE,
                                SITE_TABLE + Random() % 256, STUB_SETUP + Random() % 4096};
    const uint64_t target = targets[Random() % 3];
    const uint64_t known = SITE_TABLE + SITE_RECORD_SIZE * (SITE_FIRST + Random() % 4);
    asm volatile(
        "mov %1, %%r11\n"
        "mov %2, %%rcx\n"
        "mov %3, %%rax\n"
        "jmp *%0\n"
        :
        : "d"(target), "r"(Random() % 2 ? known : Random()),
          "r"(Random() % 2 ? (uint64_t)box : Random()), "S"(Random() % 512)
        : "rax", "rcx", "r11", "memory");
  }
  _exit(0);
}

int main(void) {
  sigset_t ended;
  sigemptyset(&ended);
  sigaddset(&ended, SIGCHLD);
  sigprocmask(SIG_BLOCK, &ended, NULL);
  for (int round = 0; round < 100; ++round) {
    const pid_t child = fork();
    if (child == 0) Child(round);
    if (child < 0) {
      perror("fork");
      return 1;
    }
    // What it forges may block every signal but this one.
    const struct timespec patience = {.tv_nsec = 60000000};
    sigtimedwait(&ended, NULL, &patience);
    kill(child, SIGKILL);
    int status;
    if (waitpid(child, &status, 0) != child) {
      perror("waitpid");
      return 1;
    }
    // Nothing would have been tried. A child that turns hostile may end in any way, with this number
    // by chance in one of very many.
    if (round == 0 && WIFEXITED(status) && WEXITSTATUS(status) == NOBODY_FAILED) {
      fprintf(stderr, "setresuid fails: nothing was tried\n");
      return 1;
    }
    const struct timespec now = {0};
    while (sigtimedwait(&ended, NULL, &now) > 0) continue;
  }
  // The sandbox still works.
  const int fd = open("/proc/self/stat", O_RDONLY);
  char byte;
  if (fd < 0 || read(fd, &byte, 1) != 1) return 1;
  printf("done\n");
  return 0;
}
