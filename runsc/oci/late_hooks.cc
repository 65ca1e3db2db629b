#include "runsc/oci/late_hooks.h"

#include <cstring>

#include "runsc/spec/parse.h"

namespace runsc::oci {

bool HasLateHooks(const spec::Hooks& hooks) {
  return !hooks.poststart.empty() || !hooks.poststop.empty();
}

absl::StatusOr<spec::Hooks> LoadHooks(const Record& record) {
  if (!record.has_hooks) return spec::Hooks();
  const absl::StatusOr<spec::Spec> spec = spec::Load(record.bundle);
  if (!spec.ok()) return spec.status();
  return spec->hooks;
}

HookState HookStateOf(const Record& record, const char* status) {
  return {.oci_version = record.oci_version,
          .id = record.id,
          .status = status,
          .pid = strcmp(status, "stopped") == 0 ? 0 : record.monitor.pid,
          .bundle = record.bundle,
          .annotations = record.annotations};
}

}  // namespace runsc::oci
