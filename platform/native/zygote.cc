#include "platform/native/zygote.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/rseq.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/log.h"
#include "platform/native/stub.h"
#include "platform/native/vdso_layout.h"

#ifndef SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
#define SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV (1UL << 5)
#endif

namespace platform::native {

// Told by the zygote once it can make no more ordinary calls.
struct Zygote::Report {
  std::atomic<uint32_t> done{0};
  int error = 0;  // errno of `step`, or 0.
  const char* step = "";
  int listener = -1;  // Valid in the descriptor table that both still share.
  uint64_t vdso = 0;
};

namespace {

// The kernel's struct sigaction; glibc would put its own restorer into it.
struct KernelSigaction {
  uint64_t handler;
  uint64_t flags;
  uint64_t restorer;
  uint64_t mask;
};

// On the heap with all that it refers to: the sentry's stack goes when the stub is mapped over it.
class ZygoteBody {
 public:
  ZygoteBody(Zygote::Report& report, const Zygote::Options& options, int control)
      : report_(report),
        options_(options),
        filter_(options.filter.begin(), options.filter.end()),
        control_(control) {}

  static int Main(void* self) { static_cast<ZygoteBody*>(self)->Run(); }

  [[noreturn]] void Run() {
    prctl(PR_SET_NAME, "sandbox-stub");
    DetachFromLibc();
    if (!MoveVdso() || !MapStub()) Fail("mapping the stub");
    if (!InstallHandlers()) Fail("installing signal handlers");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) Fail("no_new_privs");
    InstallFilter();
    Enter();
  }

 private:
  [[noreturn]] void Fail(const char* step) {
    report_.error = errno;
    report_.step = step;
    Announce();
    _exit(1);
  }

  void Announce() {
    report_.done.store(1, std::memory_order_release);
    syscall(SYS_futex, &report_.done, FUTEX_WAKE, 1, nullptr, nullptr, 0);
  }

  // What libc has registered with the kernel points into memory that goes away.
  static void DetachFromLibc() {
    if (__rseq_size != 0) {
      constexpr uint32_t kUnregister = 1;
      syscall(SYS_rseq, static_cast<char*>(__builtin_thread_pointer()) + __rseq_offset, 32,
              kUnregister, RSEQ_SIG);
    }
    syscall(SYS_set_robust_list, nullptr, 24);
    syscall(SYS_set_tid_address, nullptr);
  }

  static bool MapStub() {
    const auto map = [](uint64_t addr, size_t size, int prot, int extra) {
      return mmap(reinterpret_cast<void*>(addr), size, prot, MAP_PRIVATE | MAP_ANONYMOUS | extra,
                  -1, 0) == reinterpret_cast<void*>(addr);
    };
    // Replaces what is there: perhaps the stack of the sentry, on which nobody runs here.
    if (!map(STUB_REGION_START, STUB_REGION_END - STUB_REGION_START, PROT_NONE,
             MAP_FIXED | MAP_NORESERVE)) {
      return false;
    }
    const size_t size = static_cast<size_t>(sandbox_stub_end - sandbox_stub_begin);
    for (const uint64_t copy : {uint64_t{STUB_CODE}, uint64_t{STUB_SETUP}}) {
      if (!map(copy, STUB_CODE_SIZE, PROT_READ | PROT_WRITE, MAP_FIXED)) return false;
      memcpy(reinterpret_cast<void*>(copy), sandbox_stub_begin, size);
      if (mprotect(reinterpret_cast<void*>(copy), STUB_CODE_SIZE, PROT_READ | PROT_EXEC) != 0) {
        return false;
      }
    }
    constexpr int kMseal = 462;  // Best effort: Linux 6.10.
    syscall(kMseal, STUB_CODE, STUB_CODE_SIZE, 0);
    return map(SlotAddress(0), STUB_SLOT_USED, PROT_READ | PROT_WRITE, MAP_FIXED);
  }

