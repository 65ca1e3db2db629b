#include "gofer/server/test_server.h"

#include <fcntl.h>
#include <sched.h>
#include <sys/socket.h>

#include <utility>

#include "base/log.h"
#include "gofer/protocol/ring.h"
#include "gofer/server/server.h"

namespace gofer {

TestServer::TestServer(std::vector<TestExport> exports, const Policy& policy) {
  int ends[2];
  CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
  Result<UniqueFd> ring = CreateRing();
  CHECK(ring.ok());
  ServerConfig config;
  config.policy = policy;
  config.socket = UniqueFd(ends[0]);
  client_socket = UniqueFd(ends[1]);
  config.ring = UniqueFd(fcntl(ring->get(), F_DUPFD_CLOEXEC, 0));
  client_ring = *std::move(ring);
  config.proc_self_fd = UniqueFd(open("/proc/self/fd", O_PATH | O_DIRECTORY | O_CLOEXEC));
  for (const TestExport& tree : exports) {
    UniqueFd root(open(tree.path.c_str(), O_PATH | O_CLOEXEC));
    CHECK(root.valid());
    config.exports.push_back(
        {.root = std::move(root), .writable = tree.writable, .filestore = tree.filestore});
  }
  thread_ = std::thread([config = std::move(config)]() mutable {
    // The test's working directory and umask are not this thread's to change.
    CHECK(unshare(CLONE_FS) == 0);
    Serve(std::move(config));
  });
}

TestServer::~TestServer() {
  client_socket.reset();
  thread_.join();
}

}  // namespace gofer
