// The connection itself: death of either side, many threads, a host that moves files meanwhile,
// and the gofer below its seccomp filter.
#include <fcntl.h>
#include <linux/fs.h>
#include <sched.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include "base/seccomp_filter.h"
#include "gmock/gmock.h"
#include "gofer/server/seccomp_rules.h"
#include "gofer/server/server.h"
#include "gofer/server/test_server.h"
#include "gtest/gtest.h"
#include "sentry/fs/gofer/gofer_test_util.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

namespace sentry {
namespace {

using gofer::NodeId;
using gofer::RootNode;
using std::chrono::steady_clock;

constexpr NodeId kRoot = RootNode(0);
constexpr auto kGoferProgram = CompileAllowList(gofer::kSeccompRules);

template <typename T>
int ErrorOf(const Result<T>& result) {
  return result.ok() ? 0 : result.error().code();
}

enum class Filter : uint8_t { kNone, kSeccomp };

// A gofer as a process of its own.
class GoferProcess {
 public:
  GoferProcess(const TempDirectory& dir, Filter filter, rlim_t descriptors = 1024) {
    int ends[2];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) == 0);
    Result<UniqueFd> created = gofer::CreateRing();
    CHECK(created.ok());
    pid_ = fork();
    if (pid_ == 0) {
      close(ends[1]);
      const rlimit limit{.rlim_cur = descriptors, .rlim_max = descriptors};
      CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
      gofer::ServerConfig config;
      config.exports.push_back({UniqueFd(open(dir.path().c_str(), O_PATH)), true});
      config.socket = UniqueFd(ends[0]);
      config.ring = std::move(*created);
      config.proc_self_fd = UniqueFd(open("/proc/self/fd", O_PATH | O_DIRECTORY));
      signal(SIGSYS, SIG_DFL);
      _exit(gofer::Serve(std::move(config), [filter] {
        return filter == Filter::kNone || InstallSeccompFilter(kGoferProgram).ok();
      }));
    }
    close(ends[0]);
    client = Connect(UniqueFd(ends[1]), *std::move(created), hooks);
  }
  ~GoferProcess() {
    client.reset();
    if (pid_ >= 0) Wait();
  }
  // The status from wait(2).
  int Wait() {
    int status = -1;
    waitpid(std::exchange(pid_, -1), &status, 0);
    return status;
  }
  pid_t pid() const { return pid_; }

  CountingHooks hooks;
  std::unique_ptr<GoferClient> client;

 private:
  pid_t pid_;
};