  // To a random place right below the stub, so that the rest of the address space is in one piece.
  // A host that seals its system mappings leaves them where they are. False when that is in the
  // way.
  bool MoveVdso() {
    const VdsoLayout& host = HostVdso();
    if (host.areas.empty()) {
      keep_start_ = keep_end_ = STUB_REGION_START;
      return true;
    }
    keep_start_ = host.start();
    keep_end_ = host.start() + host.size();
    report_.vdso = host.code;
    uint16_t random = 0;
    if (getrandom(&random, sizeof(random), 0) != sizeof(random)) random = 0;
    const uint64_t target = PlaceVdso(host.start(), host.size(), random);
    for (const auto& area : host.areas) {
      const size_t size = area.end - area.start;
      void* to = reinterpret_cast<void*>(target + (area.start - host.start()));
      if (mremap(reinterpret_cast<void*>(area.start), size, size, MREMAP_MAYMOVE | MREMAP_FIXED,
                 to) != to) {
        errno = EEXIST;
        return keep_end_ <= STUB_REGION_START;
      }
    }
    report_.vdso = target + (host.code - host.start());
    keep_start_ = target;
    keep_end_ = target + host.size();
    return true;
  }

  static bool InstallHandlers() {
    constexpr uint64_t kRestorerFlag = 0x04000000;
    const KernelSigaction action{
        .handler = StubAddress(sandbox_stub_handler, STUB_CODE),
        .flags = SA_SIGINFO | SA_ONSTACK | SA_RESTART | kRestorerFlag,
        .restorer = STUB_CODE,  // Never returned to: the stub calls rt_sigreturn itself.
        .mask = ~uint64_t{0},
    };
    for (const int sig :
         {SIGSYS, SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, STUB_INTERRUPT_SIGNAL}) {
      if (syscall(SYS_rt_sigaction, sig, &action, nullptr, 8) != 0) return false;
    }
    const KernelSigaction ignore{.handler = 1, .flags = 0, .restorer = 0, .mask = 0};
    for (const int sig : {SIGINT, SIGQUIT, SIGTSTP, SIGTTIN, SIGTTOU, SIGHUP, SIGTERM, SIGPIPE}) {
      syscall(SYS_rt_sigaction, sig, &ignore, nullptr, 8);
    }
    const stack_t stack{.ss_sp = reinterpret_cast<void*>(SlotAddress(0) + STUB_SLOT_STACK),
                        .ss_flags = 0,
                        .ss_size = STUB_SLOT_USED - STUB_SLOT_STACK};
    // Until a stub runs the application nothing interrupts it: its first frame has an empty mask.
    const uint64_t all = ~uint64_t{0};
    return sigaltstack(&stack, nullptr) == 0 &&
           syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, 8) == 0;
  }

  void InstallFilter() {
    const sock_fprog program{static_cast<unsigned short>(filter_.size()), filter_.data()};
    const unsigned flags =
        options_.notify ? SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV
                        : 0;
    const long listener = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    if (listener < 0) Fail("installing the seccomp filter");
    // From here on only futex(2) and the like go through.
    if (options_.notify) report_.listener = static_cast<int>(listener);
  }

  // Everything but what is kept, as pairs of first and last in the slot. Their number.
  uint64_t ListClosedRanges() const {
    std::array<int, 5> kept = {control_, options_.keep_fd, options_.setup_fds[0],
                               options_.setup_fds[1], options_.proc_fd};
    std::sort(kept.begin(), kept.end());
    auto* out = reinterpret_cast<uint64_t*>(SlotAddress(0));
    uint64_t count = 0;
    uint64_t first = 0;
    const auto close_up_to = [&](uint64_t last) {
      out[2 * count] = first;
      out[2 * count + 1] = last;
      ++count;
    };
    for (const int fd : kept) {
      if (fd < 0) continue;
      if (static_cast<uint64_t>(fd) > first) close_up_to(static_cast<uint64_t>(fd) - 1);
      first = static_cast<uint64_t>(fd) + 1;
    }
    close_up_to(~uint32_t{0});
    return count;
  }

  [[noreturn]] void Enter() {
    // What the entry takes, in memory that survives the switch, in the order of the loads below.
    auto* values = reinterpret_cast<uint64_t*>(SlotAddress(0) + kBatchStruct);
    values[0] = SlotAddress(0) + STUB_SLOT_USED - 64;  // The stack.
    values[1] = static_cast<uint64_t>(control_);
    values[2] = options_.notify ? 1 : 0;
    values[3] = keep_start_;
    values[4] = keep_end_;
    values[5] = SlotAddress(0);
    values[6] = ListClosedRanges();
    values[7] = static_cast<uint64_t>(int64_t{options_.proc_fd});
    values[8] = StubAddress(sandbox_stub_zygote, STUB_SETUP);
    report_.done.store(1, std::memory_order_release);
    // In one piece, since nothing may touch the old stack after the switch. The wake-up is the last
    // call on behalf of the sentry: without a tracer it fails in the traced mode, see Create.
    asm volatile(
        "movl $202, %%eax\n"
        "syscall\n"
        "movq 0(%%rbx), %%rsp\n"
        "movq 8(%%rbx), %%rdi\n"
        "movq 16(%%rbx), %%rsi\n"
        "movq 24(%%rbx), %%rdx\n"
        "movq 32(%%rbx), %%rcx\n"
        "movq 40(%%rbx), %%r8\n"
        "movq 48(%%rbx), %%r9\n"
        "movq 56(%%rbx), %%r10\n"
        "jmp *64(%%rbx)\n"
        :
        : "D"(&report_.done), "S"(uint64_t{FUTEX_WAKE}), "d"(uint64_t{1}), "b"(values)
        : "memory", "rax", "rcx", "r8", "r9", "r10", "r11");
    __builtin_unreachable();
  }

