// A gofer in a thread of a test, on directories of the test.
#ifndef GOFER_SERVER_TEST_SERVER_H_
#define GOFER_SERVER_TEST_SERVER_H_

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/unique_fd.h"
#include "gofer/server/export.h"

namespace gofer {

struct TestExport {
  std::string path;
  bool writable = true;
  bool filestore = false;
};

// Serves from construction until both the client's socket is closed and the destructor runs.
class TestServer {
 public:
  explicit TestServer(std::vector<TestExport> exports, const Policy& policy = {});
  TestServer(const TestServer&) = delete;
  TestServer& operator=(const TestServer&) = delete;
  // Requires: the client that owns `client_socket` is gone, or the socket was not taken.
  ~TestServer();

  // For one client to take.
  UniqueFd client_socket;
  UniqueFd client_ring;

 private:
  std::thread thread_;
};

}  // namespace gofer

#endif  // GOFER_SERVER_TEST_SERVER_H_
