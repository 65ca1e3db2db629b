// Listing directories.
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#include <algorithm>
#include <cstring>

#include "gofer/server/file_service.h"
#include "gofer/server/host.h"

namespace gofer {

namespace {

// struct linux_dirent64, as getdents64(2) writes it.
struct HostEntry {
  uint64_t ino;
  int64_t offset;
  uint16_t size;
  uint8_t type;
  char name[];
};
constexpr size_t kHostNameAt = offsetof(HostEntry, name);
constexpr size_t kLargestHostEntry = 280;
constexpr size_t kHostBuffer = 16 * 1024;

// Writes records into the payload.
class RecordWriter {
 public:
  RecordWriter(std::span<std::byte> out, int directory, bool with_attr)
      : out_(out), directory_(directory), with_attr_(with_attr) {}

  // How many bytes of host entries surely fit: a record is larger than the smallest host entry by
  // no more than this factor.
  size_t HostBytesThatFit() const {
    constexpr size_t kSmallest = 24;
    const size_t factor = DirectoryRecordSize(with_attr_, kSmallest - kHostNameAt) / kSmallest + 1;
    return std::min(kHostBuffer, (out_.size() - size_) / factor);
  }

  void Add(const HostEntry& entry) {
    const size_t name_size = strnlen(entry.name, kMaxName);
    DirectoryRecord record{.ino = entry.ino,
                           .offset = static_cast<uint64_t>(entry.offset),
                           .type = entry.type,
                           .name_size = static_cast<uint8_t>(name_size)};
    Result<Attr> attr = Errno(ENOENT);
    if (with_attr_ && !IsDotDot(entry.name)) attr = StatAt(directory_, entry.name);
    record.has_attr = attr.ok();
    std::byte* at = out_.data() + size_;
    memcpy(at, &record, sizeof(record));
    at += sizeof(record);
    if (attr.ok()) {
      memcpy(at, &*attr, sizeof(Attr));
      at += sizeof(Attr);
    }
    memcpy(at, entry.name, name_size);
    size_ += DirectoryRecordSize(attr.ok(), name_size);
    ++count_;
  }

  size_t size() const { return size_; }
  uint32_t count() const { return count_; }

 private:
  // The root's lies outside.
  static bool IsDotDot(const char* name) { return strcmp(name, "..") == 0; }

  const std::span<std::byte> out_;
  const int directory_;
  const bool with_attr_;
  size_t size_ = 0;
  uint32_t count_ = 0;
};

}  // namespace

// A short listing is one message: the directory is opened, read to its end and closed. A longer
// one leaves a stream behind, since on some file systems (overlayfs, older tmpfs) an offset means
// nothing to another open file.
Status FileService::ReadDir(Operation& op) {
  UniqueFd opened;
  int directory = op.node->fd;
  uint64_t position = op.node->position;
  if (op.node->type != kStream) {
    if (!S_ISDIR(op.node->type)) return Errno(ENOTDIR);
    opened = TRY(Reopen(op.node->fd, O_RDONLY | O_DIRECTORY));
    directory = opened.get();
    position = 0;
  }
  if (op.request.offset != position) {
    TRY(Checked(lseek(directory, static_cast<off_t>(op.request.offset), SEEK_SET)));
    position = op.request.offset;
  }
  RecordWriter writer(op.out, directory, (op.request.flags & kReadDirAttributes) != 0);
  alignas(HostEntry) char buffer[kHostBuffer];
  bool at_end = false;
  for (;;) {
    const size_t room = writer.HostBytesThatFit();
    if (room < kLargestHostEntry) break;
    const long size = syscall(SYS_getdents64, directory, buffer, room);
    // What was read so far counts; the error comes again.
    if (size < 0 && writer.count() == 0) return Errno::Last();
    at_end = size == 0;
    if (size <= 0) break;
    for (long at = 0; at < size;) {
      const auto& entry = *reinterpret_cast<const HostEntry*>(buffer + at);
      writer.Add(entry);
      position = static_cast<uint64_t>(entry.offset);
      at += entry.size;
    }
  }
  op.response.payload_size = static_cast<uint32_t>(writer.size());
  op.response.count = writer.count();
  op.response.offset = position;
  return FinishReadDir(op, std::move(opened), position, at_end);
}

Status FileService::FinishReadDir(Operation& op, UniqueFd opened, uint64_t position, bool at_end) {
  if (op.node->type == kStream) {
    op.node->position = position;
    op.response.node = op.request.node;
    if (at_end) {
      nodes_.Forget(op.request.node);
      op.response.node = NodeId::kNone;
    }
    return kOk;
  }
  if (at_end) return kOk;
  op.response.node = TRY(nodes_.Add(std::move(opened), op.node->export_index, kStream));
  (*nodes_.Get(op.response.node))->position = position;
  return kOk;
}

}  // namespace gofer
