// What a gofer is given to serve.
#ifndef GOFER_SERVER_EXPORT_H_
#define GOFER_SERVER_EXPORT_H_

#include "base/unique_fd.h"

namespace gofer {

// A tree, or a single file. RootNode(i) names the i-th.
struct Export {
  UniqueFd root;  // Opened with O_PATH.
  bool writable = false;
  // A directory that takes files without names and shows nothing of itself.
  bool filestore = false;
};

// What of the host can be reached besides files: nothing, unless the caller asks for it.
struct Policy {
  bool connect_sockets = false;  // --host-uds=open, all
  bool bind_sockets = false;     // --host-uds=create, all
  bool open_fifos = false;       // --host-fifo=open
  bool sockets() const { return connect_sockets || bind_sockets; }
};

}  // namespace gofer

#endif  // GOFER_SERVER_EXPORT_H_
