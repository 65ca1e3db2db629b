// Groups and who is in them: mkdir, rmdir, cgroup.procs, CLONE_INTO_CGROUP, cgroup.kill.
#include <linux/sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>

#include "tests/conformance/cgroup_support.h"

#ifndef CLONE_INTO_CGROUP
#define CLONE_INTO_CGROUP 0x200000000ULL
#endif

namespace {

class CgroupTree : public Cgroups {
 protected:
  // A child that is in the group and waits for its end.
  pid_t Member(const std::string& group) {
    const pid_t pid = Start([] {
      pause();
      return 0;
    });
    EXPECT_GT(Put(group, "cgroup.procs", std::to_string(pid)), 0) << ErrnoName(errno);
    return pid;
  }
  static void End(pid_t pid) {
    kill(pid, SIGKILL);
    Wait(pid);
  }
  std::string Populated(const std::string& group) {
    return Field(Get(group, "cgroup.events"), "populated");
  }
};

TEST_F(CgroupTree, MkdirAndRmdir) {
  const std::string sub = At("sub");
  EXPECT_THAT(mkdir(sub.c_str(), 0700), Returns(0));
  struct stat st;
  EXPECT_THAT(stat(sub.c_str(), &st), Returns(0));
  EXPECT_EQ(st.st_mode, static_cast<mode_t>(S_IFDIR | 0700));
  EXPECT_THAT(mkdir(sub.c_str(), 0700), FailsWith(EEXIST));
  EXPECT_THAT(rmdir(sub.c_str()), Returns(0));
  EXPECT_THAT(rmdir(sub.c_str()), FailsWith(ENOENT));
  EXPECT_THAT(stat(sub.c_str(), &st), FailsWith(ENOENT));
}

TEST_F(CgroupTree, LinksCountDirectories) {
  struct stat st;
  EXPECT_THAT(stat(group_.c_str(), &st), Returns(0));
  EXPECT_EQ(st.st_nlink, 2u);
  EXPECT_THAT(mkdir(At("a").c_str(), 0755), Returns(0));
  EXPECT_THAT(mkdir(At("b").c_str(), 0755), Returns(0));
  EXPECT_THAT(stat(group_.c_str(), &st), Returns(0));
  EXPECT_EQ(st.st_nlink, 4u);
  EXPECT_THAT(Names(group_), testing::IsSupersetOf({"a", "b"}));
}

TEST_F(CgroupTree, NamesWithoutNewlines) {
  EXPECT_THAT(mkdir(At("a\nb").c_str(), 0755), FailsWith(EINVAL));
  EXPECT_THAT(mkdir(At(std::string(255, 'x')).c_str(), 0755), Returns(0));
}

TEST_F(CgroupTree, RmdirOfAParent) {
  EXPECT_THAT(mkdir(At("a").c_str(), 0755), Returns(0));
  EXPECT_THAT(rmdir(group_.c_str()), FailsWith(EBUSY));
  EXPECT_THAT(rmdir(At("a").c_str()), Returns(0));
}

TEST_F(CgroupTree, RenameIsRefused) {
  EXPECT_THAT(mkdir(At("a").c_str(), 0755), Returns(0));
  EXPECT_THAT(rename(At("a").c_str(), At("b").c_str()), FailsWith(EPERM));
}

TEST_F(CgroupTree, DescendantsAreCounted) {
  EXPECT_THAT(mkdir(At("a").c_str(), 0755), Returns(0));
  EXPECT_THAT(mkdir(At("a/b").c_str(), 0755), Returns(0));
  EXPECT_EQ(Field(Get(group_, "cgroup.stat"), "nr_descendants"), "2");
  EXPECT_EQ(Field(Get(At("a"), "cgroup.stat"), "nr_descendants"), "1");
  EXPECT_THAT(rmdir(At("a/b").c_str()), Returns(0));
  EXPECT_EQ(Field(Get(group_, "cgroup.stat"), "nr_descendants"), "1");
}

TEST_F(CgroupTree, MaxDescendantsIsALimit) {
  EXPECT_THAT(Put(group_, "cgroup.max.descendants", "1"), Returns(1));
  EXPECT_THAT(mkdir(At("a").c_str(), 0755), Returns(0));
  EXPECT_THAT(mkdir(At("b").c_str(), 0755), FailsWith(EAGAIN));
  EXPECT_THAT(mkdir(At("a/b").c_str(), 0755), FailsWith(EAGAIN));
}

TEST_F(CgroupTree, MaxDepthIsALimit) {
  EXPECT_THAT(Put(group_, "cgroup.max.depth", "1"), Returns(1));
  EXPECT_THAT(mkdir(At("a").c_str(), 0755), Returns(0));
  EXPECT_THAT(mkdir(At("a/b").c_str(), 0755), FailsWith(EAGAIN));
  EXPECT_THAT(Put(group_, "cgroup.max.depth", "0"), Returns(1));
  EXPECT_THAT(mkdir(At("b").c_str(), 0755), FailsWith(EAGAIN));
}

TEST_F(CgroupTree, AProcessMoves) {
  const pid_t pid = Member(group_);
  EXPECT_EQ(Get(group_, "cgroup.procs"), std::to_string(pid) + "\n");
  EXPECT_EQ(Get(group_, "cgroup.threads"), std::to_string(pid) + "\n");
  EXPECT_EQ(OwnGroup(std::to_string(pid)), PathOfGroup());
  EXPECT_EQ(Populated(group_), "1");
  EXPECT_THAT(rmdir(group_.c_str()), FailsWith(EBUSY));
  End(pid);
  EXPECT_EQ(Get(group_, "cgroup.procs"), "");
  EXPECT_EQ(Populated(group_), "0");
}

TEST_F(CgroupTree, ZeroIsTheWriter) {
  EXPECT_THAT(InChild([this] {
                CHILD_CHECK(Put(group_, "cgroup.procs", "0\n") == 2);
                CHILD_CHECK(OwnGroup("self") == PathOfGroup());
                CHILD_CHECK(Get(group_, "cgroup.procs") == std::to_string(getpid()) + "\n");
                return 0;
              }),
              Exited(0));
}

TEST_F(CgroupTree, ChildrenInherit) {
  EXPECT_THAT(
      InChild([this] {
        CHILD_CHECK(Put(group_, "cgroup.procs", "0") == 1);
        return WEXITSTATUS(InChild([this] { return OwnGroup("self") == PathOfGroup() ? 5 : 1; }));
      }),
      Exited(5));
}

TEST_F(CgroupTree, AllThreadsMove) {
  EXPECT_THAT(InChild([this] {
                Pipe stay;
                Thread thread([&] { (void)Await(stay.read.get()); });
                CHILD_CHECK(Put(group_, "cgroup.procs", std::to_string(thread.tid())) > 0);
                CHILD_CHECK(Get(group_, "cgroup.procs") == std::to_string(getpid()) + "\n");
                CHILD_CHECK(OwnGroup(std::to_string(getpid()) + "/task/" +
                                     std::to_string(thread.tid())) == PathOfGroup());
                std::istringstream tids(Get(group_, "cgroup.threads"));
                int count = 0;
                for (std::string line; std::getline(tids, line);) ++count;
                CHILD_CHECK(count == 2);
                CHILD_CHECK(Post(stay.write.get()));
                return 0;
              }),
              Exited(0));
}

TEST_F(CgroupTree, AThreadCannotLeaveItsProcess) {
  EXPECT_THAT(InChild([this] {
                CHILD_CHECK(Put(group_, "cgroup.threads", "0") == -1 && errno == EOPNOTSUPP);
                CHILD_CHECK(Put(group_, "cgroup.procs", "0") == 1);
                CHILD_CHECK(Put(group_, "cgroup.threads", "0") == 1);
                return 0;
              }),
              Exited(0));
}

TEST_F(CgroupTree, PopulatedCountsBelow) {
  EXPECT_THAT(mkdir(At("a").c_str(), 0755), Returns(0));
  EXPECT_THAT(mkdir(At("a/b").c_str(), 0755), Returns(0));
  const pid_t pid = Member(At("a/b"));
  EXPECT_EQ(Populated(group_), "1");
  EXPECT_EQ(Populated(At("a")), "1");
  EXPECT_EQ(Get(At("a"), "cgroup.procs"), "");
  EXPECT_EQ(OwnGroup(std::to_string(pid)), PathOfGroup() + "/a/b");
  EXPECT_GT(Put(At("a"), "cgroup.procs", std::to_string(pid)), 0);
  EXPECT_EQ(Populated(At("a/b")), "0");
  EXPECT_THAT(rmdir(At("a/b").c_str()), Returns(0));
  End(pid);
}

TEST_F(CgroupTree, AZombieDoesNotPopulate) {
  const pid_t pid = Member(group_);
  kill(pid, SIGKILL);
  EXPECT_TRUE(WaitForState(pid, 'Z'));
  EXPECT_TRUE(Eventually([&] { return Populated(group_) == "0"; }));
  EXPECT_EQ(Get(group_, "cgroup.procs"), "");
  EXPECT_EQ(OwnGroup(std::to_string(pid)), PathOfGroup());
  Wait(pid);
}

TEST_F(CgroupTree, ARemovedGroupIsRemembered) {
  const std::string sub = At("sub");
  EXPECT_THAT(mkdir(sub.c_str(), 0755), Returns(0));
  const UniqueFd dir(open(sub.c_str(), O_RDONLY | O_DIRECTORY));
  const UniqueFd procs(open((sub + "/cgroup.procs").c_str(), O_RDWR));
  const pid_t pid = Member(sub);
  kill(pid, SIGKILL);
  EXPECT_TRUE(WaitForState(pid, 'Z'));
  EXPECT_TRUE(Eventually([&] { return rmdir(sub.c_str()) == 0; }));
  EXPECT_EQ(OwnGroup(std::to_string(pid)), PathOfGroup() + "/sub (deleted)");
  Wait(pid);
  char text[16];
  EXPECT_THAT(read(procs.get(), text, sizeof text), FailsWith(ENODEV));
  EXPECT_THAT(write(procs.get(), "0", 1), FailsWith(ENODEV));
  EXPECT_THAT(openat(dir.get(), "cgroup.procs", O_RDONLY), FailsWith(ENOENT));
  EXPECT_THAT(mkdirat(dir.get(), "x", 0755), FailsWith(ENOENT));
}

TEST_F(CgroupTree, Kill) {
  EXPECT_THAT(mkdir(At("a").c_str(), 0755), Returns(0));
  const pid_t first = Member(group_);
  const pid_t second = Member(At("a"));
  EXPECT_THAT(Put(group_, "cgroup.kill", "1"), Returns(1));
  EXPECT_THAT(Wait(first), Killed(SIGKILL));
  EXPECT_THAT(Wait(second), Killed(SIGKILL));
}

TEST_F(CgroupTree, CloneIntoAGroup) {
  const UniqueFd dir(open(group_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  clone_args args = {.flags = CLONE_INTO_CGROUP,
                     .exit_signal = SIGCHLD,
                     .cgroup = static_cast<uint64_t>(dir.get())};
  const auto pid = static_cast<pid_t>(syscall(SYS_clone3, &args, sizeof args));
  if (pid == 0) _exit(OwnGroup("self") == PathOfGroup() ? 7 : 1);
  ASSERT_THAT(pid, Succeeds());
  EXPECT_THAT(Wait(pid), Exited(7));
  EXPECT_EQ(OwnGroup("self"), own_);
}

TEST_F(CgroupTree, CloneIntoWhatIsNoGroup) {
  const UniqueFd file(open(At("cgroup.procs").c_str(), O_RDONLY | O_CLOEXEC));
  clone_args args = {.flags = CLONE_INTO_CGROUP,
                     .exit_signal = SIGCHLD,
                     .cgroup = static_cast<uint64_t>(file.get())};
  EXPECT_THAT(syscall(SYS_clone3, &args, sizeof args), FailsWith(EBADF));
}

TEST_F(CgroupTree, CpuTimeIsCounted) {
  EXPECT_THAT(InChild([this] {
                CHILD_CHECK(Put(group_, "cgroup.procs", "0") == 1);
                // As long as it takes until it shows.
                return Eventually([this] {
                  volatile uint64_t sum = 0;
                  for (int i = 0; i < 10'000'000; ++i) sum = sum + 1;
                  return Field(Get(group_, "cpu.stat"), "usage_usec") > "0";
                })
                           ? 0
                           : 1;
              }),
              Exited(0));
  const std::string text = Get(group_, "cpu.stat");
  EXPECT_GT(std::stoull(Field(text, "usage_usec")), 0u);
  EXPECT_GT(std::stoull(Field(text, "user_usec")), 0u);
}

TEST_F(CgroupTree, AnotherMountShowsTheSame) {
  TempDir dir;
  EXPECT_THAT(InChild([&] {
                CHILD_CHECK(unshare(CLONE_NEWNS) == 0);
                CHILD_CHECK(mount("", "/", "", MS_REC | MS_PRIVATE, nullptr) == 0);
                CHILD_CHECK(mount("cgroup", dir.path().c_str(), "cgroup2", 0, nullptr) == 0);
                struct stat there, here;
                CHILD_CHECK(stat((dir.path() + PathOfGroup()).c_str(), &there) == 0);
                CHILD_CHECK(stat(group_.c_str(), &here) == 0);
                CHILD_CHECK(there.st_ino == here.st_ino && there.st_dev == here.st_dev);
                CHILD_CHECK(mount("cgroup", dir.path().c_str(), "cgroup2", 0, "foo") == -1 &&
                            errno == EINVAL);
                return 0;
              }),
              Exited(0));
}

TEST_F(CgroupTree, UnprivilegedWriters) {
  EXPECT_THAT(InChild([this] {
                CHILD_CHECK(setresuid(1000, 1000, 1000) == 0);
                CHILD_CHECK(open(At("cgroup.procs").c_str(), O_WRONLY) == -1 && errno == EACCES);
                CHILD_CHECK(mkdir(At("x").c_str(), 0755) == -1 && errno == EACCES);
                CHILD_CHECK(open(At("cgroup.kill").c_str(), O_RDONLY) == -1 && errno == EACCES);
                CHILD_CHECK(Get(group_, "cgroup.type") == "domain\n");
                return 0;
              }),
              Exited(0));
}

}  // namespace
