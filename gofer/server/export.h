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

}  // namespace gofer

#endif  // GOFER_SERVER_EXPORT_H_
