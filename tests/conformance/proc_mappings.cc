// What /proc/PID shows of mappings beside maps: map_files, numa_maps; and what of the same pages.
#include <linux/mempolicy.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include "tests/conformance/proc_support.h"

namespace {

constexpr size_t kPage = 4096;

char* Map(size_t size, int prot = PROT_READ | PROT_WRITE, int flags = MAP_PRIVATE | MAP_ANONYMOUS,
          int fd = -1, off_t offset = 0) {
  void* memory = mmap(nullptr, size, prot, flags, fd, offset);
  EXPECT_NE(memory, MAP_FAILED);
  return static_cast<char*>(memory);
}

std::string NameOf(const char* begin, size_t size) {
  char name[64];
  snprintf(name, sizeof name, "%lx-%lx", reinterpret_cast<unsigned long>(begin),
           reinterpret_cast<unsigned long>(begin + size));
  return name;
}

// A file of three pages that is mapped from its second one.
class ProcMapFiles : public testing::Test {
 protected:
  void SetUp() override {
    path_ = dir_ / "mapped";
    WriteFile(path_, std::string(3 * kPage, 'm'));
    const UniqueFd fd(open(path_.c_str(), O_RDWR));
    memory_ = Map(2 * kPage, PROT_READ, MAP_SHARED, fd.get(), kPage);
    link_ = "/proc/self/map_files/" + NameOf(memory_, 2 * kPage);
  }
  void TearDown() override { munmap(memory_, 2 * kPage); }

