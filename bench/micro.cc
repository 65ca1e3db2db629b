// What programs do all day, one mechanism at a time. Knows nothing of the sandbox: bench/run starts
// it natively and inside and compares. Every time is real time, because what the sentry does for a
// call is not on this process's account.
//
//   bench_micro [PROGRAM] [--benchmark_…]    PROGRAM: what ForkExec starts, static at best
#include <benchmark/benchmark.h>
#include <dirent.h>
#include <fcntl.h>
#include <fts.h>
#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

namespace {

constexpr size_t kPage = 4096;

const char* g_self;                   // This executable: a file that is certainly cached.
const char* g_program = "/bin/true";  // What ForkExec starts.

void Need(bool good, const char* what) {
  if (good) return;
  perror(what);
  _exit(1);  // bench/run shows the line; going on would measure a failure.
}

double Seconds(std::chrono::steady_clock::duration duration) {
  return std::chrono::duration<double>(duration).count();
}

void Wait(pid_t child) {
  int status = 0;
  Need(child > 0 && waitpid(child, &status, 0) == child && status == 0, "child");
}

// A call that the sentry answers (systrap: by notify). The C library does not cache it.
void BM_Getsid(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(syscall(SYS_getsid, 0));
}

// A call that a stub could answer in place, once its site is patched.
void BM_Getpid(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(syscall(SYS_getpid));
}

void BM_ClockGettime(benchmark::State& state) {
  timespec now;
  for (auto _ : state) benchmark::DoNotOptimize(clock_gettime(CLOCK_MONOTONIC, &now));
}

// No calls, no memory: anything but 1.00 is somebody else on this core.
void BM_CpuLoop(benchmark::State& state) {
  uint64_t value = 88172645463325252;
  for (auto _ : state) {
    for (int i = 0; i < 100000; ++i) {
      value ^= value << 13;
      value ^= value >> 7;
      value ^= value << 17;
    }
    benchmark::DoNotOptimize(value);
  }
}

// One 4 KiB page of a fresh 64 MiB mapping, without huge pages. The mapping itself is not timed.
void BM_FirstTouch(benchmark::State& state) {
  constexpr size_t kSize = 64 << 20;
  for (auto _ : state) {
    void* area = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    Need(area != MAP_FAILED, "mmap");
    madvise(area, kSize, MADV_NOHUGEPAGE);
    auto* bytes = static_cast<volatile char*>(area);
    const auto begin = std::chrono::steady_clock::now();
    for (size_t at = 0; at < kSize; at += kPage) bytes[at] = 1;
    state.SetIterationTime(Seconds(std::chrono::steady_clock::now() - begin));
    munmap(area, kSize);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kSize / kPage));
}

void BM_MmapTouchMunmap(benchmark::State& state) {
  for (auto _ : state) {
    void* page = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    Need(page != MAP_FAILED, "mmap");
    *static_cast<volatile char*>(page) = 1;
    munmap(page, kPage);
  }
}

void BM_MprotectPair(benchmark::State& state) {
  void* page = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  Need(page != MAP_FAILED, "mmap");
  *static_cast<volatile char*>(page) = 1;
  for (auto _ : state) {
    mprotect(page, kPage, PROT_READ);
    mprotect(page, kPage, PROT_READ | PROT_WRITE);
  }
  munmap(page, kPage);
}

void BM_Pread4K(benchmark::State& state) {
  static char buffer[kPage];
  const int fd = open(g_self, O_RDONLY | O_CLOEXEC);
  Need(fd >= 0, g_self);
  for (auto _ : state) Need(pread(fd, buffer, kPage, 0) == kPage, "pread");
  close(fd);
}

void BM_OpenClose(benchmark::State& state) {
  for (auto _ : state) {
    const int fd = open(g_self, O_RDONLY | O_CLOEXEC);
    Need(fd >= 0, g_self);
    close(fd);
  }
}

void BM_OpenRead4KClose(benchmark::State& state) {
  static char buffer[kPage];
  for (auto _ : state) {
    const int fd = open(g_self, O_RDONLY | O_CLOEXEC);
    Need(fd >= 0 && read(fd, buffer, kPage) == kPage, g_self);
    close(fd);
  }
}

