#include "runsc/sentry_seccomp.h"

#include <sys/prctl.h>
#include <unistd.h>

#include "base/seccomp_filter.h"

namespace runsc {

namespace {

constexpr auto kSystrapProgram = CompileAllowList(sentry_rules::kSystrap.rows);
constexpr auto kPtraceProgram = CompileAllowList(sentry_rules::kPtrace.rows);
constexpr auto kSystrapSockets = CompileAllowList(sentry_rules::kSystrapWithSockets.rows);
constexpr auto kPtraceSockets = CompileAllowList(sentry_rules::kPtraceWithSockets.rows);

// Design, section 7.
constexpr size_t kMostCalls = 60;

template <size_t N>
constexpr size_t CountCalls(const SeccompRule (&rules)[N]) {
  size_t count = 0;
  for (size_t i = 0; i < N; ++i) {
    bool seen = rules[i].refuse_with != 0;
    for (size_t j = 0; j < i; ++j) seen = seen || rules[j].nr == rules[i].nr;
    if (!seen) ++count;
  }
  return count;
}
static_assert(CountCalls(sentry_rules::kSystrapWithSockets.rows) <= kMostCalls);
static_assert(CountCalls(sentry_rules::kPtraceWithSockets.rows) <= kMostCalls);

template <typename Program>
Status Install(const Program& program) {
  const sock_fprog code{.len = static_cast<unsigned short>(program.size),
                        .filter = const_cast<sock_filter*>(program.code.data())};
  // All threads: the platform may have made some.
  const long result =
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, &code);
  if (result < 0) return Errno::Last();
  return result == 0 ? kOk : Status(Errno(ESRCH));
}

}  // namespace

Status InstallSentryFilter(PlatformKind platform, HostUds sockets) {
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return Errno::Last();
  const bool ptrace = platform == PlatformKind::kPtrace;
  if (sockets == HostUds::kNone) return ptrace ? Install(kPtraceProgram) : Install(kSystrapProgram);
  return ptrace ? Install(kPtraceSockets) : Install(kSystrapSockets);
}

}  // namespace runsc
