// /proc/PID/stat, status, statm and their kin, compared with what the test itself arranges.
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/times.h>
#include <sys/wait.h>

#include <thread>

#include "tests/conformance/proc_support.h"

namespace {

std::vector<std::string> SelfStat() { return StatFields(Self("stat")); }
long Number(const std::string& text) { return strtol(text.c_str(), nullptr, 10); }

TEST(ProcStat, HasFiftyTwoFields) { EXPECT_EQ(SelfStat().size(), 53u); }

TEST(ProcStat, Identity) {
  const auto f = SelfStat();
  EXPECT_EQ(Number(f[1]), getpid());
  EXPECT_EQ(Number(f[4]), getppid());
  EXPECT_EQ(Number(f[5]), getpgrp());
  EXPECT_EQ(Number(f[6]), getsid(0));
}

TEST(ProcStat, StateOfWhoReads) { EXPECT_EQ(SelfStat()[3], "R"); }

TEST(ProcStat, StateOfASleeper) {
  Sleeper child;
  EXPECT_TRUE(WaitForState(child.pid(), 'S'));
}

TEST(ProcStat, StateOfABusyProcess) {
  const pid_t pid = Start([] {
    for (;;) asm volatile("");
    return 0;
  });
  EXPECT_TRUE(Eventually([&] { return StateOf(pid) == 'R'; }));
  kill(pid, SIGKILL);
  Wait(pid);
}

TEST(ProcStat, StateOfAStoppedProcess) {
  Sleeper child;
  kill(child.pid(), SIGSTOP);
  EXPECT_THAT(Wait(child.pid(), WUNTRACED), Stopped(SIGSTOP));
  EXPECT_EQ(StateOf(child.pid()), 'T');
  kill(child.pid(), SIGCONT);
  EXPECT_TRUE(WaitForState(child.pid(), 'S'));
}

TEST(ProcStat, StateOfAZombie) {
  Sleeper child;
  child.Kill();
  EXPECT_EQ(StateOf(child.pid()), 'Z');
}

TEST(ProcStat, AZombieKeepsItsName) {
  Sleeper child([] { prctl(PR_SET_NAME, "restless"); });
  child.Kill();
  const auto f = StatFields(Proc(child.pid(), "stat"));
  EXPECT_EQ(f[2], "(restless)");
  EXPECT_EQ(Number(f[4]), getpid());
  EXPECT_EQ(f[23], "0");  // vsize
  EXPECT_EQ(f[24], "0");  // rss
}

TEST(ProcStat, ExitCodeOfAZombie) {
  const pid_t pid = Start([] { return 7; });
  siginfo_t info;
  ASSERT_THAT(waitid(P_PID, pid, &info, WEXITED | WNOWAIT), Returns(0));
  EXPECT_EQ(StatFields(Proc(pid, "stat"))[52], std::to_string(7 << 8));
  Wait(pid);
}

TEST(ProcStat, NameWithParenthesesAndBlanks) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(prctl(PR_SET_NAME, "a) R (b c") == 0);
                const std::string text = ReadFile("/proc/self/stat");
                CHILD_CHECK(StatFields(text)[2] == "(a) R (b c)");
                CHILD_CHECK(StatFields(text)[3] == "R");
                return 0;
              }),
              Exited(0));
}

TEST(ProcStat, NiceAndPriority) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setpriority(PRIO_PROCESS, 0, 7) == 0);
                const auto f = StatFields(ReadFile("/proc/self/stat"));
                CHILD_CHECK(f[18] == "27");
                CHILD_CHECK(f[19] == "7");
                return 0;
              }),
              Exited(0));
}

TEST(ProcStat, SchedulingPolicy) {
  EXPECT_THAT(InChild([] {
                sched_param param = {};
                CHILD_CHECK(sched_setscheduler(0, SCHED_BATCH, &param) == 0);
                CHILD_CHECK(StatFields(ReadFile("/proc/self/stat"))[41] == "3");
                param.sched_priority = 5;
                CHILD_CHECK(sched_setscheduler(0, SCHED_FIFO, &param) == 0);
                const auto f = StatFields(ReadFile("/proc/self/stat"));
                CHILD_CHECK(f[41] == "1");
                CHILD_CHECK(f[40] == "5");
                CHILD_CHECK(f[18] == "-6");
                return 0;
              }),
              Exited(0));
}

TEST(ProcStat, NumberOfThreads) {
  Pipe stop;
  std::thread a([&] { Await(stop.read.get()); }), b([&] { Await(stop.read.get()); });
  EXPECT_EQ(SelfStat()[20], "3");
  Post(stop.write.get());
  Post(stop.write.get());
  a.join();
  b.join();
  EXPECT_TRUE(Eventually([] { return SelfStat()[20] == "1"; }));
}

TEST(ProcStat, StartTimeIsInThePastAndConstant) {
  const auto before = SelfStat();
  timespec up;
  clock_gettime(CLOCK_BOOTTIME, &up);
  EXPECT_LE(Number(before[22]), up.tv_sec * 100 + up.tv_nsec / 10'000'000);
  EXPECT_GT(Number(before[22]), 0);
  EXPECT_EQ(SelfStat()[22], before[22]);
  Sleeper child;
  EXPECT_GE(Number(StatFields(Proc(child.pid(), "stat"))[22]), Number(before[22]));
}

