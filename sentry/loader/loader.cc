#include "sentry/loader/loader.h"

#include <sys/auxv.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstring>

#include "sentry/loader/elf.h"
#include "sentry/loader/read.h"
#include "sentry/loader/stack.h"

#ifndef AT_MINSIGSTKSZ
#define AT_MINSIGSTKSZ 51
#endif

namespace sentry {
namespace {

constexpr uint64_t kPage = 4096;
constexpr uint64_t PageDown(uint64_t addr) { return addr & ~(kPage - 1); }
constexpr uint64_t PageUp(uint64_t addr) { return (addr + kPage - 1) & ~(kPage - 1); }

// ELF_ET_DYN_BASE and the widths of Linux's randomisation.
constexpr uint64_t kPieBase = 0x555555554000;
constexpr uint64_t kMmapRandomPages = uint64_t{1} << 28, kBreakRandom = 32 << 20;
constexpr uint64_t kInitialStack = 132 << 10;  // What Linux maps beyond the arguments.
// Below the stack's limit nothing is mapped this close (stack_guard_gap and some).
constexpr uint64_t kStackGap = 1 << 20;

// What chance there is to one load, asked for in one go. Without any it is all zeroes.
class Chance {
 public:
  Chance() { (void)getentropy(words_.data(), sizeof(words_)); }
  uint64_t Below(uint64_t bound) { return bound == 0 ? 0 : Next() % bound; }
  uint64_t Next() { return next_ < words_.size() ? words_[next_++] : 0; }

 private:
  std::array<uint64_t, 8> words_{};  // Five for addresses, two for AT_RANDOM.
  size_t next_ = 0;
};

struct Loaded {
  ElfProgram elf;
  uint64_t bias = 0;
};

Result<ElfProgram> ReadElf(File& file, uint64_t limit) {
  std::array<std::byte, kElfHeaderSize> head{};
  const size_t size = TRY(ReadUpTo(file, 0, head));
  const ElfHeader header = TRY(ParseElfHeader(std::span(head).first(size)));
  std::vector<std::byte> table(header.ProgramHeaderBytes());
  if (TRY(ReadUpTo(file, header.phoff, table)) != table.size()) return Errno(ENOEXEC);
  return ParseProgramHeaders(header, table, limit);
}

Result<std::string> ReadInterpreterPath(File& file, const ElfProgram& elf) {
  std::string path(elf.interpreter_size, '\0');
  const auto bytes = std::as_writable_bytes(std::span(path.data(), path.size()));
  if (TRY(ReadUpTo(file, elf.interpreter_offset, bytes)) != path.size()) return Errno(EIO);
  if (path.back() != '\0') return Errno(ENOEXEC);
  path.resize(std::strlen(path.c_str()));
  return path;
}

// Queues the mappings of one file. The record of file mappings grows by what was mapped.
Status MapElf(platform::Image& image, File& file, const ElfLayout& layout) {
  const int host_fd = TRY(file.HostFdForMapping(/*shared_write=*/false));
  for (const ElfRange& range : layout.ranges) {
    image.Map({.addr = range.addr,
               .length = range.length,
               .prot = range.prot,
               .flags = MAP_PRIVATE | (range.anonymous ? MAP_ANONYMOUS : 0),
               .host_fd = range.anonymous ? -1 : host_fd,
               .offset = range.anonymous ? 0 : range.offset});
  }
  return kOk;
}

// What lies in the file's last page behind the segment's end reads as zero. A segment that cannot
// be written keeps what the file has there (Linux).
Status ZeroTails(platform::AddressSpace& space, const ElfLayout& layout) {
  static constexpr std::array<std::byte, kPage> kZeroes{};
  for (const ElfLayout::Zero& zero : layout.zeroes) {
    if (!zero.writable) continue;
    const auto zeroes = std::span(kZeroes).first(zero.length);
    if (space.Write(zero.addr, zeroes) != zeroes.size()) return Errno(EFAULT);
  }
  return kOk;
}

void Record(Mm& mm, const Ref<File>& file, const ElfLayout& layout) {
  for (const ElfRange& range : layout.ranges) {
    if (!range.anonymous) mm.RecordFile(range.addr, range.length, file, range.offset, false);
  }
}

// The four numbers of proc_pid_stat(5), and the end of the last segment.
void DescribeSegments(const Loaded& program, Mm::Layout& layout, uint64_t& end) {
  layout.start_code = UINT64_MAX;
  for (const ElfSegment& segment : program.elf.segments) {
    const uint64_t start = segment.vaddr + program.bias;
    layout.start_code = std::min(layout.start_code, start);
    layout.start_data = std::max(layout.start_data, start);
    if ((segment.prot & PROT_EXEC) != 0) {
      layout.end_code = std::max(layout.end_code, start + segment.filesz);
    }
    layout.end_data = std::max(layout.end_data, start + segment.filesz);
    end = std::max(end, start + segment.memsz);
  }
}

std::vector<std::pair<uint64_t, uint64_t>> AuxiliaryVector(const LoadRequest& request,
                                                           const Loaded& program,
                                                           const Loaded* interpreter,
                                                           uint64_t vdso) {
  const ElfHeader& header = program.elf.header;
  const uint64_t entry = header.entry + program.bias;
  const uint64_t phdr =
      program.elf.phdr_vaddr == 0 && header.phoff != 0 ? 0 : program.elf.phdr_vaddr + program.bias;
  std::vector<std::pair<uint64_t, uint64_t>> auxv = {
      {AT_HWCAP, getauxval(AT_HWCAP)},
      {AT_PAGESZ, kPage},
      {AT_CLKTCK, 100},
      {AT_PHDR, phdr},
      {AT_PHENT, sizeof(Elf64_Phdr)},
      {AT_PHNUM, header.phnum},
      {AT_BASE, interpreter == nullptr ? 0 : interpreter->bias},
      {AT_FLAGS, 0},
      {AT_ENTRY, entry},
      {AT_UID, request.creds.uid},
      {AT_EUID, request.creds.euid},
      {AT_GID, request.creds.gid},
      {AT_EGID, request.creds.egid},
      {AT_SECURE, request.secure ? 1 : 0},
      {AT_RANDOM, 0},
      {AT_HWCAP2, getauxval(AT_HWCAP2)},
      {AT_EXECFN, 0},
      {AT_PLATFORM, 0},
  };
  if (vdso != 0) auxv.emplace_back(AT_SYSINFO_EHDR, vdso);
  if (const uint64_t size = getauxval(AT_MINSIGSTKSZ); size != 0) {
    auxv.emplace_back(AT_MINSIGSTKSZ, size);
  }
  return auxv;
}

// Everything about one load; its steps in order.
class Load {
 public:
  Load(platform::Platform& platform, Vfs& vfs, const Program& program, const LoadRequest& request)
      : platform_(platform),
        vfs_(vfs),
        file_(program.file),
        argv_(program.argv),
        request_(request),
        limits_(platform.layout()) {}

