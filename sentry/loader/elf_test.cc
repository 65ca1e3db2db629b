#include "sentry/loader/elf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstring>
#include <random>
#include <vector>

namespace sentry {
namespace {

constexpr uint64_t kLimit = 0x7ffffffff000, kPage = 4096;

Elf64_Phdr Segment(uint64_t vaddr, uint64_t offset, uint64_t filesz, uint64_t memsz,
                   uint32_t flags) {
  return {.p_type = PT_LOAD,
          .p_flags = flags,
          .p_offset = offset,
          .p_vaddr = vaddr,
          .p_paddr = vaddr,
          .p_filesz = filesz,
          .p_memsz = memsz,
          .p_align = kPage};
}

std::vector<std::byte> MakeElf(const std::vector<Elf64_Phdr>& headers, uint16_t type = ET_DYN) {
  Elf64_Ehdr head{};
  std::memcpy(head.e_ident, ELFMAG, SELFMAG);
  head.e_ident[EI_CLASS] = ELFCLASS64;
  head.e_ident[EI_DATA] = ELFDATA2LSB;
  head.e_type = type;
  head.e_machine = EM_X86_64;
  head.e_entry = 0x1000;
  head.e_phoff = sizeof(head);
  head.e_phentsize = sizeof(Elf64_Phdr);
  head.e_phnum = static_cast<uint16_t>(headers.size());
  std::vector<std::byte> file(sizeof(head) + headers.size() * sizeof(Elf64_Phdr));
  std::memcpy(file.data(), &head, sizeof(head));
  if (!headers.empty()) {
    std::memcpy(file.data() + sizeof(head), headers.data(), headers.size() * sizeof(Elf64_Phdr));
  }
  return file;
}

int ErrorOf(const std::vector<std::byte>& file) {
  const Result<ElfProgram> program = ParseElf(file, kLimit);
  return program.ok() ? 0 : program.error().code();
}

TEST(ParseElf, ReadsAnOrdinaryProgram) {
  const auto file = MakeElf({Segment(0, 0, 0x800, 0x800, PF_R | PF_X),
                             Segment(0x2e00, 0x1e00, 0x300, 0x1500, PF_R | PF_W)});
  const Result<ElfProgram> program = ParseElf(file, kLimit);
  ASSERT_TRUE(program.ok());
  EXPECT_TRUE(program->header.position_independent);
  EXPECT_EQ(program->phdr_vaddr, sizeof(Elf64_Ehdr));
  EXPECT_EQ(program->low, 0u);
  EXPECT_EQ(program->high, 0x5000u);
  EXPECT_TRUE(program->executable_stack);
}

TEST(ParseElf, RefusesWhatIsNoExecutable) {
  const auto segment = Segment(0, 0, 0x800, 0x800, PF_R);
  auto file = MakeElf({segment});
  file[0] = std::byte{0};
  EXPECT_EQ(ErrorOf(file), ENOEXEC);
  EXPECT_EQ(ErrorOf(MakeElf({segment}, ET_REL)), ENOEXEC);
  EXPECT_EQ(ErrorOf(MakeElf({})), ENOEXEC);
  EXPECT_EQ(ErrorOf({}), ENOEXEC);
}

TEST(ParseElf, RefusesOddSegments) {
  EXPECT_EQ(ErrorOf(MakeElf({Segment(0, 0, 0x900, 0x800, PF_R)})), EINVAL);
  EXPECT_EQ(ErrorOf(MakeElf({Segment(0x10, 0, 0x100, 0x800, PF_R)})), EINVAL);
  EXPECT_EQ(ErrorOf(MakeElf({Segment(kLimit - kPage, 0, 0, 2 * kPage, PF_R)})), EINVAL);
  EXPECT_EQ(ErrorOf(MakeElf({Segment(0, 0, 0, UINT64_MAX, PF_R)})), EINVAL);
  Elf64_Phdr note{.p_type = PT_NOTE};
  EXPECT_EQ(ErrorOf(MakeElf({note})), EINVAL);
  Elf64_Phdr interpreter{.p_type = PT_INTERP, .p_filesz = 1};
  EXPECT_EQ(ErrorOf(MakeElf({interpreter, Segment(0, 0, 1, 1, PF_R)})), ENOEXEC);
}

TEST(LayOut, ZeroesTheTailAndAddsPages) {
  const auto program =
      ParseElf(MakeElf({Segment(0x2e00, 0x1e00, 0x300, 0x1500, PF_R | PF_W)}), kLimit);
  ASSERT_TRUE(program.ok());
  const ElfLayout layout = LayOut(*program, 0x100000);
  ASSERT_EQ(layout.ranges.size(), 2u);
  EXPECT_EQ(layout.ranges[0].addr, 0x102000u);
  EXPECT_EQ(layout.ranges[0].length, 0x2000u);
  EXPECT_EQ(layout.ranges[0].offset, 0x1000u);
  EXPECT_EQ(layout.ranges[1].addr, 0x104000u);
  EXPECT_EQ(layout.ranges[1].length, 0x1000u);
  EXPECT_TRUE(layout.ranges[1].anonymous);
  ASSERT_EQ(layout.zeroes.size(), 1u);
  EXPECT_EQ(layout.zeroes[0].addr, 0x103100u);
  EXPECT_EQ(layout.zeroes[0].length, 0xf00u);
  EXPECT_TRUE(layout.zeroes[0].writable);
}

TEST(LayOut, LaterSegmentsCoverEarlierOnes) {
  const auto program = ParseElf(MakeElf({Segment(0, 0, 3 * kPage, 3 * kPage, PF_R),
                                         Segment(kPage, 0, 100, kPage, PF_R | PF_W)}),
                                kLimit);
  ASSERT_TRUE(program.ok());
  const ElfLayout layout = LayOut(*program, 0);
  uint64_t total = 0;
  for (const ElfRange& range : layout.ranges) total += range.length;
  EXPECT_EQ(layout.ranges.size(), 3u);
  EXPECT_EQ(total, 3 * kPage);
  EXPECT_EQ(layout.ranges[1].offset, 2 * kPage);
}

// Whatever the bytes are: no crash, and ranges that neither overlap nor leave the address space.
TEST(ParseElf, SurvivesMutations) {
  const auto file = MakeElf({Segment(0, 0, 0x800, 0x800, PF_R | PF_X),
                             Segment(0x2e00, 0x1e00, 0x300, 0x1500, PF_R | PF_W),
                             Segment(0x8000, 0x3000, 0x3000, 0x9000, PF_R)});
  std::mt19937_64 random(1);
  for (int round = 0; round < 20000; ++round) {
    auto mutated = file;
    for (int i = 0; i < 1 + round % 4; ++i) {
      const size_t at = 16 + random() % (mutated.size() - 16);
      mutated[at] = std::byte(random());
    }
    if (round % 7 == 0) mutated.resize(random() % mutated.size());
    const Result<ElfProgram> program = ParseElf(mutated, kLimit);
    if (!program.ok()) continue;
    const ElfLayout layout = LayOut(*program, 0);
    for (const ElfRange& a : layout.ranges) {
      EXPECT_EQ(a.addr % kPage + a.length % kPage + a.offset % kPage, 0u);
      EXPECT_LE(a.addr + a.length, kLimit + kPage);
      for (const ElfRange& b : layout.ranges) {
        const bool apart = a.addr + a.length <= b.addr || b.addr + b.length <= a.addr;
        EXPECT_TRUE(&a == &b || apart);
      }
    }
    for (const auto& zero : layout.zeroes) EXPECT_LT(zero.length, kPage);
  }
}

}  // namespace
}  // namespace sentry
