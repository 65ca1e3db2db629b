// What the cases of namespaces share.
#ifndef TESTS_CONFORMANCE_NAMESPACES_SUPPORT_H_
#define TESTS_CONFORMANCE_NAMESPACES_SUPPORT_H_

#include <linux/sched.h>
#include <sched.h>
#include <sys/syscall.h>

#include <string>

#include "tests/conformance/support.h"

namespace conformance {

// "uts:[4026531838]".
inline std::string NamespaceOf(const std::string& kind, const std::string& process = "self") {
  char text[64] = {};
  const std::string link = "/proc/" + process + "/ns/" + kind;
  EXPECT_GT(readlink(link.c_str(), text, sizeof text - 1), 0) << link << ErrnoName(errno);
  return text;
}

inline UniqueFd OpenNamespace(const std::string& kind, const std::string& process = "self") {
  return UniqueFd(open(("/proc/" + process + "/ns/" + kind).c_str(), O_RDONLY | O_CLOEXEC));
}

// A clone3 with these flags whose child leaves with the result of `body`.
template <typename Body>
pid_t CloneWith(uint64_t flags, Body body) {
  clone_args args = {};
  args.flags = flags;
  args.exit_signal = SIGCHLD;
  const auto pid = static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
  if (pid == 0) _exit(body());
  return pid;
}

// A child that is nobody: no capabilities.
template <typename Body>
int WithoutCapabilities(Body body) {
  return InChild([&] {
    if (setgid(65534) != 0 || setuid(65534) != 0) return 98;
    return body();
  });
}

}  // namespace conformance

#endif  // TESTS_CONFORMANCE_NAMESPACES_SUPPORT_H_
