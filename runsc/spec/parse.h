// Parses config.json and its parts. A failure's message is one line that names the field and the
// cause: "process.cwd: ./tmp is not absolute".
#ifndef RUNSC_SPEC_PARSE_H_
#define RUNSC_SPEC_PARSE_H_

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "runsc/spec/spec.h"

namespace runsc::spec {

// A whole config.json. Unknown fields are ignored, as the runtime-spec asks; what is known but not
// supported is unsupported.h's.
absl::StatusOr<Spec> Parse(std::string_view text);
// Reads and parses `bundle`/config.json.
absl::StatusOr<Spec> Load(const std::string& bundle);
// What `exec --process FILE` takes: the process section alone.
absl::StatusOr<Process> ParseProcess(std::string_view text);
// What `update --resources` takes: the linux.resources section alone.
absl::StatusOr<Resources> ParseResources(std::string_view text);

// A capability's number from its name, "CAP_KILL" or "kill", as `exec --cap` takes it.
absl::StatusOr<int> ParseCapability(std::string_view name);

// The content of a file of at most 16 MiB.
absl::StatusOr<std::string> ReadFile(const std::string& path);

}  // namespace runsc::spec

#endif  // RUNSC_SPEC_PARSE_H_
