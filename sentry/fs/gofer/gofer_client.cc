// The half of GoferClient that knows the operations.
#include "sentry/fs/gofer/gofer_client.h"

#include <fcntl.h>
#include <sys/stat.h>

#include <algorithm>
#include <cstring>

namespace sentry {

using gofer::Op;
using gofer::Request;
using gofer::Response;

// One request: takes a slot, is filled in, runs, and is read while it lives.
class GoferClient::Call {
 public:
  Call(GoferClient& client, Op op, NodeId node)
      : client_(client), index_(client.TakeSlot()), slot_(client.ring_->slots[index_]) {
    client_.SendForgotten(index_);
    slot_.request = Request{.op = op, .node = node};
  }
  ~Call() { client_.ReturnSlot(index_); }
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;

  Request& request() { return slot_.request; }
  const Response& response() const { return response_; }

  // Appends a name of at most `limit` bytes.
  Status AddName(std::string_view name, size_t limit = gofer::kMaxName) {
    if (name.size() > limit) return Errno(ENAMETOOLONG);
    if (name.find('\0') != name.npos) return Errno(EINVAL);
    Append(name);
    in_[in_size_++] = std::byte{0};
    ++slot_.request.name_count;
    return kOk;
  }
  // Requires: value.size() <= kMaxXattrValue, and at most one name before it.
  void AddValue(std::string_view value) {
    Append(value);
    slot_.request.value_size = static_cast<uint32_t>(value.size());
  }
  void SetNewFile(const NewFile& file) {
    slot_.request.mode = file.mode;
    slot_.request.uid = file.uid;
    slot_.request.gid = file.gid;
  }

  Status Run() {
    slot_.request.payload_size = static_cast<uint32_t>(in_size_);
    response_ = TRY(client_.Exchange(index_));
    return kOk;
  }
  Result<UniqueFd> TakeFd() {
    if (response_.has_fd == 0) return Errno(EIO);
    return client_.TakeFd(index_, slot_.request.tag);
  }
  std::string_view payload() const {
    return {reinterpret_cast<const char*>(in_), response_.payload_size};
  }
  // The payload's object number `i`.
  template <typename T>
  Result<T> Object(size_t i = 0) const {
    if (response_.payload_size / sizeof(T) <= i) return Errno(EIO);
    T object;
    memcpy(&object, in_ + i * sizeof(T), sizeof(T));
    return object;
  }

 private:
  void Append(std::string_view bytes) {
    memcpy(in_ + in_size_, bytes.data(), bytes.size());
    in_size_ += bytes.size();
  }

