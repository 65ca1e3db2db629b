// A running sandbox from outside and from inside: how its processes are locked down, and what
// becomes of every system call that an application makes.
#include <dirent.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstring>
#include <fstream>
#include <map>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "syscalls/abi.h"

namespace {

using std::chrono_literals::operator""ms;

std::string ReadAll(const std::string& path) {
  std::ifstream file(path);
  std::stringstream text;
  text << file.rdbuf();
  return text.str();
}

// The value of a line "NAME:\tVALUE" in /proc/PID/status.
std::string StatusField(pid_t pid, const std::string& name) {
  std::istringstream lines(ReadAll("/proc/" + std::to_string(pid) + "/status"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(name + ":\t")) return line.substr(name.size() + 2);
  }
  return "";
}

std::string NamespaceOf(pid_t pid, const std::string& kind) {
  char target[64] = {};
  const std::string link = "/proc/" + std::to_string(pid) + "/ns/" + kind;
  return readlink(link.c_str(), target, sizeof(target) - 1) > 0 ? target : "?";
}

std::vector<pid_t> ChildrenOf(pid_t pid) {
  const std::string id = std::to_string(pid);
  std::istringstream text(ReadAll("/proc/" + id + "/task/" + id + "/children"));
  std::vector<pid_t> children;
  for (pid_t child; text >> child;) children.push_back(child);
  return children;
}

// A sandbox that sleeps, with the arguments that choose how. Runs as the caller or, rootless, as
// nobody.
class Sleeping {
 public:
  enum class As { kCaller, kNobody };

  Sleeping(const std::string& platform, As as) {
    const std::string flag = "--platform=" + platform;
    // Opened first: nobody may not search the folders on the way to it.
    const int binary = open(SANDBOX_BINARY, O_RDONLY | O_CLOEXEC);
    front_end_ = fork();
    if (front_end_ == 0) {
      if (chdir("/") != 0) _exit(97);
      if (as == As::kNobody && (setgid(65534) != 0 || setuid(65534) != 0)) _exit(99);
      const char* const argv[] = {"sandbox", "do", flag.c_str(), "sleep", "60", nullptr};
      fexecve(binary, const_cast<char**>(argv), environ);
      _exit(98);
    }
    close(binary);
    for (int tries = 0; tries < 3000 && !Ready(); ++tries) std::this_thread::sleep_for(20ms);
  }
  ~Sleeping() {
    kill(front_end_, SIGKILL);
    waitpid(front_end_, nullptr, 0);
  }

  pid_t front_end() const { return front_end_; }
  // 0 if there is none.
  pid_t Named(const std::string& name) const {
    for (const pid_t child : ChildrenOf(front_end_)) {
      if (ReadAll("/proc/" + std::to_string(child) + "/comm") == name + "\n") return child;
    }
    return 0;
  }

 private:
  // Both locked down, and the application started: the sentry has a zygote and a stub.
  bool Ready() const {
    const pid_t gofer = Named("sandbox-gofer");
    const pid_t sentry = Named("sandbox-sentry");
    return gofer != 0 && sentry != 0 && StatusField(gofer, "Seccomp") == "2" &&
           StatusField(sentry, "Seccomp") == "2" && ChildrenOf(sentry).size() >= 2;
  }

