// mremap(2) and remap_file_pages(2).
#include "tests/conformance/memory_support.h"

namespace {

constexpr int kDontUnmap = MREMAP_DONTUNMAP;

void* Remap(void* old, size_t old_size, size_t new_size, int flags, void* to = nullptr) {
  return mremap(old, old_size, new_size, flags, to);
}

TEST(MremapErrors, Arguments) {
  Mapping map(4 * kPage);
  EXPECT_THAT(Remap(map.get() + 1, kPage, kPage, 0), FailsWith(EINVAL));
  EXPECT_THAT(Remap(map.get(), kPage, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(Remap(map.get(), kPage, kPage, 8), FailsWith(EINVAL));
  EXPECT_THAT(Remap(map.get(), kPage, kPage, MREMAP_FIXED, map.page(2)), FailsWith(EINVAL));
  EXPECT_THAT(Remap(map.get(), kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, map.get() + 1),
              FailsWith(EINVAL));
  EXPECT_THAT(Remap(map.get(), kPage, kPage, kDontUnmap), FailsWith(EINVAL));
  EXPECT_THAT(Remap(map.get(), kPage, 2 * kPage, MREMAP_MAYMOVE | kDontUnmap), FailsWith(EINVAL));
}

TEST(MremapErrors, ArgumentsComeBeforeHoles) {
  void* const nothing = reinterpret_cast<void*>(8 * kPage);
  Mapping map(kPage);
  EXPECT_THAT(Remap(nothing, kPage, kPage, MREMAP_FIXED, map.get()), FailsWith(EINVAL));
  EXPECT_THAT(Remap(nothing, kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, map.get() + 1),
              FailsWith(EINVAL));
  EXPECT_THAT(Remap(nothing, SIZE_MAX / 2, kPage, kDontUnmap, map.get()), FailsWith(EINVAL));
  EXPECT_THAT(Remap(nothing, 2 * kPage, kPage, MREMAP_MAYMOVE | kDontUnmap), FailsWith(EINVAL));
  EXPECT_THAT(Remap(nothing, kPage, kPage, MREMAP_MAYMOVE), FailsWith(EFAULT));
}

TEST(MremapErrors, OverlapOfOldAndNew) {
  Mapping map(4 * kPage);
  EXPECT_THAT(Remap(map.get(), 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, map.page(1)),
              FailsWith(EINVAL));
  EXPECT_THAT(Remap(map.page(1), 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, map.get()),
              FailsWith(EINVAL));
}

TEST(MremapErrors, NothingThere) {
  Mapping map(2 * kPage);
  ASSERT_THAT(munmap(map.page(0), kPage), Returns(0));
  EXPECT_THAT(Remap(map.page(0), kPage, kPage, MREMAP_MAYMOVE), FailsWith(EFAULT));
  EXPECT_THAT(Remap(map.page(1), 4 * kPage, 8 * kPage, MREMAP_MAYMOVE), FailsWith(EFAULT));
}

TEST(MremapErrors, BeyondTheEnd) {
  Mapping map(kPage);
  void* const beyond = reinterpret_cast<void*>(uintptr_t{1} << 47);
  EXPECT_THAT(Remap(map.get(), kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, beyond),
              FailsWith(EINVAL));
  EXPECT_THAT(Remap(map.get(), kPage, size_t{1} << 48, MREMAP_MAYMOVE),
              testing::AnyOf(FailsWith(ENOMEM), FailsWith(EINVAL)));
  EXPECT_THAT(Remap(beyond, kPage, kPage, MREMAP_MAYMOVE), FailsWith(EFAULT));
}

TEST(MremapGrow, InPlaceWhenThereIsRoom) {
  Mapping map(4 * kPage);
  ASSERT_THAT(munmap(map.page(1), 3 * kPage), Returns(0));
  map[0] = 'g';
  EXPECT_THAT(Remap(map.get(), kPage, 4 * kPage, 0), Returns(static_cast<void*>(map.get())));
  map.page(3)[0] = 1;
  EXPECT_EQ(map[0], 'g');
}

TEST(MremapGrow, InPlaceFailsWithANeighbour) {
  Mapping map(2 * kPage);
  ASSERT_THAT(mprotect(map.page(1), kPage, PROT_READ), Returns(0));
  EXPECT_THAT(Remap(map.get(), kPage, 2 * kPage, 0), FailsWith(ENOMEM));
}

TEST(MremapGrow, MovesWithItsContents) {
  Mapping room(2 * kPage);
  memset(room.get(), 'm', kPage);
  room.page(1)[0] = 'n';
  void* at = Remap(room.get(), kPage, 100 * kPage, MREMAP_MAYMOVE);
  ASSERT_THAT(at, Succeeds());
  ASSERT_NE(at, room.get());
  char* const moved = static_cast<char*>(at);
  EXPECT_EQ(moved[kPage - 1], 'm');
  EXPECT_EQ(moved[kPage], 0);
  EXPECT_FALSE(Readable(room.get()));
  EXPECT_EQ(room.page(1)[0], 'n');
  munmap(at, 100 * kPage);
}

TEST(MremapGrow, KeepsItsProtection) {
  Mapping room(2 * kPage, PROT_READ);
  void* at = Remap(room.get(), kPage, 10 * kPage, MREMAP_MAYMOVE);
  ASSERT_THAT(at, Succeeds());
  EXPECT_FALSE(Writable(static_cast<char*>(at) + 5 * kPage));
  munmap(at, 10 * kPage);
}

TEST(MremapGrow, AgainAndAgain) {
  size_t size = kPage;
  char* at = static_cast<char*>(mmap(nullptr, size, kReadWrite, kPrivate, -1, 0));
  for (int i = 0; i < 12; ++i) {
    at[size - 1] = static_cast<char>(i + 1);
    void* const grown = Remap(at, size, 2 * size, MREMAP_MAYMOVE);
    ASSERT_THAT(grown, Succeeds());
    at = static_cast<char*>(grown);
    ASSERT_EQ(at[size - 1], i + 1);
    size *= 2;
  }
  munmap(at, size);
}

TEST(MremapShrink, FreesTheTail) {
  Mapping map(4 * kPage);
  memset(map.get(), 3, 4 * kPage);
  EXPECT_THAT(Remap(map.get(), 4 * kPage, kPage + 1, 0), Returns(static_cast<void*>(map.get())));
  EXPECT_TRUE(Readable(map.page(1)));  // Rounded up.
  EXPECT_FALSE(Readable(map.page(2)));
  EXPECT_EQ(map[kPage], 3);
}

TEST(MremapShrink, WhileMoving) {
  Mapping map(4 * kPage), target(kPage);
  memset(map.get(), 4, 4 * kPage);
  EXPECT_THAT(Remap(map.get(), 4 * kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED, target.get()),
              Returns(static_cast<void*>(target.get())));
  EXPECT_EQ(target[0], 4);
  for (size_t i = 0; i < 4; ++i) EXPECT_FALSE(Readable(map.page(i)));
}

TEST(MremapFixed, ReplacesWhatIsThere) {
  Mapping from(2 * kPage), to(4 * kPage);
  from[0] = 'f';
  memset(to.get(), 't', 4 * kPage);
  EXPECT_THAT(Remap(from.get(), 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, to.page(1)),
              Returns(static_cast<void*>(to.page(1))));
  EXPECT_EQ(to.page(0)[0], 't');
  EXPECT_EQ(to.page(1)[0], 'f');
  EXPECT_EQ(to.page(2)[0], 0);
  EXPECT_EQ(to.page(3)[0], 't');
}

TEST(MremapFixed, GrowsOnTheWay) {
  Mapping from(kPage), to(4 * kPage, PROT_NONE);
  from[5] = 'g';
  EXPECT_THAT(Remap(from.get(), kPage, 4 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, to.get()),
              Returns(static_cast<void*>(to.get())));
  EXPECT_EQ(to[5], 'g');
  EXPECT_TRUE(Writable(to.page(3)));
}

TEST(MremapDontUnmap, LeavesAnEmptyMapping) {
  Mapping map(2 * kPage);
  memset(map.get(), 'd', 2 * kPage);
  void* at = Remap(map.get(), 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | kDontUnmap);
  ASSERT_THAT(at, Succeeds());
  ASSERT_NE(at, map.get());
  EXPECT_EQ(static_cast<char*>(at)[kPage], 'd');
  EXPECT_EQ(map[0], 0);
  map[0] = 1;
  EXPECT_EQ(static_cast<char*>(at)[0], 'd');
  munmap(at, 2 * kPage);
}

TEST(MremapDontUnmap, ToAPlace) {
  Mapping map(kPage), to(kPage);
  map[0] = 'd';
  EXPECT_THAT(Remap(map.get(), kPage, kPage, MREMAP_MAYMOVE | MREMAP_FIXED | kDontUnmap, to.get()),
              Returns(static_cast<void*>(to.get())));
  EXPECT_EQ(to[0], 'd');
  EXPECT_EQ(map[0], 0);
}

TEST(MremapDontUnmap, OfAFile) {
  UniqueFd fd = OpenTemp(0, "file");
  Mapping map(kPage, kReadWrite, MAP_SHARED, fd.get());
  void* at = Remap(map.get(), kPage, kPage, MREMAP_MAYMOVE | kDontUnmap);
  ASSERT_THAT(at, Succeeds());
  EXPECT_STREQ(static_cast<char*>(at), "file");
  EXPECT_STREQ(map.get(), "file");
  munmap(at, kPage);
}

TEST(MremapDuplicate, SharedMemoryAppearsTwice) {
  Mapping map(2 * kPage, kReadWrite, kShared);
  void* at = Remap(map.get(), 0, 2 * kPage, MREMAP_MAYMOVE);
  ASSERT_THAT(at, Succeeds());
  map[kPage] = 'd';
  EXPECT_EQ(static_cast<char*>(at)[kPage], 'd');
  munmap(at, 2 * kPage);
}

TEST(MremapDuplicate, PrivateMemoryCannot) {
  Mapping map(kPage);
  EXPECT_THAT(Remap(map.get(), 0, kPage, MREMAP_MAYMOVE), FailsWith(EINVAL));
}

TEST(MremapDuplicate, OfASharedFile) {
  UniqueFd fd = Memfd(2 * kPage);
  Mapping map(kPage, kReadWrite, MAP_SHARED, fd.get());
  void* at = Remap(map.get(), 0, 2 * kPage, MREMAP_MAYMOVE);
  ASSERT_THAT(at, Succeeds());
  static_cast<char*>(at)[kPage] = 'x';
  EXPECT_EQ(ByteAt(fd.get(), kPage), 'x');
  munmap(at, 2 * kPage);
}

TEST(MremapFile, GrowsOverMoreOfIt) {
  UniqueFd fd = OpenTemp(0, std::string(kPage, 'a') + std::string(kPage, 'b'));
  Mapping room(2 * kPage);
  ASSERT_THAT(mmap(room.get(), kPage, PROT_READ, MAP_PRIVATE | MAP_FIXED, fd.get(), 0), Succeeds());
  void* at = Remap(room.get(), kPage, 2 * kPage, MREMAP_MAYMOVE);
  ASSERT_THAT(at, Succeeds());
  EXPECT_EQ(static_cast<char*>(at)[kPage], 'b');
  munmap(at, 2 * kPage);
}

TEST(MremapFile, ReadOnlyStaysReadOnly) {
  TempDir dir;
  WriteFile(dir / "f", "x");
  UniqueFd reader(open((dir / "f").c_str(), O_RDONLY));
  void* at = mmap(nullptr, kPage, PROT_READ, MAP_SHARED, reader.get(), 0);
  ASSERT_THAT(at, Succeeds());
  at = Remap(at, kPage, 4 * kPage, MREMAP_MAYMOVE);
  ASSERT_THAT(at, Succeeds());
  EXPECT_THAT(mprotect(at, kPage, kReadWrite), FailsWith(EACCES));
  munmap(at, 4 * kPage);
}

TEST(MremapFile, MapsTellTheFile) {
  TempDir dir;
  WriteFile(dir / "moved", std::string(2 * kPage, 'x'));
  UniqueFd fd(open((dir / "moved").c_str(), O_RDONLY));
  Mapping target(2 * kPage);
  void* at = mmap(nullptr, 2 * kPage, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  ASSERT_THAT(Remap(at, 2 * kPage, 2 * kPage, MREMAP_MAYMOVE | MREMAP_FIXED, target.get()),
              Succeeds());
  char expected[32];
  snprintf(expected, sizeof expected, "%lx-", reinterpret_cast<unsigned long>(target.get()));
  const std::string maps = ReadFile("/proc/self/maps");
  const size_t begin = maps.find(expected);
  ASSERT_NE(begin, std::string::npos);
  const std::string line = maps.substr(begin, maps.find('\n', begin) - begin);
  EXPECT_TRUE(line.ends_with(dir / "moved")) << line;
}

TEST(MremapLocked, LimitCountsWhatIsAdded) {
  EXPECT_THAT(AsNobody([] {
                CHILD_CHECK(SetLimit(RLIMIT_MEMLOCK, 4 * kPage));
                void* at = mmap(nullptr, 2 * kPage, kReadWrite, kPrivate | MAP_LOCKED, -1, 0);
                CHILD_CHECK(at != MAP_FAILED);
                CHILD_CHECK(mremap(at, 2 * kPage, 16 * kPage, MREMAP_MAYMOVE) == MAP_FAILED);
                CHILD_CHECK(errno == EAGAIN);
                return 0;
              }),
              Exited(0));
}

TEST(RemapFilePages, ChangesTheOrderOfPages) {
  UniqueFd fd = Memfd(4 * kPage);
  Mapping map(4 * kPage, kReadWrite, MAP_SHARED, fd.get());
  for (size_t i = 0; i < 4; ++i) map.page(i)[0] = static_cast<char>('0' + i);
  ASSERT_THAT(remap_file_pages(map.page(0), kPage, 0, 3, 0), Returns(0));
  ASSERT_THAT(remap_file_pages(map.page(3), kPage, 0, 0, 0), Returns(0));
  EXPECT_EQ(map.page(0)[0], '3');
  EXPECT_EQ(map.page(1)[0], '1');
  EXPECT_EQ(map.page(3)[0], '0');
}

TEST(RemapFilePages, Errors) {
  UniqueFd fd = Memfd(2 * kPage);
  Mapping shared(2 * kPage, kReadWrite, MAP_SHARED, fd.get()), copy(2 * kPage);
  EXPECT_THAT(remap_file_pages(shared.get(), kPage, PROT_READ, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(remap_file_pages(copy.get(), kPage, 0, 0, 0), FailsWith(EINVAL));
  EXPECT_THAT(remap_file_pages(shared.get(), 0, 0, 0, 0), FailsWith(EINVAL));
  ASSERT_THAT(munmap(shared.get(), 2 * kPage), Returns(0));
  EXPECT_THAT(remap_file_pages(shared.get(), kPage, 0, 0, 0), FailsWith(EINVAL));
}

}  // namespace
