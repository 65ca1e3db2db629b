// The other files of /proc/PID: descriptors, links, threads, settings, rights.
#include <poll.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/timerfd.h>

#include <thread>

#include "tests/conformance/proc_support.h"

namespace {

std::string FdLink(int fd) { return LinkTarget("/proc/self/fd/" + std::to_string(fd)); }
std::string FdInfo(int fd) { return Self("fdinfo/" + std::to_string(fd)); }

TEST(ProcFd, ARegularFile) {
  TempDir dir;
  WriteFile(dir / "a file", "");
  const UniqueFd fd(open((dir / "a file").c_str(), O_RDONLY));
  EXPECT_EQ(FdLink(fd.get()), dir / "a file");
  unlink((dir / "a file").c_str());
  EXPECT_EQ(FdLink(fd.get()), (dir / "a file") + " (deleted)");
}

TEST(ProcFd, ARenamedFile) {
  TempDir dir;
  WriteFile(dir / "old", "");
  const UniqueFd fd(open((dir / "old").c_str(), O_RDONLY));
  rename((dir / "old").c_str(), (dir / "new").c_str());
  EXPECT_EQ(FdLink(fd.get()), dir / "new");
}

TEST(ProcFd, APipe) {
  Pipe pipe;
  struct stat st;
  fstat(pipe.read.get(), &st);
  EXPECT_EQ(FdLink(pipe.read.get()), "pipe:[" + std::to_string(st.st_ino) + "]");
  EXPECT_EQ(FdLink(pipe.read.get()), FdLink(pipe.write.get()));
}

TEST(ProcFd, ASocket) {
  int ends[2];
  ASSERT_THAT(socketpair(AF_UNIX, SOCK_STREAM, 0, ends), Returns(0));
  struct stat st;
  fstat(ends[0], &st);
  EXPECT_EQ(FdLink(ends[0]), "socket:[" + std::to_string(st.st_ino) + "]");
  close(ends[0]);
  close(ends[1]);
}

TEST(ProcFd, AnonymousFiles) {
  const UniqueFd event(eventfd(0, 0)), epoll(epoll_create1(0));
  const UniqueFd timer(timerfd_create(CLOCK_MONOTONIC, 0));
  const sigset_t set = SetOf({SIGUSR1});
  const UniqueFd signals(signalfd(-1, &set, 0));
  EXPECT_EQ(FdLink(event.get()), "anon_inode:[eventfd]");
  EXPECT_EQ(FdLink(epoll.get()), "anon_inode:[eventpoll]");
  EXPECT_EQ(FdLink(timer.get()), "anon_inode:[timerfd]");
  EXPECT_EQ(FdLink(signals.get()), "anon_inode:[signalfd]");
}

TEST(ProcFd, ModesOfLinks) {
  struct stat st;
  const UniqueFd reads(open("/dev/null", O_RDONLY)), writes(open("/dev/null", O_WRONLY));
  lstat(("/proc/self/fd/" + std::to_string(reads.get())).c_str(), &st);
  EXPECT_EQ(st.st_mode, S_IFLNK | 0500u);
  EXPECT_EQ(st.st_size, 64);
  lstat(("/proc/self/fd/" + std::to_string(writes.get())).c_str(), &st);
  EXPECT_EQ(st.st_mode, S_IFLNK | 0300u);
}

TEST(ProcFd, OpensAgain) {
  const UniqueFd file = OpenTemp(0, "reopened");
  const UniqueFd again(open(("/proc/self/fd/" + std::to_string(file.get())).c_str(), O_RDONLY));
  EXPECT_EQ(ReadAll(again.get()), "reopened");
}

TEST(ProcFd, ListsWhatIsOpen) {
  const UniqueFd file = OpenTemp();
  const UniqueFd high(fcntl(file.get(), F_DUPFD, 200));
  EXPECT_TRUE(Names("/proc/self/fd").contains(std::to_string(file.get())));
  EXPECT_TRUE(Names("/proc/self/fd").contains("200"));
  EXPECT_TRUE(Names("/proc/self/fdinfo").contains("200"));
  EXPECT_FALSE(Names("/proc/self/fd").contains("199"));
  EXPECT_EQ(LinkTarget("/proc/self/fd/199"), "!ENOENT");
}

TEST(ProcFd, OddNames) {
  EXPECT_EQ(LinkTarget("/proc/self/fd/00"), "!ENOENT");
  EXPECT_EQ(LinkTarget("/proc/self/fd/-1"), "!ENOENT");
  EXPECT_EQ(LinkTarget("/proc/self/fd/x"), "!ENOENT");
  EXPECT_EQ(LinkTarget("/proc/self/fd/99999999999"), "!ENOENT");
}

TEST(ProcFd, ClosingWhileListing) {
  EXPECT_THAT(InChild([] {
                for (int fd = 100; fd < 400; ++fd) CHILD_CHECK(dup2(0, fd) == fd);
                DIR* dir = opendir("/proc/self/fd");
                int closed = 0;
                while (const dirent* entry = readdir(dir)) {
                  const int fd = atoi(entry->d_name);
                  if (fd >= 100 && fd < 400) closed += close(fd) == 0;
                }
                CHILD_CHECK(closed == 300);
                return 0;
              }),
              Exited(0));
}

TEST(ProcFd, OfAChild) {
  TempDir dir;
  Sleeper child([&] {
    const int fd = open((dir / "theirs").c_str(), O_CREAT | O_RDWR, 0600);
    dup2(fd, 77);
    (void)!write(77, "shared", 6);
  });
  EXPECT_EQ(LinkTarget(ProcPath(child.pid(), "fd/77")), dir / "theirs");
  EXPECT_EQ(ReadFile(ProcPath(child.pid(), "fd/77")), "shared");
  child.Kill();
  EXPECT_EQ(LinkTarget(ProcPath(child.pid(), "fd/77")), "!ENOENT");
}

TEST(ProcFd, AnotherUsersAreClosed) {
  Sleeper child;
  EXPECT_THAT(AsNobody([&] {
                CHILD_CHECK(opendir(ProcPath(child.pid(), "fd").c_str()) == nullptr);
                CHILD_CHECK(errno == EACCES);
                CHILD_CHECK(LinkTarget(ProcPath(child.pid(), "fd/0")) == "!EACCES");
                CHILD_CHECK(LinkTarget(ProcPath(child.pid(), "exe")) == "!EACCES");
                CHILD_CHECK(LinkTarget(ProcPath(child.pid(), "cwd")) == "!EACCES");
                CHILD_CHECK(LinkTarget(ProcPath(child.pid(), "ns/pid")) == "!EACCES");
                return 0;
              }),
              Exited(0));
}

TEST(ProcFdInfo, PositionAndFlags) {
  const UniqueFd file = OpenTemp(O_APPEND, "0123456789");
  lseek(file.get(), 6, SEEK_SET);
  const std::string text = FdInfo(file.get());
  EXPECT_EQ(Field(text, "pos"), "6");
  EXPECT_EQ(NumberField(text, "flags", 8) & (O_ACCMODE | O_APPEND), O_RDWR | O_APPEND);
  struct stat st;
  fstat(file.get(), &st);
  EXPECT_EQ(NumberField(text, "ino"), st.st_ino);
  EXPECT_NE(Field(text, "mnt_id"), "(none)");
}

TEST(ProcFdInfo, CloseOnExec) {
  const UniqueFd file = OpenTemp();
  fcntl(file.get(), F_SETFD, FD_CLOEXEC);
  EXPECT_NE(NumberField(FdInfo(file.get()), "flags", 8) & O_CLOEXEC, 0u);
  fcntl(file.get(), F_SETFD, 0);
  EXPECT_EQ(NumberField(FdInfo(file.get()), "flags", 8) & O_CLOEXEC, 0u);
}

TEST(ProcFdInfo, AnEventCounter) {
  const UniqueFd event(eventfd(0x2a, EFD_SEMAPHORE));
  EXPECT_EQ(NumberField(FdInfo(event.get()), "eventfd-count", 16), 0x2au);
  EXPECT_EQ(Field(FdInfo(event.get()), "eventfd-semaphore"), "1");
}

TEST(ProcFdInfo, AnEpollInstance) {
  const UniqueFd epoll(epoll_create1(0)), event(eventfd(0, 0));
  epoll_event interest = {};
  interest.events = EPOLLIN;
  interest.data.u64 = 0xabc;
  ASSERT_THAT(epoll_ctl(epoll.get(), EPOLL_CTL_ADD, event.get(), &interest), Returns(0));
  const std::string text = FdInfo(epoll.get());
  char expected[80];
  snprintf(expected, sizeof expected, "tfd: %8d events: %8x data: %16llx ", event.get(),
           EPOLLIN | EPOLLERR | EPOLLHUP, 0xabcULL);
  EXPECT_NE(text.find(expected), std::string::npos) << text;
}

TEST(ProcFdInfo, OfNothing) {
  const UniqueFd fd(open("/proc/self/fdinfo/999", O_RDONLY));
  EXPECT_FALSE(fd.valid());
}

TEST(ProcLinks, CurrentDirectoryAndRoot) {
  TempDir dir;
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(chdir(dir.path().c_str()) == 0);
                CHILD_CHECK(LinkTarget("/proc/self/cwd") == dir.path());
                CHILD_CHECK(LinkTarget("/proc/self/root") == "/");
                CHILD_CHECK(rmdir(dir.path().c_str()) == 0);
                CHILD_CHECK(LinkTarget("/proc/self/cwd") == dir.path() + " (deleted)");
                return 0;
              }),
              Exited(0));
}

