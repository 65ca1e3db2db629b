// Scheduling: policies, parameters, attributes, affinity, and where a thread runs.
#include <sched.h>
#include <sys/resource.h>

#include "tests/conformance/futex_support.h"

namespace {

constexpr pid_t kNobody = 0x3ffffff0;  // No pid is that large.
constexpr int kDeadline = 6;

struct Attributes {
  uint32_t size = sizeof(Attributes);
  uint32_t policy = 0;
  uint64_t flags = 0;
  int32_t nice = 0;
  uint32_t priority = 0;
  uint64_t runtime = 0, deadline = 0, period = 0;
  uint32_t util_min = 0, util_max = 0;
};
long SetAttributes(pid_t pid, Attributes* attributes, unsigned flags = 0) {
  return syscall(SYS_sched_setattr, pid, attributes, flags);
}
long GetAttributes(pid_t pid, Attributes* attributes, unsigned size = sizeof(Attributes),
                   unsigned flags = 0) {
  return syscall(SYS_sched_getattr, pid, attributes, size, flags);
}
long SetScheduler(pid_t pid, int policy, int priority) {
  const sched_param param = {.sched_priority = priority};
  return syscall(SYS_sched_setscheduler, pid, policy, &param);
}
int PriorityOf(pid_t pid) {
  sched_param param = {.sched_priority = -1};
  return syscall(SYS_sched_getparam, pid, &param) == 0 ? param.sched_priority : -1;
}
// Leaves root without the power over others.
void BecomeNobody() { CHILD_CHECK(setgid(65534) == 0 && setuid(65534) == 0); }

struct Policy {
  const char* name;
  int policy;
  int lowest, highest;
};
class SchedPolicy : public testing::TestWithParam<Policy> {};
INSTANTIATE_TEST_SUITE_P(Sched, SchedPolicy,
                         testing::Values(Policy{"Other", SCHED_OTHER, 0, 0},
                                         Policy{"Batch", SCHED_BATCH, 0, 0},
                                         Policy{"Idle", SCHED_IDLE, 0, 0},
                                         Policy{"Fifo", SCHED_FIFO, 1, 99},
                                         Policy{"RoundRobin", SCHED_RR, 1, 99}),
                         [](const auto& info) { return std::string(info.param.name); });

TEST_P(SchedPolicy, Range) {
  EXPECT_THAT(sched_get_priority_min(GetParam().policy), Returns(GetParam().lowest));
  EXPECT_THAT(sched_get_priority_max(GetParam().policy), Returns(GetParam().highest));
}

TEST_P(SchedPolicy, IsSetAndReported) {
  const Policy& p = GetParam();
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(SetScheduler(0, p.policy, p.lowest) == 0);
                CHILD_CHECK(sched_getscheduler(0) == p.policy);
                CHILD_CHECK(sched_getscheduler(getpid()) == p.policy);
                CHILD_CHECK(PriorityOf(0) == p.lowest);
                return 0;
              }),
              Exited(0));
}

TEST_P(SchedPolicy, PriorityOutOfRange) {
  EXPECT_THAT(SetScheduler(0, GetParam().policy, GetParam().lowest - 1), FailsWith(EINVAL));
  EXPECT_THAT(SetScheduler(0, GetParam().policy, GetParam().highest + 1), FailsWith(EINVAL));
}

TEST_P(SchedPolicy, IsInherited) {
  const Policy& p = GetParam();
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(SetScheduler(0, p.policy, p.highest > 0 ? 7 : 0) == 0);
                const int status = InChild([&] {
                  CHILD_CHECK(sched_getscheduler(0) == p.policy);
                  CHILD_CHECK(PriorityOf(0) == (p.highest > 0 ? 7 : 0));
                  return 0;
                });
                CHILD_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
                return 0;
              }),
              Exited(0));
}

TEST_P(SchedPolicy, ResetOnFork) {
  const Policy& p = GetParam();
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(SetScheduler(0, p.policy | SCHED_RESET_ON_FORK, p.lowest) == 0);
                CHILD_CHECK(sched_getscheduler(0) == (p.policy | SCHED_RESET_ON_FORK));
                const int status = InChild([&] {
                  const int expected = p.highest > 0 ? SCHED_OTHER : p.policy;
                  CHILD_CHECK(sched_getscheduler(0) == expected);
                  CHILD_CHECK(PriorityOf(0) == 0);
                  return 0;
                });
                CHILD_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
                return 0;
              }),
              Exited(0));
}

