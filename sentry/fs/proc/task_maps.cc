// /proc/PID/maps, smaps, smaps_rollup and numa_maps: the host's list with the sentry's names.
#include <linux/mempolicy.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "sentry/fs/dentry.h"
#include "sentry/fs/proc/proc_internal.h"
#include "sentry/task/task.h"

namespace sentry::proc {
namespace {

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
    const size_t name = line.find_first_of(
        "/[", static_cast<size_t>(end.ptr + 5 - line.data()) + static_cast<size_t>(behind));
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
  Ref<File> file;  // Empty where only its name is recorded.
};

class Annotator {
 public:
  Annotator(Kernel& kernel, Mm& mm, Path root)
      : kernel_(kernel),
        layout_(mm.layout()),
        root_(std::move(root)),
        ranges_(mm.FileRanges()),
        names_(mm.Names()) {}

  Annotation Describe(const HostLine& line) const {
    for (const Mm::FileRange& range : ranges_) {
      // The host may have unmapped it meanwhile, without asking.
      if (line.ino == 0) break;
      if (line.begin < range.addr || line.begin - range.addr >= range.length) continue;
      return DescribeFile(range, line.begin - range.addr);
    }
    for (const Mm::MappedFile& file : names_) {
      if (line.ino == 0 || file.host_ino != line.ino) continue;
      return {.offset = line.offset,
              .dev = file.dev,
              .ino = file.ino,
              .name = StillNames(file) ? file.name : file.name + " (deleted)"};
    }
    // Not recorded: what the kernel itself mapped, and shared anonymous memory; memfds are the
    // platform's own.
    if (!line.name.empty() && !line.name.starts_with("/memfd:")) {
      return {.offset = line.offset,
              .dev = makedev(line.dev_major, line.dev_minor),
              .ino = line.ino,
              .name = std::string(line.name)};
    }
    if (line.begin < layout_.stack_top && line.end >= layout_.stack_top) return {.name = "[stack]"};
    if (line.begin == layout_.start_brk && layout_.start_brk != 0) return {.name = "[heap]"};
    return {};
  }

 private:
  // Whether the name that the file had when it was mapped leads to it now.
  bool StillNames(const Mm::MappedFile& file) const {
    if (!file.name.starts_with('/') || file.name.ends_with(" (deleted)")) return true;
    const auto [known, is_new] = still_names_.try_emplace(file.ino, true);
    if (!is_new) return known->second;
    const WalkContext ctx{.root = root_, .start = root_, .creds = Credentials::ForUser(0, 0)};
    const auto path = kernel_.vfs().Walk(ctx, file.name, {.follow_last = false});
    const auto attributes = path.ok() ? kernel_.vfs().GetAttributes(*path) : path.error();
    known->second = attributes.ok() && attributes->ino == file.ino && attributes->dev == file.dev;
    return known->second;
  }

  Annotation DescribeFile(const Mm::FileRange& range, uint64_t delta) const {
    Annotation out{.offset = range.offset + delta, .file = range.file};
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
  mutable std::map<uint64_t, bool> still_names_;  // By inode number, as far as asked.
};

// The line that Linux would write in place of the host's.
std::string NamedLine(const Annotator& annotator, const HostLine& line) {
  const Annotation a = annotator.Describe(line);
  std::string text = absl::StrFormat("%08x-%08x %s %08x %02x:%02x %u ", line.begin, line.end,
                                     line.permissions, a.offset, major(a.dev), minor(a.dev), a.ino);
  // Names stand in column 74, as in Linux.
  if (!a.name.empty()) {
    if (text.size() < 73) text.append(73 - text.size(), ' ');
    absl::StrAppend(&text, a.name);
  }
  return text + "\n";
}

Annotator AnnotatorFor(const Subject& subject, Mm& mm) {
  Task* const reader = Task::Current();
  const auto task = subject.AnyTask();
  Path root;
  if (reader != nullptr) {
    root = reader->fs_ref()->root();
  } else if (task.ok()) {
    root = (*task)->fs_ref()->root();
  }
  return Annotator(*subject.kernel, mm, std::move(root));
}

// smaps' lines about a mapping: "Name:   123 kB". False for others.
bool ParseCount(std::string_view line, std::string_view& name, uint64_t& kib) {
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos || !line.ends_with(" kB")) return false;
  name = line.substr(0, colon);
  const size_t digits = line.find_first_of("0123456789", colon);
  if (digits == std::string_view::npos) return false;
  return std::from_chars(line.data() + digits, line.data() + line.size(), kib).ec == std::errc();
}

template <typename Visit>
void ForEachTextLine(std::string_view text, Visit visit) {
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    visit(text.substr(0, end));
    text.remove_prefix(std::min(end + 1, text.size()));
  }
}