TEST(ProcLinks, TheRootOfAChild) {
  TempDir dir;
  mkdir((dir / "inner").c_str(), 0755);
  Sleeper child([&] { CHILD_CHECK(chroot(dir.path().c_str()) == 0 && chdir("/") == 0); });
  EXPECT_EQ(LinkTarget(ProcPath(child.pid(), "root")), dir.path());
  EXPECT_TRUE(Names(ProcPath(child.pid(), "root")).contains("inner"));
  EXPECT_TRUE(Names(ProcPath(child.pid(), "cwd")).contains("inner"));
}

TEST(ProcLinks, Executable) {
  const Outcome shown = Execute("/bin/readlink", {"/bin/readlink", "/proc/self/exe"});
  char real[4096];
  ASSERT_NE(realpath("/bin/readlink", real), nullptr);
  EXPECT_EQ(shown.output, std::string(real) + "\n");
}

TEST(ProcLinks, OfAZombie) {
  Sleeper child;
  child.Kill();
  EXPECT_EQ(LinkTarget(ProcPath(child.pid(), "exe")), "!ENOENT");
  EXPECT_EQ(LinkTarget(ProcPath(child.pid(), "cwd")), "!ENOENT");
}

TEST(ProcSelf, LeadsToWhoLooks) {
  EXPECT_EQ(LinkTarget("/proc/self"), std::to_string(getpid()));
  EXPECT_EQ(LinkTarget("/proc/thread-self"),
            std::to_string(getpid()) + "/task/" + std::to_string(gettid()));
  std::thread([] {
    EXPECT_EQ(LinkTarget("/proc/thread-self"),
              std::to_string(getpid()) + "/task/" + std::to_string(gettid()));
    EXPECT_NE(gettid(), getpid());
  }).join();
}