  GoferClient& client_;
  const uint32_t index_;
  gofer::Slot& slot_;
  std::byte* const in_ = client_.ring_->payloads[index_];
  size_t in_size_ = 0;
  Response response_;
};

Result<GoferClient::WalkedNode> GoferClient::OneNode(Call& call) {
  TRY(call.Run());
  return call.Object<WalkedNode>();
}

Result<GoferClient::WalkResult> GoferClient::Walk(NodeId parent,
                                                  std::span<const std::string_view> names) {
  if (names.empty() || names.size() > gofer::kMaxWalk) return Errno(EINVAL);
  Call call(*this, Op::kWalk, parent);
  for (std::string_view name : names) TRY(call.AddName(name));
  TRY(call.Run());
  WalkResult result;
  result.stop = call.response().walk_error;
  const size_t count = std::min<size_t>(call.response().count, names.size());
  result.nodes.reserve(count);
  for (size_t i = 0; i < count; ++i) result.nodes.push_back(TRY(call.Object<WalkedNode>(i)));
  return result;
}

Result<GoferClient::WalkedNode> GoferClient::Lookup(NodeId parent, std::string_view name, By by) {
  Call call(*this, Op::kWalk, parent);
  call.request().flags = static_cast<uint32_t>(by);
  TRY(call.AddName(name));
  TRY(call.Run());
  if (call.response().walk_error != 0) return Errno(call.response().walk_error);
  return call.Object<WalkedNode>();
}

Result<GoferClient::Attr> GoferClient::GetAttr(NodeId node) {
  Call call(*this, Op::kGetAttr, node);
  TRY(call.Run());
  return call.response().attr;
}

Result<UniqueFd> GoferClient::Open(NodeId node, int flags) {
  Call call(*this, Op::kOpen, node);
  call.request().flags = static_cast<uint32_t>(flags);
  TRY(call.Run());
  return call.TakeFd();
}

Status GoferClient::ReadDir(DirectoryCursor& cursor, Attributes attributes,
                            DirectoryVisitor visit) {
  if (cursor.at_end) return kOk;
  const bool streaming = cursor.stream != NodeId::kNone;
  Call call(*this, Op::kReadDir, streaming ? cursor.stream : cursor.directory);
  call.request().flags = static_cast<uint32_t>(attributes);
  call.request().offset = cursor.offset;
  TRY(call.Run());
  cursor.offset = call.response().offset;
  cursor.stream = call.response().node;
  cursor.at_end = cursor.stream == NodeId::kNone;
  std::string_view rest = call.payload();
  for (uint32_t i = 0; i < call.response().count; ++i) {
    gofer::DirectoryRecord record;
    if (rest.size() < sizeof(record)) return Errno(EIO);
    memcpy(&record, rest.data(), sizeof(record));
    const size_t extra = gofer::DirectoryRecordExtra(record.has_attr != 0, record.has_node != 0);
    const size_t size = gofer::DirectoryRecordSize(extra, record.name_size);
    if (rest.size() < size) return Errno(EIO);
    WalkedNode walked;
    const char* const at = rest.data() + sizeof(record);
    if (extra == sizeof(walked)) memcpy(&walked, at, sizeof(walked));
    if (extra == sizeof(Attr)) memcpy(&walked.attr, at, sizeof(Attr));
    visit({.name = rest.substr(sizeof(record) + extra, record.name_size),
           .ino = record.ino,
           .offset = record.offset,
           .type = record.type,
           .attr = extra != 0 ? &walked.attr : nullptr,
           .node = walked.id});
    rest.remove_prefix(size);
  }
  return kOk;
}

void GoferClient::CloseDirectory(DirectoryCursor& cursor) {
  Forget(std::exchange(cursor.stream, NodeId::kNone));
}

Result<std::string> GoferClient::ReadLink(NodeId node) {
  Call call(*this, Op::kReadLink, node);
  TRY(call.Run());
  return std::string(call.payload());
}

Result<gofer::StatFs> GoferClient::StatFs(NodeId node) {
  Call call(*this, Op::kStatFs, node);
  TRY(call.Run());
  return call.Object<gofer::StatFs>();
}

Status GoferClient::Sync(NodeId directory) {
  Call call(*this, Op::kSync, directory);
  return call.Run();
}

Result<std::string> GoferClient::GetXattr(NodeId node, std::string_view name) {
  Call call(*this, Op::kGetXattr, node);
  TRY(call.AddName(name, gofer::kMaxXattrName));
  TRY(call.Run());
  return std::string(call.payload());
}

Result<std::string> GoferClient::ListXattr(NodeId node) {
  Call call(*this, Op::kListXattr, node);
  TRY(call.Run());
  return std::string(call.payload());
}

Result<GoferClient::Attr> GoferClient::SetAttr(NodeId node, const SetAttrRequest& request) {
  Call call(*this, Op::kSetAttr, node);
  call.request().valid = request.valid;
  call.request().mode = request.mode;
  call.request().uid = request.uid;
  call.request().gid = request.gid;
  call.request().offset = request.size;
  call.request().atime = request.atime;
  call.request().mtime = request.mtime;
  TRY(call.Run());
  return call.response().attr;
}

Result<GoferClient::CreatedFile> GoferClient::CreateFile(NodeId parent, std::string_view name,
                                                         int flags, const NewFile& file) {
  return CreateOpen(Op::kCreate, parent, name, static_cast<uint32_t>(flags), file);
}

Result<GoferClient::CreatedFile> GoferClient::Bind(NodeId parent, std::string_view name,
                                                   uint32_t type, const NewFile& file) {
  return CreateOpen(Op::kBind, parent, name, type, file);
}

Result<GoferClient::CreatedFile> GoferClient::CreateOpen(Op op, NodeId parent,
                                                         std::string_view name, uint32_t flags,
                                                         const NewFile& file) {
  Call call(*this, op, parent);
  TRY(call.AddName(name));
  call.request().flags = flags;
  call.SetNewFile(file);
  CreatedFile created;
  created.node = TRY(OneNode(call));
  Result<UniqueFd> fd = call.TakeFd();
  if (!fd.ok()) {
    Forget(created.node.id);
    return fd.error();
  }
  created.fd = *std::move(fd);
  return created;
}

Result<UniqueFd> GoferClient::Connect(NodeId node, uint32_t type) {
  Call call(*this, Op::kConnect, node);
  call.request().flags = type;
  TRY(call.Run());
  return call.TakeFd();
}

Result<UniqueFd> GoferClient::NewUnnamed(uint32_t index) {
  Call call(*this, Op::kNewUnnamed, gofer::RootNode(index));
  TRY(call.Run());
  return call.TakeFd();
}

Result<GoferClient::WalkedNode> GoferClient::Mkdir(NodeId parent, std::string_view name,
                                                   const NewFile& file) {
  Call call(*this, Op::kMkdir, parent);
  TRY(call.AddName(name));
  call.SetNewFile(file);
  return OneNode(call);
}

Result<GoferClient::WalkedNode> GoferClient::Mknod(NodeId parent, std::string_view name,
                                                   const NewFile& file) {
  Call call(*this, Op::kMknod, parent);
  TRY(call.AddName(name));
  call.SetNewFile(file);
  return OneNode(call);
}

Result<GoferClient::WalkedNode> GoferClient::Symlink(NodeId parent, std::string_view name,
                                                     std::string_view target, const NewFile& file) {
  Call call(*this, Op::kSymlink, parent);
  TRY(call.AddName(name));
  TRY(call.AddName(target, gofer::kMaxPath - 1));
  call.SetNewFile(file);
  return OneNode(call);
}

Result<GoferClient::Attr> GoferClient::Link(NodeId node, NodeId parent, std::string_view name) {
  Call call(*this, Op::kLink, node);
  TRY(call.AddName(name));
  call.request().node2 = parent;
  TRY(call.Run());
  return call.response().attr;
}

Status GoferClient::Unlink(NodeId parent, std::string_view name, UnlinkKind kind) {
  Call call(*this, Op::kUnlink, parent);
  TRY(call.AddName(name));
  call.request().flags = kind == UnlinkKind::kDirectory ? AT_REMOVEDIR : 0;
  return call.Run();
}

Status GoferClient::Rename(NodeId from, std::string_view from_name, NodeId to,
                           std::string_view to_name, uint32_t flags) {
  Call call(*this, Op::kRename, from);
  TRY(call.AddName(from_name));
  TRY(call.AddName(to_name));
  call.request().node2 = to;
  call.request().flags = flags;
  return call.Run();
}

Status GoferClient::SetXattr(NodeId node, std::string_view name, std::string_view value,
                             int flags) {
  if (value.size() > gofer::kMaxXattrValue) return Errno(E2BIG);
  Call call(*this, Op::kSetXattr, node);
  TRY(call.AddName(name, gofer::kMaxXattrName));
  call.AddValue(value);
  call.request().flags = static_cast<uint32_t>(flags);
  return call.Run();
}

Status GoferClient::RemoveXattr(NodeId node, std::string_view name) {
  Call call(*this, Op::kRemoveXattr, node);
  TRY(call.AddName(name, gofer::kMaxXattrName));
  return call.Run();
}

}  // namespace sentry
