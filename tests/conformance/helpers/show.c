// Shows one aspect of how it was started, as argv[1] says. The same source is linked dynamically,
// statically, and both position independent and not.
#include <elf.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

extern char** environ;
extern void _start(void);

static __thread int tls_word = 1234;

static void* bump(void* unused) {
  (void)unused;
  return (void*)(long)++tls_word;
}

static void show_aux(char** argv) {
  (void)argv;
  const unsigned char* random = (const unsigned char*)getauxval(AT_RANDOM);
  printf("AT_PAGESZ %lu\n", getauxval(AT_PAGESZ));
  printf("AT_EXECFN %s\n", (const char*)getauxval(AT_EXECFN));
  printf("AT_PLATFORM %s\n", (const char*)getauxval(AT_PLATFORM));
  printf("AT_ENTRY %d\n", getauxval(AT_ENTRY) == (unsigned long)&_start);
  printf("AT_PHENT %lu\n", getauxval(AT_PHENT));
  printf("AT_PHNUM %d\n", getauxval(AT_PHNUM) > 2);
  printf("AT_SECURE %lu\n", getauxval(AT_SECURE));
  printf("AT_CLKTCK %lu\n", getauxval(AT_CLKTCK));
  printf("AT_UID %d\n", getauxval(AT_UID) == getuid() && getauxval(AT_EUID) == geteuid());
  printf("AT_GID %d\n", getauxval(AT_GID) == getgid() && getauxval(AT_EGID) == getegid());
  // The headers must be readable and the first names themselves or a segment.
  const ElfW(Phdr)* headers = (const ElfW(Phdr)*)getauxval(AT_PHDR);
  int loads = 0;
  for (unsigned long i = 0; i < getauxval(AT_PHNUM); ++i) loads += headers[i].p_type == PT_LOAD;
  printf("AT_PHDR %d\n", loads > 0);
  const char* vdso = (const char*)getauxval(AT_SYSINFO_EHDR);
  printf("AT_SYSINFO_EHDR %d\n", vdso != NULL && memcmp(vdso, ELFMAG, SELFMAG) == 0);
  printf("AT_RANDOM ");
  for (int i = 0; i < 16; ++i) printf("%02x", random[i]);
  printf("\n");
}

int main(int argc, char** argv) {
  const char* what = argc > 1 ? argv[1] : "args";
  if (strcmp(what, "args") == 0) {
    for (int i = 0; i < argc; ++i) printf("%s\n", argv[i]);
  } else if (strcmp(what, "env") == 0) {
    for (char** e = environ; *e != NULL; ++e) printf("%s\n", *e);
  } else if (strcmp(what, "aux") == 0) {
    show_aux(argv);
  } else if (strcmp(what, "stack") == 0) {
    // The ABI: 16-byte alignment at entry, strings above the vectors.
    printf("%d %d\n", (int)((unsigned long)(argv - 1) % 16), (char*)argv < argv[0]);
    printf("%d\n", environ == argv + argc + 1);
  } else if (strcmp(what, "exit") == 0) {
    return atoi(argv[2]);
  } else if (strcmp(what, "fd") == 0) {
    printf("%s\n", fcntl(atoi(argv[2]), F_GETFD) >= 0 ? "open" : "closed");
  } else if (strcmp(what, "signals") == 0) {
    // Disposition of one signal, whether it is blocked, and whether it is pending.
    const int number = atoi(argv[2]);
    struct sigaction action;
    sigset_t mask, pending;
    sigaction(number, NULL, &action);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    sigpending(&pending);
    printf("%s %d %d\n",
           action.sa_handler == SIG_DFL ? "default" : action.sa_handler == SIG_IGN ? "ignored" : "caught",
           sigismember(&mask, number), sigismember(&pending, number));
  } else if (strcmp(what, "pids") == 0) {
    printf("%d %d %d\n", getpid(), getppid(), gettid());
  } else if (strcmp(what, "comm") == 0) {
    char name[32] = "";
    FILE* f = fopen("/proc/self/comm", "r");
    if (f == NULL || fgets(name, sizeof name, f) == NULL) return 1;
    printf("%s", name);
  } else if (strcmp(what, "exe") == 0) {
    char name[4096] = "";
    if (readlink("/proc/self/exe", name, sizeof name - 1) < 0) return 1;
    printf("%s\n", name);
  } else if (strcmp(what, "tls") == 0) {
    pthread_t thread;
    void* value = NULL;
    if (pthread_create(&thread, NULL, bump, NULL) != 0) return 1;
    pthread_join(thread, &value);
    printf("%d %ld\n", tls_word, (long)value);
  } else if (strcmp(what, "usage") == 0) {
    // Microseconds of CPU time, faults without I/O, the largest resident set in KiB.
    struct rusage usage;
    if (getrusage(RUSAGE_SELF, &usage) != 0) return 1;
    printf("%ld %ld %ld\n",
           (usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000 + usage.ru_utime.tv_usec +
               usage.ru_stime.tv_usec,
           usage.ru_minflt, usage.ru_maxrss);
  } else if (strcmp(what, "clock") == 0) {
    struct timespec a, b;
    clock_gettime(CLOCK_MONOTONIC, &a);
    clock_gettime(CLOCK_MONOTONIC, &b);
    printf("%d\n", b.tv_sec > a.tv_sec || (b.tv_sec == a.tv_sec && b.tv_nsec >= a.tv_nsec));
  } else {
    return 2;
  }
  return 0;
}
