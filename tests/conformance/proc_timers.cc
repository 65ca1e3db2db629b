// /proc/PID/timers (proc_pid_timers(5)), and the small files about merging of pages and the
// machine.
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

#include "tests/conformance/proc_support.h"

namespace {

// The system call: the C library adds its own notification to SIGEV_THREAD.
int Create(clockid_t clock, sigevent* event) {
  int id = -1;
  EXPECT_THAT(syscall(SYS_timer_create, clock, event, &id), Returns(0));
  return id;
}
void Delete(int id) { EXPECT_THAT(syscall(SYS_timer_delete, id), Returns(0)); }

// The four lines about a timer.
std::string Entry(int id) {
  const std::string text = "\n" + Self("timers");
  const size_t at = text.find("\nID: " + std::to_string(id) + "\n");
  if (at == std::string::npos) return "";
  const size_t next = text.find("\nID: ", at + 1);
  return text.substr(at + 1, next == std::string::npos ? next : next - at);
}

std::string Expected(int id, int sig, const std::string& value, const std::string& notify,
                     int clock) {
  return "ID: " + std::to_string(id) + "\nsignal: " + std::to_string(sig) + "/" + value +
         "\nnotify: " + notify + "\nClockID: " + std::to_string(clock) + "\n";
}

TEST(ProcTimers, ASignalWithAValue) {
  sigevent event{};
  event.sigev_notify = SIGEV_SIGNAL;
  event.sigev_signo = SIGRTMIN + 2;
  event.sigev_value.sival_ptr = reinterpret_cast<void*>(0x12345678abcd);
  const int id = Create(CLOCK_MONOTONIC, &event);
  EXPECT_EQ(Entry(id), Expected(id, SIGRTMIN + 2, "000012345678abcd",
                                "signal/pid." + std::to_string(getpid()), CLOCK_MONOTONIC));
  Delete(id);
  EXPECT_EQ(Entry(id), "");
}

TEST(ProcTimers, WithoutAnEventItIsSigalrmWithItsNumber) {
  const int first = Create(CLOCK_REALTIME, nullptr);
  const int id = Create(CLOCK_REALTIME, nullptr);
  char value[32];
  snprintf(value, sizeof value, "%016x", id);
  EXPECT_EQ(Entry(id), Expected(id, SIGALRM, value, "signal/pid." + std::to_string(getpid()), 0));
  Delete(id);
  Delete(first);
}

TEST(ProcTimers, AThreadIsTold) {
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD_ID;
  event.sigev_signo = SIGUSR1;
  event._sigev_un._tid = gettid();
  const int id = Create(CLOCK_BOOTTIME, &event);
  EXPECT_EQ(Entry(id), Expected(id, SIGUSR1, "0000000000000000",
                                "signal/tid." + std::to_string(gettid()), CLOCK_BOOTTIME));
  Delete(id);
}

TEST(ProcTimers, NobodyIsTold) {
  sigevent event{};
  event.sigev_notify = SIGEV_NONE;
  event.sigev_signo = SIGUSR2;
  const int id = Create(CLOCK_MONOTONIC, &event);
  EXPECT_EQ(Entry(id), Expected(id, SIGUSR2, "0000000000000000",
                                "none/pid." + std::to_string(getpid()), CLOCK_MONOTONIC));
  Delete(id);
}

// CPU clocks are named as clock_getcpuclockid(3) does, the caller being 0.
TEST(ProcTimers, CpuClocksAndAThreadThatTheProgramStarts) {
  sigevent event{};
  event.sigev_notify = SIGEV_THREAD;
  event.sigev_signo = SIGUSR2;
  const std::string notify = "thread/pid." + std::to_string(getpid());
  const int process = Create(CLOCK_PROCESS_CPUTIME_ID, &event);
  EXPECT_EQ(Entry(process), Expected(process, SIGUSR2, "0000000000000000", notify, -6));
  const int thread = Create(CLOCK_THREAD_CPUTIME_ID, &event);
  EXPECT_EQ(Entry(thread), Expected(thread, SIGUSR2, "0000000000000000", notify, -2));
  Delete(process);
  Delete(thread);
}

TEST(ProcTimers, OfAnotherProcess) {
  Sleeper child([] { Create(CLOCK_MONOTONIC, nullptr); });
  EXPECT_THAT(Proc(child.pid(), "timers"),
              testing::HasSubstr("notify: signal/pid." + std::to_string(child.pid()) + "\n"));
  Sleeper none;
  EXPECT_EQ(Proc(none.pid(), "timers"), "");
  struct stat st;
  EXPECT_THAT(stat("/proc/thread-self/timers", &st), FailsWith(ENOENT));
}

TEST(ProcTimers, AForkedChildHasNone) {
  const int id = Create(CLOCK_MONOTONIC, nullptr);
  EXPECT_EQ(InChild([] { return Self("timers").empty() ? 0 : 1; }), 0);
  Delete(id);
}

TEST(ProcKsm, NothingIsMerged) {
  EXPECT_EQ(Self("ksm_merging_pages"), "0\n");
  EXPECT_THAT(Self("ksm_stat"), testing::StartsWith("ksm_rmap_items 0\nksm_zero_pages 0\n"
                                                    "ksm_merging_pages 0\nksm_process_profit 0\n"));
  struct stat st;
  ASSERT_THAT(stat("/proc/self/ksm_stat", &st), Returns(0));
  EXPECT_EQ(st.st_mode, S_IFREG | 0400u);
  EXPECT_EQ(ReadFile("/proc/thread-self/ksm_merging_pages"), "0\n");
}

TEST(ProcArchStatus, TellsOfAvx512WhereThereIsAny) {
  const bool has = ReadFile("/proc/cpuinfo").find(" avx512f") != std::string::npos;
  EXPECT_EQ(Self("arch_status").starts_with("AVX512_elapsed_ms:\t"), has);
  EXPECT_EQ(ReadFile("/proc/thread-self/arch_status").empty(), !has);
}

}  // namespace