  Result<LoadedProgram> Run() {
    program_.elf = TRY(ReadElf(*file_, limits_.stack_high));
    TRY(OpenInterpreter());
    TRY(Place());
    BuildStackContents();
    image_ = TRY(platform_.NewImage());
    if (request_.host_group) TRY(JoinGroups(*request_.host_group));
    TRY(Map());
    return Finish();
  }

 private:
  // Before it has memory of its own, which counts where it was first touched.
  Status JoinGroups(const ContainerGroup& group) {
    std::vector<int> files;
    for (const UniqueFd& file : group.files) files.push_back(file.get());
    return image_->JoinGroups(files);
  }

  Status OpenInterpreter() {
    if (program_.elf.interpreter_size == 0) return kOk;
    const std::string path = TRY(ReadInterpreterPath(*file_, program_.elf));
    Attributes attributes;
    bool nosuid = false;
    interpreter_file_ = TRY(OpenExecutable(vfs_, request_.walk, path, {}, &attributes, &nosuid));
    // Linux reads its header once more, whatever it begins with.
    std::array<std::byte, kElfHeaderSize> head{};
    if (TRY(ReadUpTo(*interpreter_file_, 0, head)) != head.size()) return Errno(EIO);
    const Result<ElfProgram> elf = ReadElf(*interpreter_file_, limits_.stack_high);
    if (!elf.ok()) return elf.error() == Errno(ENOEXEC) ? Errno(ELIBBAD) : elf.error();
    interpreter_.elf = *elf;
    return kOk;
  }

  // Chooses every address.
  Status Place() {
    TRY(PlaceStack());
    if (program_.elf.header.position_independent) {
      const uint64_t random = request_.randomize ? chance_.Below(kMmapRandomPages) * kPage : 0;
      const uint64_t base = (kPieBase + random) & ~(program_.elf.alignment - 1);
      program_.bias = base - program_.elf.low;
    }
    if (program_.elf.high + program_.bias > stack_low_) return Errno(EINVAL);
    if (!interpreter_file_) return kOk;
    const uint64_t size = interpreter_.elf.high - interpreter_.elf.low;
    if (!interpreter_.elf.header.position_independent) return kOk;
    const uint64_t random = request_.randomize ? chance_.Below(kMmapRandomPages) * kPage : 0;
    const uint64_t room = std::min(limits_.mmap_top, stack_low_);
    if (size > room / 4) return Errno(ENOMEM);
    const uint64_t base = (room - size - random) & ~(interpreter_.elf.alignment - 1);
    interpreter_.bias = base - interpreter_.elf.low;
    return kOk;
  }

