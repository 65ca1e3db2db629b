// /proc/PID/status and limits: each line against what the test arranges.
#include <linux/capability.h>
#include <sched.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <thread>

#include "tests/conformance/proc_support.h"

namespace {

std::string Status(const std::string& name) { return Field(Self("status"), name); }
uint64_t Kib(const std::string& name) { return NumberField(Self("status"), name); }

TEST(ProcStatus, Identity) {
  EXPECT_EQ(Status("Pid"), std::to_string(getpid()));
  EXPECT_EQ(Status("Tgid"), std::to_string(getpid()));
  EXPECT_EQ(Status("PPid"), std::to_string(getppid()));
  EXPECT_EQ(Status("TracerPid"), "0");
  EXPECT_EQ(Status("Ngid"), "0");
  EXPECT_EQ(Status("State"), "R (running)");
}

TEST(ProcStatus, NamespaceIds) {
  EXPECT_EQ(Status("NSpid"), std::to_string(getpid()));
  EXPECT_EQ(Status("NStgid"), std::to_string(getpid()));
  EXPECT_EQ(Status("NSpgid"), std::to_string(getpgrp()));
  EXPECT_EQ(Status("NSsid"), std::to_string(getsid(0)));
}

TEST(ProcStatus, NameIsEscaped) {
  EXPECT_THAT(InChild([] {
                prctl(PR_SET_NAME, "a\nb\\c");
                CHILD_CHECK(ReadFile("/proc/self/status").substr(0, 14) == "Name:\ta\\nb\\\\c\n");
                return 0;
              }),
              Exited(0));
}

TEST(ProcStatus, Umask) {
  EXPECT_THAT(InChild([] {
                umask(0137);
                CHILD_CHECK(Field(ReadFile("/proc/self/status"), "Umask") == "0137");
                return 0;
              }),
              Exited(0));
}

TEST(ProcStatus, Ids) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(setresgid(11, 12, 13) == 0);
                CHILD_CHECK(setresuid(21, 22, 23) == 0);
                const std::string text = ReadFile("/proc/self/status");
                CHILD_CHECK(Field(text, "Uid") == "21\t22\t23\t22");
                CHILD_CHECK(Field(text, "Gid") == "11\t12\t13\t12");
                return 0;
              }),
              Exited(0));
}

TEST(ProcStatus, Groups) {
  EXPECT_THAT(InChild([] {
                const gid_t groups[] = {5, 70, 900};
                CHILD_CHECK(setgroups(3, groups) == 0);
                CHILD_CHECK(Field(ReadFile("/proc/self/status"), "Groups") == "5 70 900");
                CHILD_CHECK(setgroups(0, nullptr) == 0);
                CHILD_CHECK(Field(ReadFile("/proc/self/status"), "Groups") == "");
                return 0;
              }),
              Exited(0));
}

TEST(ProcStatus, TableSizeOfDescriptors) {
  EXPECT_THAT(InChild([] {
                const uint64_t before = NumberField(ReadFile("/proc/self/status"), "FDSize");
                CHILD_CHECK(before >= 64);
                CHILD_CHECK(dup2(0, 600) == 600);
                CHILD_CHECK(NumberField(ReadFile("/proc/self/status"), "FDSize") >= before);
                return 0;
              }),
              Exited(0));
}

TEST(ProcStatus, ThreadsAreCounted) {
  Pipe stop;
  std::thread other([&] { Await(stop.read.get()); });
  EXPECT_EQ(Status("Threads"), "2");
  Post(stop.write.get());
  other.join();
}

TEST(ProcStatus, SizesArePlausible) {
  EXPECT_GE(Kib("VmPeak"), Kib("VmSize"));
  EXPECT_GE(Kib("VmHWM"), Kib("VmRSS"));
  EXPECT_GE(Kib("VmSize"), Kib("VmRSS"));
  EXPECT_GT(Kib("RssAnon"), 0u);
  EXPECT_GT(Kib("RssFile"), 0u);
  EXPECT_GT(Kib("VmExe"), 0u);
  EXPECT_GT(Kib("VmLib"), 0u);
  EXPECT_GT(Kib("VmStk"), 0u);
  EXPECT_GT(Kib("VmPTE"), 0u);
  EXPECT_EQ(Kib("VmSwap"), 0u);
  EXPECT_EQ(Status("HugetlbPages"), "0 kB");
}

TEST(ProcStatus, ResidentSetIsItsParts) {
  const std::string text = Self("status");
  EXPECT_EQ(
      NumberField(text, "VmRSS"),
      NumberField(text, "RssAnon") + NumberField(text, "RssFile") + NumberField(text, "RssShmem"));
}