// A file of its own, where temporary ones are.
class Scratch {
 public:
  Scratch() {
    Need(mkdtemp(path_) != nullptr, path_);
    name_ = std::string(path_) + "/f";
  }
  ~Scratch() {
    unlink(name_.c_str());
    rmdir(path_);
  }
  const char* name() const { return name_.c_str(); }
  const char* directory() const { return path_; }

 private:
  char path_[32] = "/var/tmp/bench.XXXXXX";
  std::string name_;
};

void BM_CreateWriteUnlink(benchmark::State& state) {
  static char buffer[1000];
  const Scratch scratch;
  for (auto _ : state) {
    const int fd = open(scratch.name(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    Need(fd >= 0 && write(fd, buffer, sizeof(buffer)) == sizeof(buffer), scratch.name());
    close(fd);
    Need(unlink(scratch.name()) == 0, "unlink");
  }
}

constexpr size_t kLarge = 64 << 20;
constexpr size_t kPiece = 128 << 10;

// A file of kLarge bytes in the page cache.
int LargeFile(const Scratch& scratch) {
  static char piece[kPiece];
  const int fd = open(scratch.name(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  for (size_t at = 0; at < kLarge; at += kPiece) {
    Need(write(fd, piece, kPiece) == kPiece, scratch.name());
  }
  return fd;
}

void BM_SequentialWrite(benchmark::State& state) {
  static char piece[kPiece];
  const Scratch scratch;
  const int fd = LargeFile(scratch);
  off_t at = 0;
  for (auto _ : state) {
    Need(pwrite(fd, piece, kPiece, at) == kPiece, "pwrite");
    at = (at + kPiece) % kLarge;
  }
  close(fd);
}

void BM_SequentialRead(benchmark::State& state) {
  static char piece[kPiece];
  const Scratch scratch;
  const int fd = LargeFile(scratch);
  off_t at = 0;
  for (auto _ : state) {
    Need(pread(fd, piece, kPiece, at) == kPiece, "pread");
    at = (at + kPiece) % kLarge;
  }
  close(fd);
}

void BM_RandomPread4K(benchmark::State& state) {
  static char buffer[kPage];
  const Scratch scratch;
  const int fd = LargeFile(scratch);
  uint32_t random = 1;
  for (auto _ : state) {
    random = random * 1664525 + 1013904223;
    const off_t at = static_cast<off_t>(random % (kLarge / kPage)) * kPage;
    Need(pread(fd, buffer, kPage, at) == kPage, "pread");
  }
  close(fd);
}

// An item is an entry of a directory that was just made, with that many.
void BM_Getdents(benchmark::State& state) {
  const Scratch scratch;
  const auto name = [&](int64_t i) { return scratch.name() + std::to_string(i); };
  for (int64_t i = 0; i < state.range(0); ++i) {
    Need(mknod(name(i).c_str(), S_IFREG | 0600, 0) == 0, "mknod");
  }
  int64_t entries = 0;
  for (auto _ : state) {
    DIR* const directory = opendir(scratch.directory());
    Need(directory != nullptr, scratch.directory());
    while (readdir(directory) != nullptr) ++entries;
    closedir(directory);
  }
  state.SetItemsProcessed(entries);
  for (int64_t i = 0; i < state.range(0); ++i) unlink(name(i).c_str());
}

// An item is a file of a tree that is listed and looked at as find(1) does it, from the second time
// on.
void BM_WalkWithStat(benchmark::State& state) {
  int64_t files = 0;
  const auto walk = [&files] {
    char* const roots[] = {const_cast<char*>("/usr/include"),
                           const_cast<char*>("/usr/lib/python3.11"), nullptr};
    FTS* const tree = fts_open(roots, FTS_PHYSICAL, nullptr);
    Need(tree != nullptr, "fts_open");
    while (fts_read(tree) != nullptr) ++files;
    fts_close(tree);
  };
  walk();
  files = 0;
  for (auto _ : state) walk();
  state.SetItemsProcessed(files);
}

void BM_Stat(benchmark::State& state) {
  struct stat st;
  for (auto _ : state) Need(stat(g_self, &st) == 0, "stat");
}

// Ten descriptors that tell of something, among range(0) that do not: what is idle must cost
// nothing.
void BM_EpollTenActive(benchmark::State& state) {
  constexpr size_t kActive = 10;
  rlimit files;
  Need(getrlimit(RLIMIT_NOFILE, &files) == 0, "getrlimit");
  files.rlim_cur = files.rlim_max;
  Need(setrlimit(RLIMIT_NOFILE, &files) == 0, "setrlimit");
  const int epoll = epoll_create1(EPOLL_CLOEXEC);
  Need(epoll >= 0, "epoll_create1");
  std::vector<int> events;
  for (size_t i = 0; i < kActive + static_cast<size_t>(state.range(0)); ++i) {
    events.push_back(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
    epoll_event wanted = {};
    wanted.events = EPOLLIN | EPOLLET;
    Need(epoll_ctl(epoll, EPOLL_CTL_ADD, events.back(), &wanted) == 0, "epoll_ctl");
  }
  epoll_event ready[2 * kActive];
  for (auto _ : state) {
    // Spread over all of them.
    for (size_t i = 0; i < kActive; ++i) eventfd_write(events[i * events.size() / kActive], 1);
    Need(epoll_wait(epoll, ready, 2 * kActive, -1) == kActive, "epoll_wait");
  }
  for (const int fd : events) close(fd);
  close(epoll);
}

// A signal to this thread, its handler and the return from it.
void BM_SignalSelf(benchmark::State& state) {
  static volatile sig_atomic_t taken;
  struct sigaction action = {}, old;
  action.sa_handler = [](int) { taken = 1; };
  Need(sigaction(SIGUSR1, &action, &old) == 0, "sigaction");
  const pid_t pid = getpid();
  const pid_t tid = gettid();
  for (auto _ : state) {
    taken = 0;
    Need(syscall(SYS_tgkill, pid, tid, SIGUSR1) == 0 && taken == 1, "tgkill");
  }
  sigaction(SIGUSR1, &old, nullptr);
}

void BM_PthreadCreateJoin(benchmark::State& state) {
  for (auto _ : state) {
    pthread_t thread;
    auto nothing = [](void*) -> void* { return nullptr; };
    Need(pthread_create(&thread, nullptr, nothing, nullptr) == 0, "pthread_create");
    pthread_join(thread, nullptr);
  }
}

void BM_ForkExitWait(benchmark::State& state) {
  for (auto _ : state) {
    const pid_t child = fork();
    if (child == 0) _exit(0);
    Wait(child);
  }
}

void BM_ForkExecWait(benchmark::State& state) {
  for (auto _ : state) {
    const pid_t child = fork();
    if (child == 0) {
      execl(g_program, g_program, nullptr);
      _exit(127);
    }
    Wait(child);
  }
}

BENCHMARK(BM_Getsid)->UseRealTime();
BENCHMARK(BM_Getpid)->UseRealTime();
BENCHMARK(BM_ClockGettime)->UseRealTime();
BENCHMARK(BM_CpuLoop)->UseRealTime();
BENCHMARK(BM_FirstTouch)->UseManualTime();
BENCHMARK(BM_MmapTouchMunmap)->UseRealTime();
BENCHMARK(BM_MprotectPair)->UseRealTime();
BENCHMARK(BM_Pread4K)->UseRealTime();
BENCHMARK(BM_OpenClose)->UseRealTime();
BENCHMARK(BM_OpenRead4KClose)->UseRealTime();
BENCHMARK(BM_Stat)->UseRealTime();
BENCHMARK(BM_CreateWriteUnlink)->UseRealTime();
BENCHMARK(BM_SequentialWrite)->UseRealTime();
BENCHMARK(BM_SequentialRead)->UseRealTime();
BENCHMARK(BM_RandomPread4K)->UseRealTime();
BENCHMARK(BM_Getdents)->Arg(100)->Arg(100'000)->UseRealTime();
BENCHMARK(BM_WalkWithStat)->UseRealTime();
BENCHMARK(BM_EpollTenActive)->Arg(0)->Arg(10000)->UseRealTime();
BENCHMARK(BM_SignalSelf)->UseRealTime();
BENCHMARK(BM_PthreadCreateJoin)->UseRealTime();
BENCHMARK(BM_ForkExitWait)->UseRealTime();
BENCHMARK(BM_ForkExecWait)->UseRealTime();

}  // namespace

int main(int argc, char** argv) {
  g_self = argv[0];
  benchmark::Initialize(&argc, argv);  // Takes its own flags out.
  if (argc > 1) g_program = argv[1];
  return benchmark::RunSpecifiedBenchmarks() > 0 ? 0 : 1;
}
