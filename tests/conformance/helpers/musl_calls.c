// Calls through musl, whose sites have other forms than glibc's: 0 if all have been right.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

enum { kMany = 800 };

static volatile sig_atomic_t alarms;
static void OnAlarm(int signal) {
  (void)signal;
  alarms = alarms + 1;
}

static int Files(void) {
  char name[] = "/tmp/muslXXXXXX";
  const int fd = mkstemp(name);
  if (fd < 0 || unlink(name) != 0) return 1;
  for (int i = 0; i < kMany; ++i) {
    char buffer[8] = "";
    if (lseek(fd, 0, SEEK_SET) != 0 || write(fd, "abcdef", 6) != 6) return 2;
    if (pread(fd, buffer, 3, 2) != 3 || strcmp(buffer, "cde") != 0) return 3;
    if (lseek(fd, 4, SEEK_SET) != 4 || read(fd, buffer, 8) != 2 || buffer[0] != 'e') return 4;
    if (syscall(SYS_lseek, fd, (long)i, SEEK_SET) != i ||
        (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDWR)
      return 5;
    if (read(-1, buffer, 1) != -1 || errno != EBADF) return 6;
  }
  return close(fd) == 0 ? 0 : 7;
}

static int Ids(void) {
  const pid_t self = getpid();
  for (int i = 0; i < kMany; ++i) {
    if (getpid() != self || syscall(SYS_getpid) != self || getppid() != syscall(SYS_getppid)) {
      return 11;
    }
  }
  const pid_t child = fork();
  if (child == 0) _exit(getpid() != self && getppid() == self ? 0 : 1);
  int status;
  return waitpid(child, &status, 0) == child && status == 0 ? 0 : 12;
}

// Cancellation looks at where in the C library the thread is.
static void* ReadForEver(void* pipe) {
  char byte;
  for (;;) {
    if (read(((int*)pipe)[0], &byte, 1) != 1 || write(((int*)pipe)[1], &byte, 1) != 1) return NULL;
  }
}
static int Cancels(void) {
  for (int i = 0; i < 40; ++i) {
    int fds[2];
    if (pipe(fds) != 0 || write(fds[1], "x", 1) != 1) return 21;
    pthread_t thread;
    if (pthread_create(&thread, NULL, ReadForEver, fds) != 0) return 22;
    for (int j = 0; j < 5 * i; ++j) fcntl(fds[0], F_GETFL);
    pthread_cancel(thread);
    void* result;
    if (pthread_join(thread, &result) != 0 || result != PTHREAD_CANCELED) return 23;
    close(fds[0]);
    close(fds[1]);
  }
  return 0;
}

int main(void) {
  struct sigaction action = {.sa_handler = OnAlarm, .sa_flags = SA_RESTART};
  sigaction(SIGALRM, &action, NULL);
  const struct itimerval often = {{0, 2000}, {0, 2000}}, never = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &often, NULL);
  int failed = Files();
  setitimer(ITIMER_REAL, &never, NULL);  // A fork is begun anew for each signal.
  if (failed == 0) failed = Ids();
  if (failed == 0) failed = Cancels();
  return failed;
}