// As mpol_to_str() of the kernel.
std::string PolicyName(const MemoryPolicy& policy) {
  constexpr std::string_view kNames[] = {
      "default", "prefer", "bind", "interleave", "local", "prefer (many)", "weighted interleave"};
  constexpr uint32_t kFlags = MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES | MPOL_F_NUMA_BALANCING;
  const uint32_t mode = policy.mode & ~kFlags;
  std::string name(mode < std::size(kNames) ? kNames[mode] : "unknown");
  if ((policy.mode & kFlags) != 0) {
    name += (policy.mode & MPOL_F_STATIC_NODES) != 0     ? "=static"
            : (policy.mode & MPOL_F_RELATIVE_NODES) != 0 ? "=relative"
                                                         : "=balancing";
  }
  return policy.nodes != 0 ? name + ":0" : name;
}

// As seq_path() writes a name among words.
std::string Escaped(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if (c == ' ' || c == '\t' || c == '\n' || c == '=') {
      absl::StrAppendFormat(&out, "\\%03o", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out;
}

// What numa_maps counts of a mapping, from its lines in smaps.
struct PageCounts {
  static constexpr uint64_t kPageKib = 4;
  uint64_t all = 0, anonymous = 0, dirty = 0;

  void Add(std::string_view name, uint64_t kib) {
    if (name == "Rss") all += kib / kPageKib;
    if (name == "Anonymous") anonymous += kib / kPageKib;
    if (name == "Private_Dirty" || name == "Shared_Dirty") dirty += kib / kPageKib;
  }
  std::string Text() const {
    std::string text;
    if (all == 0) return text;
    if (anonymous != 0) absl::StrAppend(&text, " anon=", anonymous);
    if (dirty != 0) absl::StrAppend(&text, " dirty=", dirty);
    if (all != anonymous && all != dirty) absl::StrAppend(&text, " mapped=", all);
    return absl::StrCat(text, " N0=", all, " kernelpagesize_kB=", kPageKib);
  }
};

}  // namespace

Result<std::string> MapsText(const Subject& subject) {
  const auto mm = TRY(subject.Memory());
  if (!mm) return std::string();
  const std::string host = TRY((*mm)->memory().space().HostMaps());
  const Annotator annotator = AnnotatorFor(subject, **mm);
  std::string text;
  ForEachLine(host, [&](const HostLine& line) { text += NamedLine(annotator, line); });
  return text;
}

Result<std::string> SmapsText(const Subject& subject) {
  const auto mm = TRY(subject.Memory());
  if (!mm) return std::string();
  const std::string host =
      TRY((*mm)->memory().space().HostProc(platform::AddressSpace::HostFile::kSmaps));
  const Annotator annotator = AnnotatorFor(subject, **mm);
  std::string text;
  ForEachTextLine(host, [&](std::string_view line) {
    HostLine mapping;
    if (ParseHostLine(line, mapping)) {
      text += NamedLine(annotator, mapping);
    } else {
      text.append(line).append("\n");
    }
  });
  return text;
}

// The sums of smaps, as Linux adds them up.
Result<std::string> SmapsRollupText(const Subject& subject) {
  constexpr std::string_view kSummed[] = {"Rss",
                                          "Pss",
                                          "Pss_Dirty",
                                          "Pss_Anon",
                                          "Pss_File",
                                          "Pss_Shmem",
                                          "Shared_Clean",
                                          "Shared_Dirty",
                                          "Private_Clean",
                                          "Private_Dirty",
                                          "Referenced",
                                          "Anonymous",
                                          "KSM",
                                          "LazyFree",
                                          "AnonHugePages",
                                          "ShmemPmdMapped",
                                          "FilePmdMapped",
                                          "Shared_Hugetlb",
                                          "Private_Hugetlb",
                                          "Swap",
                                          "SwapPss",
                                          "Locked"};
  const auto mm = TRY(subject.Memory());
  if (!mm) return Errno(ESRCH);
  const std::string host =
      TRY((*mm)->memory().space().HostProc(platform::AddressSpace::HostFile::kSmaps));
  std::map<std::string_view, uint64_t> sums;
  uint64_t begin = 0, end = 0;
  // Pss of anonymous, file and shared memory apart: only the host's own roll-up has them.
  uint64_t pss = 0;
  bool file = false, anonymous = false;
  ForEachTextLine(host, [&](std::string_view line) {
    HostLine mapping;
    std::string_view name;
    uint64_t kib = 0;
    if (ParseHostLine(line, mapping)) {
      if (end == 0) begin = mapping.begin;
      end = mapping.end;
      file = mapping.ino != 0;
      anonymous = !file;
    } else if (ParseCount(line, name, kib)) {
      sums[name] += kib;
      if (name == "Pss") pss = kib;
      if (name == "Anonymous") {
        // Copied pages of a file mapping are anonymous.
        const uint64_t anon = anonymous ? pss : std::min(pss, kib);
        sums["Pss_Anon"] += anon;
        sums["Pss_File"] += pss - anon;
      }
    }
  });
  std::string text = absl::StrFormat(
      "%08x-%08x ---p 00000000 00:00 0                          [rollup]\n", begin, end);
  for (const std::string_view name : kSummed) {
    absl::StrAppendFormat(&text, "%-16s%8u kB\n", std::string(name) + ":", sums[name]);
  }
  return text;
}

Result<std::vector<FileMapping>> FileMappings(const Subject& subject, const FileMapping* wanted) {
  std::vector<FileMapping> all;
  const auto mm = TRY(subject.Memory());
  if (!mm) return all;
  const std::string host = TRY((*mm)->memory().space().HostMaps());
  const Annotator annotator = AnnotatorFor(subject, **mm);
  ForEachLine(host, [&](const HostLine& line) {
    if (wanted != nullptr && (line.begin != wanted->begin || line.end != wanted->end)) return;
    Annotation a = annotator.Describe(line);
    if (a.ino == 0) return;
    all.push_back({.begin = line.begin,
                   .end = line.end,
                   .name = std::move(a.name),
                   .file = std::move(a.file)});
  });
  return all;
}

// All pages are on the one node there is. What the host does not tell of a page, how many have it
// mapped and whether it is on the active list, is left out, as for pages that one process has in
// use.
Result<std::string> NumaMapsText(const Subject& subject) {
  const auto mm = TRY(subject.Memory());
  if (!mm) return std::string();
  const Ref<Task> task = TRY(subject.AnyTask());
  const std::string host =
      TRY((*mm)->memory().space().HostProc(platform::AddressSpace::HostFile::kSmaps));
  const Annotator annotator = AnnotatorFor(subject, **mm);
  std::string text;
  PageCounts pages;
  const auto finish = [&] {
    if (!text.empty()) absl::StrAppend(&text, pages.Text(), "\n");
    pages = {};
  };
  ForEachTextLine(host, [&](std::string_view line) {
    HostLine mapping;
    std::string_view name;
    uint64_t kib = 0;
    if (ParseHostLine(line, mapping)) {
      finish();
      const MemoryPolicy policy =
          (*mm)->policies().At(mapping.begin).value_or(task->memory_policy());
      absl::StrAppendFormat(&text, "%08x %s", mapping.begin, PolicyName(policy));
      const Annotation a = annotator.Describe(mapping);
      if (a.ino != 0) absl::StrAppend(&text, " file=", Escaped(a.name));
      if (a.name == "[heap]") text += " heap";
      if (a.name == "[stack]") text += " stack";
    } else if (ParseCount(line, name, kib)) {
      pages.Add(name, kib);
    }
  });
  finish();
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
