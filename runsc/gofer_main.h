// The gofer process, from its first instruction in its namespaces to its end.
#ifndef RUNSC_GOFER_MAIN_H_
#define RUNSC_GOFER_MAIN_H_

#include "base/unique_fd.h"
#include "runsc/config.h"
#include "runsc/launch.h"

namespace runsc {

struct GoferStart {
  const Config& config;
  Identity identity;
  UniqueFd control;
  UniqueFd socket;  // To the sentry.
  UniqueFd ring;
};

// Returns the exit status. Export 0 is the root, then come the volumes in their order.
int GoferMain(GoferStart start);

}  // namespace runsc

#endif  // RUNSC_GOFER_MAIN_H_
