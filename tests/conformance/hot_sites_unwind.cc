// What an unwinder finds that starts in a handler, in the midst of a hot call.
#include <execinfo.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <ucontext.h>

#include <atomic>

#include "tests/conformance/support.h"

namespace {

// lseek(2) with a number that is loaded before, in front of which there is a register to restore.
extern "C" long unwound_site(long fd, long offset, long whence);
extern "C" const char unwound_site_end[];
asm(R"(
    .text
    .balign 64
    .globl unwound_site
unwound_site:
    .cfi_startproc
    push %rbx
    .cfi_adjust_cfa_offset 8
    .cfi_rel_offset %rbx, 0
    mov $8, %ebx
    mov %rdx, %rdx
    mov %rsi, %rsi
    mov %rdi, %rdi
    mov %rbx, %rax
    syscall
    pop %rbx
    .cfi_adjust_cfa_offset -8
    .cfi_restore %rbx
    ret
    .cfi_endproc
unwound_site_end:
)");

bool InSite(uint64_t ip) {
  return ip >= reinterpret_cast<uint64_t>(&unwound_site) &&
         ip < reinterpret_cast<uint64_t>(unwound_site_end);
}
uint64_t IpOf(void* context) {
  return static_cast<uint64_t>(static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_RIP]);
}

// One at a time: an alarm that came in another's handler could do so for ever where that takes
// long.
class Alarms {
 public:
  explicit Alarms(void (*handler)(int, siginfo_t*, void*)) : action_(SIGALRM, handler) {
    const itimerval often{.it_interval = {0, 1500}, .it_value = {0, 1500}};
    setitimer(ITIMER_REAL, &often, nullptr);
  }
  ~Alarms() {
    const itimerval never{};
    setitimer(ITIMER_REAL, &never, nullptr);
  }

 private:
  ScopedAction action_;
};

extern "C" char __executable_start, etext;
std::atomic<int> g_seen;

__attribute__((noinline)) long CallFrom(int fd, long offset) {
  const long result = unwound_site(fd, offset, SEEK_SET);
  asm volatile("" : : : "memory");
  return result;
}

TEST(HotSitesUnwind, ExceptionsPassThroughTheCall) {
  UniqueFd file = OpenTemp();
  static std::atomic<bool> armed;
  armed = false;
  int caught = 0;
  sigset_t alarm;
  sigemptyset(&alarm);
  sigaddset(&alarm, SIGALRM);
  Alarms alarms([](int, siginfo_t*, void* context) {
    if (armed && InSite(IpOf(context))) throw 17;
  });
  for (long i = 0; caught < 60; ++i) {
    armed = true;
    try {
      const long result = CallFrom(file.get(), i);
      armed = false;
      ASSERT_EQ(result, i);
    } catch (int thrown) {
      armed = false;
      pthread_sigmask(SIG_UNBLOCK, &alarm, nullptr);  // The handler has not returned.
      ASSERT_EQ(thrown, 17);
      ++caught;
    }
  }
}

TEST(HotSitesUnwind, BacktracesLeadToTheCaller) {
  UniqueFd file = OpenTemp();
  void* first[1];
  backtrace(first, 1);  // Loads what it needs.
  static std::atomic<int> wrong;
  g_seen = 0, wrong = 0;
  Alarms alarms([](int, siginfo_t*, void* context) {
    const uint64_t ip = IpOf(context);
    if (!InSite(ip)) return;
    void* frames[16];
    const int count = backtrace(frames, 16);
    int at = 0;
    while (at < count && !InSite(reinterpret_cast<uint64_t>(frames[at]))) ++at;
    // Behind the call comes CallFrom, whose text is short.
    const auto caller = at + 1 < count ? reinterpret_cast<uint64_t>(frames[at + 1]) : 0;
    const auto expected = reinterpret_cast<uint64_t>(&CallFrom);
    if (at == count || caller < expected || caller > expected + 200) wrong = wrong + 1;
    g_seen = g_seen + 1;
  });
  for (long i = 0; g_seen < 60; ++i) ASSERT_EQ(CallFrom(file.get(), i), i);
  EXPECT_EQ(wrong, 0);
}

TEST(HotSitesUnwind, HandlersSeeTheCallOrWhatIsBehind) {
  UniqueFd file = OpenTemp();
  static std::atomic<uint64_t> strange;
  static std::atomic<bool> armed;  // The first alarm may come in the call that asks for it.
  g_seen = 0, strange = 0, armed = false;
  Alarms alarms([](int, siginfo_t*, void* context) {
    const uint64_t ip = IpOf(context);
    const bool own = ip >= reinterpret_cast<uint64_t>(&__executable_start) &&
                     ip < reinterpret_cast<uint64_t>(&etext);
    if (armed && !own) strange = ip;
    g_seen = g_seen + 1;
  });
  armed = true;
  while (g_seen < 100) unwound_site(file.get(), 0, SEEK_SET);
  armed = false;
  EXPECT_EQ(strange, 0u) << std::hex << strange;
}

}  // namespace
