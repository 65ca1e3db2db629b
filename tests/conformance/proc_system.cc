// The files of /proc about the whole system, and /proc/sys.
#include <linux/magic.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "tests/conformance/proc_support.h"

namespace {

std::string Sys(const std::string& name) { return ReadFile("/proc/sys/" + name); }
uint64_t SysNumber(const std::string& name) { return strtoull(Sys(name).c_str(), nullptr, 10); }

TEST(ProcSystem, IsAProcfs) {
  struct statfs fs;
  ASSERT_THAT(statfs("/proc", &fs), Returns(0));
  EXPECT_EQ(fs.f_type, PROC_SUPER_MAGIC);
}

TEST(ProcSystem, SysIsASysfs) {
  for (const char* path : {"/sys", "/sys/devices/system/cpu/online", "/sys/class/net"}) {
    struct statfs fs;
    ASSERT_THAT(statfs(path, &fs), Returns(0)) << path;
    EXPECT_EQ(fs.f_type, SYSFS_MAGIC) << path;
    struct stat st;
    ASSERT_THAT(stat(path, &st), Returns(0)) << path;
    EXPECT_EQ(st.st_blksize, 4096) << path;
  }
}

TEST(ProcSystem, Meminfo) {
  const std::string text = ReadFile("/proc/meminfo");
  struct sysinfo info;
  sysinfo(&info);
  EXPECT_EQ(NumberField(text, "MemTotal"), info.totalram * info.mem_unit / 1024);
  EXPECT_LE(NumberField(text, "MemFree"), NumberField(text, "MemTotal"));
  EXPECT_LE(NumberField(text, "MemAvailable"), NumberField(text, "MemTotal"));
  for (const char* name : {"Buffers", "Cached", "SwapTotal", "SwapFree", "Dirty", "Shmem", "Slab",
                           "SReclaimable", "Committed_AS", "Hugepagesize"}) {
    EXPECT_NE(Field(text, name), "(none)") << name;
  }
}

TEST(ProcSystem, Stat) {
  const std::string text = ReadFile("/proc/stat");
  EXPECT_TRUE(text.starts_with("cpu  "));
  EXPECT_NE(text.find("\ncpu0 "), std::string::npos);
  for (const char* name : {"\nintr ", "\nctxt ", "\nbtime ", "\nprocesses ", "\nprocs_running ",
                           "\nprocs_blocked ", "\nsoftirq "}) {
    EXPECT_NE(text.find(name), std::string::npos) << name;
  }
}

TEST(ProcSystem, BootTime) {
  const std::string text = ReadFile("/proc/stat");
  const long boot = strtol(text.c_str() + text.find("\nbtime ") + 7, nullptr, 10);
  timespec up;
  clock_gettime(CLOCK_BOOTTIME, &up);
  EXPECT_NEAR(static_cast<double>(boot), static_cast<double>(time(nullptr) - up.tv_sec), 2);
}

TEST(ProcSystem, ProcessesAreCounted) {
  const auto count = [] {
    const std::string text = ReadFile("/proc/stat");
    return strtol(text.c_str() + text.find("\nprocesses ") + 11, nullptr, 10);
  };
  const long before = count();
  Sleeper child;
  EXPECT_GT(count(), before);
}

TEST(ProcSystem, Uptime) {
  double up = 0, idle = 0;
  ASSERT_EQ(sscanf(ReadFile("/proc/uptime").c_str(), "%lf %lf", &up, &idle), 2);
  timespec now;
  clock_gettime(CLOCK_BOOTTIME, &now);
  EXPECT_NEAR(up, static_cast<double>(now.tv_sec), 2);
  EXPECT_GT(idle, 0);
}

TEST(ProcSystem, Loadavg) {
  double a, b, c;
  int running, total, last;
  ASSERT_EQ(sscanf(ReadFile("/proc/loadavg").c_str(), "%lf %lf %lf %d/%d %d", &a, &b, &c, &running,
                   &total, &last),
            6);
  EXPECT_GE(running, 1);
  EXPECT_GE(total, 1);
  EXPECT_GE(last, getpid());
}

TEST(ProcSystem, Cpuinfo) {
  const std::string text = ReadFile("/proc/cpuinfo");
  size_t count = 0;
  for (size_t at = 0; (at = text.find("processor\t:", at)) != std::string::npos; ++at) ++count;
  EXPECT_EQ(count, static_cast<size_t>(get_nprocs()));
  EXPECT_NE(text.find("\nflags\t\t: "), std::string::npos);
  EXPECT_NE(text.find(" sse2"), std::string::npos);
}

TEST(ProcSystem, Version) {
  utsname name;
  uname(&name);
  EXPECT_TRUE(ReadFile("/proc/version").starts_with("Linux version " + std::string(name.release)));
  EXPECT_NE(ReadFile("/proc/version").find(name.version), std::string::npos);
  EXPECT_EQ(Sys("kernel/osrelease"), std::string(name.release) + "\n");
  EXPECT_EQ(Sys("kernel/version"), std::string(name.version) + "\n");
  EXPECT_EQ(Sys("kernel/ostype"), "Linux\n");
  EXPECT_EQ(Sys("kernel/hostname"), std::string(name.nodename) + "\n");
  EXPECT_EQ(Sys("kernel/domainname"), std::string(name.domainname) + "\n");
}

TEST(ProcSystem, Filesystems) {
  const std::string text = "\n" + ReadFile("/proc/filesystems");
  for (const char* name : {"proc", "tmpfs", "sysfs", "mqueue"}) {
    EXPECT_NE(text.find("\nnodev\t" + std::string(name) + "\n"), std::string::npos) << name;
  }
}

TEST(ProcSystem, Vmstat) {
  const std::string text = "\n" + ReadFile("/proc/vmstat");
  for (const char* name :
       {"nr_free_pages", "pgpgin", "pgpgout", "pswpin", "pgfault", "pgmajfault"}) {
    EXPECT_NE(text.find("\n" + std::string(name) + " "), std::string::npos) << name;
  }
}

TEST(ProcSystem, Devices) {
  const std::string text = ReadFile("/proc/devices");
  EXPECT_NE(text.find("Character devices:\n"), std::string::npos);
  EXPECT_NE(text.find("Block devices:\n"), std::string::npos);
  EXPECT_NE(text.find("  1 mem\n"), std::string::npos);
}

TEST(ProcSystem, Swaps) {
  EXPECT_TRUE(
      ReadFile("/proc/swaps").starts_with("Filename\t\t\t\tType\t\tSize\t\tUsed\t\tPriority\n"));
}

TEST(ProcSystem, PartitionsAndInterrupts) {
  EXPECT_TRUE(ReadFile("/proc/partitions").starts_with("major minor  #blocks  name\n\n"));
  EXPECT_NE(ReadFile("/proc/interrupts").find("CPU0"), std::string::npos);
  EXPECT_NE(ReadFile("/proc/softirqs").find("TIMER:"), std::string::npos);
}

TEST(ProcSystem, SystemVTables) {
  EXPECT_TRUE(ReadFile("/proc/sysvipc/shm").starts_with("       key      shmid perms"));
  EXPECT_TRUE(ReadFile("/proc/sysvipc/sem").starts_with("       key      semid perms"));
  EXPECT_TRUE(ReadFile("/proc/sysvipc/msg").starts_with("       key      msqid perms"));
}

TEST(ProcSystem, Pressure) {
  for (const char* name : {"cpu", "io", "memory"}) {
    EXPECT_TRUE(ReadFile("/proc/pressure/" + std::string(name)).starts_with("some avg10=")) << name;
  }
}

TEST(ProcSystem, ListsFilesAndProcesses) {
  const std::set<std::string> names = Names("/proc");
  for (const char* name : {"meminfo", "self", "thread-self", "sys", "mounts", "stat", "net"}) {
    EXPECT_TRUE(names.contains(name)) << name;
  }
  EXPECT_TRUE(names.contains(std::to_string(getpid())));
}

TEST(ProcSystem, NoNumbersWithLeadingZeroes) {
  struct stat st;
  EXPECT_THAT(stat(("/proc/0" + std::to_string(getpid())).c_str(), &st), FailsWith(ENOENT));
  EXPECT_THAT(stat("/proc/0", &st), FailsWith(ENOENT));
  EXPECT_THAT(stat("/proc/4294967297", &st), FailsWith(ENOENT));
}

TEST(ProcSystem, NothingCanBeMade) {
  EXPECT_THAT(open("/proc/new", O_CREAT | O_RDWR, 0600), FailsWith(ENOENT));
  EXPECT_THAT(mkdir("/proc/new", 0700), FailsWith(ENOENT));
  EXPECT_THAT(unlink("/proc/uptime"), FailsWith(EPERM));
}

TEST(ProcSystem, ReadsAtAPosition) {
  const UniqueFd fd(open("/proc/version", O_RDONLY));
  char all[400], part[10];
  const ssize_t size = read(fd.get(), all, sizeof all);
  ASSERT_GT(size, 20);
  ASSERT_THAT(pread(fd.get(), part, 10, 6), Returns(10));
  EXPECT_EQ(memcmp(part, all + 6, 10), 0);
  EXPECT_THAT(lseek(fd.get(), 2, SEEK_SET), Returns(2));
  ASSERT_THAT(read(fd.get(), part, 4), Returns(4));
  EXPECT_EQ(memcmp(part, all + 2, 4), 0);
  EXPECT_THAT(pread(fd.get(), part, 10, size), Returns(0));
}

TEST(ProcSys, NumbersThatProgramsRead) {
  EXPECT_GE(SysNumber("kernel/pid_max"), 32768u);
  EXPECT_GT(SysNumber("kernel/threads-max"), 1000u);
  EXPECT_EQ(SysNumber("kernel/ngroups_max"), 65536u);
  EXPECT_GE(SysNumber("kernel/cap_last_cap"), 40u);
  EXPECT_EQ(SysNumber("kernel/overflowuid"), 65534u);
  EXPECT_EQ(SysNumber("fs/overflowgid"), 65534u);
  EXPECT_LE(SysNumber("vm/overcommit_memory"), 2u);
  EXPECT_GE(SysNumber("vm/max_map_count"), 65530u);
  EXPECT_GE(SysNumber("vm/mmap_min_addr"), 4096u);
  EXPECT_GE(SysNumber("fs/file-max"), 1024u);
  EXPECT_GE(SysNumber("fs/nr_open"), 1024u * 1024);
  EXPECT_GE(SysNumber("fs/pipe-max-size"), 65536u);
  EXPECT_GT(SysNumber("fs/inotify/max_user_watches"), 0u);
  EXPECT_GT(SysNumber("fs/inotify/max_user_instances"), 0u);
  EXPECT_GT(SysNumber("fs/epoll/max_user_watches"), 0u);
  EXPECT_GT(SysNumber("kernel/pty/max"), 0u);
  EXPECT_LE(SysNumber("kernel/randomize_va_space"), 2u);
  EXPECT_GT(SysNumber("kernel/sched_rr_timeslice_ms"), 0u);
  EXPECT_GT(SysNumber("net/core/somaxconn"), 0u);
}

TEST(ProcSys, OpenFilesAreLimitedByNrOpen) {
  EXPECT_THAT(InChild([] {
                const rlim_t too_many = SysNumber("fs/nr_open") + 1;
                const rlimit limit = {too_many, too_many};
                CHILD_CHECK(setrlimit(RLIMIT_NOFILE, &limit) == -1 && errno == EPERM);
                return 0;
              }),
              Exited(0));
}

TEST(ProcSys, RandomNames) {
  const std::string a = Sys("kernel/random/uuid"), b = Sys("kernel/random/uuid");
  EXPECT_EQ(a.size(), 37u);
  EXPECT_NE(a, b);
  EXPECT_EQ(a[14], '4');
  EXPECT_EQ(Sys("kernel/random/boot_id"), Sys("kernel/random/boot_id"));
  EXPECT_GT(SysNumber("kernel/random/entropy_avail"), 0u);
}

TEST(ProcSys, TheSameValueMayBeWritten) {
  const std::string value = Sys("kernel/pid_max");
  EXPECT_THAT(WriteTo("/proc/sys/kernel/pid_max", value),
              Returns(static_cast<ssize_t>(value.size())));
  EXPECT_EQ(Sys("kernel/pid_max"), value);
}

TEST(ProcSys, NonsenseIsRefused) {
  EXPECT_THAT(WriteTo("/proc/sys/kernel/pid_max", "many"), FailsWith(EINVAL));
  EXPECT_THAT(WriteTo("/proc/sys/vm/overcommit_memory", "x"), FailsWith(EINVAL));
}

TEST(ProcSys, ConstantsAreNotWritable) {
  struct stat st;
  ASSERT_THAT(stat("/proc/sys/kernel/osrelease", &st), Returns(0));
  EXPECT_EQ(st.st_mode, S_IFREG | 0444u);
  ASSERT_THAT(stat("/proc/sys/kernel/pid_max", &st), Returns(0));
  EXPECT_EQ(st.st_mode, S_IFREG | 0644u);
}

TEST(ProcSys, OrdinaryUsersOnlyRead) {
  EXPECT_THAT(AsNobody([] {
                CHILD_CHECK(!ReadFile("/proc/sys/kernel/pid_max").empty());
                CHILD_CHECK(open("/proc/sys/kernel/pid_max", O_WRONLY) == -1 && errno == EACCES);
                CHILD_CHECK(open("/proc/sys/kernel/hostname", O_WRONLY) == -1 && errno == EACCES);
                return 0;
              }),
              Exited(0));
}

TEST(ProcSys, Directories) {
  EXPECT_TRUE(Names("/proc/sys").contains("kernel"));
  EXPECT_TRUE(Names("/proc/sys/kernel").contains("random"));
  EXPECT_TRUE(Names("/proc/sys/vm").contains("swappiness"));
  struct stat st;
  EXPECT_THAT(stat("/proc/sys/kernel/no-such", &st), FailsWith(ENOENT));
}

TEST(ProcSystem, EverythingCanBeRead) {
  // Whatever it says, it ends, and nothing hangs or dies.
  for (const char* directory :
       {"/proc/self", "/proc/self/task/..", "/proc/self/net", "/proc/self/attr"}) {
    for (const std::string& name : Names(directory)) {
      const std::string path = std::string(directory) + "/" + name;
      struct stat st;
      if (lstat(path.c_str(), &st) != 0 || !S_ISREG(st.st_mode)) continue;
      const UniqueFd fd(open(path.c_str(), O_RDONLY | O_NONBLOCK));
      char text[4096];
      for (int i = 0; fd.valid() && i < 200 && read(fd.get(), text, sizeof text) > 0; ++i) continue;
    }
  }
}

}  // namespace