TEST_P(SchedPolicy, Attributes) {
  const Policy& p = GetParam();
  EXPECT_THAT(InChild([&] {
                struct Attributes set {
                  .policy = static_cast<uint32_t>(p.policy),
                  .nice = p.highest > 0             ? 0
                          : p.policy == SCHED_IDLE ? getpriority(PRIO_PROCESS, 0)
                                                   : 5,
                  .priority = static_cast<uint32_t>(p.highest / 2)
                };
                CHILD_CHECK(SetAttributes(0, &set) == 0);
                struct Attributes got;
                CHILD_CHECK(GetAttributes(0, &got) == 0);
                CHILD_CHECK(got.size == 56 && got.policy == set.policy && got.flags == 0);
                CHILD_CHECK(got.priority == set.priority && got.nice == set.nice);
                return 0;
              }),
              Exited(0));
}

TEST(Sched, UnknownPolicies) {
  for (const int policy : {4, 8, 100}) {
    EXPECT_THAT(SetScheduler(0, policy, 0), FailsWith(EINVAL)) << policy;
    EXPECT_THAT(sched_get_priority_max(policy), FailsWith(EINVAL)) << policy;
    EXPECT_THAT(sched_get_priority_min(policy), FailsWith(EINVAL)) << policy;
  }
  EXPECT_THAT(SetScheduler(0, -1, 0), FailsWith(EINVAL));
  EXPECT_THAT(sched_get_priority_max(kDeadline), Returns(0));
}

TEST(Sched, Pids) {
  sched_param param = {};
  timespec slice;
  EXPECT_THAT(SetScheduler(kNobody, SCHED_OTHER, 0), FailsWith(ESRCH));
  EXPECT_THAT(SetScheduler(-1, SCHED_OTHER, 0), FailsWith(EINVAL));
  EXPECT_THAT(sched_getscheduler(kNobody), FailsWith(ESRCH));
  EXPECT_THAT(sched_getscheduler(-1), FailsWith(EINVAL));
  EXPECT_THAT(sched_getparam(kNobody, &param), FailsWith(ESRCH));
  EXPECT_THAT(sched_getparam(-1, &param), FailsWith(EINVAL));
  EXPECT_THAT(sched_setparam(kNobody, &param), FailsWith(ESRCH));
  EXPECT_THAT(sched_setparam(-1, &param), FailsWith(EINVAL));
  EXPECT_THAT(sched_rr_get_interval(kNobody, &slice), FailsWith(ESRCH));
  EXPECT_THAT(sched_rr_get_interval(-1, &slice), FailsWith(EINVAL));
}

TEST(Sched, Pointers) {
  void* bad = reinterpret_cast<void*>(8);
  EXPECT_THAT(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_sched_setscheduler, 0, SCHED_OTHER, bad), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_sched_setparam, 0, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_sched_setparam, 0, bad), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_sched_getparam, 0, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_sched_getparam, 0, bad), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_sched_rr_get_interval, 0, bad), FailsWith(EFAULT));
}

TEST(Sched, SetparamKeepsThePolicy) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(SetScheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, 3) == 0);
                const sched_param nine = {.sched_priority = 9}, none = {};
                CHILD_CHECK(sched_setparam(0, &nine) == 0);
                CHILD_CHECK(sched_getscheduler(0) == (SCHED_FIFO | SCHED_RESET_ON_FORK));
                CHILD_CHECK(PriorityOf(0) == 9);
                CHILD_CHECK(sched_setparam(0, &none) == -1 && errno == EINVAL);
                return 0;
              }),
              Exited(0));
}

TEST(Sched, RoundRobinInterval) {
  EXPECT_THAT(InChild([] {
                timespec slice = {-1, -1};
                CHILD_CHECK(SetScheduler(0, SCHED_RR, 1) == 0);
                CHILD_CHECK(sched_rr_get_interval(0, &slice) == 0);
                CHILD_CHECK(slice.tv_sec == 0 && slice.tv_nsec > 0);
                CHILD_CHECK(SetScheduler(0, SCHED_FIFO, 1) == 0);
                CHILD_CHECK(sched_rr_get_interval(0, &slice) == 0);
                CHILD_CHECK(slice.tv_sec == 0 && slice.tv_nsec == 0);
                return 0;
              }),
              Exited(0));
}

