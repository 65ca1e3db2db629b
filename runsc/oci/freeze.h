// Stops a whole sandbox and lets it go on.
//
// The freezer of control groups cannot: a stub whose call waits in the sentry can be killed there,
// nothing else, and the group would never be called frozen. But it stands still all the same when
// the sentry does; what is left to stop are the stubs that run the application's code. Without the
// sentry none can appear.
#ifndef RUNSC_OCI_FREEZE_H_
#define RUNSC_OCI_FREEZE_H_

#include <sys/types.h>

namespace runsc::oci {

// By the sentry's parent. Returns when the sentry stands still.
void StopAll(pid_t sentry);
void ContinueAll(pid_t sentry);

}  // namespace runsc::oci

#endif  // RUNSC_OCI_FREEZE_H_
