// `sandbox do`: one program in a sandbox of its own, in the foreground.
#ifndef RUNSC_DO_H_
#define RUNSC_DO_H_

#include "runsc/config.h"

namespace runsc {

// Returns the exit status.
int Do(Config config);

// Tells the user in one line, "sandbox: MESSAGE", and the log if that is elsewhere.
void Complain(const std::string& message);

}  // namespace runsc

#endif  // RUNSC_DO_H_
