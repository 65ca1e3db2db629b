// What the conformance cases share: temporary files, children, pipes, clocks.
#ifndef TESTS_CONFORMANCE_SUPPORT_H_
#define TESTS_CONFORMANCE_SUPPORT_H_

#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "tests/conformance/matchers.h"

namespace conformance {

// A directory below CONFORMANCE_DIR (otherwise /tmp) that any user may enter; removed with its contents.
class TempDir {
 public:
  TempDir();
  TempDir(const TempDir&) = delete;
  ~TempDir();
  const std::string& path() const { return path_; }
  // The path of an entry, which need not exist.
  std::string operator/(std::string_view name) const { return path_ + "/" + std::string(name); }

 private:
  std::string path_;
};

// A new file that has no name any more.
UniqueFd OpenTemp(int flags = 0, std::string_view contents = "");
void WriteFile(const std::string& path, std::string_view contents, mode_t mode = 0644);
std::string ReadFile(const std::string& path);
// Reads until the end of file.
std::string ReadAll(int fd);

struct Pipe {
  explicit Pipe(int flags = 0);
  UniqueFd read;
  UniqueFd write;
};

// One byte across a pipe, to order two processes without sleeping. Await fails on end of file.
bool Post(int fd);
bool Await(int fd);

// A fork whose child leaves with the result of `body`, never through gtest's exit path.
template <typename Body>
pid_t Start(Body body) {
  const pid_t pid = fork();
  if (pid == 0) _exit(body());
  EXPECT_GT(pid, 0) << "fork: " << ErrnoName(errno);
  return pid;
}
// Reaps `pid` and returns its wait status.
int Wait(pid_t pid, int options = 0);
template <typename Body>
int InChild(Body body) {
  return Wait(Start(std::move(body)));
}

// The path of an executable from tests/conformance/helpers.
std::string Helper(std::string_view name);
// What a program prints, and its wait status. argv[0] is also the path.
struct Outcome {
  int status;
  std::string output;
};
Outcome Execute(const std::string& path, std::vector<std::string> argv,
                std::vector<std::string> envp = {});

// Milliseconds of CLOCK_MONOTONIC.
int64_t NowMs();
// Waits for poll(2) events; the bound keeps a broken kernel from hanging the suite.
bool WaitReadable(int fd, int timeout_ms = 5000);
// Polls `condition` until it holds or five seconds have passed.
template <typename Condition>
bool Eventually(Condition condition) {
  for (int64_t end = NowMs() + 5000; NowMs() < end;) {
    if (condition()) return true;
    const timespec pause = {0, 200'000};
    nanosleep(&pause, nullptr);
  }
  return false;
}
// The state letter of a process or thread in /proc/PID/stat; 0 when it is gone.
char StateOf(pid_t pid);
bool WaitForState(pid_t pid, char state);

// Runs `body` in a thread; its tid is known when the constructor returns. Joined at the end.
class Thread {
 public:
  template <typename Body>
  explicit Thread(Body body)
      : thread_([this, body] {
          tid_ = gettid();
          body();
        }) {
    while (tid_ == 0) sched_yield();
  }
  ~Thread() { Join(); }
  void Join() {
    if (thread_.joinable()) thread_.join();
  }
  pid_t tid() const { return tid_; }
  // Sleeping in a call, as far as /proc tells.
  bool AwaitSleep() const {
    return Eventually([this] { return StateOf(tid_) == 'S'; });
  }

 private:
  std::atomic<pid_t> tid_ = 0;
  std::thread thread_;
};

// Restores the disposition of a signal at the end of a scope.
class ScopedAction {
 public:
  ScopedAction(int signal, void (*handler)(int), int flags = 0);
  ScopedAction(int signal, void (*handler)(int, siginfo_t*, void*), int flags = 0);
  ScopedAction(const ScopedAction&) = delete;
  ~ScopedAction();

 private:
  int signal_;
  struct sigaction old_;
};

// Blocks signals for a scope.
class ScopedBlock {
 public:
  explicit ScopedBlock(std::initializer_list<int> signals);
  ScopedBlock(const ScopedBlock&) = delete;
  ~ScopedBlock();

 private:
  sigset_t old_;
};

sigset_t SetOf(std::initializer_list<int> signals);

// In a child, where gtest's assertions do not reach the parent: says what failed and leaves.
[[noreturn]] void ChildFailed(const char* condition, const char* file, int line);
#define CHILD_CHECK(condition) \
  do {                         \
    if (!(condition)) ::conformance::ChildFailed(#condition, __FILE__, __LINE__); \
  } while (false)

}  // namespace conformance

using namespace conformance;  // NOLINT: every user of this header is a test.

#endif  // TESTS_CONFORMANCE_SUPPORT_H_
