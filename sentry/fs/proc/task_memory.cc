// What /proc/PID tells of a process's memory: cmdline, environ, auxv, maps.
#include <algorithm>
#include <charconv>
#include <cstdio>
#include <span>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sentry/fs/dentry.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/task/task.h"

namespace sentry::proc {
namespace {

constexpr uint64_t kMaxBytes = 4 << 20;  // More than arguments and environment may take.

// Application memory as a text; what cannot be read ends it.
std::string ReadRange(Mm& mm, uint64_t begin, uint64_t end) {
  if (begin == 0 || end <= begin) return {};
  std::string text(std::min(end - begin, kMaxBytes), '\0');
  text.resize(mm.memory().ReadSome(UserAddr{begin}, std::as_writable_bytes(std::span(text))));
  return text;
}

// One line of the host's maps.
struct HostLine {
  uint64_t begin = 0, end = 0;
  std::string_view permissions;
  uint64_t offset = 0, ino = 0;
  unsigned dev_major = 0, dev_minor = 0;
  std::string_view name;  // A host file's path within its mount, "[vdso]" and the like, or nothing.
};

bool ParseHostLine(std::string_view line, HostLine& out) {
  const char* const last = line.data() + line.size();
  const auto begin = std::from_chars(line.data(), last, out.begin, 16);
  if (begin.ec != std::errc() || begin.ptr == last || *begin.ptr != '-') return false;
  const auto end = std::from_chars(begin.ptr + 1, last, out.end, 16);
  if (end.ec != std::errc() || last - end.ptr < 5) return false;
  out.permissions = std::string_view(end.ptr + 1, 4);
  // " offset major:minor inode", then the name in a column of its own.
  int behind = 0;
  const std::string rest(end.ptr + 5, last);
  if (sscanf(rest.c_str(), " %lx %x:%x %lu%n", &out.offset, &out.dev_major, &out.dev_minor,
             &out.ino, &behind) == 4) {
    const size_t name = line.find_first_of("/[", static_cast<size_t>(end.ptr + 5 - line.data()) +
                                                     static_cast<size_t>(behind));
    out.name = name == std::string_view::npos ? std::string_view() : line.substr(name);
  }
  return true;
}

// Calls `visit` for each line that is one.
template <typename Visit>
void ForEachLine(std::string_view host, Visit visit) {
  while (!host.empty()) {
    const size_t end = std::min(host.find('\n'), host.size());
    HostLine line;
    if (ParseHostLine(host.substr(0, end), line)) visit(line);
    host.remove_prefix(std::min(end + 1, host.size()));
  }
}

// What the sentry knows of a mapping and the host does not.
struct Annotation {
  uint64_t offset = 0, dev = 0, ino = 0;
  std::string name;
};

class Annotator {
 public:
  Annotator(Kernel& kernel, Mm& mm, Path root)
      : kernel_(kernel), layout_(mm.layout()), root_(std::move(root)), ranges_(mm.FileRanges()), names_(mm.Names()) {}

  Annotation Describe(const HostLine& line) const {
    for (const Mm::FileRange& range : ranges_) {
      // The host may have unmapped it meanwhile, without asking.
      if (line.ino == 0) break;
      if (line.begin < range.addr || line.begin - range.addr >= range.length) continue;
      return DescribeFile(range, line.begin - range.addr);
    }
    for (const Mm::MappedFile& file : names_) {
      if (line.ino == 0 || file.host_ino != line.ino) continue;
      return {.offset = line.offset, .dev = file.dev, .ino = file.ino, .name = file.name};
    }
    // Not recorded: what the kernel itself mapped, and shared anonymous memory.
    if (!line.name.empty()) {
      return {.offset = line.offset,
              .dev = uint64_t{line.dev_major} << 8 | line.dev_minor,
              .ino = line.ino,
              .name = std::string(line.name)};
    }
    if (line.begin < layout_.stack_top && line.end >= layout_.stack_top) return {.name = "[stack]"};
    if (line.begin == layout_.start_brk && layout_.start_brk != 0) return {.name = "[heap]"};
    return {};
  }

 private:
  Annotation DescribeFile(const Mm::FileRange& range, uint64_t delta) const {
    Annotation out{.offset = range.offset + delta};
    const auto attributes = range.file->inode().GetAttributes();
    if (attributes.ok()) out.dev = attributes->dev, out.ino = attributes->ino;
    const Path& path = range.file->path();
    out.name = path.dentry ? kernel_.vfs().PathString(root_, path) : range.file->AnonymousName();
    return out;
  }

  Kernel& kernel_;
  const Mm::Layout layout_;
  const Path root_;
  const std::vector<Mm::FileRange> ranges_;
  const std::vector<Mm::MappedFile> names_;
};

}  // namespace

Result<std::string> CmdlineText(const Subject& subject) {
  const auto task = subject.AnyTask();
  if (!task.ok()) return std::string();  // A zombie's is empty.
  const Ref<Mm> mm = (*task)->mm_ref();
  return ReadRange(*mm, mm->layout().arg_start, mm->layout().arg_end);
}

Result<std::string> EnvironText(const Subject& subject) {
  const auto task = subject.AnyTask();
  if (!task.ok()) return std::string();
  const Ref<Mm> mm = (*task)->mm_ref();
  return ReadRange(*mm, mm->layout().env_start, mm->layout().env_end);
}

Result<std::string> AuxvText(const Subject& subject) {
  const Ref<Mm> mm = TRY(subject.AnyTask())->mm_ref();
  return ReadRange(*mm, mm->layout().auxv, mm->layout().auxv + mm->layout().auxv_size);
}

Result<std::string> MapsText(const Subject& subject) {
  const Ref<Task> task = TRY(subject.AnyTask());
  const Ref<Mm> mm = task->mm_ref();
  const std::string host = TRY(mm->memory().space().HostMaps());
  Task* const reader = Task::Current();
  const Annotator annotator(*subject.kernel, *mm,
                            (reader != nullptr ? *reader : *task).fs_ref()->root());
  std::string text;
  ForEachLine(host, [&](const HostLine& line) {
    const Annotation a = annotator.Describe(line);
    const std::string head =
        absl::StrFormat("%08x-%08x %s %08x %02x:%02x %u ", line.begin, line.end, line.permissions,
                        a.offset, a.dev >> 8 & 0xfff, a.dev & 0xff, a.ino);
    // Names stand in column 74, as in Linux.
    absl::StrAppend(&text, head,
                    a.name.empty() ? std::string()
                                   : std::string(head.size() < 73 ? 73 - head.size() : 0, ' '),
                    a.name, "\n");
  });
  return text;
}

uint64_t VirtualSize(Mm& mm) {
  const auto host = mm.memory().space().HostMaps();
  if (!host.ok()) return 0;
  uint64_t size = 0;
  ForEachLine(*host, [&](const HostLine& line) { size += line.end - line.begin; });
  return size;
}

}  // namespace sentry::proc