  Status PlaceStack() {
    const uint64_t room = limits_.stack_high - limits_.stack_low;
    uint64_t wanted = std::min(std::max(request_.stack_limit, kInitialStack), room) + kStackGap;
    for (const std::string& string : argv_) argument_bytes_ += string.size() + 9;
    for (const std::string& string : request_.envp) argument_bytes_ += string.size() + 9;
    wanted = PageUp(std::min(wanted, room) + argument_bytes_);
    // A limit beyond the room gets all of it.
    const uint64_t spare = room > wanted ? room - wanted : 0;
    const uint64_t random = request_.randomize ? chance_.Below(spare / kPage + 1) * kPage : 0;
    stack_top_ = PageDown(limits_.stack_high - random);
    stack_low_ = limits_.stack_low;
    if (argument_bytes_ + 2 * kInitialStack > room) return Errno(E2BIG);
    return kOk;
  }

  void BuildStackContents() {
    StackInput input{.top = stack_top_,
                     .argv = argv_,
                     .envp = request_.envp,
                     .exec_name = request_.exec_name,
                     .gap = request_.randomize ? chance_.Below(8192) & ~uint64_t{15} : 0};
    const std::array<uint64_t, 2> random = {chance_.Next(), chance_.Next()};
    static_assert(sizeof(random) == sizeof(input.random));
    std::memcpy(input.random.data(), random.data(), sizeof(random));
    input_ = std::move(input);
  }

  Status Map() {
    program_layout_ = LayOut(program_.elf, program_.bias);
    TRY(MapElf(*image_, *file_, program_layout_));
    if (interpreter_file_) {
      interpreter_layout_ = LayOut(interpreter_.elf, interpreter_.bias);
      TRY(MapElf(*image_, *interpreter_file_, interpreter_layout_));
    }
    space_ = image_->address_space();
    input_.auxv = AuxiliaryVector(request_, program_, interpreter_file_ ? &interpreter_ : nullptr,
                                  space_->vdso());
    stack_ = BuildStack(input_);
    const uint64_t size = PageUp(stack_.bytes.size() + kInitialStack);
    const bool executable = program_.elf.executable_stack || request_.read_implies_exec;
    image_->Map({.addr = stack_top_ - size,
                 .length = size,
                 .prot = PROT_READ | PROT_WRITE | (executable ? PROT_EXEC : 0),
                 .flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_GROWSDOWN | MAP_STACK});
    PlaceBreak();
    TRY(image_->Flush());
    // Only the program itself cannot be written while it runs.
    if (interpreter_file_) interpreter_file_->EndHold();
    TRY(ZeroTails(*space_, program_layout_));
    TRY(ZeroTails(*space_, interpreter_layout_));
    if (space_->Write(stack_.sp, stack_.bytes) != stack_.bytes.size()) return Errno(EFAULT);
    return kOk;
  }

  // With the mappings, which it comes behind.
  void PlaceBreak() {
    uint64_t end = 0;
    DescribeSegments(program_, layout_, end);
    layout_.start_brk = PageUp(end);
    if (request_.randomize) layout_.start_brk += chance_.Below(kBreakRandom / kPage) * kPage;
    layout_.native_brk = image_->SetBreak(layout_.start_brk, stack_top_);
  }

  Result<LoadedProgram> Finish() {
    Mm::Layout& layout = layout_;
    layout.stack_top = stack_.sp;
    layout.arg_start = stack_.arg_start, layout.arg_end = stack_.arg_end;
    layout.env_start = stack_.env_start, layout.env_end = stack_.env_end;
    layout.auxv = stack_.auxv, layout.auxv_size = stack_.auxv_size;

    LoadedProgram loaded;
    loaded.mm = MakeRef<Mm>(space_, layout, file_);
    Record(*loaded.mm, file_, program_layout_);
    if (interpreter_file_) Record(*loaded.mm, interpreter_file_, interpreter_layout_);
    const Loaded& first = interpreter_file_ ? interpreter_ : program_;
    loaded.registers.rip = first.elf.header.entry + first.bias;
    loaded.registers.rsp = stack_.sp;
    loaded.image = std::move(image_);
    return loaded;
  }

  platform::Platform& platform_;
  Vfs& vfs_;
  const Ref<File> file_;
  const std::vector<std::string>& argv_;
  const LoadRequest& request_;
  const platform::Platform::Layout limits_;
  Loaded program_, interpreter_;
  Ref<File> interpreter_file_;
  ElfLayout program_layout_, interpreter_layout_;
  Mm::Layout layout_;
  uint64_t stack_top_ = 0, stack_low_ = 0, argument_bytes_ = 0;
  Chance chance_;
  StackInput input_;
  StackContents stack_;
  std::unique_ptr<platform::Image> image_;
  Ref<platform::AddressSpace> space_;
};

}  // namespace

Result<LoadedProgram> LoadProgram(platform::Platform& platform, Vfs& vfs, const Program& program,
                                  const LoadRequest& request) {
  return Load(platform, vfs, program, request).Run();
}

}  // namespace sentry