TEST(ProcTask, ListsThreads) {
  Pipe ready, stop;
  pid_t tid = 0;
  std::thread other([&] {
    tid = gettid();
    Post(ready.write.get());
    Await(stop.read.get());
  });
  Await(ready.read.get());
  EXPECT_EQ(Names("/proc/self/task"),
            (std::set<std::string>{".", "..", std::to_string(getpid()), std::to_string(tid)}));
  struct stat st;
  EXPECT_THAT(stat(("/proc/" + std::to_string(tid)).c_str(), &st), Returns(0));
  EXPECT_FALSE(Names("/proc").contains(std::to_string(tid)));
  Post(stop.write.get());
  other.join();
  EXPECT_TRUE(Eventually([] { return Names("/proc/self/task").size() == 3; }));
  EXPECT_EQ(TryRead("/proc/self/task/" + std::to_string(tid) + "/stat"), "");
}

TEST(ProcTask, NoForeignThreads) {
  struct stat st;
  Sleeper child;
  EXPECT_THAT(stat(("/proc/self/task/" + std::to_string(child.pid())).c_str(), &st),
              FailsWith(ENOENT));
}

TEST(ProcTask, Children) {
  const std::string path = "task/" + std::to_string(getpid()) + "/children";
  Sleeper a, b;
  const std::string text = Self(path);
  EXPECT_NE(text.find(std::to_string(a.pid()) + " "), std::string::npos);
  EXPECT_NE(text.find(std::to_string(b.pid()) + " "), std::string::npos);
  EXPECT_EQ(Proc(a.pid(), "task/" + std::to_string(a.pid()) + "/children"), "");
}

