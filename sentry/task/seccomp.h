// seccomp(2) for applications: what their filters, and a container's, say about a call.
#ifndef SENTRY_TASK_SECCOMP_H_
#define SENTRY_TASK_SECCOMP_H_

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <bitset>
#include <cstdint>
#include <span>
#include <vector>

#include "base/ref.h"
#include "base/result.h"
#include "platform/api/disposition.h"

namespace sentry {

// One filter. Immutable, shared by the tasks that it is in force for.
class SeccompProgram : public RefCounted {
 public:
  // SECCOMP_RET_* with its data.
  virtual uint32_t Evaluate(const seccomp_data& call) const = 0;
  // Whether the call is allowed whatever its arguments.
  bool AlwaysAllows(uint64_t nr) const { return nr < always_.size() && always_[nr]; }
  // In instructions, for Linux's limit; 0 where it does not count.
  virtual size_t size() const { return 0; }

 protected:
  std::bitset<platform::kMaxSyscalls> always_;
};

// A program of the application's own. EINVAL for what seccomp_check_filter() of Linux refuses.
Result<Ref<SeccompProgram>> CompileSeccomp(std::span<const sock_filter> code);

// All filters of a task, the oldest first. Immutable: a new one makes a new list.
class SeccompFilters final : public RefCounted {
 public:
  // ENOMEM above MAX_INSNS_PER_PATH.
  static Result<Ref<SeccompFilters>> With(const Ref<SeccompFilters>& before,
                                          Ref<SeccompProgram> added);
  // The action that takes precedence (seccomp(2)); of equal ones the latest filter's.
  uint32_t Evaluate(const seccomp_data& call) const;
  // Whether the call is allowed whatever its arguments.
  bool AlwaysAllow(uint64_t nr) const;
  size_t count() const { return programs_.size(); }
  // True when these begin with all of `others`.
  bool Extends(const SeccompFilters& others) const;

 private:
  std::vector<Ref<SeccompProgram>> programs_;
};

}  // namespace sentry

#endif  // SENTRY_TASK_SECCOMP_H_
