// Calls made again and again: the time of one in a loop that has been running for a while, as the
// median of many windows. Knows nothing of the sandbox. C for any C library: also built with musl.
//
//   bench_hot CALL FILE     prints nanoseconds; FILE is one to read 4 KiB of
//   bench_hot work SECONDS  prints how many rounds of pure computing that gave
//   bench_hot chat SECONDS  calls in bursts with pauses, for so long
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { kCalls = 200, kPage = 4096, kMostWindows = 100000 };

static int g_pipe[2];
static int g_file;
static char g_buffer[kPage];

static int64_t Now(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000000000LL + now.tv_nsec;
}

static void Getpid(void) { (void)getpid(); }
static void Fcntl(void) { (void)fcntl(g_pipe[0], F_GETFL); }
static void Lseek(void) { (void)lseek(g_pipe[0], 0, SEEK_CUR); }
static void RawFcntl(void) { (void)syscall(SYS_fcntl, g_pipe[0], F_GETFL); }
static void Pread(void) {
  if (pread(g_file, g_buffer, kPage, 0) != kPage) exit(1);
}
static void Map(void) {
  char* page = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (page == MAP_FAILED) exit(1);
  *(volatile char*)page = 1;
  munmap(page, kPage);
}
static void Protect(void) {
  static char* page;
  if (page == NULL) {
    page = mmap(NULL, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *page = 1;
  }
  mprotect(page, kPage, PROT_READ);
  mprotect(page, kPage, PROT_READ | PROT_WRITE);
}

static const struct {
  const char* name;
  void (*call)(void);
} kCallsByName[] = {{"getpid", Getpid},     {"fcntl", Fcntl}, {"lseek", Lseek},
                    {"rawfcntl", RawFcntl}, {"pread", Pread}, {"mmap", Map},
                    {"mprotect", Protect}};

static int Compare(const void* a, const void* b) {
  const int64_t x = *(const int64_t*)a, y = *(const int64_t*)b;
  return x < y ? -1 : x > y;
}

static void Measure(void (*call)(void)) {
  const int64_t kWarm = 150000000, kMeasured = 350000000;
  static int64_t windows[kMostWindows];
  const int64_t start = Now();
  int count = 0;
  for (int64_t before = start; before - start < kWarm + kMeasured && count < kMostWindows;) {
    for (int i = 0; i < kCalls; ++i) call();
    const int64_t after = Now();
    if (after - start > kWarm) windows[count++] = after - before;
    before = after;
  }
  qsort(windows, (size_t)count, sizeof(windows[0]), Compare);
  printf("%.2f\n", (double)windows[count / 2] / kCalls);
}

static void Work(double seconds) {
  uint64_t value = 88172645463325252, rounds = 0;
  for (const int64_t end = Now() + (int64_t)(seconds * 1e9); Now() < end; ++rounds) {
    for (int i = 0; i < 100000; ++i) {
      value ^= value << 13;
      value ^= value >> 7;
      value ^= value << 17;
    }
  }
  printf("%llu\n", (unsigned long long)(value == 0 ? 0 : rounds));
}

static void Chat(double seconds) {
  const struct timespec pause = {0, 2000000};
  uint64_t calls = 0;
  for (const int64_t end = Now() + (int64_t)(seconds * 1e9); Now() < end; calls += kCalls) {
    for (int i = 0; i < kCalls; ++i) Fcntl();
    nanosleep(&pause, NULL);
  }
  printf("%llu\n", (unsigned long long)calls);
}

int main(int argc, char** argv) {
  if (argc < 3 || pipe(g_pipe) != 0) return 2;
  if (strcmp(argv[1], "work") == 0) return Work(atof(argv[2])), 0;
  if (strcmp(argv[1], "chat") == 0) return Chat(atof(argv[2])), 0;
  g_file = open(argv[2], O_RDONLY);
  for (size_t i = 0; i < sizeof(kCallsByName) / sizeof(kCallsByName[0]); ++i) {
    if (strcmp(argv[1], kCallsByName[i].name) != 0) continue;
    return Measure(kCallsByName[i].call), 0;
  }
  return 2;
}