  Zygote::Report& report_;
  const Zygote::Options options_;
  std::vector<sock_filter> filter_;
  const int control_;
  uint64_t keep_start_ = 0;
  uint64_t keep_end_ = 0;
};

}  // namespace

Result<std::unique_ptr<Zygote>> Zygote::Create(const Options& options) {
  std::unique_ptr<Zygote> zygote = TRY(Begin(options));
  TRY(zygote->Finish());
  return zygote;
}

Result<std::unique_ptr<Zygote>> Zygote::Begin(const Options& options) {
  int sockets[2];
  // Each side writes what the other reads at once. (Whoever waits to read from a stream is also
  // woken when its own last message has been read.)
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sockets) != 0) return Errno::Last();
  std::unique_ptr<Zygote> zygote(new Zygote);
  zygote->control_.reset(sockets[0]);
  zygote->theirs_.reset(sockets[1]);
  void* shared =
      mmap(nullptr, sizeof(Report), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
  if (shared == MAP_FAILED) return Errno::Last();
  zygote->report_ = new (shared) Report;

  // The descriptor table is shared until the zygote unshares it, which is how the listener gets
  // here without a call that its own filter would hold back. It runs on a stack of its own because
  // the stub may have to go where the stack of this process is.
  // The zygote allocates nothing: a thread of ours could hold malloc's lock while it is cloned.
  HostVdso();
  const auto body = std::make_unique<ZygoteBody>(*zygote->report_, options, sockets[1]);
  constexpr size_t kStack = 256 * 1024;
  void* stack = mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (stack == MAP_FAILED) return Errno::Last();
  const int pid = clone(&ZygoteBody::Main, static_cast<std::byte*>(stack) + kStack,
                        CLONE_FILES | SIGCHLD, body.get());
  const Errno clone_error = Errno::Last();
  munmap(stack, kStack);  // The child has its own copy.
  if (pid < 0) return clone_error;
  zygote->pid_ = static_cast<pid_t>(pid);
  zygote->own_pid_ = getpid();
  return zygote;
}

Status Zygote::Finish() {
  while (report_->done.load(std::memory_order_acquire) == 0) {
    // Bounded: in the traced mode nobody may wake us, and the zygote may have been killed.
    const timespec patience{.tv_sec = 0, .tv_nsec = 1'000'000};
    syscall(SYS_futex, &report_->done, FUTEX_WAIT, 0, &patience, nullptr, 0);
    if (report_->done.load(std::memory_order_acquire) == 0 &&
        waitpid(pid_, nullptr, WNOHANG) == pid_)
      return Errno(ECHILD);
  }
  if (report_->error != 0) {
    LOG_DEBUG("zygote: %s: %s", report_->step, strerror(report_->error));
    waitpid(pid_, nullptr, 0);
    return Errno(report_->error);
  }
  vdso_ = report_->vdso;
  listener_.reset(report_->listener);
  // The other end stays open here until the zygote has unshared the table: the answer to this first
  // request tells.
  if (!Request('s', "")) return Errno(EIO);
  {
    absl::MutexLock lock(&mu_);
    requested_ = true;
  }
  pollfd answer{.fd = control_.get(), .events = POLLIN, .revents = 0};
  char byte;
  if (poll(&answer, 1, 5000) != 1 || recv(control_.get(), &byte, 1, MSG_PEEK) != 1)
    return Errno(EIO);
  theirs_.reset();
  DropReport();
  return kOk;
}

Zygote::~Zygote() { DropReport(); }

void Zygote::DropReport() {
  if (report_ != nullptr) munmap(std::exchange(report_, nullptr), sizeof(Report));
}