TEST(Sched, OfAnotherThread) {
  Pipe gate;
  Thread other([&] { Await(gate.read.get()); });
  EXPECT_THAT(SetScheduler(other.tid(), SCHED_BATCH, 0), Returns(0));
  EXPECT_THAT(sched_getscheduler(other.tid()), Returns(SCHED_BATCH));
  EXPECT_THAT(sched_getscheduler(0), Returns(SCHED_OTHER));
  Post(gate.write.get());
}

TEST(SchedRights, RealTimeWantsThem) {
  EXPECT_THAT(InChild([] {
                const rlimit none = {0, 0};
                CHILD_CHECK(setrlimit(RLIMIT_RTPRIO, &none) == 0);
                BecomeNobody();
                CHILD_CHECK(SetScheduler(0, SCHED_FIFO, 1) == -1 && errno == EPERM);
                CHILD_CHECK(SetScheduler(0, SCHED_BATCH, 0) == 0);
                return 0;
              }),
              Exited(0));
}

TEST(SchedRights, TheLimitAllowsSome) {
  EXPECT_THAT(InChild([] {
                const rlimit ten = {10, 10};
                if (setrlimit(RLIMIT_RTPRIO, &ten) != 0)
                  return 0;  // Not even root may raise it here.
                BecomeNobody();
                CHILD_CHECK(SetScheduler(0, SCHED_RR, 10) == 0);
                CHILD_CHECK(SetScheduler(0, SCHED_RR, 11) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST(SchedRights, IdleIsNotLeftWithout) {
  EXPECT_THAT(InChild([] {
                const rlimit none = {0, 0};
                CHILD_CHECK(setrlimit(RLIMIT_NICE, &none) == 0);
                BecomeNobody();
                CHILD_CHECK(SetScheduler(0, SCHED_IDLE, 0) == 0);
                CHILD_CHECK(SetScheduler(0, SCHED_OTHER, 0) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST(SchedRights, ResetOnForkStays) {
  EXPECT_THAT(InChild([] {
                BecomeNobody();
                CHILD_CHECK(SetScheduler(0, SCHED_OTHER | SCHED_RESET_ON_FORK, 0) == 0);
                CHILD_CHECK(SetScheduler(0, SCHED_OTHER, 0) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST(SchedRights, AnotherUsersProcess) {
  EXPECT_THAT(InChild([] {
                const pid_t parent = getppid();
                BecomeNobody();
                CHILD_CHECK(SetScheduler(parent, SCHED_OTHER, 0) == -1 && errno == EPERM);
                CHILD_CHECK(sched_getscheduler(parent) == SCHED_OTHER);
                cpu_set_t cpus;
                CHILD_CHECK(sched_getaffinity(parent, sizeof cpus, &cpus) == 0);
                CHILD_CHECK(sched_setaffinity(parent, sizeof cpus, &cpus) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST(SchedAttr, Errors) {
  Attributes a;
  EXPECT_THAT(SetAttributes(0, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(SetAttributes(-1, &a), FailsWith(EINVAL));
  EXPECT_THAT(SetAttributes(0, &a, 1), FailsWith(EINVAL));
  EXPECT_THAT(SetAttributes(kNobody, &a), FailsWith(ESRCH));
  EXPECT_THAT(SetAttributes(0, reinterpret_cast<Attributes*>(8)), FailsWith(EFAULT));
  EXPECT_THAT(GetAttributes(0, nullptr), FailsWith(EINVAL));
  EXPECT_THAT(GetAttributes(-1, &a), FailsWith(EINVAL));
  EXPECT_THAT(GetAttributes(0, &a, sizeof a, 1), FailsWith(EINVAL));
  EXPECT_THAT(GetAttributes(0, &a, 47), FailsWith(EINVAL));
  EXPECT_THAT(GetAttributes(0, &a, 4097), FailsWith(EINVAL));
  EXPECT_THAT(GetAttributes(kNobody, &a), FailsWith(ESRCH));
  EXPECT_THAT(GetAttributes(0, reinterpret_cast<Attributes*>(8)), FailsWith(EFAULT));
}

TEST(SchedAttr, SizesTellTheVersion) {
  Attributes a{.size = 47};
  EXPECT_THAT(SetAttributes(0, &a), FailsWith(E2BIG));
  EXPECT_EQ(a.size, 56u);
  a.size = 4097;
  EXPECT_THAT(SetAttributes(0, &a), FailsWith(E2BIG));
  a.size = 0;
  EXPECT_THAT(SetAttributes(0, &a), Returns(0));
  EXPECT_THAT(GetAttributes(0, &a, 48), Returns(0));
  EXPECT_EQ(a.size, 48u);
}

TEST(SchedAttr, LargerStructures) {
  struct {
    Attributes attributes{.size = 64};
    uint64_t more = 1;
  } large;
  EXPECT_THAT(SetAttributes(0, &large.attributes), FailsWith(E2BIG));
  large.attributes.size = 64;
  large.more = 0;
  EXPECT_THAT(SetAttributes(0, &large.attributes), Returns(0));
}

TEST(SchedAttr, BadValues) {
  Attributes policy{.policy = 100}, negative{.policy = 0x80000000}, flags{.flags = 0x80},
      priority{.priority = 1}, deadline{.policy = kDeadline};
  EXPECT_THAT(SetAttributes(0, &policy), FailsWith(EINVAL));
  EXPECT_THAT(SetAttributes(0, &negative), FailsWith(EINVAL));
  EXPECT_THAT(SetAttributes(0, &flags), FailsWith(EINVAL));
  EXPECT_THAT(SetAttributes(0, &priority), FailsWith(EINVAL));
  EXPECT_THAT(SetAttributes(0, &deadline), FailsWith(EINVAL));
}

TEST(SchedAttr, KeepPolicyAndParameters) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(SetScheduler(0, SCHED_FIFO, 5) == 0);
                Attributes keep{.policy = SCHED_OTHER, .flags = 8 | 16};
                CHILD_CHECK(SetAttributes(0, &keep) == 0);
                CHILD_CHECK(sched_getscheduler(0) == SCHED_FIFO && PriorityOf(0) == 5);
                return 0;
              }),
              Exited(0));
}

TEST(SchedAttr, NiceIsTheProcesss) {
  EXPECT_THAT(InChild([] {
                Attributes a{.nice = 7};
                CHILD_CHECK(SetAttributes(0, &a) == 0);
                CHILD_CHECK(getpriority(PRIO_PROCESS, 0) == 7);
                a.nice = 100;
                CHILD_CHECK(SetAttributes(0, &a) == 0);
                CHILD_CHECK(getpriority(PRIO_PROCESS, 0) == 19);
                return 0;
              }),
              Exited(0));
}

std::vector<int> Cpus(pid_t pid = 0) {
  cpu_set_t set;
  CPU_ZERO(&set);
  EXPECT_THAT(sched_getaffinity(pid, sizeof set, &set), Returns(0));
  std::vector<int> cpus;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  }
  return cpus;
}
long Bind(pid_t pid, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  return sched_setaffinity(pid, sizeof set, &set);
}

TEST(Affinity, Errors) {
  uint64_t mask[16] = {};
  EXPECT_THAT(syscall(SYS_sched_getaffinity, 0, 0, mask), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_sched_getaffinity, 0, 9, mask), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_sched_getaffinity, kNobody, 128, mask), FailsWith(ESRCH));
  EXPECT_THAT(syscall(SYS_sched_getaffinity, 0, 128, 8), FailsWith(EFAULT));
  EXPECT_THAT(syscall(SYS_sched_setaffinity, 0, 128, mask), FailsWith(EINVAL));  // Nothing in it.
  EXPECT_THAT(syscall(SYS_sched_setaffinity, 0, 0, mask), FailsWith(EINVAL));
  EXPECT_THAT(syscall(SYS_sched_setaffinity, 0, 128, 8), FailsWith(EFAULT));
  mask[0] = 1;
  EXPECT_THAT(syscall(SYS_sched_setaffinity, kNobody, 128, mask), FailsWith(ESRCH));
  EXPECT_THAT(syscall(SYS_sched_setaffinity, -1, 128, mask), FailsWith(ESRCH));
}

TEST(Affinity, ReturnsTheSizeOfTheMask) {
  uint64_t mask[16] = {};
  const long size = syscall(SYS_sched_getaffinity, 0, sizeof mask, mask);
  EXPECT_GT(size, 0);
  EXPECT_EQ(size % 8, 0);
}

TEST(Affinity, IsReported) {
  EXPECT_THAT(InChild([] {
                const std::vector<int> all = Cpus();
                for (const int cpu : all) {
                  CHILD_CHECK(Bind(0, cpu) == 0);
                  CHILD_CHECK(Cpus() == std::vector<int>{cpu});
                }
                return 0;
              }),
              Exited(0));
}

TEST(Affinity, IsWhereTheThreadRuns) {
  EXPECT_THAT(InChild([] {
                for (const int cpu : Cpus()) {
                  CHILD_CHECK(Bind(0, cpu) == 0);
                  for (int i = 0; i < 100; ++i) {
                    unsigned current = ~0u, node = ~0u;
                    CHILD_CHECK(syscall(SYS_getcpu, &current, &node, nullptr) == 0);
                    CHILD_CHECK(current == static_cast<unsigned>(cpu));
                    CHILD_CHECK(sched_getcpu() == cpu);
                  }
                }
                return 0;
              }),
              Exited(0));
}

TEST(Affinity, IsInheritedByProcessesAndThreads) {
  EXPECT_THAT(
      InChild([] {
        const std::vector<int> last = {Cpus().back()};
        CHILD_CHECK(Bind(0, last[0]) == 0);
        const int status = InChild([&] {
          CHILD_CHECK(Cpus() == last && sched_getcpu() == last[0]);
          return 0;
        });
        CHILD_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        std::thread([&] { CHILD_CHECK(Cpus() == last && sched_getcpu() == last[0]); }).join();
        return 0;
      }),
      Exited(0));
}

TEST(Affinity, SurvivesExec) {
  const std::vector<int> all = Cpus();
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(Bind(0, all.back()) == 0);
                const std::string command =
                    "test \"$(taskset -pc $$ | sed 's/.*: //')\" = " + std::to_string(all.back());
                execl("/bin/sh", "sh", "-c", command.c_str(), nullptr);
                return 9;
              }),
              Exited(0));
}

TEST(Affinity, OfAnotherThread) {
  Pipe gate;
  std::atomic<bool> check = false;
  std::atomic<int> seen = -1;
  const std::vector<int> all = Cpus();
  Thread other([&] {
    while (!check) sched_yield();
    seen = sched_getcpu();
  });
  EXPECT_THAT(Bind(other.tid(), all.back()), Returns(0));
  check = true;
  other.Join();
  EXPECT_EQ(seen, all.back());
  EXPECT_EQ(Cpus(), all);
}

TEST(Affinity, CpusThatDoNotExistAreLeftOut) {
  EXPECT_THAT(InChild([] {
                const std::vector<int> all = Cpus();
                cpu_set_t set;
                CPU_ZERO(&set);
                CPU_SET(all[0], &set);
                CPU_SET(1000, &set);
                CHILD_CHECK(sched_setaffinity(0, sizeof set, &set) == 0);
                CHILD_CHECK(Cpus() == std::vector<int>{all[0]});
                CPU_ZERO(&set);
                CPU_SET(1000, &set);
                CHILD_CHECK(sched_setaffinity(0, sizeof set, &set) == -1 && errno == EINVAL);
                return 0;
              }),
              Exited(0));
}

TEST(Getcpu, Pointers) {
  unsigned cpu = ~0u, node = ~0u;
  EXPECT_THAT(syscall(SYS_getcpu, nullptr, nullptr, nullptr), Returns(0));
  EXPECT_THAT(syscall(SYS_getcpu, &cpu, nullptr, nullptr), Returns(0));
  EXPECT_THAT(syscall(SYS_getcpu, nullptr, &node, nullptr), Returns(0));
  EXPECT_NE(cpu, ~0u);
  EXPECT_NE(node, ~0u);
  EXPECT_THAT(syscall(SYS_getcpu, 8, nullptr, nullptr), FailsWith(EFAULT));
}

TEST(Yield, Succeeds) { EXPECT_THAT(sched_yield(), Returns(0)); }

}  // namespace
