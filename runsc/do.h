// `sandbox do`: one program in a sandbox of its own, in the foreground.
#ifndef RUNSC_DO_H_
#define RUNSC_DO_H_

#include "absl/status/status.h"
#include "runsc/config.h"

namespace runsc {

// Returns the exit status.
int Do(Config config);

// Tells the user in one line, "sandbox: MESSAGE", and the log if that is elsewhere.
void Complain(const std::string& message);

// Makes sure that standard input, output and error are open: a descriptor that the caller closed
// must not become a socket or a log of ours.
absl::Status OpenStandardDescriptors();
// Opens --log and sends the log there.
absl::Status SetUpLog(Config& config);

}  // namespace runsc

#endif  // RUNSC_DO_H_