  TempDir dir_;
  std::string path_, link_;
  char* memory_ = nullptr;
};

TEST_F(ProcMapFiles, ALinkForEachMappingOfAFile) {
  EXPECT_EQ(Names("/proc/self/map_files").count(NameOf(memory_, 2 * kPage)), 1u);
  EXPECT_EQ(LinkTarget(link_), path_);
  struct stat st;
  ASSERT_THAT(lstat(link_.c_str(), &st), Returns(0));
  EXPECT_EQ(st.st_mode & ~0200u, S_IFLNK | 0400u);
  EXPECT_EQ(st.st_size, 64);
}

// Of the description that was mapped, whatever the mapping itself allows.
TEST_F(ProcMapFiles, ModeIsTheDescriptions) {
  const UniqueFd fd(open(path_.c_str(), O_RDONLY));
  char* memory = Map(kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd.get());
  struct stat st;
  ASSERT_THAT(lstat(("/proc/self/map_files/" + NameOf(memory, kPage)).c_str(), &st), Returns(0));
  EXPECT_EQ(st.st_mode, S_IFLNK | 0400u);
  munmap(memory, kPage);
}

TEST_F(ProcMapFiles, LeadsToTheFile) {
  struct stat file, through;
  ASSERT_THAT(stat(path_.c_str(), &file), Returns(0));
  ASSERT_THAT(stat(link_.c_str(), &through), Returns(0));
  EXPECT_EQ(through.st_ino, file.st_ino);
  EXPECT_EQ(ReadFile(link_), std::string(3 * kPage, 'm'));
  ASSERT_THAT(unlink(path_.c_str()), Returns(0));
  EXPECT_EQ(LinkTarget(link_), path_ + " (deleted)");
}

TEST_F(ProcMapFiles, OfAMemfd) {
  const UniqueFd fd(memfd_create("made up", 0));
  ASSERT_THAT(ftruncate(fd.get(), kPage), Returns(0));
  char* memory = Map(kPage, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get());
  const std::string link = "/proc/self/map_files/" + NameOf(memory, kPage);
  EXPECT_EQ(LinkTarget(link), "/memfd:made up (deleted)");
  munmap(memory, kPage);
}

TEST_F(ProcMapFiles, OtherNamesAreNone) {
  struct stat st;
  const std::string directory = "/proc/self/map_files/";
  EXPECT_THAT(lstat((directory + NameOf(memory_, kPage)).c_str(), &st), FailsWith(ENOENT));
  EXPECT_THAT(lstat((directory + "0" + NameOf(memory_, 2 * kPage)).c_str(), &st),
              FailsWith(ENOENT));
  EXPECT_THAT(lstat((directory + "x").c_str(), &st), FailsWith(ENOENT));
  EXPECT_THAT(lstat((directory + "1000").c_str(), &st), FailsWith(ENOENT));
  EXPECT_THAT(open((directory + "new").c_str(), O_CREAT | O_RDWR, 0600), FailsWith(ENOENT));
}

TEST_F(ProcMapFiles, AnonymousMemoryHasNone) {
  char* memory = Map(3 * kPage, PROT_NONE);
  ASSERT_THAT(mprotect(memory + kPage, kPage, PROT_READ | PROT_WRITE), Returns(0));
  EXPECT_EQ(Names("/proc/self/map_files").count(NameOf(memory + kPage, kPage)), 0u);
  munmap(memory, 3 * kPage);
}

TEST_F(ProcMapFiles, GoesWithTheMapping) {
  char* memory = Map(kPage, PROT_READ, MAP_PRIVATE, UniqueFd(open(path_.c_str(), O_RDONLY)).get());
  const std::string link = "/proc/self/map_files/" + NameOf(memory, kPage);
  EXPECT_EQ(LinkTarget(link), path_);
  munmap(memory, kPage);
  EXPECT_EQ(LinkTarget(link), "!ENOENT");
}

// proc_pid_map_files(5): who follows a link needs CAP_CHECKPOINT_RESTORE or CAP_SYS_ADMIN.
TEST_F(ProcMapFiles, OthersReadLinksButDoNotFollowThem) {
  chmod(path_.c_str(), 0644);
  const std::string name = NameOf(memory_, 2 * kPage);
  EXPECT_EQ(AsNobody([&] {
              const std::string own = "/proc/self/map_files/" + name;
              prctl(PR_SET_DUMPABLE, 1);
              CHILD_CHECK(LinkTarget(own) == path_);
              struct stat st;
              CHILD_CHECK(stat(own.c_str(), &st) == -1 && errno == EPERM);
              return 0;
            }),
            0);
  EXPECT_EQ(AsNobody([&] {
              CHILD_CHECK(open(ProcPath(getppid(), "map_files").c_str(), O_RDONLY) == -1);
              CHILD_CHECK(errno == EACCES);
              return 0;
            }),
            0);
}

TEST_F(ProcMapFiles, AZombieHasNone) {
  Sleeper child;
  EXPECT_GT(Names(ProcPath(child.pid(), "map_files")).size(), 2u);
  child.Kill();
  EXPECT_EQ(Names(ProcPath(child.pid(), "map_files")).size(), 2u);
  EXPECT_THAT(
      open(ProcPath(child.pid(), "task/" + std::to_string(child.pid()) + "/map_files").c_str(),
           O_RDONLY),
      FailsWith(ENOENT));
}

// The line of numa_maps about a mapping.
std::string NumaLine(const char* begin) {
  char address[32];
  snprintf(address, sizeof address, "%08lx ", reinterpret_cast<unsigned long>(begin));
  std::istringstream lines(Self("numa_maps"));
  for (std::string line; std::getline(lines, line);) {
    if (line.starts_with(address)) return line;
  }
  return "";
}

TEST(ProcNumaMaps, PagesThatAreThere) {
  char* memory = Map(7 * kPage, PROT_NONE);
  ASSERT_THAT(mprotect(memory + kPage, 5 * kPage, PROT_READ | PROT_WRITE), Returns(0));
  ASSERT_THAT(madvise(memory + kPage, 5 * kPage, MADV_NOHUGEPAGE), Returns(0));
  EXPECT_THAT(NumaLine(memory + kPage), testing::EndsWith(" default"));
  memset(memory + kPage, 1, 3 * kPage);
  const std::string line = NumaLine(memory + kPage);
  EXPECT_THAT(line, testing::HasSubstr(" default anon=3 dirty=3"));
  EXPECT_THAT(line, testing::EndsWith(" N0=3 kernelpagesize_kB=4"));
  munmap(memory, 7 * kPage);
}

TEST(ProcNumaMaps, FilesAndTheHeap) {
  TempDir dir;
  WriteFile(dir / "a file", std::string(2 * kPage, 'f'));
  const UniqueFd fd(open((dir / "a file").c_str(), O_RDONLY));
  char* memory = Map(2 * kPage, PROT_READ, MAP_PRIVATE, fd.get());
  volatile char sum = memory[0];
  sum = memory[kPage];
  (void)sum;
  const std::string line = NumaLine(memory);
  EXPECT_THAT(line, testing::HasSubstr(" default file=" + dir.path() + "/a\\040file "));
  EXPECT_THAT(line, testing::EndsWith(" N0=2 kernelpagesize_kB=4"));
  munmap(memory, 2 * kPage);
  EXPECT_THAT(Self("numa_maps"), testing::HasSubstr(" default stack"));
}

TEST(ProcNumaMaps, Policies) {
  char* memory = Map(3 * kPage, PROT_NONE);
  char* middle = memory + kPage;
  ASSERT_THAT(mprotect(middle, kPage, PROT_READ | PROT_WRITE), Returns(0));
  unsigned long nodes = 1;
  ASSERT_THAT(syscall(SYS_mbind, middle, kPage, MPOL_BIND, &nodes, 8ul, 0u), Returns(0));
  EXPECT_THAT(NumaLine(middle), testing::HasSubstr(" bind:0"));
  ASSERT_THAT(syscall(SYS_mbind, middle, kPage, MPOL_PREFERRED, &nodes, 8ul, 0u), Returns(0));
  EXPECT_THAT(NumaLine(middle), testing::HasSubstr(" prefer:0"));
  ASSERT_THAT(syscall(SYS_mbind, middle, kPage, MPOL_INTERLEAVE, &nodes, 8ul, 0u), Returns(0));
  EXPECT_THAT(NumaLine(middle), testing::HasSubstr(" interleave:0"));
  ASSERT_THAT(syscall(SYS_mbind, middle, kPage, MPOL_LOCAL, nullptr, 0ul, 0u), Returns(0));
  EXPECT_THAT(NumaLine(middle), testing::HasSubstr(" local"));
  munmap(memory, 3 * kPage);
}

TEST(ProcNumaMaps, ThePolicyOfTheTask) {
  EXPECT_EQ(InChild([] {
              unsigned long nodes = 1;
              CHILD_CHECK(syscall(SYS_set_mempolicy, MPOL_BIND, &nodes, 8ul) == 0);
              CHILD_CHECK(Self("numa_maps").find(" default") == std::string::npos);
              CHILD_CHECK(Self("numa_maps").find(" bind:0") != std::string::npos);
              return 0;
            }),
            0);
}

// The words of pagemap about the pages from `at` on.
std::vector<uint64_t> Pagemap(const std::string& file, const void* at, size_t pages) {
  std::vector<uint64_t> words(pages);
  const UniqueFd fd(open(file.c_str(), O_RDONLY));
  const auto offset = static_cast<off_t>(reinterpret_cast<uint64_t>(at) / 4096 * 8);
  EXPECT_THAT(pread(fd.get(), words.data(), pages * 8, offset),
              Returns(static_cast<int>(pages * 8)));
  return words;
}
constexpr uint64_t kPresent = 1ull << 63, kOfFile = 1ull << 61;

TEST(ProcPagemap, TellsWhichPagesAreThere) {
  auto* const memory = static_cast<char*>(
      mmap(nullptr, 4 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(memory, MAP_FAILED);
  madvise(memory, 4 * 4096, MADV_NOHUGEPAGE);
  memory[0] = memory[2 * 4096] = 'x';
  std::vector<uint64_t> words = Pagemap("/proc/self/pagemap", memory, 4);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(words[i] & kPresent, i % 2 == 0 ? kPresent : 0) << i;
  EXPECT_EQ(words[0] & kOfFile, 0u);
  // A child's are its own.
  EXPECT_THAT(InChild([&] {
                memory[4096] = 'y';
                const auto own = Pagemap("/proc/self/pagemap", memory, 2);
                return (own[0] & kPresent) != 0 && (own[1] & kPresent) != 0 ? 0 : 1;
              }),
              Exited(0));
  EXPECT_EQ(Pagemap(ProcPath(getpid(), "pagemap"), memory, 2)[1] & kPresent, 0u);
  ASSERT_THAT(madvise(memory, 4 * 4096, MADV_DONTNEED), Returns(0));
  EXPECT_EQ(Pagemap("/proc/thread-self/pagemap", memory, 1)[0] & kPresent, 0u);
  munmap(memory, 4 * 4096);
  EXPECT_EQ(Pagemap("/proc/self/pagemap", memory, 1)[0] & kPresent, 0u);
}

TEST(ProcPagemap, PagesOfFiles) {
  TempDir dir;
  WriteFile(dir / "f", "text");
  const UniqueFd fd(open((dir / "f").c_str(), O_RDONLY));
  auto* const memory =
      static_cast<const char*>(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd.get(), 0));
  ASSERT_NE(memory, MAP_FAILED);
  EXPECT_EQ(memory[0], 't');
  EXPECT_EQ(Pagemap("/proc/self/pagemap", memory, 1)[0] & (kPresent | kOfFile), kPresent | kOfFile);
  munmap(const_cast<char*>(memory), 4096);
}

TEST(ProcPagemap, PositionsAndSizes) {
  const UniqueFd fd(open("/proc/self/pagemap", O_RDONLY));
  uint64_t words[3] = {};
  EXPECT_THAT(pread(fd.get(), words, 4, 0), FailsWith(EINVAL));
  EXPECT_THAT(pread(fd.get(), words, 8, 4), FailsWith(EINVAL));
  EXPECT_THAT(pread(fd.get(), words, 0, 0), Returns(0));
  EXPECT_THAT(pread(fd.get(), words, 8, 0), Returns(8));
  EXPECT_EQ(words[0], 0u);  // Nothing is mapped there.
  constexpr off_t kEnd = 0x7ffffffff000 / 4096 * 8;
  EXPECT_THAT(pread(fd.get(), words, 24, kEnd - 8), Returns(8));
  EXPECT_THAT(pread(fd.get(), words, 8, kEnd), Returns(0));
  EXPECT_THAT(pread(fd.get(), words, 8, INT64_MAX - 15), Returns(0));
  EXPECT_THAT(pread(fd.get(), words, 8, INT64_MAX - 7), FailsWith(EINVAL));
  EXPECT_EQ(lseek(fd.get(), 16, SEEK_SET), 16);
  EXPECT_THAT(read(fd.get(), words, 24), Returns(24));
  EXPECT_EQ(lseek(fd.get(), 0, SEEK_CUR), 40);
  EXPECT_THAT(lseek(fd.get(), 0, SEEK_END), FailsWith(EINVAL));
  EXPECT_THAT(pread(fd.get(), reinterpret_cast<void*>(8), 8, 0), FailsWith(EFAULT));
  struct stat st;
  ASSERT_THAT(fstat(fd.get(), &st), Returns(0));
  EXPECT_EQ(st.st_mode, S_IFREG | 0400u);
  EXPECT_EQ(st.st_size, 0);
}

TEST(ProcPagemap, AnotherUsersIsClosed) {
  Sleeper child;
  EXPECT_THAT(AsNobody([&] {
                CHILD_CHECK(open(ProcPath(child.pid(), "pagemap").c_str(), O_RDONLY) == -1);
                CHILD_CHECK(errno == EACCES);
                return 0;
              }),
              Exited(0));
}

}  // namespace