TEST(ProcComm, IsWritable) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(WriteTo("/proc/self/comm", "a-rather-long-name") == 18);
                CHILD_CHECK(ReadFile("/proc/self/comm") == "a-rather-long-n\n");
                char name[16];
                prctl(PR_GET_NAME, name);
                CHILD_CHECK(std::string(name) == "a-rather-long-n");
                return 0;
              }),
              Exited(0));
}

TEST(ProcComm, OfAThread) {
  Pipe ready, stop;
  pid_t tid = 0;
  std::thread other([&] {
    tid = gettid();
    Post(ready.write.get());
    Await(stop.read.get());
  });
  Await(ready.read.get());
  const std::string path = "/proc/self/task/" + std::to_string(tid) + "/comm";
  EXPECT_THAT(WriteTo(path, "helper"), Returns(6));
  EXPECT_EQ(ReadFile(path), "helper\n");
  EXPECT_NE(Self("comm"), "helper\n");
  Post(stop.write.get());
  other.join();
}

TEST(ProcComm, OfAnotherProcessIsNot) {
  Sleeper child;
  EXPECT_THAT(WriteTo(ProcPath(child.pid(), "comm"), "mine"), FailsWith(EINVAL));
}

TEST(ProcOom, AdjustmentIsKeptAndInherited) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(WriteTo("/proc/self/oom_score_adj", "500") == 3);
                CHILD_CHECK(ReadFile("/proc/self/oom_score_adj") == "500\n");
                CHILD_CHECK(InChild([] {
                              CHILD_CHECK(ReadFile("/proc/self/oom_score_adj") == "500\n");
                              return 0;
                            }) == 0);
                CHILD_CHECK(WriteTo("/proc/self/oom_score_adj", " 20 \n") == 5);
                CHILD_CHECK(ReadFile("/proc/self/oom_score_adj") == "20\n");
                return 0;
              }),
              Exited(0));
}

TEST(ProcOom, NonsenseIsRefused) {
  EXPECT_THAT(WriteTo("/proc/self/oom_score_adj", "1001"), FailsWith(EINVAL));
  EXPECT_THAT(WriteTo("/proc/self/oom_score_adj", "-1001"), FailsWith(EINVAL));
  EXPECT_THAT(WriteTo("/proc/self/oom_score_adj", "much"), FailsWith(EINVAL));
  EXPECT_THAT(WriteTo("/proc/self/oom_score_adj", "5 6"), FailsWith(EINVAL));
}

