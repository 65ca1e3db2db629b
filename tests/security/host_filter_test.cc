// The seccomp programs of the gofer and the sentry: a child under each tries every call number.
#include <gtest/gtest.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <climits>
#include <set>
#include <span>

#include "base/seccomp_filter.h"
#include "gofer/net/seccomp_rules.h"
#include "gofer/server/seccomp_rules.h"
#include "runsc/config.h"
#include "runsc/sentry_seccomp.h"

namespace {

constexpr uint32_t kNumbers = 600;
constexpr auto kGoferProgram = CompileAllowList(gofer::kSeccompRules);
// With --host-uds.
constexpr auto kSocketGoferRules = JoinRules(gofer::kSeccompRules, gofer::kSocketRules);
constexpr auto kSocketGoferProgram = CompileAllowList(kSocketGoferRules.rows);
constexpr auto kNetGoferProgram = CompileAllowList(gofer::kNetSeccompRules);

struct Subject {
  const char* name;
  std::span<const SeccompRule> rules;
  Status (*install)();
  size_t budget;  // Design, section 7.
};

using runsc::HostUds;
Status InstallSentry(runsc::PlatformKind platform, HostUds sockets) {
  return runsc::InstallSentryFilter(platform, sockets);
}

constexpr size_t kGofers = 3;  // Of these, from the first.
const Subject kSubjects[] = {
    {"network_gofer", gofer::kNetSeccompRules,
     [] { return InstallSeccompFilter(kNetGoferProgram); }, 20},
    {"gofer", gofer::kSeccompRules, [] { return InstallSeccompFilter(kGoferProgram); }, 45},
    {"gofer_with_sockets", kSocketGoferRules.rows,
     [] { return InstallSeccompFilter(kSocketGoferProgram); }, 45},
    {"sentry_systrap", runsc::sentry_rules::kSystrap.rows,
     [] { return InstallSentry(runsc::PlatformKind::kSystrap, HostUds::kNone); }, 60},
    {"sentry_ptrace", runsc::sentry_rules::kPtrace.rows,
     [] { return InstallSentry(runsc::PlatformKind::kPtrace, HostUds::kNone); }, 60},
    {"sentry_systrap_with_sockets", runsc::sentry_rules::kSystrapWithSockets.rows,
     [] { return InstallSentry(runsc::PlatformKind::kSystrap, HostUds::kOpen); }, 60},
    {"sentry_ptrace_with_sockets", runsc::sentry_rules::kPtraceWithSockets.rows,
     [] { return InstallSentry(runsc::PlatformKind::kPtrace, HostUds::kCreate); }, 60},
};

struct Call {
  uint32_t nr = 0;
  uint64_t args[6] = {};
};

// Makes the call under the filter, in a child, and returns its wait status. A call that does not
// come back ends with SIGALRM.
int StatusOf(const Subject& subject, const Call& call) {
  const pid_t child = fork();
  if (child == 0) {
    const itimerval limit{.it_interval = {}, .it_value = {.tv_sec = 0, .tv_usec = 100'000}};
    setitimer(ITIMER_REAL, &limit, nullptr);
    if (!subject.install().ok()) _exit(99);
    syscall(call.nr, call.args[0], call.args[1], call.args[2], call.args[3], call.args[4],
            call.args[5]);
    syscall(SYS_exit_group, 0);
  }
  int status = 0;
  waitpid(child, &status, 0);
  return status;
}

bool KilledByFilter(int status) { return WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS; }

// Arguments that keep the row's rules and otherwise name nothing: no descriptor, address or
// process.
Call HarmlessCall(const SeccompRule& rule) {
  Call call{.nr = rule.nr, .args = {~uint64_t{0}, 0, 0, 0, 0, 0}};
  // Above any process id. All ones would be everybody, zero one's own process group.
  if (rule.nr == SYS_kill || rule.nr == SYS_tgkill) call.args[0] = INT_MAX;
  for (int i = 0; i < rule.arg_rule_count; ++i) {
    uint64_t& arg = call.args[rule.arg_rules[i].index];
    arg = (arg & ~rule.arg_rules[i].mask) | rule.arg_rules[i].value;
  }
  return call;
}

// uretprobe and uprobe: Linux does not show them to filters. Anywhere but in a trampoline that the
// kernel itself has made, they are SIGILL (kernel/seccomp.c, arch/x86/kernel/uprobes.c).
bool PassesEveryFilter(uint32_t nr) { return nr == 335 || nr == 336; }

class HostFilter : public testing::TestWithParam<Subject> {
 protected:
  std::set<uint32_t> Numbers() const {
    std::set<uint32_t> numbers;
    for (const SeccompRule& rule : GetParam().rules) numbers.insert(rule.nr);
    return numbers;
  }
};

TEST_P(HostFilter, KeepsItsBudget) {
  std::set<uint32_t> executed;
  for (const SeccompRule& rule : GetParam().rules) {
    if (rule.refuse_with == 0) executed.insert(rule.nr);
  }
  EXPECT_LE(executed.size(), GetParam().budget);
}

TEST_P(HostFilter, KillsAtEveryCallThatIsNotInTheTable) {
  const std::set<uint32_t> allowed = Numbers();
  for (uint32_t nr = 0; nr < kNumbers; ++nr) {
    if (allowed.contains(nr) || PassesEveryFilter(nr)) continue;
    EXPECT_TRUE(KilledByFilter(StatusOf(GetParam(), {.nr = nr}))) << "call " << nr;
  }
}

TEST_P(HostFilter, LetsEveryRowOfTheTablePass) {
  for (const SeccompRule& rule : GetParam().rules) {
    // It would start a thread on this very stack.
    if (rule.nr == SYS_clone) continue;
    const int status = StatusOf(GetParam(), HarmlessCall(rule));
    EXPECT_FALSE(KilledByFilter(status)) << "call " << rule.nr << ", " << rule.reason;
    EXPECT_FALSE(WIFEXITED(status) && WEXITSTATUS(status) == 99) << "no filter";
  }
}

TEST_P(HostFilter, EveryRowSaysWhy) {
  for (const SeccompRule& rule : GetParam().rules) {
    EXPECT_NE(rule.reason, nullptr);
    EXPECT_STRNE(rule.reason, "") << "call " << rule.nr;
  }
}

TEST_P(HostFilter, KillsAtX32Numbers) {
  EXPECT_TRUE(KilledByFilter(StatusOf(GetParam(), {.nr = 0x40000000u | SYS_close})));
}

INSTANTIATE_TEST_SUITE_P(Host, HostFilter, testing::ValuesIn(kSubjects),
                         [](const auto& info) { return std::string(info.param.name); });

constexpr uint64_t kAny = ~uint64_t{0};

TEST(SentryFilter, BoundsArguments) {
  const Call calls[] = {
      {SYS_mmap, {0, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, kAny, 0}},
      {SYS_mprotect, {0, 4096, PROT_READ | PROT_EXEC}},
      {SYS_clone, {SIGCHLD}},
      {SYS_clone, {CLONE_NEWUSER | SIGCHLD}},
      {SYS_ioctl, {0, 0x5412 /* TIOCSTI */}},
      {SYS_ioctl, {0, 0x541c /* TIOCLINUX */}},
      {SYS_ioctl, {0, 0x540e /* TIOCSCTTY */}},
      {SYS_fcntl, {0, F_SETOWN, 1}},
      {SYS_fcntl, {0, F_SETFL, 0}},
      {SYS_newfstatat, {kAny, 0, 0, 0}},
      {SYS_sendto, {kAny, 0, 0, 0, 4096, 16}},
      {SYS_prctl, {PR_SET_DUMPABLE, 1}},
  };
  for (const Subject& subject : std::span(kSubjects).subspan(kGofers)) {
    for (const Call& call : calls) {
      EXPECT_TRUE(KilledByFilter(StatusOf(subject, call)))
          << subject.name << ": call " << call.nr << "(…, " << call.args[1] << ", …)";
    }
  }
}

// What would let a broken sentry out must not slip into its table by a careless edit.
TEST(SentryFilter, HasNoWayOut) {
  const uint32_t never[] = {SYS_open,
                            SYS_openat,
                            SYS_openat2,
                            SYS_creat,
                            SYS_open_by_handle_at,
                            SYS_execve,
                            SYS_execveat,
                            SYS_fork,
                            SYS_vfork,
                            SYS_socket,
                            SYS_connect,
                            SYS_bind,
                            SYS_accept,
                            SYS_mount,
                            SYS_umount2,
                            SYS_chroot,
                            SYS_pivot_root,
                            SYS_setns,
                            SYS_unshare,
                            SYS_bpf,
                            SYS_keyctl,
                            SYS_add_key,
                            SYS_request_key,
                            SYS_userfaultfd,
                            SYS_io_uring_setup,
                            SYS_perf_event_open,
                            SYS_init_module,
                            SYS_setuid,
                            SYS_setresuid,
                            SYS_capset,
                            SYS_unlink,
                            SYS_rename,
                            SYS_fsopen,
                            SYS_move_mount,
                            SYS_open_tree,
                            SYS_pidfd_getfd,
                            SYS_process_madvise};
  for (const Subject& subject : std::span(kSubjects).subspan(kGofers)) {
    for (const SeccompRule& rule : subject.rules) {
      if (rule.refuse_with != 0) continue;
      for (const uint32_t nr : never) EXPECT_NE(rule.nr, nr) << subject.name;
    }
  }
  for (const SeccompRule& rule : runsc::sentry_rules::kSystrap.rows) EXPECT_NE(rule.nr, SYS_ptrace);
  // With --host-uds only.
  for (const Subject& subject : std::span(kSubjects).subspan(kGofers, 2)) {
    for (const SeccompRule& rule : subject.rules) {
      EXPECT_NE(rule.nr, SYS_listen) << subject.name;
      EXPECT_NE(rule.nr, SYS_shutdown) << subject.name;
    }
  }
}

}  // namespace
