#include "tests/conformance/support.h"

#include <ftw.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

namespace conformance {
namespace {

int RemoveEntry(const char* path, const struct stat*, int, struct FTW*) { return remove(path); }

std::vector<char*> Pointers(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  for (std::string& s : strings) pointers.push_back(s.data());
  pointers.push_back(nullptr);
  return pointers;
}

// Below CONFORMANCE_DIR, so that the same cases run on several filesystems.
std::string TempTemplate() {
  const char* const directory = getenv("CONFORMANCE_DIR");
  return std::string(directory != nullptr ? directory : "/tmp") + "/conformance.XXXXXX";
}

}  // namespace

TempDir::TempDir() : path_(TempTemplate()) {
  EXPECT_NE(mkdtemp(path_.data()), nullptr) << "mkdtemp: " << ErrnoName(errno);
  EXPECT_THAT(chmod(path_.c_str(), 0755), Succeeds());
}

TempDir::~TempDir() { nftw(path_.c_str(), RemoveEntry, 16, FTW_DEPTH | FTW_PHYS); }

UniqueFd OpenTemp(int flags, std::string_view contents) {
  std::string path = TempTemplate();
  UniqueFd fd(mkostemp(path.data(), flags));
  EXPECT_TRUE(fd.valid()) << "mkostemp: " << ErrnoName(errno);
  unlink(path.c_str());
  if (!contents.empty()) {
    EXPECT_THAT(write(fd.get(), contents.data(), contents.size()), Returns(contents.size()));
    EXPECT_THAT(lseek(fd.get(), 0, SEEK_SET), Returns(0));
  }
  return fd;
}

void WriteFile(const std::string& path, std::string_view contents, mode_t mode) {
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, mode));
  ASSERT_TRUE(fd.valid()) << path << ": " << ErrnoName(errno);
  ASSERT_THAT(write(fd.get(), contents.data(), contents.size()), Returns(contents.size()));
}

std::string ReadFile(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY));
  EXPECT_TRUE(fd.valid()) << path << ": " << ErrnoName(errno);
  return ReadAll(fd.get());
}

std::string ReadAll(int fd) {
  std::string all;
  char buffer[4096];
  for (ssize_t n; (n = read(fd, buffer, sizeof buffer)) > 0;) all.append(buffer, n);
  return all;
}

Pipe::Pipe(int flags) {
  int fds[2] = {-1, -1};
  EXPECT_THAT(pipe2(fds, flags), Returns(0));
  read.reset(fds[0]);
  write.reset(fds[1]);
}

bool Post(int fd) { return ::write(fd, "x", 1) == 1; }

bool Await(int fd) {
  char byte;
  ssize_t n;
  do {
    n = ::read(fd, &byte, 1);
  } while (n < 0 && errno == EINTR);
  return n == 1;
}

int Wait(pid_t pid, int options) {
  int status = -1;
  pid_t got;
  do {
    got = waitpid(pid, &status, options);
  } while (got < 0 && errno == EINTR);
  EXPECT_THAT(got, Returns(pid));
  return status;
}

std::string Helper(std::string_view name) {
  return std::string(CONFORMANCE_HELPERS) + "/" + std::string(name);
}

Outcome Execute(const std::string& path, std::vector<std::string> argv,
                std::vector<std::string> envp) {
  Pipe out(O_CLOEXEC);
  std::vector<char*> args = Pointers(argv);
  std::vector<char*> env = Pointers(envp);
  const pid_t pid = Start([&] {
    dup2(out.write.get(), 1);
    execve(path.c_str(), args.data(), env.data());
    return 200;  // Not a status that any helper or shell would choose.
  });
  out.write.reset();
  std::string output = ReadAll(out.read.get());
  return {Wait(pid), std::move(output)};
}

int64_t NowMs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1000 + now.tv_nsec / 1'000'000;
}

bool WaitReadable(int fd, int timeout_ms) {
  pollfd waiting = {fd, POLLIN, 0};
  return poll(&waiting, 1, timeout_ms) == 1 && (waiting.revents & (POLLIN | POLLHUP)) != 0;
}

char StateOf(pid_t pid) {
  char path[64], text[512];
  snprintf(path, sizeof path, "/proc/%d/stat", pid);
  UniqueFd fd(open(path, O_RDONLY));
  if (!fd.valid()) return 0;
  const ssize_t n = read(fd.get(), text, sizeof text - 1);
  if (n <= 0) return 0;
  text[n] = 0;
  const char* name_end = strrchr(text, ')');
  return name_end != nullptr ? name_end[2] : 0;
}

bool WaitForState(pid_t pid, char state) {
  return Eventually([&] { return StateOf(pid) == state; });
}

ScopedAction::ScopedAction(int signal, void (*handler)(int), int flags) : signal_(signal) {
  struct sigaction action = {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  EXPECT_THAT(sigaction(signal, &action, &old_), Returns(0));
}

ScopedAction::ScopedAction(int signal, void (*handler)(int, siginfo_t*, void*), int flags)
    : signal_(signal) {
  struct sigaction action = {};
  action.sa_sigaction = handler;
  action.sa_flags = flags | SA_SIGINFO;
  EXPECT_THAT(sigaction(signal, &action, &old_), Returns(0));
}

ScopedAction::~ScopedAction() { sigaction(signal_, &old_, nullptr); }

ScopedBlock::ScopedBlock(std::initializer_list<int> signals) {
  const sigset_t set = SetOf(signals);
  sigprocmask(SIG_BLOCK, &set, &old_);
}

ScopedBlock::~ScopedBlock() { sigprocmask(SIG_SETMASK, &old_, nullptr); }

sigset_t SetOf(std::initializer_list<int> signals) {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : signals) sigaddset(&set, signal);
  return set;
}

void ChildFailed(const char* condition, const char* file, int line) {
  const int error = errno;
  dprintf(2, "%s:%d: in the child: %s does not hold (errno %s)\n", file, line, condition,
          ErrnoName(error).c_str());
  _exit(99);
}

}  // namespace conformance
