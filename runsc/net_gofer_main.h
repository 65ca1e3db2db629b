// The network gofer process, from its first instruction to its end. There is one only if the
// sandbox uses a network of the host.
#ifndef RUNSC_NET_GOFER_MAIN_H_
#define RUNSC_NET_GOFER_MAIN_H_

#include "base/unique_fd.h"
#include "runsc/launch.h"

namespace runsc {

struct NetGoferStart {
  Identity identity;
  // Of the host's network, which a process in a user namespace of its own has no rights in:
  // CAP_NET_BIND_SERVICE and CAP_NET_RAW are kept.
  bool privileged = false;
  UniqueFd control;
  UniqueFd socket;  // To the sentry.
};

// Returns the exit status.
int NetGoferMain(NetGoferStart start);

}  // namespace runsc

#endif  // RUNSC_NET_GOFER_MAIN_H_
