// Many processes and threads, on request. Reads lines "WHAT COUNT", does it and prints "ready":
//   fork     COUNT children, one after the other
//   threads  COUNT threads alive at once
//   alive    COUNT children alive at once, then killed
//   shared   COUNT children that share memory, one after the other, killed
//   kill     COUNT children killed while they run
//   exec     COUNT children that execute true
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static pthread_barrier_t barrier;
static volatile int running;
static char stack[64 << 10] __attribute__((aligned(16)));

static void Fail(const char* what) {
  perror(what);
  exit(1);
}
static void Reap(pid_t pid) {
  if (waitpid(pid, NULL, __WALL) != pid) Fail("waitpid");
}
static void* Meet(void* unused) {
  pthread_barrier_wait(&barrier);
  pthread_barrier_wait(&barrier);
  return unused;
}
static int Run(void* unused) {
  (void)unused;
  running = 1;
  while (running) pause();
  return 0;
}
static pid_t Fork(void) {
  const pid_t pid = fork();
  if (pid < 0) Fail("fork");
  return pid;
}

static void Threads(int count) {
  pthread_t* threads = calloc((size_t)count, sizeof *threads);
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, 64 << 10);
  pthread_barrier_init(&barrier, NULL, (unsigned)count + 1);
  for (int i = 0; i < count; ++i) {
    if (pthread_create(&threads[i], &attributes, Meet, NULL) != 0) Fail("pthread_create");
  }
  pthread_barrier_wait(&barrier);
  pthread_barrier_wait(&barrier);
  for (int i = 0; i < count; ++i) pthread_join(threads[i], NULL);
  pthread_barrier_destroy(&barrier);
  free(threads);
}

static void Alive(int count) {
  pid_t* children = calloc((size_t)count, sizeof *children);
  for (int i = 0; i < count; ++i) {
    children[i] = Fork();
    if (children[i] == 0) Run(NULL);
  }
  for (int i = 0; i < count; ++i) kill(children[i], SIGKILL);
  for (int i = 0; i < count; ++i) Reap(children[i]);
  free(children);
}

static void Shared(int count) {
  for (int i = 0; i < count; ++i) {
    running = 0;
    const pid_t child = clone(Run, stack + sizeof stack, CLONE_VM | SIGCHLD, NULL);
    if (child < 0) Fail("clone");
    while (!running) sched_yield();
    kill(child, SIGKILL);
    Reap(child);
  }
}

static void Each(const char* what, int count) {
  for (int i = 0; i < count; ++i) {
    const pid_t child = Fork();
    if (child == 0) {
      if (strcmp(what, "exec") == 0) execl("/bin/true", "true", NULL);
      while (strcmp(what, "kill") == 0) {
      }
      _exit(0);
    }
    if (strcmp(what, "kill") == 0) kill(child, SIGKILL);
    Reap(child);
  }
}

int main(void) {
  char what[16];
  int count;
  setvbuf(stdout, NULL, _IONBF, 0);
  printf("ready\n");
  while (scanf("%15s %d", what, &count) == 2) {
    if (strcmp(what, "threads") == 0) {
      Threads(count);
    } else if (strcmp(what, "alive") == 0) {
      Alive(count);
    } else if (strcmp(what, "shared") == 0) {
      Shared(count);
    } else {
      Each(what, count);
    }
    printf("ready\n");
  }
  return 0;
}