TEST(ProcStat, TimesGrowWithWork) {
  const auto busy = [] { return Number(SelfStat()[14]) + Number(SelfStat()[15]); };
  const long before = busy();
  while (busy() < before + 5) {
    for (int k = 0; k < 1'000'000; ++k) asm volatile("");
  }
  tms now;
  times(&now);
  EXPECT_LE(busy(), now.tms_utime + now.tms_stime + 100);
  EXPECT_GE(now.tms_utime + now.tms_stime, before + 4);
}

TEST(ProcStat, TimesOfChildren) {
  EXPECT_THAT(InChild([] {
                const auto start = StatFields(ReadFile("/proc/self/stat"));
                CHILD_CHECK(start[16] == "0");
                const pid_t pid = fork();
                if (pid == 0) {
                  while (clock() < CLOCKS_PER_SEC / 10) continue;
                  _exit(0);
                }
                CHILD_CHECK(waitpid(pid, nullptr, 0) == pid);
                const auto f = StatFields(ReadFile("/proc/self/stat"));
                CHILD_CHECK(Number(f[16]) + Number(f[17]) >= 8);
                return 0;
              }),
              Exited(0));
}

TEST(ProcStat, FaultsGrowWithTouchedPages) {
  const long before = Number(SelfStat()[10]);
  constexpr size_t kSize = 256 * 4096;
  char* memory = static_cast<char*>(
      mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  madvise(memory, kSize, MADV_NOHUGEPAGE);
  for (size_t i = 0; i < kSize; i += 4096) memory[i] = 1;
  EXPECT_GE(Number(SelfStat()[10]), before + 256);
  munmap(memory, kSize);
}

TEST(ProcStat, SizesGrowWithMemory) {
  constexpr size_t kSize = 8 << 20;
  const auto before = SelfStat();
  char* memory = static_cast<char*>(
      mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  auto after = SelfStat();
  EXPECT_GE(Number(after[23]), Number(before[23]) + static_cast<long>(kSize));
  EXPECT_LT(Number(after[24]), Number(before[24]) + 1024);
  memset(memory, 1, kSize);
  after = SelfStat();
  EXPECT_GE(Number(after[24]), Number(before[24]) + 2000);
  munmap(memory, kSize);
}

TEST(ProcStat, Addresses) {
  const auto f = SelfStat();
  const auto address = [&](int i) { return strtoul(f[i].c_str(), nullptr, 10); };
  EXPECT_LE(address(26), reinterpret_cast<uint64_t>(&SelfStat));
  EXPECT_GE(address(27), reinterpret_cast<uint64_t>(&SelfStat));
  int local = 0;
  EXPECT_GT(address(28), reinterpret_cast<uint64_t>(&local));
  EXPECT_LE(address(47), reinterpret_cast<uint64_t>(sbrk(0)));
  EXPECT_GT(address(49), address(48));  // arguments
  EXPECT_GE(address(51), address(50));  // environment
  EXPECT_EQ(address(49), address(50));
}

TEST(ProcStat, SignalMasks) {
  ScopedBlock block({SIGUSR1});
  ScopedAction ignore(SIGUSR2, SIG_IGN);
  ScopedAction handle(
      SIGWINCH, +[](int) {});
  const auto f = SelfStat();
  EXPECT_NE(Number(f[32]) & 1 << (SIGUSR1 - 1), 0);
  EXPECT_NE(Number(f[33]) & 1 << (SIGUSR2 - 1), 0);
  EXPECT_NE(Number(f[34]) & 1 << (SIGWINCH - 1), 0);
}

TEST(ProcStat, ExitSignal) {
  EXPECT_EQ(StatFields(Self("stat"))[38], "17");
  Pipe stop;
  pid_t tid = 0;
  Pipe ready;
  std::thread other([&] {
    tid = gettid();
    Post(ready.write.get());
    Await(stop.read.get());
  });
  Await(ready.read.get());
  const auto f = StatFields(Self("task/" + std::to_string(tid) + "/stat"));
  EXPECT_EQ(f[38], "-1");
  EXPECT_EQ(Number(f[1]), tid);
  Post(stop.write.get());
  other.join();
}

TEST(ProcStat, ResourceLimitOfResidentPages) {
  rlimit limit;
  getrlimit(RLIMIT_RSS, &limit);
  EXPECT_EQ(SelfStat()[25], std::to_string(limit.rlim_cur));
}

TEST(ProcStat, AddressesAreHiddenFromOthers) {
  Sleeper child;
  EXPECT_THAT(AsNobody([&] {
                const auto f = StatFields(ReadFile(ProcPath(child.pid(), "stat")));
                CHILD_CHECK(f.size() == 53);
                CHILD_CHECK(f[26] == "1");
                CHILD_CHECK(f[28] == "0");
                CHILD_CHECK(f[48] == "0");
                CHILD_CHECK(f[23] != "0");  // Sizes are for everyone.
                return 0;
              }),
              Exited(0));
}

TEST(ProcStat, NoTerminal) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setsid() > 0);
                const auto f = StatFields(ReadFile("/proc/self/stat"));
                CHILD_CHECK(f[7] == "0");
                CHILD_CHECK(f[8] == "-1");
                CHILD_CHECK(Number(f[6]) == getpid());
                return 0;
              }),
              Exited(0));
}

