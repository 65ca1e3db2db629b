// The sentry process, from its first instruction in its namespaces to its end.
#ifndef RUNSC_SENTRY_MAIN_H_
#define RUNSC_SENTRY_MAIN_H_

#include <cstdint>
#include <vector>

#include "base/unique_fd.h"
#include "runsc/config.h"
#include "runsc/launch.h"

namespace runsc {

struct SentryStart {
  const Config& config;
  Identity identity;
  User caller;  // The front-end's effective ids, who the program runs as unless told otherwise.
  std::vector<uint32_t> groups = {};  // Its supplementary groups,
  int nice = 0;                       // and its nice value.
  UniqueFd control;
  UniqueFd socket;  // To the gofer.
  UniqueFd ring;
  UniqueFd network;  // To the network gofer; none when the sandbox has no network of the host.
};

// How it went is reported on `control`.
[[noreturn]] void SentryMain(SentryStart start);

}  // namespace runsc

#endif  // RUNSC_SENTRY_MAIN_H_
