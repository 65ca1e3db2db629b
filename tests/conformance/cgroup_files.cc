// The files of a control group: names, formats, what a write is answered (cgroup-v2.rst).
#include "tests/conformance/cgroup_support.h"

namespace {

using CgroupFiles = Cgroups;

TEST_F(CgroupFiles, Statfs) {
  for (const std::string& path : {group_, At("cgroup.procs")}) {
    struct statfs fs = {};
    EXPECT_THAT(statfs(path.c_str(), &fs), Returns(0));
    EXPECT_EQ(fs.f_type, CGROUP2_SUPER_MAGIC);
    EXPECT_EQ(fs.f_bsize, 4096);
    EXPECT_EQ(fs.f_namelen, 255);
    EXPECT_EQ(fs.f_blocks, 0u);
  }
}

TEST_F(CgroupFiles, NamesOfANewGroup) {
  const auto names = Names(group_);
  for (const char* name : {"cgroup.controllers", "cgroup.events", "cgroup.kill", "cgroup.max.depth",
                           "cgroup.max.descendants", "cgroup.procs", "cgroup.stat",
                           "cgroup.subtree_control", "cgroup.threads", "cgroup.type",
                           "cpu.pressure", "cpu.stat", "io.pressure", "memory.pressure"}) {
    EXPECT_THAT(names, testing::Contains(name));
  }
}

TEST_F(CgroupFiles, EachNameOnce) {
  auto names = Names(group_);
  EXPECT_EQ(std::adjacent_find(names.begin(), names.end()), names.end());
  for (const std::string& name : names) {
    struct stat st;
    EXPECT_THAT(stat(At(name).c_str(), &st), Returns(0)) << name;
  }
}

TEST_F(CgroupFiles, Modes) {
  const std::pair<const char*, mode_t> kModes[] = {{"cgroup.controllers", 0444},
                                                   {"cgroup.events", 0444},
                                                   {"cgroup.kill", 0200},
                                                   {"cgroup.max.depth", 0644},
                                                   {"cgroup.procs", 0644},
                                                   {"cgroup.stat", 0444},
                                                   {"cgroup.threads", 0644},
                                                   {"cgroup.type", 0644},
                                                   {"cpu.stat", 0444},
                                                   {"cpu.pressure", 0644},
                                                   {"cgroup.max.descendants", 0644},
                                                   {"cgroup.subtree_control", 0644}};
  for (const auto& [name, mode] : kModes) {
    struct stat st;
    EXPECT_THAT(stat(At(name).c_str(), &st), Returns(0)) << name;
    EXPECT_EQ(st.st_mode, S_IFREG | mode) << name;
    EXPECT_EQ(st.st_size, 0) << name;
    EXPECT_EQ(st.st_blksize, 4096) << name;
    EXPECT_EQ(st.st_uid, 0u) << name;
  }
}

TEST_F(CgroupFiles, TextsOfANewGroup) {
  const std::pair<const char*, const char*> kTexts[] = {
      {"cgroup.events", "populated 0\nfrozen 0\n"},
      {"cgroup.max.depth", "max\n"},
      {"cgroup.max.descendants", "max\n"},
      {"cgroup.procs", ""},
      {"cgroup.subtree_control", "\n"},
      {"cgroup.threads", ""},
      {"cgroup.type", "domain\n"}};
  for (const auto& [name, text] : kTexts) {
    // Older kernels end an empty list without a line.
    const std::string got = Get(group_, name);
    EXPECT_TRUE(got == text || (got.empty() && std::string(text) == "\n")) << name << ": " << got;
  }
}

TEST_F(CgroupFiles, Stat) {
  const std::string text = Get(group_, "cgroup.stat");
  EXPECT_EQ(Field(text, "nr_descendants"), "0");
  EXPECT_EQ(Field(text, "nr_dying_descendants"), "0");
}

TEST_F(CgroupFiles, CpuStatOfAnEmptyGroup) {
  const std::string text = Get(group_, "cpu.stat");
  for (const char* name : {"usage_usec", "user_usec", "system_usec"}) {
    EXPECT_EQ(Field(text, name), "0") << name;
  }
}

TEST_F(CgroupFiles, PressureText) {
  for (const char* name : {"cpu.pressure", "io.pressure", "memory.pressure"}) {
    const std::string text = Get(group_, name);
    EXPECT_TRUE(text.starts_with("some avg10=0.00 avg60=0.00 avg300=0.00 total=0\n")) << text;
    EXPECT_NE(text.find("\nfull avg10=0.00"), std::string::npos) << text;
  }
}

TEST_F(CgroupFiles, NothingElseCanBeMade) {
  EXPECT_THAT(open(At("x").c_str(), O_WRONLY | O_CREAT, 0644), FailsWith(EACCES));
  EXPECT_THAT(open(At("x").c_str(), O_WRONLY | O_CREAT | O_EXCL, 0644), FailsWith(EACCES));
  EXPECT_THAT(mknod(At("x").c_str(), S_IFREG | 0644, 0), FailsWith(EACCES));
  EXPECT_THAT(mkfifo(At("x").c_str(), 0644), FailsWith(EPERM));
  EXPECT_THAT(symlink("a", At("x").c_str()), FailsWith(EPERM));
  EXPECT_THAT(link(At("cgroup.procs").c_str(), At("x").c_str()), FailsWith(EPERM));
  EXPECT_THAT(open(At("x").c_str(), O_RDONLY), FailsWith(ENOENT));
}

TEST_F(CgroupFiles, FilesStay) {
  EXPECT_THAT(unlink(At("cgroup.procs").c_str()), FailsWith(EPERM));
  EXPECT_THAT(rename(At("cgroup.procs").c_str(), At("x").c_str()), FailsWith(EPERM));
  EXPECT_THAT(rmdir(At("cgroup.procs").c_str()), FailsWith(ENOTDIR));
  EXPECT_THAT(mkdir(At("cgroup.procs").c_str(), 0755), FailsWith(EEXIST));
  EXPECT_THAT(truncate(At("cgroup.procs").c_str(), 0), Returns(0));
}

TEST_F(CgroupFiles, AnExistingFileTakesCreateAndTruncate) {
  const UniqueFd fd(open(At("cgroup.procs").c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644));
  EXPECT_THAT(fd.get(), Succeeds());
}

TEST_F(CgroupFiles, WhatIsOnlyRead) {
  // For root, that is: modes say so to everybody else.
  for (const char* name : {"cgroup.controllers", "cgroup.events", "cgroup.stat", "cpu.stat"}) {
    EXPECT_THAT(Put(group_, name, "1"), FailsWith(EINVAL)) << name;
  }
}

TEST_F(CgroupFiles, WhatIsOnlyWritten) {
  const UniqueFd fd(open(At("cgroup.kill").c_str(), O_RDONLY));
  EXPECT_THAT(fd.get(), Succeeds());
  char byte;
  EXPECT_THAT(read(fd.get(), &byte, 1), FailsWith(EINVAL));
}

TEST_F(CgroupFiles, WritesThatAreNone) {
  const struct {
    const char *file, *text;
    int error;
  } kCases[] = {{"cgroup.procs", "x", EINVAL},
                {"cgroup.procs", "-1", EINVAL},
                {"cgroup.procs", "4194300", ESRCH},
                {"cgroup.threads", "4194300", ESRCH},
                {"cgroup.threads", "x", EINVAL},
                {"cgroup.type", "domain", EINVAL},
                {"cgroup.type", "x", EINVAL},
                {"cgroup.max.depth", "-1", ERANGE},
                {"cgroup.max.depth", "x", EINVAL},
                {"cgroup.max.descendants", "-1", ERANGE},
                {"cgroup.max.descendants", "1x", EINVAL},
                {"cgroup.kill", "0", ERANGE},
                {"cgroup.kill", "2", ERANGE},
                {"cgroup.kill", "x", EINVAL},
                {"cgroup.subtree_control", "+foo", EINVAL},
                {"cgroup.subtree_control", "-foo", EINVAL},
                {"cgroup.subtree_control", "memory", EINVAL}};
  for (const auto& [file, text, error] : kCases) {
    EXPECT_THAT(Put(group_, file, text), FailsWith(error)) << file << " " << text;
  }
}

TEST_F(CgroupFiles, ControllersThatTheParentDoesNotGive) {
  const std::string given = " " + Get(group_, "cgroup.controllers");
  for (const std::string name : {"cpuset", "cpu", "io", "memory", "pids"}) {
    if (given.find(" " + name) != std::string::npos) continue;
    const ssize_t written = Put(group_, "cgroup.subtree_control", "+" + name);
    EXPECT_EQ(written, -1) << name;
    EXPECT_TRUE(errno == ENOENT) << name << " " << ErrnoName(errno);
  }
}

TEST_F(CgroupFiles, EmptyWrites) {
  for (const char* file : {"cgroup.procs", "cgroup.subtree_control", "cgroup.max.depth"}) {
    EXPECT_THAT(Put(group_, file, ""), Returns(0)) << file;
  }
}

TEST_F(CgroupFiles, LimitsOfTheTreeKeepTheirNumbers) {
  EXPECT_THAT(Put(group_, "cgroup.max.depth", " 7\n"), Returns(3));
  EXPECT_EQ(Get(group_, "cgroup.max.depth"), "7\n");
  EXPECT_THAT(Put(group_, "cgroup.max.descendants", "12"), Returns(2));
  EXPECT_EQ(Get(group_, "cgroup.max.descendants"), "12\n");
  EXPECT_THAT(Put(group_, "cgroup.max.depth", "max"), Returns(3));
  EXPECT_EQ(Get(group_, "cgroup.max.depth"), "max\n");
}

TEST_F(CgroupFiles, AReadAtAnOffset) {
  const UniqueFd fd(open(At("cgroup.events").c_str(), O_RDONLY));
  char text[64] = {};
  EXPECT_THAT(pread(fd.get(), text, 9, 0), Returns(9));
  EXPECT_THAT(pread(fd.get(), text, sizeof text, 10), Returns(11));
  EXPECT_STREQ(text, "0\nfrozen 0\n");
}

TEST_F(CgroupFiles, ProcCgroupsHasAHeading) {
  EXPECT_TRUE(
      ReadFile("/proc/cgroups").starts_with("#subsys_name\thierarchy\tnum_cgroups\tenabled\n"));
  for (const char* name : {"\ncpuset\t", "\ncpu\t", "\ncpuacct\t", "\nmemory\t", "\npids\t"}) {
    EXPECT_NE(ReadFile("/proc/cgroups").find(name), std::string::npos) << name;
  }
}

TEST_F(CgroupFiles, MountInfo) {
  const std::string text = ReadFile("/proc/self/mountinfo");
  EXPECT_NE(text.find(" " + root_ + " "), std::string::npos);
  EXPECT_NE(text.find(" - cgroup2 "), std::string::npos) << text;
}

TEST_F(CgroupFiles, IsAKnownFilesystem) {
  EXPECT_NE(ReadFile("/proc/filesystems").find("nodev\tcgroup2\n"), std::string::npos);
}

}  // namespace