TEST(ProcStat, ForkedFlagGoesWithExec) {
  constexpr long kForkNoExec = 0x40;
  Sleeper child;
  EXPECT_NE(Number(StatFields(Proc(child.pid(), "stat"))[9]) & kForkNoExec, 0);
  const Outcome shown = Execute("/bin/cat", {"/bin/cat", "/proc/self/stat"});
  EXPECT_EQ(Number(StatFields(shown.output)[9]) & kForkNoExec, 0);
}

TEST(ProcStatm, AgreesWithStat) {
  std::istringstream text(Self("statm"));
  long v[7] = {};
  for (long& n : v) text >> n;
  ASSERT_TRUE(text);
  const auto f = SelfStat();
  EXPECT_NEAR(v[0], Number(f[23]) / 4096, 64);
  EXPECT_NEAR(v[1], Number(f[24]), 256);
  EXPECT_LE(v[2], v[1]);
  EXPECT_GT(v[3], 0);
  EXPECT_EQ(v[4], 0);
  EXPECT_GT(v[5], 0);
  EXPECT_EQ(v[6], 0);
}

TEST(ProcStatm, OfAZombie) {
  Sleeper child;
  child.Kill();
  EXPECT_EQ(Proc(child.pid(), "statm"), "0 0 0 0 0 0 0\n");
}

TEST(ProcSchedstat, ThreeNumbersThatGrow) {
  const auto read = [] {
    std::istringstream text(Self("schedstat"));
    uint64_t run = 0, wait = 0, slices = 0;
    text >> run >> wait >> slices;
    EXPECT_TRUE(text);
    return run;
  };
  const uint64_t before = read();
  EXPECT_TRUE(Eventually([&] { return read() > before; }));
}

TEST(ProcSched, NamesTheProcess) {
  EXPECT_THAT(InChild([] {
                prctl(PR_SET_NAME, "planned");
                const std::string head =
                    "planned (" + std::to_string(getpid()) + ", #threads: 1)\n";
                const std::string text = ReadFile("/proc/self/sched");
                CHILD_CHECK(text.substr(0, head.size()) == head);
                CHILD_CHECK(text.find("policy") != std::string::npos);
                return 0;
              }),
              Exited(0));
}

// sched(7): the processes of a session share the machine's time as one.
class ProcAutogroup : public testing::Test {
 protected:
  void SetUp() override {
    if (TryRead("/proc/self/autogroup").empty()) GTEST_SKIP() << "the kernel has none";
  }
  static std::string NameOf(const std::string& text) { return text.substr(0, text.find(' ')); }
};

TEST_F(ProcAutogroup, IsTheSessions) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setsid() == getpid());
                const std::string own = Self("autogroup");
                CHILD_CHECK(own.starts_with("/autogroup-"));
                CHILD_CHECK(own.ends_with(" nice 0\n"));
                CHILD_CHECK(NameOf(own) != NameOf(Proc(getppid(), "autogroup")));
                CHILD_CHECK(InChild([&] { return Self("autogroup") == own ? 7 : 1; }) == 7 << 8);
                return 0;
              }),
              Exited(0));
}

TEST_F(ProcAutogroup, NicenessOfAll) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setsid() == getpid());
                CHILD_CHECK(WriteTo("/proc/self/autogroup", "7\n") == 2);
                CHILD_CHECK(Self("autogroup").ends_with(" nice 7\n"));
                CHILD_CHECK(InChild([] {
                              return Self("autogroup").ends_with(" nice 7\n") &&
                                             WriteTo("/proc/self/autogroup", "-3") == 2
                                         ? 7
                                         : 1;
                            }) == 7 << 8);
                CHILD_CHECK(Self("autogroup").ends_with(" nice -3\n"));
                for (const char* bad : {"20", "-21", "x", "1 2", ""}) {
                  const bool empty = *bad == '\0';
                  const ssize_t n = WriteTo("/proc/self/autogroup", bad);
                  CHILD_CHECK(empty || (n == -1 && errno == EINVAL));
                }
                CHILD_CHECK(Self("autogroup").ends_with(" nice -3\n"));
                return 0;
              }),
              Exited(0));
}

TEST_F(ProcAutogroup, OnlyThePrivilegedGoBelowZero) {
  EXPECT_THAT(AsNobody([] {
                CHILD_CHECK(setsid() == getpid());
                prctl(PR_SET_DUMPABLE, 1);
                CHILD_CHECK(WriteTo("/proc/self/autogroup", "-1") == -1);
                CHILD_CHECK(errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST_F(ProcAutogroup, IsNotAThreads) {
  EXPECT_EQ(Names("/proc/thread-self/").count("autogroup"), 0u);
  EXPECT_EQ(Names("/proc/self/").count("autogroup"), 1u);
}

}  // namespace
