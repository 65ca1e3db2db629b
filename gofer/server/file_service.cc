#include "gofer/server/file_service.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "gofer/server/host.h"

namespace gofer {

namespace {

// What the sentry may choose of an open file. Nothing that changes what is opened.
constexpr int kOpenFlags = O_ACCMODE | O_TRUNC | O_APPEND | O_SYNC | O_DSYNC | O_NOATIME;

bool IsComponent(std::string_view name) {
  return !name.empty() && name.size() <= kMaxName && name != "." && name != ".." &&
         name.find('/') == name.npos;
}

void Put(std::span<std::byte> out, Response& response, const void* data, size_t size) {
  memcpy(out.data(), data, size);
  response.payload_size = static_cast<uint32_t>(size);
}

}  // namespace

const FileService::Row FileService::kRows[kOpCount] = {
    {},
    {&FileService::Walk, Access::kRead, 1, kMaxWalk, kMaxWalk, true},
    {&FileService::GetAttr},
    {&FileService::Open},
    {&FileService::ReadDir},
    {&FileService::ReadLink},
    {&FileService::StatFs},
    {&FileService::GetXattr, Access::kRead, 1, 1},
    {&FileService::ListXattr},
    {&FileService::SetAttr, Access::kWrite},
    {&FileService::Create, Access::kWrite, 1, 1, 1, true},
    {&FileService::Mkdir, Access::kWrite, 1, 1, 1, true},
    {&FileService::Mknod, Access::kWrite, 1, 1, 1, true},
    {&FileService::Symlink, Access::kWrite, 2, 2, 1, true},
    {&FileService::Link, Access::kWrite, 1, 1, 1},
    {&FileService::Unlink, Access::kWrite, 1, 1, 1, true},
    {&FileService::Rename, Access::kWrite, 2, 2, 2, true},
    {&FileService::SetXattr, Access::kWrite, 1, 1},
    {&FileService::RemoveXattr, Access::kWrite, 1, 1},
    {&FileService::ForgetMany},
    {&FileService::NewUnnamed},
    // What a read-only tree keeps out is new names: a socket or fifo in it can be used, as in
    // Linux.
    {&FileService::Connect},
    {&FileService::Bind, Access::kWrite, 1, 1, 1, true},
    {&FileService::Sync, Access::kRead, 0, 0, 0, true},
};

Status FileService::Init(std::vector<Export> exports, const Policy& policy, uint32_t node_limit) {
  policy_ = policy;
  TRY(nodes_.Init(node_limit));
  for (Export& tree : exports) {
    const Attr attr = TRY(Stat(tree.root.get()));
    const auto index = static_cast<uint16_t>(writable_.size());
    TRY(nodes_.Add(std::move(tree.root), index, attr.mode & S_IFMT));
    writable_.push_back(tree.writable);
    filestore_.push_back(tree.filestore);
  }
  nodes_.PinAll();
  return kOk;
}

void FileService::Handle(const Request& request, std::span<char> in, std::span<std::byte> out,
                         Response& response, UniqueFd& fd) {
  const size_t forgets = std::min<size_t>(request.forget_count, kMaxPiggybackForgets);
  for (size_t i = 0; i < forgets; ++i) nodes_.Forget(request.forgets[i]);
  const Status status = Dispatch(request, in, out, response, fd);
  if (!status.ok()) {
    response = {.error = status.error().code()};
    fd.reset();
  }
}

Status FileService::Dispatch(const Request& request, std::span<char> in, std::span<std::byte> out,
                             Response& response, UniqueFd& fd) {
  const auto number = static_cast<uint32_t>(request.op);
  if (number >= kOpCount || kRows[number].handler == nullptr) return Errno(ENOSYS);
  const Row& row = kRows[number];
  Operation op{.request = request, .out = out, .response = response, .fd = fd};
  if (request.op == Op::kForget) {
    op.value = {in.data(), in.size()};
    return ForgetMany(op);
  }
  op.node = TRY(Reach(request.node));
  // A stream is only good for reading on.
  if (op.node->type == kStream && request.op != Op::kReadDir) return Errno(EBADF);
  // Of a filestore the sentry gets new files and nothing else.
  if (IsFilestore(*op.node) != (request.op == Op::kNewUnnamed)) return Errno(EPERM);
  if (row.in_directory && !S_ISDIR(op.node->type)) return Errno(ENOTDIR);
  TRY(ParseNames(row, in, op));
  if (row.access == Access::kWrite && !Writable(*op.node)) return Errno(EROFS);
  return (this->*row.handler)(op);
}

Status FileService::ParseNames(const Row& row, std::span<char> in, Operation& op) {
  const uint32_t count = op.request.name_count;
  if (count < row.min_names || count > row.max_names) return Errno(EINVAL);
  std::string_view rest(in.data(), in.size());
  for (uint32_t i = 0; i < count; ++i) {
    const size_t size = rest.find('\0');
    if (size == rest.npos || size == 0) return Errno(EINVAL);
    if (i < row.components && !IsComponent(rest.substr(0, size))) return Errno(EINVAL);
    op.names[i] = rest.data();
    rest.remove_prefix(size + 1);
  }
  op.value = rest;
  return kOk;
}

Result<Node*> FileService::Reach(NodeId id) {
  constexpr int kMostSteps = 8192;  // Descriptors for such depths are hardly to be had.
  nodes_.set_busy(id);
  Node* const node = TRY(nodes_.Get(id));
  node->used = 1;
  for (int steps = 0; node->fd < 0; ++steps) {
    // The one nearest to the root that has no descriptor.
    Node* missing = node;
    Node* parent = TRY(nodes_.Get(node->parent));
    while (parent->fd < 0 && ++steps < kMostSteps) {
      missing = parent;
      parent = TRY(nodes_.Get(parent->parent));
    }
    if (steps >= kMostSteps) return Errno(ENFILE);
    Result<UniqueFd> fd = OpenPath(parent->fd, nodes_.NameOf(*missing));
    if (!fd.ok()) return fd.error() == Errno(ENOENT) ? Errno(ESTALE) : fd.error();
    const Attr attr = TRY(Stat(fd->get()));
    if (attr.ino != missing->ino || (attr.mode & S_IFMT) != missing->type) return Errno(ESTALE);
    missing->used = 1;
    TRY(nodes_.SetFd(*missing, *std::move(fd)));
  }
  return node;
}

Result<WalkedNode> FileService::AddChild(const Node& parent, const char* name, NodeId parent_id) {
  // Adding a node does not move the parent: the table is fixed.
  UniqueFd fd = TRY(OpenPath(parent.fd, name));
  WalkedNode walked;
  walked.attr = TRY(Stat(fd.get()));
  const Origin origin{.parent = parent_id, .ino = walked.attr.ino, .name = name};
  walked.id = TRY(nodes_.Add(std::move(fd), parent.export_index, walked.attr.mode & S_IFMT,
                             parent_id != NodeId::kNone ? &origin : nullptr));
  return walked;
}

Status FileService::Walk(Operation& op) {
  WalkedNode walked[kMaxWalk];
  uint32_t count = 0;
  const Node* parent = op.node;
  const bool by_name = (op.request.flags & kWalkByName) != 0 && KeepsNames(*parent);
  NodeId parent_id = op.request.node;
  Status stop = kOk;
  while (count < op.request.name_count) {
    if (!S_ISDIR(parent->type)) {
      if (!S_ISLNK(parent->type)) stop = Errno(ENOTDIR);
      break;
    }
    const Result<WalkedNode> child =
        AddChild(*parent, op.names[count], by_name ? parent_id : NodeId::kNone);
    if (!child.ok()) {
      stop = child.error();
      break;
    }
    walked[count++] = *child;
    parent_id = child->id;
    parent = *nodes_.Get(parent_id);
    nodes_.set_busy(parent_id);
  }
  // Out of descriptors: all or nothing, so that the client can make room and try again.
  const int error = stop.ok() ? 0 : stop.error().code();
  if (error == ENFILE || error == EMFILE) {
    for (uint32_t i = 0; i < count; ++i) nodes_.Forget(walked[i].id);
    return Errno(error);
  }
  Put(op.out, op.response, walked, count * sizeof(WalkedNode));
  op.response.count = count;
  op.response.walk_error = error;
  return kOk;
}

Status FileService::GetAttr(Operation& op) {
  op.response.attr = TRY(Stat(op.node->fd));
  return kOk;
}

Status FileService::Open(Operation& op) {
  const int flags = static_cast<int>(op.request.flags);
  switch (op.node->type) {
    case S_IFREG:
      break;
    case S_IFIFO:
      if (!policy_.open_fifos) return Errno(ENXIO);
      op.fd = TRY(Reopen(op.node->fd, (flags & O_ACCMODE) | O_NONBLOCK));
      return kOk;
    case S_IFLNK:
      return Errno(ELOOP);
    case S_IFDIR:
      return Errno(EISDIR);  // Through its descriptor the sentry could reach `..`.
    default:
      return Errno(ENXIO);
  }
  if ((flags & O_DIRECTORY) != 0) return Errno(ENOTDIR);
  if ((flags & O_ACCMODE) == O_ACCMODE) return Errno(EINVAL);
  const bool writes = (flags & O_ACCMODE) != O_RDONLY || (flags & O_TRUNC) != 0;
  if (writes && !Writable(*op.node)) return Errno(EROFS);
  op.fd = TRY(Reopen(op.node->fd, flags & kOpenFlags));
  return kOk;
}

Status FileService::ReadLink(Operation& op) {
  if (!S_ISLNK(op.node->type)) return Errno(EINVAL);
  const ssize_t size =
      readlinkat(op.node->fd, "", reinterpret_cast<char*>(op.out.data()), kMaxPath);
  if (size < 0) return Errno::Last();
  op.response.payload_size = static_cast<uint32_t>(size);
  return kOk;
}

Status FileService::StatFs(Operation& op) {
  const gofer::StatFs stat = TRY(StatFileSystem(op.node->fd));
  Put(op.out, op.response, &stat, sizeof(stat));
  return kOk;
}

Status FileService::Sync(Operation& op) {
  const UniqueFd directory = TRY(Reopen(op.node->fd, O_RDONLY | O_DIRECTORY));
  return Checked(fsync(directory.get()));
}

Status FileService::GetXattr(Operation& op) {
  const ssize_t size =
      getxattr(FdPath(op.node->fd).c_str(), op.names[0], op.out.data(), op.out.size());
  if (size < 0) return Errno::Last();
  op.response.payload_size = static_cast<uint32_t>(size);
  return kOk;
}

Status FileService::ListXattr(Operation& op) {
  const ssize_t size =
      listxattr(FdPath(op.node->fd).c_str(), reinterpret_cast<char*>(op.out.data()), op.out.size());
  if (size < 0) return Errno::Last();
  op.response.payload_size = static_cast<uint32_t>(size);
  return kOk;
}

Status FileService::NewUnnamed(Operation& op) {
  op.fd = TRY(CreateUnnamed(op.node->fd));
  return kOk;
}

Status FileService::ForgetMany(Operation& op) {
  const size_t count = op.value.size() / sizeof(NodeId);
  if (op.request.count > count) return Errno(EINVAL);
  for (uint32_t i = 0; i < op.request.count; ++i) {
    NodeId id;
    memcpy(&id, op.value.data() + i * sizeof(id), sizeof(id));
    nodes_.Forget(id);
  }
  return kOk;
}

}  // namespace gofer
