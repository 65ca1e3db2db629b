#include "sentry/fs/overlay/copy_up.h"

#include <algorithm>
#include <span>
#include <string>
#include <vector>

#include "sentry/fs/file.h"
#include "sentry/mm/io.h"

namespace sentry {

namespace {

constexpr size_t kChunk = 256 * 1024;

Status CopyRange(File& from, File& to, int64_t begin, int64_t end, std::span<std::byte> chunk) {
  while (begin < end) {
    const size_t want = std::min<size_t>(chunk.size(), static_cast<size_t>(end - begin));
    IoDst dst(chunk.first(want));
    const size_t got = TRY(from.ReadAt(dst, begin));
    if (got == 0) return kOk;  // Shorter than its attributes say: the rest stays a hole.
    IoSrc src(chunk.first(got));
    while (src.remaining() != 0) {
      const size_t stored = TRY(to.WriteAt(src, begin));
      if (stored == 0) return Errno(EIO);
      begin += static_cast<int64_t>(stored);
    }
  }
  return kOk;
}

// What the upper filesystem cannot keep is left behind, as by the kernel's overlay for attributes
// of no importance to it.
void CopyXattrs(Inode& lower, Inode& upper) {
  const Result<std::vector<std::string>> names = lower.ListXattr();
  if (!names.ok()) return;
  for (const std::string& name : *names) {
    const Result<std::string> value = lower.GetXattr(name);
    if (value.ok()) (void)upper.SetXattr(name, *value, 0);
  }
}

}  // namespace

Result<Ref<Inode>> CopyAttributesUp(Inode& lower, Inode& upper) {
  const Attributes attributes = TRY(lower.GetAttributes());
  std::string target;
  if (S_ISLNK(attributes.mode)) target = TRY(lower.ReadLink());
  const NewNode node{.mode = attributes.mode,
                     .uid = attributes.uid,
                     .gid = attributes.gid,
                     .rdev = attributes.rdev};
  Ref<Inode> copy = TRY(upper.CreateUnnamed(node, target));
  CopyXattrs(lower, *copy);
  AttributeChange times;
  times.atime = attributes.atime;
  times.mtime = attributes.mtime;
  TRY(copy->SetAttributes(times));
  return copy;
}

Status CopyDataUp(Inode& lower, Inode& upper, uint64_t size) {
  const Attributes below = TRY(lower.GetAttributes());
  const int64_t end = static_cast<int64_t>(std::min(size, below.size));
  if (end == 0) return kOk;
  const timespec mtime = TRY(upper.GetAttributes()).mtime;
  const Ref<File> from = TRY(lower.Open(OpenFlags(O_RDONLY)));
  const Ref<File> to = TRY(upper.Open(OpenFlags(O_RDWR)));
  std::vector<std::byte> chunk(std::min<size_t>(kChunk, static_cast<size_t>(end)));
  AttributeChange change;
  change.size = static_cast<uint64_t>(end);
  TRY(upper.SetAttributes(change));
  for (int64_t position = 0; position < end;) {
    const Result<int64_t> data = from->Seek(position, SEEK_DATA);
    if (!data.ok() && data.error() == Errno(ENXIO)) break;  // A hole up to the end.
    const int64_t begin = data.ok() ? *data : position;
    const Result<int64_t> hole = data.ok() ? from->Seek(begin, SEEK_HOLE) : data;
    const int64_t stop = std::min(end, hole.ok() ? *hole : end);
    TRY(CopyRange(*from, *to, begin, stop, chunk));
    position = stop;
  }
  AttributeChange times;
  times.mtime = mtime;
  return upper.SetAttributes(times);
}

}  // namespace sentry