TEST(ProcOom, OnlyRootGoesBelowZero) {
  EXPECT_THAT(AsNobody([] {
                prctl(PR_SET_DUMPABLE, 1);
                CHILD_CHECK(WriteTo("/proc/self/oom_score_adj", "300") == 3);
                CHILD_CHECK(WriteTo("/proc/self/oom_score_adj", "200") == 3);
                CHILD_CHECK(WriteTo("/proc/self/oom_score_adj", "-1") == -1);
                CHILD_CHECK(errno == EACCES);
                return 0;
              }),
              Exited(0));
}

TEST(ProcOom, OldScale) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(WriteTo("/proc/self/oom_adj", "15") == 2);
                CHILD_CHECK(ReadFile("/proc/self/oom_score_adj") == "1000\n");
                CHILD_CHECK(ReadFile("/proc/self/oom_adj") == "15\n");
                CHILD_CHECK(WriteTo("/proc/self/oom_adj", "16") == -1 && errno == EINVAL);
                return 0;
              }),
              Exited(0));
}

TEST(ProcOom, ScoreIsANumber) { EXPECT_GT(strtol(Self("oom_score").c_str(), nullptr, 10), 0); }

TEST(ProcCoredumpFilter, IsKeptAndInherited) {
  EXPECT_EQ(Self("coredump_filter"), "00000033\n");
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(WriteTo("/proc/self/coredump_filter", "0x7f") == 4);
                CHILD_CHECK(ReadFile("/proc/self/coredump_filter") == "0000007f\n");
                CHILD_CHECK(InChild([] {
                              CHILD_CHECK(ReadFile("/proc/self/coredump_filter") == "0000007f\n");
                              return 0;
                            }) == 0);
                CHILD_CHECK(WriteTo("/proc/self/coredump_filter", "x") == -1 && errno == EINVAL);
                return 0;
              }),
              Exited(0));
}

TEST(ProcTimerSlack, FollowsPrctl) {
  EXPECT_THAT(InChild([] {
                CHILD_CHECK(prctl(PR_SET_TIMERSLACK, 123456) == 0);
                CHILD_CHECK(ReadFile("/proc/self/timerslack_ns") == "123456\n");
                CHILD_CHECK(WriteTo("/proc/self/timerslack_ns", "70000") == 5);
                CHILD_CHECK(prctl(PR_GET_TIMERSLACK) == 70000);
                return 0;
              }),
              Exited(0));
}

TEST(ProcPersonality, InHexadecimal) {
  EXPECT_EQ(Self("personality"), "00000000\n");
  EXPECT_THAT(InChild([] {
                personality(ADDR_NO_RANDOMIZE);
                CHILD_CHECK(ReadFile("/proc/self/personality") == "00040000\n");
                return 0;
              }),
              Exited(0));
}

TEST(ProcConstants, OfOneUserNamespace) {
  EXPECT_EQ(Self("uid_map").substr(0, 11), "         0 ");
  EXPECT_EQ(Self("setgroups"), "allow\n");
  EXPECT_EQ(Self("wchan"), "0");
  EXPECT_EQ(strtoul(Self("loginuid").c_str(), nullptr, 10), 4294967295u);
}

TEST(ProcAttr, ThereIsNoSecurityModule) {
  const UniqueFd fd(open("/proc/self/attr/current", O_RDONLY));
  ASSERT_TRUE(fd.valid());
  char text[64];
  EXPECT_THAT(read(fd.get(), text, sizeof text), FailsWith(EINVAL));
}

TEST(ProcNs, LinksAndInodesAgree) {
  for (const char* name : {"cgroup", "ipc", "mnt", "net", "pid", "user", "uts", "time"}) {
    const std::string path = "/proc/self/ns/" + std::string(name);
    struct stat st;
    ASSERT_THAT(stat(path.c_str(), &st), Returns(0)) << name;
    EXPECT_EQ(LinkTarget(path), std::string(name) + ":[" + std::to_string(st.st_ino) + "]");
    EXPECT_TRUE(S_ISREG(st.st_mode));
  }
}