TEST(ProcStatus, AnonymousMemoryIsCounted) {
  constexpr size_t kSize = 4 << 20;
  const uint64_t size = Kib("VmSize"), anon = Kib("RssAnon"), data = Kib("VmData");
  void* memory = mmap(nullptr, kSize, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  EXPECT_GE(Kib("VmSize"), size + 4096);
  EXPECT_GE(Kib("RssAnon"), anon + 4000);
  EXPECT_GE(Kib("VmData"), data + 4096);
  munmap(memory, kSize);
  EXPECT_LT(Kib("RssAnon"), anon + 1000);
}

TEST(ProcStatus, SharedMemoryIsCounted) {
  constexpr size_t kSize = 4 << 20;
  const uint64_t before = Kib("RssShmem");
  void* memory = mmap(nullptr, kSize, PROT_READ | PROT_WRITE,
                      MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
  EXPECT_GE(Kib("RssShmem"), before + 4000);
  munmap(memory, kSize);
}

TEST(ProcStatus, LockedMemoryIsCounted) {
  void* memory = mmap(nullptr, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const uint64_t before = Kib("VmLck");
  ASSERT_THAT(mlock(memory, 65536), Returns(0));
  EXPECT_EQ(Kib("VmLck"), before + 64);
  munmap(memory, 65536);
  EXPECT_EQ(Kib("VmLck"), before);
}

TEST(ProcStatus, PeakStays) {
  constexpr size_t kSize = 64 << 20;
  void* memory = mmap(nullptr, kSize, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const uint64_t with = Kib("VmSize");
  munmap(memory, kSize);
  EXPECT_GE(Kib("VmPeak"), with);
  EXPECT_LT(Kib("VmSize"), with);
}

TEST(ProcStatus, SignalMasks) {
  ScopedBlock block({SIGRTMIN + 2});
  ScopedAction ignore(SIGUSR2, SIG_IGN);
  ScopedAction handle(
      SIGRTMIN + 3, +[](int) {});
  const std::string text = Self("status");
  EXPECT_NE(NumberField(text, "SigBlk", 16) & uint64_t{1} << (SIGRTMIN + 1), 0u);
  EXPECT_NE(NumberField(text, "SigIgn", 16) & uint64_t{1} << (SIGUSR2 - 1), 0u);
  EXPECT_NE(NumberField(text, "SigCgt", 16) & uint64_t{1} << (SIGRTMIN + 2), 0u);
  EXPECT_EQ(Field(text, "SigBlk").size(), 16u);
}

TEST(ProcStatus, PendingSignals) {
  EXPECT_THAT(InChild([] {
                sigset_t set = SetOf({SIGUSR1, SIGUSR2});
                sigprocmask(SIG_BLOCK, &set, nullptr);
                kill(getpid(), SIGUSR1);
                syscall(SYS_tgkill, getpid(), gettid(), SIGUSR2);
                const std::string text = ReadFile("/proc/self/status");
                CHILD_CHECK(NumberField(text, "ShdPnd", 16) == 1u << (SIGUSR1 - 1));
                CHILD_CHECK(NumberField(text, "SigPnd", 16) == 1u << (SIGUSR2 - 1));
                return 0;
              }),
              Exited(0));
}

TEST(ProcStatus, QueueHasItsLimit) {
  rlimit limit;
  getrlimit(RLIMIT_SIGPENDING, &limit);
  const std::string value = Status("SigQ");
  EXPECT_EQ(value.substr(value.find('/') + 1), std::to_string(limit.rlim_cur));
}

TEST(ProcStatus, Capabilities) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(prctl(PR_CAPBSET_DROP, CAP_SYS_TIME) == 0);
                const std::string text = ReadFile("/proc/self/status");
                const uint64_t bit = uint64_t{1} << CAP_SYS_TIME;
                CHILD_CHECK((NumberField(text, "CapBnd", 16) & bit) == 0);
                CHILD_CHECK(NumberField(text, "CapEff", 16) == NumberField(text, "CapPrm", 16));
                CHILD_CHECK(Field(text, "CapAmb") == "0000000000000000");
                CHILD_CHECK(setresuid(9, 9, 9) == 0);
                const std::string user = ReadFile("/proc/self/status");
                CHILD_CHECK(Field(user, "CapEff") == "0000000000000000");
                CHILD_CHECK(Field(user, "CapPrm") == "0000000000000000");
                return 0;
              }),
              Exited(0));
}

TEST(ProcStatus, NoNewPrivileges) {
  EXPECT_EQ(Status("NoNewPrivs"), "0");
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
                CHILD_CHECK(Field(ReadFile("/proc/self/status"), "NoNewPrivs") == "1");
                return 0;
              }),
              Exited(0));
}

TEST(ProcStatus, SeccompIsOff) {
  EXPECT_EQ(Status("Seccomp"), "0");
  EXPECT_EQ(Status("Seccomp_filters"), "0");
}