  pid_t front_end_ = -1;
};

struct Setting {
  const char* name;
  const char* platform;
  Sleeping::As as;
};

class LockedDown : public testing::TestWithParam<Setting> {};

TEST_P(LockedDown, GoferAndSentryHaveNothingLeft) {
  if (GetParam().as == Sleeping::As::kNobody && geteuid() != 0) GTEST_SKIP() << "not root";
  const Sleeping sandbox(GetParam().platform, GetParam().as);
  const std::string caller_stub_namespace = NamespaceOf(getpid(), "user");
  for (const char* name : {"sandbox-gofer", "sandbox-sentry"}) {
    SCOPED_TRACE(name);
    const pid_t pid = sandbox.Named(name);
    ASSERT_NE(pid, 0);
    for (const char* set : {"CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"}) {
      EXPECT_EQ(StatusField(pid, set), "0000000000000000") << set;
    }
    EXPECT_EQ(StatusField(pid, "NoNewPrivs"), "1");
    EXPECT_EQ(StatusField(pid, "Seccomp"), "2");
    for (const char* kind : {"user", "pid", "mnt", "ipc", "net", "uts", "cgroup"}) {
      EXPECT_NE(NamespaceOf(pid, kind), NamespaceOf(sandbox.front_end(), kind)) << kind;
    }
    // One mount: the empty root.
    const std::string mounts = ReadAll("/proc/" + std::to_string(pid) + "/mountinfo");
    EXPECT_EQ(std::count(mounts.begin(), mounts.end(), '\n'), 1) << mounts;
    EXPECT_THAT(mounts, testing::HasSubstr(" / / ro,"));
  }
  const pid_t sentry = sandbox.Named("sandbox-sentry");
  EXPECT_NE(NamespaceOf(sentry, "pid"), NamespaceOf(sandbox.Named("sandbox-gofer"), "pid"));
  // Threads and stubs as well.
  for (const pid_t stub : ChildrenOf(sentry)) {
    EXPECT_EQ(StatusField(stub, "CapEff"), "0000000000000000");
    EXPECT_EQ(StatusField(stub, "NoNewPrivs"), "1");
    EXPECT_EQ(StatusField(stub, "Seccomp"), "2");
    EXPECT_NE(NamespaceOf(stub, "user"), caller_stub_namespace);
  }
}

// Root's sentry is nobody.
TEST_P(LockedDown, SentryHasNoPrivilegedId) {
  if (GetParam().as == Sleeping::As::kNobody && geteuid() != 0) GTEST_SKIP() << "not root";
  const Sleeping sandbox(GetParam().platform, GetParam().as);
  const pid_t sentry = sandbox.Named("sandbox-sentry");
  ASSERT_NE(sentry, 0);
  EXPECT_FALSE(StatusField(sentry, "Uid").starts_with("0\t"));
  EXPECT_FALSE(StatusField(sentry, "Gid").starts_with("0\t"));
}

INSTANTIATE_TEST_SUITE_P(
    Sandbox, LockedDown,
    testing::Values(Setting{"systrap", "systrap", Sleeping::As::kCaller},
                    Setting{"systrap_rootless", "systrap", Sleeping::As::kNobody},
                    Setting{"ptrace", "ptrace", Sleeping::As::kCaller},
                    Setting{"ptrace_rootless", "ptrace", Sleeping::As::kNobody}),
    [](const auto& info) { return std::string(info.param.name); });

// What every_call.c prints, by call number.
std::map<int, std::string> EveryCall(const std::string& platform) {
  const std::string command =
      std::string(SANDBOX_BINARY) + " do --platform=" + platform + " " + EVERY_CALL_BINARY;
  std::map<int, std::string> results;
  FILE* pipe = popen(command.c_str(), "r");
  char line[128];
  while (pipe != nullptr && fgets(line, sizeof(line), pipe) != nullptr) {
    std::istringstream text(line);
    int nr = -1;
    text >> nr >> std::ws;
    std::getline(text, results[nr]);
  }
  if (pipe != nullptr) pclose(pipe);
  return results;
}

class EveryCallFromInside : public testing::TestWithParam<const char*> {};

TEST_P(EveryCallFromInside, IsAnsweredAsTheTableSays) {
  const std::map<int, std::string> results = EveryCall(GetParam());
  std::map<int, syscalls::AbiRow> rows;
  for (const syscalls::AbiRow& row : syscalls::abi::kRows) rows[row.nr] = row;
  ASSERT_EQ(results.size(), 601u) << "the program did not come to its end";
  for (const auto& [nr, result] : results) {
    const bool known = rows.contains(nr);
    const syscalls::AbiRow row = known ? rows[nr] : syscalls::AbiRow{};
    const std::string call = "call " + std::to_string(nr) + " " + std::string(row.name);
    // No filter sees uretprobe and uprobe, which the host answers with SIGILL and ENXIO.
    if (nr == 335 || nr == 336) {
      EXPECT_TRUE(result == "signal 4" || result == std::to_string(-ENXIO))
          << call << ": " << result;
      continue;
    }
    const bool served =
        row.support == syscalls::Support::kFull || row.support == syscalls::Support::kPartial;
    if (!served) {
      EXPECT_EQ(result, std::to_string(-row.error)) << call;
      continue;
    }
    EXPECT_NE(result, std::to_string(-ENOSYS)) << call;
    // A call that waits for good, or for a signal, is ended by the alarm.
    const bool by_signal = result.starts_with("signal");
    const bool expected_signal = result == "signal 14" || nr == SYS_rt_sigreturn;
    EXPECT_TRUE(!by_signal || expected_signal) << call << ": " << result;
  }
}

INSTANTIATE_TEST_SUITE_P(Sandbox, EveryCallFromInside, testing::Values("systrap", "ptrace"),
                         [](const auto& info) { return std::string(info.param); });

// What a command prints.
std::string OutputOf(const std::string& command) {
  FILE* pipe = popen(command.c_str(), "r");
  if (pipe == nullptr) return "(popen failed)";
  std::string output;
  char line[128];
  while (fgets(line, sizeof(line), pipe) != nullptr) output += line;
  pclose(pipe);
  return output;
}

// The place where the filter trusts what runs cannot be written, moved or taken away. A hole there
// once let an application put its own code where every call was allowed.
TEST_P(EveryCallFromInside, CannotReachTheStubRegion) {
  EXPECT_EQ(OutputOf(std::string(SANDBOX_BINARY) + " do --platform=" + GetParam() + " " +
                     STUB_REGION_BINARY),
            "done\n");
}

// Mailboxes are the application's to write to, and the stub's code is its own to jump to.
// A folder of the host with a server's socket and a fifo that somebody reads.
class SharedFolder {
 public:
  SharedFolder() {
    EXPECT_NE(mkdtemp(path_), nullptr);
    server_ = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    sockaddr_un address{.sun_family = AF_UNIX, .sun_path = {}};
    strcpy(address.sun_path, In("server").c_str());
    EXPECT_EQ(bind(server_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)), 0);
    EXPECT_EQ(listen(server_, 5), 0);
    EXPECT_EQ(mkfifo(In("fifo").c_str(), 0666), 0);
    reader_ = open(In("fifo").c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  }
  ~SharedFolder() {
    close(server_);
    close(reader_);
    for (const char* name : {"server", "fifo", "new"}) unlink(In(name).c_str());
    rmdir(path_);
  }
  std::string In(const std::string& name) const { return std::string(path_) + "/" + name; }