TEST(ProcNs, AreSharedWithAChild) {
  Sleeper child;
  EXPECT_EQ(LinkTarget(ProcPath(child.pid(), "ns/mnt")), LinkTarget("/proc/self/ns/mnt"));
  const UniqueFd fd(open("/proc/self/ns/uts", O_RDONLY));
  ASSERT_TRUE(fd.valid());
  EXPECT_EQ(FdLink(fd.get()), LinkTarget("/proc/self/ns/uts"));
}

TEST(ProcMounts, NameProc) {
  EXPECT_NE(Self("mounts").find(" /proc proc "), std::string::npos);
  EXPECT_NE(Self("mountinfo").find(" /proc "), std::string::npos);
  EXPECT_NE(Self("mountstats").find(" mounted on /proc with fstype proc\n"), std::string::npos);
  EXPECT_EQ(LinkTarget("/proc/mounts"), "self/mounts");
}

TEST(ProcMounts, DeviceOfTheTemporaryDirectory) {
  std::istringstream lines(Self("mountinfo"));
  struct stat st;
  stat("/proc", &st);
  bool found = false;
  for (std::string line; std::getline(lines, line);) {
    char device[40], where[200];
    if (sscanf(line.c_str(), "%*d %*d %39s %*s %199s", device, where) != 2) continue;
    if (std::string(where) != "/proc") continue;
    found = std::string(device) ==
            std::to_string(st.st_dev >> 8) + ":" + std::to_string(st.st_dev & 0xff);
  }
  EXPECT_TRUE(found);
}

TEST(ProcNet, HasHeaders) {
  EXPECT_EQ(LinkTarget("/proc/net"), "self/net");
  EXPECT_NE(ReadFile("/proc/net/dev").find("Receive"), std::string::npos);
  EXPECT_NE(ReadFile("/proc/net/tcp").find("local_address"), std::string::npos);
  EXPECT_NE(ReadFile("/proc/net/unix").find("Inode Path"), std::string::npos);
}

TEST(ProcRights, OwnerFollowsTheIds) {
  Sleeper child([] {
    (void)!setresgid(50, 60, 70);
    (void)!setresuid(51, 61, 71);
    prctl(PR_SET_DUMPABLE, 1);
  });
  struct stat st;
  ASSERT_THAT(stat(ProcPath(child.pid(), "status").c_str(), &st), Returns(0));
  EXPECT_EQ(st.st_uid, 61u);
  EXPECT_EQ(st.st_gid, 60u);
}

TEST(ProcRights, WhatMayNotBeDumpedIsRoots) {
  Sleeper child([] {
    (void)!setresuid(51, 51, 51);
    prctl(PR_SET_DUMPABLE, 0);
  });
  struct stat st;
  ASSERT_THAT(stat(ProcPath(child.pid(), "status").c_str(), &st), Returns(0));
  EXPECT_EQ(st.st_uid, 0u);
  ASSERT_THAT(stat(("/proc/" + std::to_string(child.pid())).c_str(), &st), Returns(0));
  EXPECT_EQ(st.st_uid, 51u);
}

TEST(ProcRights, Modes) {
  const struct {
    const char* name;
    mode_t mode;
  } files[] = {{"stat", 0444},    {"environ", 0400},       {"mem", 0600},
               {"maps", 0444},    {"auxv", 0400},          {"comm", 0644},
               {"io", 0400},      {"oom_score_adj", 0644}, {"smaps", 0444},
               {"limits", 0444},  {"mountstats", 0400},    {"clear_refs", 0200},
               {"syscall", 0400}, {"stack", 0400},         {"timerslack_ns", 0666}};
  for (const auto& [name, mode] : files) {
    struct stat st;
    ASSERT_THAT(stat(("/proc/self/" + std::string(name)).c_str(), &st), Returns(0)) << name;
    EXPECT_EQ(st.st_mode, S_IFREG | mode) << name;
    EXPECT_EQ(st.st_size, 0) << name;
  }
}