TEST(ProcStatus, ProcessorsAllowed) {
  cpu_set_t set;
  ASSERT_THAT(sched_getaffinity(0, sizeof set, &set), Succeeds());
  const std::string mask = Status("Cpus_allowed");
  EXPECT_EQ(strtoul(mask.substr(mask.rfind(',') + 1).c_str(), nullptr, 16) & 0xffffffff,
            set.__bits[0] & 0xffffffff);
  EXPECT_NE(Status("Cpus_allowed_list"), "");
}

TEST(ProcStatus, OneProcessorAllowed) {
  EXPECT_THAT(InChild([] {
                cpu_set_t set;
                CPU_ZERO(&set);
                CPU_SET(0, &set);
                CHILD_CHECK(sched_setaffinity(0, sizeof set, &set) == 0);
                const std::string text = ReadFile("/proc/self/status");
                CHILD_CHECK(Field(text, "Cpus_allowed_list") == "0");
                return 0;
              }),
              Exited(0));
}

TEST(ProcStatus, OneNodeOfMemory) {
  const std::string mask = Status("Mems_allowed");
  EXPECT_EQ(strtoul(mask.substr(mask.rfind(',') + 1).c_str(), nullptr, 16) & 1, 1u);
  EXPECT_EQ(Status("Mems_allowed_list").substr(0, 1), "0");
}

TEST(ProcStatus, SwitchesAreCounted) {
  const uint64_t before = Kib("voluntary_ctxt_switches");
  for (int i = 0; i < 20; ++i) usleep(100);
  EXPECT_GT(Kib("voluntary_ctxt_switches"), before);
}

TEST(ProcStatus, OfAZombie) {
  Sleeper child;
  child.Kill();
  const std::string text = Proc(child.pid(), "status");
  EXPECT_EQ(Field(text, "State"), "Z (zombie)");
  EXPECT_EQ(Field(text, "VmSize"), "(none)");
  EXPECT_EQ(Field(text, "PPid"), std::to_string(getpid()));
  EXPECT_EQ(Field(text, "FDSize"), "0");
  EXPECT_EQ(Field(text, "Threads"), "1");
}

TEST(ProcStatus, OfAThread) {
  Pipe ready, stop;
  pid_t tid = 0;
  std::thread other([&] {
    tid = gettid();
    pthread_setname_np(pthread_self(), "worker");
    Post(ready.write.get());
    Await(stop.read.get());
  });
  Await(ready.read.get());
  const std::string text = Self("task/" + std::to_string(tid) + "/status");
  EXPECT_EQ(Field(text, "Name"), "worker");
  EXPECT_EQ(Field(text, "Pid"), std::to_string(tid));
  EXPECT_EQ(Field(text, "Tgid"), std::to_string(getpid()));
  EXPECT_EQ(Field(text, "Threads"), "2");
  Post(stop.write.get());
  other.join();
}

TEST(ProcLimits, Table) {
  const std::string text = Self("limits");
  EXPECT_TRUE(
      text.starts_with("Limit                     Soft Limit           Hard Limit           "
                       "Units     \n"));
  for (const char* name :
       {"Max cpu time", "Max file size", "Max open files", "Max realtime timeout"}) {
    EXPECT_NE(text.find(std::string("\n") + name), std::string::npos) << name;
  }
}

TEST(ProcLimits, FollowSetrlimit) {
  EXPECT_THAT(InChild([] {
                const rlimit limit = {77, 88};
                CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
                const std::string text = ReadFile("/proc/self/limits");
                CHILD_CHECK(text.find("Max open files            77                   88           "
                                      "        files     \n") != std::string::npos);
                return 0;
              }),
              Exited(0));
}

TEST(ProcLimits, OfAnotherProcess) {
  Sleeper child;
  const rlimit limit = {4096, 8192};
  ASSERT_THAT(prlimit(child.pid(), RLIMIT_CORE, &limit, nullptr), Returns(0));
  EXPECT_NE(Proc(child.pid(), "limits")
                .find("Max core file size        4096                 8192                 bytes"),
            std::string::npos);
}

TEST(ProcIo, CountsReadsAndWrites) {
  const auto count = [](const char* name) { return NumberField(Self("io"), name); };
  const uint64_t wchar = count("wchar"), syscw = count("syscw"), rchar = count("rchar");
  UniqueFd file = OpenTemp();
  const std::string text(1000, 'x');
  ASSERT_THAT(write(file.get(), text.data(), text.size()), Returns(1000));
  EXPECT_EQ(count("wchar"), wchar + 1000);
  EXPECT_EQ(count("syscw"), syscw + 1);
  char back[1000];
  ASSERT_THAT(pread(file.get(), back, 1000, 0), Returns(1000));
  EXPECT_GE(count("rchar"), rchar + 1000);
}

TEST(ProcIo, HasSevenLines) {
  const std::string text = Self("io");
  for (const char* name :
       {"rchar", "wchar", "syscr", "syscw", "read_bytes", "write_bytes", "cancelled_write_bytes"}) {
    EXPECT_NE(Field(text, name), "(none)") << name;
  }
}

}  // namespace