void Zygote::Kill() { kill(pid_, SIGKILL); }

void Zygote::Shutdown() {
  absl::MutexLock lock(&mu_);
  shutdown(control_.get(), SHUT_WR);
  int64_t ahead = spare_;
  if (ahead > 0) {
    kill(static_cast<pid_t>(ahead), SIGKILL);
    waitpid(static_cast<pid_t>(ahead), nullptr, __WALL);
  }
  while (recv(control_.get(), &ahead, sizeof(ahead), MSG_WAITALL) == sizeof(ahead)) {
    if (ahead <= 0) continue;
    kill(static_cast<pid_t>(ahead), SIGKILL);
    waitpid(static_cast<pid_t>(ahead), nullptr, __WALL);
  }
  waitpid(pid_, nullptr, 0);
}

Platform::Layout NativeLayout() {
  // The host places mappings top down below a base that it chose when this program was executed, at
  // least 16 GiB below the end: above it only stacks grow.
  void* probe = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const uint64_t top = probe == MAP_FAILED ? 0x7f0000000000 : reinterpret_cast<uint64_t>(probe);
  if (probe != MAP_FAILED) munmap(probe, 4096);
  return {.mmap_top = top, .stack_low = 0x7ffe00000000, .stack_high = 0x7fffc0000000};
}

bool Zygote::Request(char kind, std::string_view path) {
  char request[kRequestSize] = {kind};
  if (path.size() > kRequestSize - 2) return false;
  path.copy(request + 1, path.size());
  return send(control_.get(), request, sizeof(request), MSG_NOSIGNAL) == sizeof(request);
}

bool Zygote::ReceiveAll(void* buffer, size_t size) {
  ssize_t n;
  do {
    n = recv(control_.get(), buffer, size, MSG_WAITALL);
  } while (n < 0 && errno == EINTR);
  return n == static_cast<ssize_t>(size);
}

bool Zygote::TakeSpare() {
  return !std::exchange(requested_, false) || ReceiveAll(&spare_, sizeof(spare_));
}

Result<pid_t> Zygote::Spawn() {
  absl::MutexLock lock(&mu_);
  if (spare_ == 0) {
    if (!requested_) requested_ = Request('s', "");
    if (!requested_ || !TakeSpare()) return Errno(EAGAIN);  // As fork(2).
  }
  const int64_t pid = std::exchange(spare_, 0);
  if (pid < 0) return Errno(static_cast<int>(-pid));
  return static_cast<pid_t>(pid);
}

void Zygote::Prepare() {
  absl::MutexLock lock(&mu_);
  if (spare_ == 0 && !requested_) requested_ = Request('s', "");
}

Result<std::string> Zygote::ReadProc(std::string_view path) {
  absl::MutexLock lock(&mu_);
  if (!TakeSpare()) return Errno(EIO);
  if (!Request('m', path)) return Errno(EIO);
  std::string text;
  for (;;) {
    int64_t size = 0;
    if (!ReceiveAll(&size, sizeof(size))) return Errno(EIO);
    if (size < 0) return Errno(static_cast<int>(-size));
    if (size == 0) break;
    const size_t old = text.size();
    text.resize(old + static_cast<size_t>(size));
    if (!ReceiveAll(text.data() + old, static_cast<size_t>(size))) return Errno(EIO);
  }
  return text;
}

Result<UniqueFd> Zygote::ReopenReadOnly(int fd) {
  return OpenProc(absl::StrCat(own_pid_, "/fd/", fd));
}

Result<UniqueFd> Zygote::OpenProc(std::string_view path) {
  absl::MutexLock lock(&mu_);
  if (!TakeSpare()) return Errno(EIO);
  if (!Request('o', path)) return Errno(EIO);
  int64_t error = 0;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  iovec piece{&error, sizeof(error)};
  msghdr message{};
  message.msg_iov = &piece;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t n;
  do {
    n = recvmsg(control_.get(), &message, MSG_CMSG_CLOEXEC | MSG_WAITALL);
  } while (n < 0 && errno == EINTR);
  if (n != sizeof(error)) return Errno(EIO);
  if (error < 0) return Errno(static_cast<int>(-error));
  const cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) {
    return Errno(EMFILE);  // The descriptor was dropped on the way: there is no room here.
  }
  int received;
  memcpy(&received, CMSG_DATA(header), sizeof(received));
  return UniqueFd(received);
}

}  // namespace platform::native