TEST(ProcRights, OthersMapsAndIo) {
  Sleeper child;
  EXPECT_THAT(AsNobody([&] {
                CHILD_CHECK(open(ProcPath(child.pid(), "maps").c_str(), O_RDONLY) == -1);
                CHILD_CHECK(errno == EACCES);
                CHILD_CHECK(open(ProcPath(child.pid(), "smaps").c_str(), O_RDONLY) == -1);
                CHILD_CHECK(open(ProcPath(child.pid(), "io").c_str(), O_RDONLY) == -1);
                CHILD_CHECK(open(ProcPath(child.pid(), "auxv").c_str(), O_RDONLY) == -1);
                CHILD_CHECK(!ReadFile(ProcPath(child.pid(), "status")).empty());
                CHILD_CHECK(!ReadFile(ProcPath(child.pid(), "cmdline")).empty());
                CHILD_CHECK(!ReadFile(ProcPath(child.pid(), "limits")).empty());
                return 0;
              }),
              Exited(0));
}

TEST(ProcDeath, OpenFilesSaySo) {
  Sleeper child;
  const UniqueFd stat(open(ProcPath(child.pid(), "stat").c_str(), O_RDONLY));
  const UniqueFd dir(open(("/proc/" + std::to_string(child.pid())).c_str(), O_RDONLY));
  char text[10];
  EXPECT_THAT(read(stat.get(), text, 5), Returns(5));
  child.End();
  EXPECT_THAT(pread(stat.get(), text, 5, 0), FailsWith(ESRCH));
  EXPECT_THAT(openat(dir.get(), "stat", O_RDONLY), FailsWith(ESRCH));
}

TEST(ProcDeath, NamesGo) {
  Sleeper child;
  const std::string path = "/proc/" + std::to_string(child.pid());
  child.End();
  struct stat st;
  EXPECT_THAT(stat(path.c_str(), &st), FailsWith(ENOENT));
  EXPECT_FALSE(Names("/proc").contains(path.substr(6)));
}

TEST(ProcDeath, ListingWhileProcessesComeAndGo) {
  Pipe stop;
  const pid_t churn = Start([&] {
    stop.write.reset();
    pollfd end = {stop.read.get(), POLLIN, 0};
    while (poll(&end, 1, 0) == 0) {
      const pid_t pid = fork();
      if (pid == 0) _exit(0);
      waitpid(pid, nullptr, 0);
    }
    return 0;
  });
  stop.read.reset();
  const std::string me = std::to_string(getpid());
  for (int i = 0; i < 50; ++i) {
    const std::set<std::string> names = Names("/proc");
    EXPECT_TRUE(names.contains(me));
    for (const std::string& name : names) {
      if (isdigit(name[0])) TryRead("/proc/" + name + "/stat");
    }
  }
  stop.write.reset();
  EXPECT_THAT(Wait(churn), Exited(0));
}

TEST(ProcFiles, OnlyFilesystemsThatKnowHowSync) {
  const auto sync = [](const char* path) {
    const UniqueFd fd(open(path, O_RDONLY));
    EXPECT_TRUE(fd.valid()) << path;
    const int all = fsync(fd.get()) == 0 ? 0 : errno;
    EXPECT_EQ(fdatasync(fd.get()) == 0 ? 0 : errno, all) << path;
    return all;
  };
  for (const char* path : {"/proc", "/proc/self", "/proc/self/fd", "/proc/sys", "/proc/self/status",
                           "/sys", "/sys/kernel", "/dev/null"}) {
    EXPECT_EQ(sync(path), EINVAL) << path;
  }
  for (const char* path : {"/sys/devices/system/cpu/online", "/dev/pts", "/tmp"}) {
    EXPECT_EQ(sync(path), 0) << path;
  }
}

}  // namespace
