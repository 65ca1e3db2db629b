// Matchers for results of system calls and for wait statuses.
#ifndef TESTS_CONFORMANCE_MATCHERS_H_
#define TESTS_CONFORMANCE_MATCHERS_H_

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>
#include <sys/wait.h>

#include <cerrno>
#include <string>
#include <type_traits>

namespace conformance {

inline std::string ErrnoName(int code) {
  const char* name = strerrorname_np(code);
  return name != nullptr ? name : std::to_string(code);
}

template <typename T>
bool IsError(T value) {
  if constexpr (std::is_pointer_v<T>) {
    return reinterpret_cast<intptr_t>(value) == -1;
  } else {
    return value == static_cast<T>(-1);
  }
}

// The call returned -1 (or MAP_FAILED) and this errno. The call must be the matched expression
// itself, so that nothing else can touch errno in between.
MATCHER_P(FailsWith, code, (negation ? "does not fail with " : "fails with ") + ErrnoName(code)) {
  const int error = errno;
  if (!IsError(arg)) {
    *result_listener << "which succeeded";
    return false;
  }
  *result_listener << "which failed with " << ErrnoName(error);
  return error == code;
}

MATCHER(Succeeds, negation ? "fails" : "succeeds") {
  const int error = errno;
  if (!IsError(arg)) return true;
  *result_listener << "which failed with " << ErrnoName(error);
  return false;
}

MATCHER_P(Returns, value, "returns " + testing::PrintToString(value)) {
  const int error = errno;
  if (IsError(arg)) *result_listener << "which failed with " << ErrnoName(error);
  return arg == static_cast<std::decay_t<decltype(arg)>>(value);
}

inline std::string DescribeStatus(int status) {
  if (WIFEXITED(status)) return "exited with " + std::to_string(WEXITSTATUS(status));
  if (WIFSIGNALED(status)) return "was killed by signal " + std::to_string(WTERMSIG(status));
  if (WIFSTOPPED(status)) return "was stopped by signal " + std::to_string(WSTOPSIG(status));
  return "has status " + std::to_string(status);
}

MATCHER_P(Exited, code, "exits with " + std::to_string(code)) {
  *result_listener << "which " << DescribeStatus(arg);
  return WIFEXITED(arg) && WEXITSTATUS(arg) == code;
}

MATCHER_P(Killed, signal, "is killed by signal " + std::to_string(signal)) {
  *result_listener << "which " << DescribeStatus(arg);
  return WIFSIGNALED(arg) && WTERMSIG(arg) == signal;
}

MATCHER_P(Stopped, signal, "is stopped by signal " + std::to_string(signal)) {
  *result_listener << "which " << DescribeStatus(arg);
  return WIFSTOPPED(arg) && WSTOPSIG(arg) == signal;
}

}  // namespace conformance

#endif  // TESTS_CONFORMANCE_MATCHERS_H_
