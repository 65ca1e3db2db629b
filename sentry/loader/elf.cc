#include "sentry/loader/elf.h"

#include <limits.h>
#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace sentry {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t PageDown(uint64_t addr) { return addr & ~(kPage - 1); }
constexpr uint64_t PageUp(uint64_t addr) { return (addr + kPage - 1) & ~(kPage - 1); }

// A load address is moved to a multiple of p_align; more than this is ignored.
constexpr uint64_t kMaxAlignment = uint64_t{1} << 30;

int ProtOf(uint32_t flags) {
  return ((flags & PF_R) != 0 ? PROT_READ : 0) | ((flags & PF_W) != 0 ? PROT_WRITE : 0) |
         ((flags & PF_X) != 0 ? PROT_EXEC : 0);
}

Status AddSegment(ElfProgram& program, const Elf64_Phdr& ph, uint64_t limit) {
  if (ph.p_filesz > ph.p_memsz || ph.p_memsz > limit || ph.p_vaddr > limit - ph.p_memsz) {
    return Errno(EINVAL);
  }
  if (ph.p_filesz != 0) {
    // The file is mapped: offset and address must agree within their page, and stay positive.
    if (ph.p_offset % kPage != ph.p_vaddr % kPage) return Errno(EINVAL);
    if (ph.p_offset > static_cast<uint64_t>(INT64_MAX) - ph.p_filesz - kPage) return Errno(EINVAL);
  }
  if (std::has_single_bit(ph.p_align) && ph.p_align <= kMaxAlignment) {
    program.alignment = std::max(program.alignment, ph.p_align);
  }
  if (ph.p_memsz == 0) return kOk;
  const ElfSegment segment = {.vaddr = ph.p_vaddr,
                              .memsz = ph.p_memsz,
                              .filesz = ph.p_filesz,
                              .offset = ph.p_offset,
                              .prot = ProtOf(ph.p_flags)};
  const uint64_t low = PageDown(segment.vaddr), high = PageUp(segment.vaddr + segment.memsz);
  program.low = program.segments.empty() ? low : std::min(program.low, low);
  program.high = std::max(program.high, high);
  const uint64_t phoff = program.header.phoff;
  if (ph.p_offset <= phoff && phoff - ph.p_offset < ph.p_filesz) {
    program.phdr_vaddr = phoff - ph.p_offset + ph.p_vaddr;
  }
  program.segments.push_back(segment);
  return kOk;
}

// Adds a range, cutting away what lies below it.
void Cover(std::vector<ElfRange>& ranges, const ElfRange& added) {
  if (added.length == 0) return;
  std::vector<ElfRange> kept;
  const uint64_t begin = added.addr, end = added.addr + added.length;
  for (const ElfRange& old : ranges) {
    const uint64_t old_end = old.addr + old.length;
    if (old_end <= begin || old.addr >= end) {
      kept.push_back(old);
      continue;
    }
    if (old.addr < begin) {
      ElfRange head = old;
      head.length = begin - old.addr;
      kept.push_back(head);
    }
    if (old_end > end) {
      ElfRange tail = old;
      tail.addr = end;
      tail.length = old_end - end;
      tail.offset += end - old.addr;
      kept.push_back(tail);
    }
  }
  kept.push_back(added);
  ranges = std::move(kept);
}

}  // namespace

Result<ElfHeader> ParseElfHeader(std::span<const std::byte> head) {
  Elf64_Ehdr raw;
  if (head.size() < sizeof(raw)) return Errno(ENOEXEC);
  std::memcpy(&raw, head.data(), sizeof(raw));
  if (std::memcmp(raw.e_ident, ELFMAG, SELFMAG) != 0) return Errno(ENOEXEC);
  if (raw.e_type != ET_EXEC && raw.e_type != ET_DYN) return Errno(ENOEXEC);
  // Linux looks at the machine alone; class and byte order follow from it in every real file.
  if (raw.e_machine != EM_X86_64 || raw.e_ident[EI_CLASS] != ELFCLASS64) return Errno(ENOEXEC);
  if (raw.e_phentsize != sizeof(Elf64_Phdr) || raw.e_phnum == 0) return Errno(ENOEXEC);
  ElfHeader header = {.position_independent = raw.e_type == ET_DYN,
                      .entry = raw.e_entry,
                      .phoff = raw.e_phoff,
                      .phnum = raw.e_phnum};
  if (header.ProgramHeaderBytes() > kMaxProgramHeaderBytes) return Errno(ENOEXEC);
  if (header.phoff > static_cast<uint64_t>(INT64_MAX) - kMaxProgramHeaderBytes) {
    return Errno(ENOEXEC);
  }
  return header;
}

Result<ElfProgram> ParseProgramHeaders(const ElfHeader& header, std::span<const std::byte> headers,
                                       uint64_t limit) {
  if (headers.size() < header.ProgramHeaderBytes()) return Errno(ENOEXEC);
  ElfProgram program;
  program.header = header;
  for (size_t i = 0; i < header.phnum; ++i) {
    Elf64_Phdr ph;
    std::memcpy(&ph, &headers[i * sizeof(ph)], sizeof(ph));
    if (ph.p_type == PT_LOAD) {
      TRY(AddSegment(program, ph, limit));
    } else if (ph.p_type == PT_GNU_STACK) {
      program.executable_stack = (ph.p_flags & PF_X) != 0;
    } else if (ph.p_type == PT_INTERP && program.interpreter_size == 0) {
      if (ph.p_filesz > PATH_MAX || ph.p_filesz < 2) return Errno(ENOEXEC);
      if (ph.p_offset > static_cast<uint64_t>(INT64_MAX) - PATH_MAX) return Errno(ENOEXEC);
      program.interpreter_offset = ph.p_offset;
      program.interpreter_size = ph.p_filesz;
    }
  }
  if (program.segments.empty()) return Errno(EINVAL);
  return program;
}

Result<ElfProgram> ParseElf(std::span<const std::byte> file, uint64_t limit) {
  const ElfHeader header = TRY(ParseElfHeader(file));
  if (header.phoff > file.size()) return Errno(ENOEXEC);
  return ParseProgramHeaders(header, file.subspan(header.phoff), limit);
}

ElfLayout LayOut(const ElfProgram& program, uint64_t bias) {
  ElfLayout layout;
  for (const ElfSegment& segment : program.segments) {
    const uint64_t start = segment.vaddr + bias;
    const uint64_t file_end = start + segment.filesz, end = start + segment.memsz;
    const uint64_t anonymous = segment.filesz == 0 ? PageDown(start) : PageUp(file_end);
    if (segment.filesz != 0) {
      Cover(layout.ranges, {.addr = PageDown(start),
                            .length = anonymous - PageDown(start),
                            .offset = segment.offset - start % kPage,
                            .prot = segment.prot});
      if (segment.memsz > segment.filesz && file_end < anonymous) {
        layout.zeroes.push_back({file_end, anonymous - file_end, (segment.prot & PROT_WRITE) != 0});
      }
    }
    if (PageUp(end) > anonymous) {
      // Linux makes these pages writable whatever the segment says.
      Cover(layout.ranges, {.addr = anonymous,
                            .length = PageUp(end) - anonymous,
                            .prot = PROT_READ | PROT_WRITE | (segment.prot & PROT_EXEC),
                            .anonymous = true});
    }
  }
  return layout;
}

}  // namespace sentry
