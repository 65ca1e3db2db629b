// What /proc/PID shows of memory: maps, smaps, mem, cmdline, environ, auxv.
#include <elf.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#include "tests/conformance/proc_support.h"

namespace {

void* Map(size_t size, int prot = PROT_READ | PROT_WRITE, int flags = MAP_PRIVATE | MAP_ANONYMOUS,
          int fd = -1, off_t offset = 0) {
  void* memory = mmap(nullptr, size, prot, flags, fd, offset);
  EXPECT_NE(memory, MAP_FAILED);
  return memory;
}

Mapping SelfMapping(const void* address) { return MappingOf(Self("maps"), address); }

TEST(ProcMaps, AnonymousMemory) {
  // Between guards, so that nothing merges with it.
  char* memory = static_cast<char*>(Map(5 * 4096, PROT_NONE));
  ASSERT_THAT(mprotect(memory + 4096, 3 * 4096, PROT_READ | PROT_WRITE), Returns(0));
  const Mapping m = SelfMapping(memory + 4096);
  EXPECT_EQ(m.begin, reinterpret_cast<uint64_t>(memory + 4096));
  EXPECT_EQ(m.end, m.begin + 3 * 4096);
  EXPECT_EQ(m.permissions, "rw-p");
  EXPECT_EQ(m.ino, 0u);
  EXPECT_EQ(m.name, "");
  munmap(memory, 5 * 4096);
  EXPECT_EQ(SelfMapping(memory + 4096).end, 0u);
}

TEST(ProcMaps, Permissions) {
  char* memory = static_cast<char*>(Map(4 * 4096, PROT_NONE));
  mprotect(memory, 4096, PROT_READ);
  mprotect(memory + 4096, 4096, PROT_READ | PROT_EXEC);
  const std::string maps = Self("maps");
  EXPECT_EQ(MappingOf(maps, memory).permissions, "r--p");
  EXPECT_EQ(MappingOf(maps, memory + 4096).permissions, "r-xp");
  EXPECT_EQ(MappingOf(maps, memory + 2 * 4096).permissions, "---p");
  munmap(memory, 4 * 4096);
}

TEST(ProcMaps, AFileWithOffsetDeviceAndInode) {
  TempDir dir;
  const std::string path = dir / "mapped file";
  WriteFile(path, std::string(3 * 4096, 'm'));
  const UniqueFd fd(open(path.c_str(), O_RDONLY));
  struct stat st;
  fstat(fd.get(), &st);
  void* memory = Map(8192, PROT_READ, MAP_PRIVATE, fd.get(), 4096);
  const Mapping m = SelfMapping(memory);
  EXPECT_EQ(m.offset, 4096u);
  EXPECT_EQ(m.ino, st.st_ino);
  EXPECT_EQ(m.dev_major, major(st.st_dev));
  EXPECT_EQ(m.dev_minor, minor(st.st_dev));
  EXPECT_EQ(m.name, path);
  EXPECT_EQ(m.permissions, "r--p");
  munmap(memory, 8192);
}

TEST(ProcMaps, ASharedFile) {
  TempDir dir;
  WriteFile(dir / "shared", std::string(4096, 's'));
  const UniqueFd fd(open((dir / "shared").c_str(), O_RDWR));
  void* memory = Map(4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get());
  EXPECT_EQ(SelfMapping(memory).permissions, "rw-s");
  EXPECT_EQ(SelfMapping(memory).name, dir / "shared");
  munmap(memory, 4096);
}

TEST(ProcMaps, ARemovedFile) {
  TempDir dir;
  WriteFile(dir / "gone", std::string(4096, 'g'));
  const UniqueFd fd(open((dir / "gone").c_str(), O_RDONLY));
  void* memory = Map(4096, PROT_READ, MAP_PRIVATE, fd.get());
  unlink((dir / "gone").c_str());
  EXPECT_EQ(SelfMapping(memory).name, (dir / "gone") + " (deleted)");
  munmap(memory, 4096);
}

TEST(ProcMaps, AMemfd) {
  const UniqueFd fd(memfd_create("hidden", 0));
  ASSERT_THAT(ftruncate(fd.get(), 4096), Returns(0));
  void* memory = Map(4096, PROT_READ, MAP_SHARED, fd.get());
  EXPECT_EQ(SelfMapping(memory).name, "/memfd:hidden (deleted)");
  munmap(memory, 4096);
}

TEST(ProcMaps, ThePartsOfTheProgram) {
  const std::string maps = Self("maps");
  static int data = 1;
  int local = 0;
  const std::string exe = LinkTarget("/proc/self/exe");
  EXPECT_EQ(MappingOf(maps, reinterpret_cast<void*>(&LinkTarget)).name, exe);
  EXPECT_EQ(MappingOf(maps, reinterpret_cast<void*>(&LinkTarget)).permissions, "r-xp");
  EXPECT_EQ(MappingOf(maps, &data).permissions, "rw-p");
  EXPECT_EQ(MappingOf(maps, &local).name, "[stack]");
  EXPECT_EQ(MappingOf(maps, reinterpret_cast<void*>(&getpid)).name.substr(0, 5), "/usr/");
  EXPECT_EQ(MappingOf(maps, reinterpret_cast<void*>(getauxval(AT_SYSINFO_EHDR))).name, "[vdso]");
}

TEST(ProcMaps, TheHeap) {
  void* end = sbrk(4096);
  ASSERT_NE(end, reinterpret_cast<void*>(-1));
  EXPECT_EQ(SelfMapping(end).name, "[heap]");
}

TEST(ProcMaps, AreSortedAndDisjoint) {
  uint64_t last = 0;
  for (const Mapping& m : ParseMaps(Self("maps"))) {
    EXPECT_GE(m.begin, last);
    EXPECT_GT(m.end, m.begin);
    last = m.end;
  }
}

TEST(ProcMaps, InSmallPieces) {
  const UniqueFd fd(open("/proc/self/maps", O_RDONLY));
  std::string text;
  for (char piece[61]; text.size() < 1 << 20;) {
    const ssize_t n = read(fd.get(), piece, sizeof piece);
    ASSERT_GE(n, 0);
    if (n == 0) break;
    text.append(piece, n);
  }
  EXPECT_GT(ParseMaps(text).size(), 10u);
  EXPECT_EQ(ParseMaps(text).back().end, ParseMaps(Self("maps")).back().end);
}

TEST(ProcMaps, AThousandMappings) {
  char* memory = static_cast<char*>(Map(2000 * 4096, PROT_NONE));
  for (int i = 0; i < 2000; i += 2) mprotect(memory + i * 4096, 4096, PROT_READ);
  size_t mine = 0;
  for (const Mapping& m : ParseMaps(Self("maps"))) {
    mine += m.begin >= reinterpret_cast<uint64_t>(memory) &&
            m.end <= reinterpret_cast<uint64_t>(memory + 2000 * 4096) && m.permissions == "r--p";
  }
  EXPECT_EQ(mine, 1000u);
  munmap(memory, 2000 * 4096);
}

TEST(ProcMaps, OfAnotherProcess) {
  void* memory = Map(4096, PROT_READ);
  mprotect(memory, 4096, PROT_NONE);
  Sleeper child;
  EXPECT_EQ(MappingOf(Proc(child.pid(), "maps"), memory).permissions, "---p");
  munmap(memory, 4096);
  EXPECT_NE(MappingOf(Proc(child.pid(), "maps"), memory).end, 0u);
}

TEST(ProcMaps, OfAThread) {
  EXPECT_EQ(ParseMaps(ReadFile("/proc/thread-self/maps")).size(), ParseMaps(Self("maps")).size());
}

TEST(ProcMaps, OfAZombieAreEmpty) {
  Sleeper child;
  child.Kill();
  EXPECT_EQ(Proc(child.pid(), "maps"), "");
}

uint64_t SmapsNumber(const void* address, const std::string& name) {
  std::istringstream lines(Self("smaps"));
  const uint64_t wanted = reinterpret_cast<uint64_t>(address);
  bool found = false;
  for (std::string line; std::getline(lines, line);) {
    uint64_t begin = 0, end = 0;
    if (sscanf(line.c_str(), "%lx-%lx ", &begin, &end) == 2) {
      found = begin <= wanted && wanted < end;
    } else if (found && line.starts_with(name + ":")) {
      return strtoull(line.c_str() + name.size() + 1, nullptr, 10);
    }
  }
  return ~uint64_t{0};
}

TEST(ProcSmaps, CountsTouchedPages) {
  char* memory = static_cast<char*>(Map(18 * 4096, PROT_NONE));
  char* used = memory + 4096;
  mprotect(used, 16 * 4096, PROT_READ | PROT_WRITE);
  EXPECT_EQ(SmapsNumber(used, "Size"), 64u);
  EXPECT_EQ(SmapsNumber(used, "Rss"), 0u);
  for (int i = 0; i < 5; ++i) used[i * 4096] = 1;
  EXPECT_EQ(SmapsNumber(used, "Rss"), 20u);
  EXPECT_EQ(SmapsNumber(used, "Private_Dirty"), 20u);
  EXPECT_EQ(SmapsNumber(used, "Anonymous"), 20u);
  EXPECT_EQ(SmapsNumber(used, "Pss"), 20u);
  munmap(memory, 18 * 4096);
}

TEST(ProcSmaps, HasTheSameMappingsAsMaps) {
  EXPECT_EQ(ParseMaps(Self("smaps")).size(), ParseMaps(Self("maps")).size());
  for (const char* name : {"KernelPageSize", "Locked", "VmFlags", "Swap", "Referenced"}) {
    EXPECT_NE(Field(Self("smaps"), name), "(none)") << name;
  }
}

TEST(ProcSmaps, NamesFilesAsMapsDoes) {
  TempDir dir;
  WriteFile(dir / "named", std::string(4096, 'n'));
  const UniqueFd fd(open((dir / "named").c_str(), O_RDONLY));
  void* memory = Map(4096, PROT_READ, MAP_PRIVATE, fd.get());
  EXPECT_EQ(MappingOf(Self("smaps"), memory).name, dir / "named");
  munmap(memory, 4096);
}

TEST(ProcSmapsRollup, AddsUp) {
  void* memory = Map(1 << 20);
  memset(memory, 1, 1 << 20);
  const std::string text = Self("smaps_rollup");
  EXPECT_NE(text.find("[rollup]"), std::string::npos);
  EXPECT_GE(NumberField(text, "Private_Dirty"), 1024u);
  EXPECT_GE(NumberField(text, "Anonymous"), 1024u);
  EXPECT_GE(NumberField(text, "Rss"), NumberField(text, "Pss"));
  EXPECT_NEAR(static_cast<double>(NumberField(text, "Pss")),
              static_cast<double>(NumberField(text, "Pss_Anon") + NumberField(text, "Pss_File") +
                                  NumberField(text, "Pss_Shmem")),
              64);
  munmap(memory, 1 << 20);
}

class ProcMem : public testing::Test {
 protected:
  const UniqueFd fd_{open("/proc/self/mem", O_RDWR)};
  char* const memory_ = static_cast<char*>(Map(3 * 4096));
  off_t At(size_t offset) const { return reinterpret_cast<off_t>(memory_ + offset); }
  void TearDown() override { munmap(memory_, 3 * 4096); }
};

TEST_F(ProcMem, Reads) {
  strcpy(memory_ + 100, "in memory");
  char back[10] = {};
  EXPECT_THAT(pread(fd_.get(), back, 10, At(100)), Returns(10));
  EXPECT_STREQ(back, "in memory");
}

TEST_F(ProcMem, Writes) {
  EXPECT_THAT(pwrite(fd_.get(), "changed", 8, At(4090)), Returns(8));  // Over the edge of a page.
  EXPECT_STREQ(memory_ + 4090, "changed");
}

TEST_F(ProcMem, HasAPosition) {
  strcpy(memory_, "abcdef");
  char back[3];
  EXPECT_THAT(lseek(fd_.get(), At(0), SEEK_SET), Returns(At(0)));
  EXPECT_THAT(read(fd_.get(), back, 3), Returns(3));
  EXPECT_THAT(lseek(fd_.get(), 1, SEEK_CUR), Returns(At(4)));
  EXPECT_THAT(read(fd_.get(), back, 1), Returns(1));
  EXPECT_EQ(back[0], 'e');
  EXPECT_THAT(lseek(fd_.get(), 0, SEEK_END), FailsWith(EINVAL));
}

TEST_F(ProcMem, WhatIsNotMapped) {
  char byte = 0;
  munmap(memory_ + 4096, 4096);
  EXPECT_THAT(pread(fd_.get(), &byte, 1, At(4096)), FailsWith(EIO));
  EXPECT_THAT(pwrite(fd_.get(), &byte, 1, At(4096)), FailsWith(EIO));
  EXPECT_THAT(pread(fd_.get(), &byte, 1, 0), FailsWith(EIO));
  char many[100];
  EXPECT_THAT(pread(fd_.get(), many, 100, At(4096 - 40)), Returns(40));
}

TEST_F(ProcMem, Vectors) {
  strcpy(memory_, "scattered");
  char a[4], b[5];
  const iovec pieces[] = {{a, 4}, {b, 5}};
  EXPECT_THAT(preadv(fd_.get(), pieces, 2, At(0)), Returns(9));
  EXPECT_EQ(std::string(a, 4) + std::string(b, 5), "scattered");
}

TEST_F(ProcMem, OfAChild) {
  strcpy(memory_, "before");
  Sleeper child;
  const UniqueFd fd(open(ProcPath(child.pid(), "mem").c_str(), O_RDWR));
  ASSERT_TRUE(fd.valid());
  EXPECT_THAT(pwrite(fd.get(), "after", 6, At(0)), Returns(6));
  EXPECT_STREQ(memory_, "before");
  char back[6];
  EXPECT_THAT(pread(fd.get(), back, 6, At(0)), Returns(6));
  EXPECT_STREQ(back, "after");
  child.End();
  EXPECT_THAT(pread(fd.get(), back, 6, At(0)), Returns(0));
}

TEST(ProcMemRights, AnotherUsersIsClosed) {
  Sleeper child;
  EXPECT_THAT(AsNobody([&] {
                CHILD_CHECK(open(ProcPath(child.pid(), "mem").c_str(), O_RDONLY) == -1);
                CHILD_CHECK(errno == EACCES);
                return 0;
              }),
              Exited(0));
}

TEST(ProcCmdline, Arguments) {
  const Outcome shown = Execute("/bin/cat", {"/bin/cat", "/proc/self/cmdline", "/dev/null"});
  EXPECT_EQ(shown.output, std::string("/bin/cat\0/proc/self/cmdline\0/dev/null\0", 38));
}

TEST(ProcCmdline, LongArguments) {
  const std::string big(50'000, 'y');
  const Outcome shown =
      Execute("/bin/cat", {"/bin/cat", "/proc/self/cmdline", "/dev/null", "--", "/dev/null"});
  EXPECT_EQ(shown.output.size(), sizeof("/bin/cat") + sizeof("/proc/self/cmdline") +
                                     2 * sizeof("/dev/null") + sizeof("--"));
  const Outcome echo = Execute("/bin/sh", {"/bin/sh", "-c", "wc -c < /proc/$$/cmdline", big});
  EXPECT_EQ(strtoul(echo.output.c_str(), nullptr, 10),
            sizeof("/bin/sh") + sizeof("-c") + sizeof("wc -c < /proc/$$/cmdline") + big.size() + 1);
}

TEST(ProcCmdline, CanBeOverwritten) {
  EXPECT_THAT(InChild([] {
                const auto f = StatFields(ReadFile("/proc/self/stat"));
                char* start = reinterpret_cast<char*>(strtoul(f[48].c_str(), nullptr, 10));
                start[0] = 'Z';
                CHILD_CHECK(ReadFile("/proc/self/cmdline")[0] == 'Z');
                return 0;
              }),
              Exited(0));
}

TEST(ProcCmdline, OfAZombieIsEmpty) {
  Sleeper child;
  EXPECT_EQ(Proc(child.pid(), "cmdline"), Self("cmdline"));
  child.Kill();
  EXPECT_EQ(Proc(child.pid(), "cmdline"), "");
}

TEST(ProcEnviron, OfTheFirstMoment) {
  const Outcome shown =
      Execute("/bin/cat", {"/bin/cat", "/proc/self/environ"}, {"ONE=1", "TWO=two words"});
  EXPECT_EQ(shown.output, std::string("ONE=1\0TWO=two words\0", 20));
}

TEST(ProcEnviron, AnotherUsersIsClosed) {
  Sleeper child;
  EXPECT_THAT(AsNobody([&] {
                CHILD_CHECK(open(ProcPath(child.pid(), "environ").c_str(), O_RDONLY) == -1);
                CHILD_CHECK(errno == EACCES);
                return 0;
              }),
              Exited(0));
}

TEST(ProcAuxv, IsWhatTheProgramGot) {
  const std::string text = Self("auxv");
  ASSERT_EQ(text.size() % sizeof(Elf64_auxv_t), 0u);
  const auto* entries = reinterpret_cast<const Elf64_auxv_t*>(text.data());
  bool page = false, entry = false;
  for (size_t i = 0; i < text.size() / sizeof(Elf64_auxv_t); ++i) {
    page |= entries[i].a_type == AT_PAGESZ && entries[i].a_un.a_val == 4096;
    entry |= entries[i].a_type == AT_ENTRY && entries[i].a_un.a_val == getauxval(AT_ENTRY);
  }
  EXPECT_TRUE(page);
  EXPECT_TRUE(entry);
}

}  // namespace
