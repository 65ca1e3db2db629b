// The names that the runtime-spec uses for numbers of the kernel.
#ifndef RUNSC_SPEC_NAMES_H_
#define RUNSC_SPEC_NAMES_H_

#include <cstdint>
#include <optional>
#include <span>
#include <string_view>

namespace runsc::spec {

struct Name {
  std::string_view name;
  uint32_t value;
};

std::span<const Name> CapabilityNames();  // CAP_CHOWN …; the value is the bit's number.
std::span<const Name> RlimitNames();      // RLIMIT_CPU …
std::span<const Name> NamespaceNames();   // The value is a NamespaceType.
std::span<const Name> SchedulerPolicies();
std::span<const Name> SchedulerFlags();
std::span<const Name> IoClasses();
std::span<const Name> SeccompActions();        // SECCOMP_RET_*
std::span<const Name> SeccompOperators();      // SeccompArg::Op
std::span<const Name> SeccompArchitectures();  // AUDIT_ARCH_*
std::span<const Name> SeccompFlags();          // SECCOMP_FILTER_FLAG_*

std::optional<uint32_t> Lookup(std::span<const Name> names, std::string_view name);

}  // namespace runsc::spec

#endif  // RUNSC_SPEC_NAMES_H_