// Until the process has gone to sleep: it spins before.
bool AwaitAsleep(pid_t pid) {
  for (int i = 0; i < 30'000; ++i) {
    std::ifstream in("/proc/" + std::to_string(pid) + "/stat");
    std::string line;
    std::getline(in, line);
    const size_t end = line.rfind(')');
    if (end != line.npos && line.compare(end, 3, ") S") == 0) return true;
    usleep(1'000);
  }
  return false;
}

TEST(GoferConnection, TheGoferEndsWithItsSentry) {
  TempDirectory dir;
  GoferProcess gofer(dir, Filter::kNone);
  EXPECT_TRUE(gofer.client->GetAttr(kRoot).ok());
  EXPECT_TRUE(AwaitAsleep(gofer.pid()));
  gofer.client.reset();
  EXPECT_EQ(gofer.Wait(), 0);
}

TEST(GoferConnection, CallsFailOnceTheGoferIsDead) {
  TempDirectory dir;
  GoferProcess gofer(dir, Filter::kNone);
  EXPECT_TRUE(gofer.client->GetAttr(kRoot).ok());
  kill(gofer.pid(), SIGKILL);
  gofer.Wait();
  EXPECT_EQ(ErrorOf(gofer.client->GetAttr(kRoot)), EIO);
  EXPECT_TRUE(gofer.client->dead());
  EXPECT_EQ(ErrorOf(gofer.client->Open(kRoot, O_RDONLY)), EIO);
  gofer.client->Forget(kRoot);
}

TEST(GoferConnection, ASleepingCallNoticesTheGofersDeath) {
  TempDirectory dir;
  GoferProcess gofer(dir, Filter::kNone);
  EXPECT_TRUE(gofer.client->GetAttr(kRoot).ok());
  kill(gofer.pid(), SIGSTOP);
  std::vector<std::thread> threads;
  std::atomic<int> failed = 0;
  // More than there are slots.
  for (uint32_t i = 0; i < gofer::kSlotCount + 8; ++i) {
    threads.emplace_back([&] { failed += ErrorOf(gofer.client->GetAttr(kRoot)) == EIO; });
  }
  usleep(250'000);  // Longer than the sleepers' interval.
  EXPECT_EQ(failed, 0);
  kill(gofer.pid(), SIGKILL);
  gofer.Wait();
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(failed, static_cast<int>(gofer::kSlotCount) + 8);
  EXPECT_EQ(gofer.hooks.entered, gofer.hooks.left);
  EXPECT_GT(gofer.hooks.entered, 0);
}

// Voluntary and involuntary context switches of a process.
long Switches(pid_t pid) {
  std::ifstream in("/proc/" + std::to_string(pid) + "/status");
  long sum = 0;
  for (std::string line; std::getline(in, line);) {
    if (line.find("ctxt_switches:") != line.npos) sum += atol(line.c_str() + line.find(':') + 1);
  }
  return sum;
}

TEST(GoferConnection, AnIdleGoferDoesNotWakeUp) {
  TempDirectory dir;
  GoferProcess gofer(dir, Filter::kNone);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(gofer.client->GetAttr(kRoot).ok());
  EXPECT_TRUE(AwaitAsleep(gofer.pid()));
  const long before = Switches(gofer.pid());
  usleep(500'000);
  EXPECT_EQ(Switches(gofer.pid()), before);
}

TEST(GoferConnection, EightThreads) {
  TempDirectory dir;
  constexpr int kThreads = 8;
  for (int i = 0; i < kThreads; ++i) dir.Write("f" + std::to_string(i), std::string(i + 1, 'x'));
  GoferProcess gofer(dir, Filter::kNone);
  std::vector<std::thread> threads;
  for (int i = 0; i < kThreads; ++i) {
    threads.emplace_back([&, i] {
      GoferClient& client = *gofer.client;
      const std::string name = "f" + std::to_string(i);
      const auto size = static_cast<uint64_t>(i + 1);
      for (int round = 0; round < 300; ++round) {
        auto node = client.Lookup(kRoot, name);
        ASSERT_TRUE(node.ok());
        ASSERT_EQ(client.GetAttr(node->id)->size, size);
        auto fd = client.Open(node->id, O_RDONLY);  // Each gets its own.
        ASSERT_TRUE(fd.ok());
        struct stat st;
        ASSERT_EQ(fstat(fd->get(), &st), 0);
        ASSERT_EQ(static_cast<uint64_t>(st.st_size), size);
        const std::string own = name + "-" + std::to_string(round);
        auto created = client.CreateFile(kRoot, own, O_RDWR, {.mode = 0600});
        ASSERT_TRUE(created.ok());
        client.Forget(created->node.id);
        ASSERT_TRUE(client.Unlink(kRoot, own, GoferClient::UnlinkKind::kFile).ok());
        client.Forget(node->id);
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(gofer.hooks.entered, gofer.hooks.left);
}

TEST(GoferConnection, OutOfDescriptorsTheForgottenComeBack) {
  TempDirectory dir;
  dir.Write("file", "");
  GoferProcess gofer(dir, Filter::kNone, 256);
  std::vector<NodeId> held;
  for (;;) {
    auto node = gofer.client->Lookup(kRoot, "file");
    if (!node.ok()) {
      EXPECT_EQ(ErrorOf(node), ENFILE);
      break;
    }
    held.push_back(node->id);
  }
  // 64 descriptors are for other things; of the nodes one is the root, an eighth is for listings.
  EXPECT_EQ(held.size(), (256u - 64) / 8 * 7 - 1);
  EXPECT_EQ(ErrorOf(gofer.client->Mkdir(kRoot, "x", {.mode = 0700})), ENFILE);
  EXPECT_FALSE(std::filesystem::exists(dir / "x"));
  for (NodeId id : held) gofer.client->Forget(id);
  for (int i = 0; i < 100; ++i) EXPECT_TRUE(gofer.client->Lookup(kRoot, "file").ok());
}

// The host swaps a directory with a symlink that leads out, and moves one up and down, all the
// time. No walk ever arrives outside.
TEST(GoferConnection, ARacingHostDoesNotLetWalksOut) {
  TempDirectory outer;
  std::filesystem::create_directories(outer / "secret/sub");
  outer.Write("secret/sub/file", "secret");
  TempDirectory dir;
  std::filesystem::create_directories(dir / "a/sub");
  dir.Write("a/sub/file", "inside");
  std::filesystem::create_symlink(outer / "secret", dir / "link");
  std::filesystem::create_directories(dir / "deep/er");
  const auto inside = std::filesystem::file_size(dir / "a/sub/file");
  struct stat secret;
  ASSERT_EQ(stat((outer / "secret/sub/file").c_str(), &secret), 0);
  GoferProcess gofer(dir, Filter::kNone);
  std::atomic<bool> stop = false;
  std::thread host([&] {
    while (!stop) {
      renameat2(AT_FDCWD, (dir / "a").c_str(), AT_FDCWD, (dir / "link").c_str(), RENAME_EXCHANGE);
      std::error_code ignored;
      std::filesystem::rename(dir / "deep/er", dir / "up", ignored);
      std::filesystem::rename(dir / "up", dir / "deep/er", ignored);
    }
  });
  int complete = 0;
  for (int i = 0; i < 20'000; ++i) {
    const std::string_view names[] = {i % 2 == 0 ? "a" : "link", "sub", "file"};
    auto walk = gofer.client->Walk(kRoot, names);
    ASSERT_TRUE(walk.ok());
    for (const gofer::WalkedNode& node : walk->nodes) {
      ASSERT_NE(node.attr.ino, secret.st_ino);
      gofer.client->Forget(node.id);
    }
    if (walk->nodes.size() == 3) {
      ++complete;
      ASSERT_EQ(walk->nodes[2].attr.size, inside);
    }
    const std::string_view deep[] = {"deep", "er", "..", "..", "..", "etc"};
    ASSERT_EQ(ErrorOf(gofer.client->Walk(kRoot, deep)), EINVAL);
  }
  stop = true;
  host.join();
  EXPECT_GT(complete, 0);
}

// Each operation once, below the filter: what it needs is allowed.
TEST(GoferConnection, EveryOperationPassesTheFilter) {
  if (kSanitized) GTEST_SKIP() << "sanitizers make calls of their own";
  TempDirectory dir;
  GoferProcess gofer(dir, Filter::kSeccomp);
  GoferClient& c = *gofer.client;
  auto file = c.CreateFile(kRoot, "file", O_RDWR, {.mode = 04644, .uid = 0, .gid = 0});
  ASSERT_TRUE(file.ok());
  const NodeId node = file->node.id;
  EXPECT_TRUE(c.Open(node, O_RDWR | O_APPEND).ok());
  EXPECT_TRUE(c.Mkdir(kRoot, "sub", {.mode = 0700}).ok());
  EXPECT_TRUE(c.Mknod(kRoot, "fifo", {.mode = S_IFIFO | 0600}).ok());
  auto link = c.Symlink(kRoot, "link", "x", {});
  ASSERT_TRUE(link.ok());
  EXPECT_TRUE(c.ReadLink(link->id).ok());
  EXPECT_TRUE(c.Link(node, kRoot, "hard").ok());
  EXPECT_TRUE(c.SetAttr(node, {.valid = gofer::kSetMode | gofer::kSetUid | gofer::kSetSize |
                                        gofer::kSetMtimeNow,
                               .mode = 0600,
                               .size = 5})
                  .ok());
  EXPECT_NE(ErrorOf(c.SetXattr(node, "user.a", "b", 0)), EIO);
  EXPECT_NE(ErrorOf(c.GetXattr(node, "user.a")), EIO);
  EXPECT_NE(ErrorOf(c.RemoveXattr(node, "user.a")), EIO);
  EXPECT_TRUE(c.ListXattr(node).ok());
  EXPECT_TRUE(c.StatFs(kRoot).ok());
  for (int i = 0; i < 1200; ++i) dir.Write("some-long-file-name-" + std::to_string(i), "");
  GoferDirectoryCursor cursor{.directory = kRoot};
  auto ignore = [](const GoferDirectoryEntry&) {};
  while (!cursor.at_end) {
    ASSERT_TRUE(c.ReadDir(cursor, GoferClient::Attributes::kYes, ignore).ok());
  }
  cursor = {.directory = kRoot};
  ASSERT_TRUE(c.ReadDir(cursor, GoferClient::Attributes::kYes, ignore).ok());
  cursor.offset = 0;
  ASSERT_TRUE(c.ReadDir(cursor, GoferClient::Attributes::kYes, ignore).ok());
  EXPECT_TRUE(c.Rename(kRoot, "hard", kRoot, "moved", RENAME_NOREPLACE).ok());
  EXPECT_TRUE(c.Unlink(kRoot, "moved", GoferClient::UnlinkKind::kFile).ok());
  EXPECT_TRUE(c.Unlink(kRoot, "sub", GoferClient::UnlinkKind::kDirectory).ok());
  EXPECT_TRUE(AwaitAsleep(gofer.pid()));
  EXPECT_TRUE(c.GetAttr(kRoot).ok());
  gofer.client.reset();
  EXPECT_EQ(gofer.Wait(), 0);
}

TEST(GoferConnection, TheFilterIsWithinItsBudget) {
  constexpr size_t kRows = std::size(gofer::kSeccompRules);
  EXPECT_LE(kRows, 45u);
  for (const SeccompRule& row : gofer::kSeccompRules)
    EXPECT_NE(row.nr, static_cast<uint32_t>(SYS_open)) << row.reason;
}

void Pin(pid_t pid, int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  sched_setaffinity(pid, sizeof(set), &set);
}

// Prints what gofer/README.md quotes. Not an assertion: machines differ.
void Measure(const char* what, int client_cpu, int gofer_cpu, std::chrono::microseconds pause) {
  TempDirectory dir;
  cpu_set_t all;
  sched_getaffinity(0, sizeof(all), &all);
  std::thread([&] {
    GoferProcess gofer(dir, Filter::kNone);
    // Both sides have looked at how many cpus there are before they lose all but one.
    EXPECT_TRUE(gofer.client->GetAttr(kRoot).ok());
    if (client_cpu >= 0) Pin(0, client_cpu);
    if (gofer_cpu >= 0) Pin(gofer.pid(), gofer_cpu);
    const int rounds = pause.count() > 0 ? 500 : 20'000;
    std::vector<long> times;
    for (int i = 0; i < rounds; ++i) {
      if (pause.count() > 0) std::this_thread::sleep_for(pause);
      const auto start = steady_clock::now();
      EXPECT_TRUE(gofer.client->GetAttr(kRoot).ok());
      times.push_back(std::chrono::nanoseconds(steady_clock::now() - start).count());
    }
    std::sort(times.begin(), times.end());
    std::printf("%-36s median %6ld ns, p90 %6ld, p99 %6ld, slept %d of %d\n", what,
                times[rounds / 2], times[rounds * 9 / 10], times[rounds * 99 / 100],
                gofer.hooks.entered.load(), rounds);
  }).join();
}

TEST(GoferConnection, RoundTripTimes) {
  using std::chrono::microseconds;
  Measure("same cpu, back to back", 0, 0, microseconds(0));
  Measure("same cpu, gofer asleep", 0, 0, microseconds(200));
  if (std::thread::hardware_concurrency() < 2) return;
  Measure("other cpu, back to back", 0, 1, microseconds(0));
  Measure("other cpu, gofer asleep", 0, 1, microseconds(200));
  Measure("scheduler's choice, back to back", -1, -1, microseconds(0));
  Measure("scheduler's choice, gofer asleep", -1, -1, microseconds(200));
}

}  // namespace
}  // namespace sentry
