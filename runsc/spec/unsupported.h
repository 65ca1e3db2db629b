// What a config.json may ask for and the sandbox does not do: the one place that says so.
#ifndef RUNSC_SPEC_UNSUPPORTED_H_
#define RUNSC_SPEC_UNSUPPORTED_H_

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "runsc/spec/spec.h"

namespace runsc::spec {

// Refuses with "FIELD: WHY is not supported" what cannot be done and matters to the program.
absl::Status CheckSupported(const Spec& spec);
absl::Status CheckSupported(const Process& process);

// Lines for the log: what is not done as written, because the kernel of the sandbox is not the
// host's and it makes no difference to the program or its safety.
std::vector<std::string> Remarks(const Spec& spec);

}  // namespace runsc::spec

#endif  // RUNSC_SPEC_UNSUPPORTED_H_
