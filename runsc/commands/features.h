// `features`: what this runtime can do, in the words of the runtime-spec (features.md).
#ifndef RUNSC_COMMANDS_FEATURES_H_
#define RUNSC_COMMANDS_FEATURES_H_

#include <string>

namespace runsc {

// JSON. `version` and `commit` go into its annotations.
std::string FeaturesText(const std::string& version, const std::string& commit);

}  // namespace runsc

#endif  // RUNSC_COMMANDS_FEATURES_H_
