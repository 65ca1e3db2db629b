// The flags of a command that has few of its own: `--name value`, `--name=value`, `-n value`, with
// one dash or two, before and behind the other arguments, as the callers of runc write them.
#ifndef RUNSC_COMMANDS_OPTIONS_H_
#define RUNSC_COMMANDS_OPTIONS_H_

#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace runsc {

struct OptionName {
  const char* name;
  const char* short_name;  // nullptr if there is none.
  bool takes_value;
};

struct Options {
  std::map<std::string, std::string> values;  // "true" for a switch.
  std::vector<std::string> others;            // What is no option, and all behind "--".

  bool Has(const std::string& name) const { return values.contains(name); }
  std::string Get(const std::string& name, const std::string& otherwise = "") const;
};

// A failure's message is one line that begins with `command`.
absl::StatusOr<Options> ParseOptions(const char* command, std::span<const OptionName> names,
                                     std::span<char* const> args);

}  // namespace runsc

#endif  // RUNSC_COMMANDS_OPTIONS_H_