  // What a program with this folder at /mnt gets of each way out.
  std::string Attempts(const std::string& flags) const {
    constexpr char kScript[] =
        "import os, socket\n"
        "def attempt(do):\n"
        "  try: do(); print('done')\n"
        "  except OSError as e: print(e.strerror)\n"
        "attempt(lambda: socket.socket(socket.AF_UNIX).connect('/mnt/server'))\n"
        "attempt(lambda: socket.socket(socket.AF_UNIX).bind('/mnt/new'))\n"
        "attempt(lambda: os.open('/mnt/fifo', os.O_WRONLY | os.O_NONBLOCK))\n";
    return OutputOf(std::string(SANDBOX_BINARY) + " do " + flags + " --volume " + path_ +
                    ":/mnt /usr/bin/python3 -c \"" + kScript + "\" 2>&1");
  }
  bool AcceptsSomebody() const {
    const int fd = accept(server_, nullptr, nullptr);
    if (fd >= 0) close(fd);
    return fd >= 0;
  }

 private:
  char path_[32] = "/var/tmp/shared.XXXXXX";
  int server_ = -1, reader_ = -1;
};

constexpr char kNothing[] =
    "Connection refused\nOperation not permitted\nNo such device or address\n";

TEST(HostSockets, AreOutOfReach) {
  for (const char* flags : {"", "--host-uds=none --host-fifo=none", "--platform=ptrace"}) {
    const SharedFolder folder;
    EXPECT_EQ(folder.Attempts(flags), kNothing) << flags;
    EXPECT_FALSE(folder.AcceptsSomebody());
    EXPECT_NE(access(folder.In("new").c_str(), F_OK), 0);
  }
}

TEST(HostSockets, EachFlagOpensItsOwnWay) {
  const struct {
    const char *flags, *output;
    bool reached, made;
  } kCases[] = {
      {"--host-uds=open", "done\nOperation not permitted\nNo such device or address\n", true,
       false},
      {"--host-uds=create", "Connection refused\ndone\nNo such device or address\n", false, true},
      {"--host-uds=all", "done\ndone\nNo such device or address\n", true, true},
      {"--host-fifo=open", "Connection refused\nOperation not permitted\ndone\n", false, false},
      {"--host-uds=all --host-fifo=open --platform=ptrace", "done\ndone\ndone\n", true, true}};
  for (const auto& [flags, output, reached, made] : kCases) {
    const SharedFolder folder;
    EXPECT_EQ(folder.Attempts(flags), output) << flags;
    EXPECT_EQ(folder.AcceptsSomebody(), reached) << flags;
    EXPECT_EQ(access(folder.In("new").c_str(), F_OK) == 0, made) << flags;
  }
}

TEST(Systrap, SurvivesApplicationsThatTurnAgainstTheirStub) {
  for (const char* flag : {"", " --patch-eagerly"}) {
    EXPECT_EQ(OutputOf(std::string(SANDBOX_BINARY) + flag + " do " + HOSTILE_STUB_BINARY +
                       " 2>&1; echo status $?"),
              "done\nstatus 0\n")
        << flag;
  }
}

// One that plays with what the sentry has its stub do hangs, kills and reads nobody else.
TEST(Systrap, BelievesNothingThatAStubSays) {
  for (const char* flag : {"", " --patch-eagerly"}) {
    EXPECT_EQ(OutputOf(std::string("timeout 120 ") + SANDBOX_BINARY + flag + " do " +
                       HOSTILE_CALLS_BINARY + " 2>&1; echo status $?"),
              "done\nstatus 0\n")
        << flag;
  }
}

}  // namespace
