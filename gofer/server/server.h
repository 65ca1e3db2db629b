// The gofer: the only process of a sandbox that can name a host file.
#ifndef GOFER_SERVER_SERVER_H_
#define GOFER_SERVER_SERVER_H_

#include <functional>
#include <vector>

#include "base/unique_fd.h"
#include "gofer/server/export.h"

namespace gofer {

struct ServerConfig {
  std::vector<Export> exports;
  Policy policy;
  UniqueFd socket;  // SOCK_SEQPACKET. Nobody but the sentry may hold the other end: its closing is
                    // the sentry's death.
  UniqueFd ring;    // From CreateRing.
  // /proc/self/fd, O_PATH | O_DIRECTORY, opened by this very process: it becomes the working
  // directory.
  UniqueFd proc_self_fd;
};

// Serves until the sentry is gone. Returns the exit status.
// `lock_down` runs when everything is set up (working directory, umask, ring, table of nodes): to
// drop what is left of privileges and to install kSeccompRules (seccomp_rules.h). False ends
// the gofer.
// Requires: RLIMIT_NOFILE is as high as it may be; it bounds the number of nodes.
int Serve(ServerConfig config, const std::function<bool()>& lock_down = nullptr);

}  // namespace gofer

#endif  // GOFER_SERVER_SERVER_H_
