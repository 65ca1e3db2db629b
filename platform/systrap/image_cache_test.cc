#include "platform/systrap/image_cache.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>

#include "platform/systrap/fast_path.h"

namespace platform::systrap {
namespace {

constexpr uint64_t kCodeStart = 4096, kCodeSize = 8192;
constexpr uint64_t kLseekAfter = 5000 + 7, kReadAfter = 6000 + 4;

// A file with two calls among no-ops: one that a copy can hold, one that needs a step.
class ImageCacheTest : public testing::Test {
 protected:
  ImageCacheTest() {
    std::string name = (std::filesystem::temp_directory_path() / "image-XXXXXX").string();
    fd_ = UniqueFd(mkstemp(name.data()));
    unlink(name.c_str());
    std::vector<uint8_t> bytes(kCodeStart + kCodeSize, 0x90);
    const uint8_t lseek[] = {0xb8, SYS_lseek, 0, 0, 0, 0x0f, 0x05};
    const uint8_t read[] = {0x31, 0xc0, 0x0f, 0x05};
    std::copy(std::begin(lseek), std::end(lseek), bytes.begin() + kLseekAfter - sizeof(lseek));
    std::copy(std::begin(read), std::end(read), bytes.begin() + kReadAfter - sizeof(read));
    EXPECT_EQ(pwrite(fd(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  }
  int fd() const { return fd_.get(); }
  Ref<ImageCache::File> Known() {
    Ref<ImageCache::File> file = cache_.Find(fd());
    cache_.Note(*file, kLseekAfter, SYS_lseek);
    cache_.Note(*file, kReadAfter, SYS_read);
    return file;
  }
  Ref<const ImageCache::Copy> MapUntilCopied(ImageCache::File& file) {
    for (int i = 0; i < 100; ++i) {
      if (auto copy = cache_.CopyFor(file, fd(), kCodeStart, kCodeSize)) return copy;
    }
    return nullptr;
  }

  UniqueFd fd_;
  ImageCache cache_;
};

TEST_F(ImageCacheTest, CopiesWhatSeveralHaveMapped) {
  const auto file = Known();
  EXPECT_FALSE(cache_.CopyFor(*file, fd(), kCodeStart, kCodeSize));
  const auto copy = MapUntilCopied(*file);
  ASSERT_TRUE(copy);
  ASSERT_EQ(copy->sites.size(), 1u);
  EXPECT_EQ(copy->sites[0].after, kLseekAfter);
  EXPECT_EQ(copy->sites[0].nr, uint64_t{SYS_lseek});
  uint8_t there[7], was[7];
  ASSERT_EQ(pread(copy->fd.get(), there, 7, kLseekAfter - 7), 7);
  ASSERT_EQ(pread(fd(), was, 7, kLseekAfter - 7), 7);
  EXPECT_EQ(there[0], 0xff);  // jmp *…
  EXPECT_EQ(was[0], 0xb8);    // The file is as it was.
  EXPECT_EQ(std::memcmp(there + 5, was + 5, 2), 0);
  ASSERT_EQ(pread(copy->fd.get(), there, 4, kReadAfter - 4), 4);
  EXPECT_EQ(there[0], 0x31);
  EXPECT_EQ(cache_.CopyFor(*file, fd(), kCodeStart, kCodeSize), copy);
  EXPECT_FALSE(cache_.CopyFor(*file, fd(), 0, kCodeSize));  // More than was copied.
}

TEST_F(ImageCacheTest, CopiesAreSealed) {
  const auto copy = MapUntilCopied(*Known());
  ASSERT_TRUE(copy);
  EXPECT_EQ(pwrite(copy->fd.get(), "x", 1, kCodeStart), -1);
  EXPECT_EQ(mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, copy->fd.get(), kCodeStart),
            MAP_FAILED);
}

TEST_F(ImageCacheTest, AChangedFileIsAnother) {
  const auto file = Known();
  ASSERT_TRUE(MapUntilCopied(*file));
  ASSERT_EQ(pwrite(fd(), "x", 1, kCodeStart + kCodeSize), 1);
  const auto changed = cache_.Find(fd());
  EXPECT_NE(changed.get(), file.get());
  EXPECT_FALSE(MapUntilCopied(*changed));  // Nothing is known of it.
}

TEST_F(ImageCacheTest, WhatIsNotThereIsNotPatched) {
  const auto file = cache_.Find(fd());
  cache_.Note(*file, kLseekAfter + 1, SYS_lseek);
  cache_.Note(*file, kLseekAfter, SYS_dup);  // It was never called with this number.
  cache_.Note(*file, uint64_t{1} << 40, SYS_lseek);
  cache_.Note(*file, 1, SYS_lseek);
  const auto copy = MapUntilCopied(*file);
  for (size_t i = 0; copy && i < copy->sites.size(); ++i) {
    EXPECT_EQ(copy->sites[i].after, kLseekAfter);
  }
}

TEST_F(ImageCacheTest, ACallInTheMidstOfAnInstructionIsNotPatched) {
  constexpr uint64_t kAfter = 7000;
  // Bytes of the number that a longer instruction loads into %rax.
  const uint8_t inside[] = {0x48, 0xb8, 0xb8, SYS_lseek, 0, 0, 0, 0x0f, 0x05, 0x90};
  ASSERT_EQ(pwrite(fd(), inside, sizeof(inside), kAfter - 9), static_cast<ssize_t>(sizeof(inside)));
  const auto file = cache_.Find(fd());
  cache_.Note(*file, kAfter, SYS_lseek);
  EXPECT_FALSE(MapUntilCopied(*file));
}

TEST_F(ImageCacheTest, ShortProgramsAreNotBornPatched) {
  const auto program = cache_.Find(fd());
  EXPECT_TRUE(cache_.Pays(*program));  // Nobody knows.
  cache_.NoteCalls(*program, 25, /*patched=*/true);
  EXPECT_FALSE(cache_.Pays(*program));
  for (int i = 0; i < 3; ++i) cache_.NoteCalls(*program, 400, /*patched=*/false);
  EXPECT_TRUE(cache_.Pays(*program));
  // What a patched one answered itself nobody has counted.
  cache_.NoteCalls(*program, 30, /*patched=*/true);
  EXPECT_TRUE(cache_.Pays(*program));
  for (int i = 0; i < 3; ++i) cache_.NoteCalls(*program, 30, /*patched=*/false);
  EXPECT_FALSE(cache_.Pays(*program));
  cache_.NoteCalls(*program, UINT64_MAX, /*patched=*/false);
  EXPECT_TRUE(cache_.Pays(*program));
}

TEST_F(ImageCacheTest, PipesAreNoFiles) {
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  EXPECT_FALSE(cache_.Find(ends[0]));
  close(ends[0]);
  close(ends[1]);
}

TEST_F(ImageCacheTest, SitesOfAMappingAreKnownToTheProcess) {
  static std::byte memory[SITE_MAPPED_SIZE];
  const auto file = Known();
  const auto copy = MapUntilCopied(*file);
  ASSERT_TRUE(copy);
  const auto sites = MakeRef<Sites>(nullptr);
  sites->table = MakeRef<SiteTable>(memory, DispositionTable{});
  constexpr uint64_t kAt = 0x7f0000400000;
  Sites::MappedImage image{
      .file = file, .start = kAt, .end = kAt + kCodeSize, .offset = kCodeStart, .copy = copy};
  ASSERT_TRUE(sites->AddImage(image));
  const uint64_t after = kAt + kLseekAfter - kCodeStart;
  EXPECT_EQ(sites->Find(after)->state, Sites::State::kPatched);
  const size_t record = copy->sites[0].record;
  ASSERT_NE(sites->RecordAt(SITE_TABLE + record * SITE_RECORD_SIZE), nullptr);
  EXPECT_EQ(sites->RecordAt(SITE_TABLE + record * SITE_RECORD_SIZE)->after, after);
  native::SiteRecord written;
  std::memcpy(&written, memory + record * SITE_RECORD_SIZE, sizeof(written));
  EXPECT_EQ(written.after, after);
  EXPECT_EQ(written.nr, uint64_t{SYS_lseek});
  // The same file somewhere else would need the same record for another address.
  image.start += 0x100000, image.end += 0x100000;
  EXPECT_FALSE(sites->AddImage(image));
  image.copy = nullptr;
  EXPECT_TRUE(sites->AddImage(image));
}

// The table is shared by what has forked; none of them can turn another's records.
TEST_F(ImageCacheTest, RecordsOfAFamilyKeepTheirAddress) {
  static std::byte memory[SITE_MAPPED_SIZE];
  const auto file = Known();
  const auto copy = MapUntilCopied(*file);
  ASSERT_TRUE(copy);
  const auto parent = MakeRef<Sites>(nullptr);
  parent->table = MakeRef<SiteTable>(memory, DispositionTable{});
  const auto child = parent->Fork();
  constexpr uint64_t kAt = 0x7f0000400000;
  Sites::MappedImage image{
      .file = file, .start = kAt, .end = kAt + kCodeSize, .offset = kCodeStart, .copy = copy};
  ASSERT_TRUE(child->AddImage(image));
  image.start += 0x100000, image.end += 0x100000;
  EXPECT_FALSE(parent->AddImage(image));
  native::SiteRecord written;
  std::memcpy(&written, memory + copy->sites[0].record * SITE_RECORD_SIZE, sizeof(written));
  EXPECT_EQ(written.after, kAt + kLseekAfter - kCodeStart);
}

TEST_F(ImageCacheTest, NewsAreToldOnce) {
  const auto sites = MakeRef<Sites>(nullptr);
  constexpr uint64_t kAt = 0x7f0000400000;
  ASSERT_TRUE(sites->AddImage({.file = cache_.Find(fd()), .start = kAt, .end = kAt + kCodeSize}));
  EXPECT_NE(sites->NewsFrom(kAt + 9), nullptr);
  EXPECT_EQ(sites->NewsFrom(kAt + 9), nullptr);
  EXPECT_EQ(sites->NewsFrom(kAt + kCodeSize + 1), nullptr);
}

}  // namespace
}  // namespace platform::systrap
