// Reading ELF64 x86-64 headers. Every byte comes from the application: all is checked, nothing is
// allocated that the fixed bounds below do not allow. See elf(5) and Linux's fs/binfmt_elf.c.
#ifndef SENTRY_LOADER_ELF_H_
#define SENTRY_LOADER_ELF_H_

#include <elf.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "base/result.h"

namespace sentry {

inline constexpr size_t kElfHeaderSize = sizeof(Elf64_Ehdr);
inline constexpr size_t kMaxProgramHeaderBytes = 65536;

// What the file header says; the program headers are `phnum` * 56 bytes at `phoff`.
struct ElfHeader {
  bool position_independent = false;  // ET_DYN.
  uint64_t entry = 0;
  uint64_t phoff = 0;
  uint16_t phnum = 0;
  size_t ProgramHeaderBytes() const { return phnum * sizeof(Elf64_Phdr); }
};
// ENOEXEC for anything that is not an executable for this machine.
Result<ElfHeader> ParseElfHeader(std::span<const std::byte> head);

struct ElfSegment {
  uint64_t vaddr = 0, memsz = 0, filesz = 0, offset = 0;
  int prot = 0;  // PROT_*.
};

struct ElfProgram {
  ElfHeader header;
  std::vector<ElfSegment> segments;  // PT_LOAD with memory, in file order; page offsets agree.
  uint64_t interpreter_offset = 0;   // Of the path, with its NUL.
  uint64_t interpreter_size = 0;     // 0 without one.
  bool executable_stack = true;      // Without PT_GNU_STACK, as Linux has it.
  uint64_t alignment = 4096;         // The largest p_align.
  uint64_t phdr_vaddr = 0;           // Where the headers are mapped; 0 when nowhere.
  // Page-aligned [low, high) around all segments.
  uint64_t low = 0, high = 0;
};
// `headers` are the bytes at header.phoff. `limit` is the end of user memory. ENOEXEC, EINVAL.
Result<ElfProgram> ParseProgramHeaders(const ElfHeader& header, std::span<const std::byte> headers,
                                       uint64_t limit);
// Both at once for a file held in memory.
Result<ElfProgram> ParseElf(std::span<const std::byte> file, uint64_t limit);

// Page ranges to map: later segments have overridden earlier ones, so that none overlap.
struct ElfRange {
  uint64_t addr = 0, length = 0;
  uint64_t offset = 0;  // In the file.
  int prot = 0;
  bool anonymous = false;
};
struct ElfLayout {
  std::vector<ElfRange> ranges;
  // [first, last) to be zeroed: from the end of the file's bytes to that of their page.
  struct Zero {
    uint64_t addr = 0, length = 0;
    bool writable = false;
  };
  std::vector<Zero> zeroes;
};
ElfLayout LayOut(const ElfProgram& program, uint64_t bias);

}  // namespace sentry

#endif  // SENTRY_LOADER_ELF_H_
