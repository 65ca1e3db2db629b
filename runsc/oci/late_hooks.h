// Hooks that run after `create`: the bundle is read again for them, if there were any.
#ifndef RUNSC_OCI_LATE_HOOKS_H_
#define RUNSC_OCI_LATE_HOOKS_H_

#include "absl/status/statusor.h"
#include "runsc/hooks/hooks.h"
#include "runsc/oci/store.h"
#include "runsc/spec/spec.h"

namespace runsc::oci {

bool HasLateHooks(const spec::Hooks& hooks);
absl::StatusOr<spec::Hooks> LoadHooks(const Record& record);
// What a hook is told. Status "creating", "running", "stopped" and so on.
HookState HookStateOf(const Record& record, const char* status);

}  // namespace runsc::oci

#endif  // RUNSC_OCI_LATE_HOOKS_H_
