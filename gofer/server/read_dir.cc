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
  // With `nodes`, entries become nodes of that table, below `parent`.
  RecordWriter(std::span<std::byte> out, int directory, bool with_attr, NodeTable* nodes,
               uint16_t export_index, NodeId parent)
      : out_(out),
        directory_(directory),
        extra_(DirectoryRecordExtra(with_attr, nodes != nullptr)),
        nodes_(nodes),
        export_index_(export_index),
        parent_(parent) {}

  // How many bytes of host entries surely fit: a record is larger than the smallest host entry by
  // no more than this factor.
  size_t HostBytesThatFit() const {
    constexpr size_t kSmallest = 24;
    const size_t factor = DirectoryRecordSize(extra_, kSmallest - kHostNameAt) / kSmallest + 1;
    return std::min(kHostBuffer, (out_.size() - size_) / factor);
  }

  void Add(const HostEntry& entry) {
    const size_t name_size = strnlen(entry.name, kMaxName);
    DirectoryRecord record{.ino = entry.ino,
                           .offset = static_cast<uint64_t>(entry.offset),
                           .type = entry.type,
                           .name_size = static_cast<uint8_t>(name_size)};
    WalkedNode walked;
    Result<Attr> attr = Errno(ENOENT);
    if (extra_ != 0 && !IsDotDot(entry.name)) attr = StatAt(directory_, entry.name);
    if (attr.ok()) walked.attr = *attr;
    if (attr.ok() && nodes_ != nullptr && !IsDot(entry.name)) {
      const Origin origin{.parent = parent_, .ino = attr->ino, .name = {entry.name, name_size}};
      const uint16_t type = attr->mode & S_IFMT;
      const Result<NodeId> id = nodes_->Add(UniqueFd(), export_index_, type, &origin);
      if (id.ok()) walked.id = *id;
    }
    record.has_node = walked.id != NodeId::kNone;
    record.has_attr = attr.ok();
    const size_t extra = DirectoryRecordExtra(record.has_attr, record.has_node);
    std::byte* at = out_.data() + size_;
    memcpy(at, &record, sizeof(record));
    at += sizeof(record);
    if (record.has_node) memcpy(at, &walked, sizeof(walked));
    if (extra == sizeof(Attr)) memcpy(at, &walked.attr, sizeof(Attr));
    memcpy(at + extra, entry.name, name_size);
    size_ += DirectoryRecordSize(extra, name_size);
    ++count_;
  }

  size_t size() const { return size_; }
  uint32_t count() const { return count_; }

 private:
  // The root's lies outside.
  static bool IsDotDot(const char* name) { return strcmp(name, "..") == 0; }
  static bool IsDot(const char* name) { return strcmp(name, ".") == 0; }

  const std::span<std::byte> out_;
  const int directory_;
  const size_t extra_;
  NodeTable* const nodes_;
  const uint16_t export_index_;
  const NodeId parent_;
  size_t size_ = 0;
  uint32_t count_ = 0;
};

}  // namespace

// A short listing is one message: the directory is opened, read to its end and closed. A longer
// one leaves a stream behind, since on some file systems (overlayfs, older tmpfs) an offset means
// nothing to another open file.
Status FileService::ReadDir(Operation& op) {
  const bool with_nodes = (op.request.flags & kReadDirNodes) != 0;
  if (with_nodes && !KeepsNames(*op.node)) return Errno(EINVAL);
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
  RecordWriter writer(op.out, directory, (op.request.flags & kReadDirAttributes) != 0,
                      with_nodes ? &nodes_ : nullptr, op.node->export_index,
                      op.node->type == kStream ? op.node->directory : op.request.node);
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
  Node& stream = **nodes_.Get(op.response.node);
  stream.position = position;
  stream.directory = op.request.node;
  return kOk;
}

}  // namespace gofer
