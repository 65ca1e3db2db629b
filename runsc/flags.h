// Command-line flags: one table row for each.
#ifndef RUNSC_FLAGS_H_
#define RUNSC_FLAGS_H_

#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "runsc/config.h"

namespace runsc {

struct Flag {
  const char* name;   // Without dashes.
  const char* value;  // What to call the value in help; nullptr for a switch.
  const char* help;   // One line.
  // A switch gets "true" or "false". A failure's message names the cause, not the flag.
  absl::Status (*apply)(Config& config, const std::string& value);
};

// Applies flags (`--name value`, `--name=value`, with one dash or two) from the front of `args` up
// to the first argument that is none, or behind `--`. Returns how many arguments that took. A
// failure names the flag.
absl::StatusOr<size_t> ApplyFlags(std::span<const Flag> flags, std::span<char* const> args,
                                  Config& config);
// The flags as help text, a line each.
std::string DescribeFlags(std::span<const Flag> flags);

}  // namespace runsc

#endif  // RUNSC_FLAGS_H_
