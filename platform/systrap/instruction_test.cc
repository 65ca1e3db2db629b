#include "platform/systrap/instruction.h"

#include <Zydis/Zydis.h>
#include <dlfcn.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace platform::systrap {
namespace {

Instruction Of(std::vector<uint8_t> code) { return Decode(code); }

TEST(Instruction, WhatExecutesAnywhereIsMovable) {
  EXPECT_TRUE(Of({0x48, 0x89, 0xf8}).movable);              // mov %rdi,%rax
  EXPECT_TRUE(Of({0x4c, 0x8b, 0x4c, 0x24, 0x08}).movable);  // mov 8(%rsp),%r9
  EXPECT_TRUE(Of({0x31, 0xc0}).movable);                    // xor %eax,%eax
  EXPECT_TRUE(Of({0x53}).movable);                          // push %rbx
  EXPECT_TRUE(Of({0xff, 0x33}).movable);                    // push (%rbx)
}

TEST(Instruction, WhatDependsOnItsPlaceIsNot) {
  EXPECT_FALSE(Of({0xe8, 0, 0, 0, 0}).movable);        // call
  EXPECT_FALSE(Of({0x74, 0x05}).movable);              // je
  EXPECT_FALSE(Of({0xff, 0xd0}).movable);              // call *%rax
  EXPECT_FALSE(Of({0xff, 0xe0}).movable);              // jmp *%rax
  EXPECT_FALSE(Of({0xc3}).movable);                    // ret
  EXPECT_FALSE(Of({0x0f, 0x05}).movable);              // syscall
  EXPECT_FALSE(Of({0xcc}).movable);                    // int3
  EXPECT_FALSE(Of({0x65, 0x48, 0x8b, 0x03}).movable);  // mov %gs:(%rbx),%rax
  EXPECT_FALSE(Of({0xf0, 0x48, 0x01, 0x03}).movable);  // lock add
  EXPECT_FALSE(Of({0xf3, 0xa4}).movable);              // rep movsb
}

TEST(Instruction, TellsWhereDistancesAre) {
  const Instruction load = Of({0x48, 0x8b, 0x05, 1, 0, 0, 0});  // mov 1(%rip),%rax
  EXPECT_EQ(load.size, 7);
  EXPECT_EQ(load.relative, 3);
  EXPECT_TRUE(load.movable);
  EXPECT_EQ(Of({0x74, 0x05}).branch, 1);
  EXPECT_EQ(Of({0x0f, 0x84, 0, 0, 0, 0}).branch, 2);
}

TEST(Instruction, WhatIsCutOffHasNoSize) {
  const std::vector<uint8_t> code = {0x66, 0x48, 0x81, 0x84, 0x24, 0, 1, 0, 0, 1, 2, 3, 4};
  ASSERT_EQ(Of(code).size, code.size());
  for (size_t size = 0; size < code.size(); ++size) {
    EXPECT_EQ(Decode(std::span(code).first(size)).size, 0) << size;
  }
}

// The text of the C library that this test runs with.
std::span<const uint8_t> LibcText() {
  const auto known = reinterpret_cast<uintptr_t>(dlsym(RTLD_DEFAULT, "getpid"));
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    uintptr_t from = 0, to = 0;
    char dash = 0;
    std::istringstream(line) >> std::hex >> from >> dash >> to;
    if (known >= from && known < to) return {reinterpret_cast<const uint8_t*>(from), to - from};
  }
  return {};
}

// At each byte, whether an instruction begins there or not.
TEST(Instruction, SizesAreThoseThatADisassemblerFinds) {
  const auto text = LibcText();
  ASSERT_GT(text.size(), 100'000u);
  ZydisDecoder decoder;
  ZydisDecoderInit(&decoder, ZYDIS_MACHINE_MODE_LONG_64, ZYDIS_STACK_WIDTH_64);
  size_t wrong = 0, valid = 0;
  for (size_t i = 0; i + 15 < text.size(); ++i) {
    ZydisDecodedInstruction expected;
    if (!ZYAN_SUCCESS(ZydisDecoderDecodeInstruction(&decoder, nullptr, &text[i], 15, &expected))) {
      continue;
    }
    // Of a coprocessor that has gone.
    const auto set = expected.meta.isa_set;
    if (set >= ZYDIS_ISA_SET_KNCE && set <= ZYDIS_ISA_SET_KNC_PF_HINT) continue;
    ++valid;
    const Instruction found = Decode(text.subspan(i, 15));
    if (found.size == expected.length) {
      const bool relative =
          expected.raw.modrm.mod == 0 && expected.raw.modrm.rm == 5 && expected.raw.disp.size == 32;
      if ((found.relative != 0) == (relative && (expected.attributes & ZYDIS_ATTRIB_HAS_MODRM)))
        continue;
    }
    if (++wrong <= 20) {
      ADD_FAILURE() << ZydisMnemonicGetString(expected.mnemonic) << " of " << int{expected.length}
                    << " bytes, not " << int{found.size} << ": "
                    << testing::PrintToString(
                           std::vector<int>(&text[i], &text[i] + expected.length));
    }
  }
  EXPECT_LT(wrong, 1u) << "of " << valid;
}

}  // namespace
}  // namespace platform::systrap
