// A gofer on a temporary directory with a client, for tests.
#ifndef SENTRY_FS_GOFER_GOFER_TEST_UTIL_H_
#define SENTRY_FS_GOFER_GOFER_TEST_UTIL_H_

#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <memory>
#include <string>
#include <utility>

#include "base/log.h"
#include "sentry/fs/gofer/gofer_client.h"

namespace sentry {

class CountingHooks : public platform::BlockingHooks {
 public:
  void EnterBlocking() override { ++entered; }
  void LeaveBlocking() override { ++left; }
  std::atomic<int> entered = 0;
  std::atomic<int> left = 0;
};

class TempDirectory {
 public:
  TempDirectory() {
    char path[] = "/tmp/gofer_test.XXXXXX";
    CHECK(mkdtemp(path) != nullptr);
    path_ = path;
  }
  ~TempDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }
  void Write(const std::string& name, const std::string& text) const {
    std::ofstream(*this / name) << text;
  }
  std::string Read(const std::string& name) const {
    std::ifstream in(*this / name);
    return {std::istreambuf_iterator<char>(in), {}};
  }

 private:
  std::string path_;
};

inline std::unique_ptr<GoferClient> Connect(UniqueFd socket, UniqueFd ring,
                                            platform::BlockingHooks& hooks) {
  auto client = GoferClient::Create(std::move(socket), std::move(ring), hooks);
  CHECK(client.ok());
  return *std::move(client);
}

}  // namespace sentry

#endif  // SENTRY_FS_GOFER_GOFER_TEST_UTIL_H_
