// What the sentry and the gofer say to each other: fixed structs, one request and one response in
// each slot of the ring (gofer/protocol/ring.h), with names, values and directory entries in the
// slot's payload. The gofer trusts nothing of a request: it copies it once, then checks the copy.
#ifndef GOFER_PROTOCOL_MESSAGES_H_
#define GOFER_PROTOCOL_MESSAGES_H_

#include <cstddef>
#include <cstdint>
#include <type_traits>

namespace gofer {

// A file known to the gofer: index in the low half, generation in the high one, so that a
// forgotten id never names another file by accident.
enum class NodeId : uint64_t { kNone = 0 };

constexpr NodeId MakeNodeId(uint32_t index, uint32_t generation) {
  return static_cast<NodeId>(uint64_t{generation} << 32 | index);
}
constexpr uint32_t NodeIndex(NodeId id) { return static_cast<uint32_t>(id); }
constexpr uint32_t NodeGeneration(NodeId id) {
  return static_cast<uint32_t>(static_cast<uint64_t>(id) >> 32);
}
// The root of export number `index`. Never forgotten.
constexpr NodeId RootNode(uint32_t index) { return MakeNodeId(index, 1); }

inline constexpr size_t kMaxName = 255;
inline constexpr size_t kMaxPath = 4096;  // Of a symlink's target, with its NUL.
inline constexpr size_t kMaxWalk = 16;
inline constexpr size_t kMaxXattrName = 255;
inline constexpr size_t kPayloadSize = 64 * 1024;
inline constexpr size_t kMaxXattrValue = 32 * 1024;
inline constexpr size_t kMaxPiggybackForgets = 16;
inline constexpr size_t kMaxForgets = kPayloadSize / sizeof(NodeId);
inline constexpr uint32_t kNoOwner = UINT32_MAX;  // Leave uid or gid as the host sets it.

enum class Op : uint32_t {
  // node, names, flags (kWalkByName) -> walk_error, payload: count * WalkedNode.
  kWalk = 1,
  // node -> attr.
  kGetAttr,
  // node, flags (open(2)) -> the descriptor on the socket. A fifo's (see Policy) never blocks.
  kOpen,
  // node (a directory, or the stream of an earlier answer), offset, flags (kReadDir*)
  // -> payload: count * DirectoryRecord; offset to go on from; node: the stream to go on with, or
  // kNone at the end.
  kReadDir,
  // node -> payload: the target.
  kReadLink,
  // node -> payload: StatFs.
  kStatFs,
  // node, name -> payload: the value.
  kGetXattr,
  // node -> payload: the names, each with its NUL.
  kListXattr,
  // node, valid (SetAttrField), mode, uid, gid, offset (the size), times -> attr.
  kSetAttr,
  // node (the directory), name, flags (open(2)), mode, uid, gid -> payload: WalkedNode, and the
  // open descriptor on the socket. Always exclusive.
  kCreate,
  // node, name, mode, uid, gid -> payload: WalkedNode.
  kMkdir,
  // node, name, mode with S_IFREG or S_IFIFO, uid, gid -> payload: WalkedNode.
  kMknod,
  // node, name, target, uid, gid -> payload: WalkedNode.
  kSymlink,
  // node (the file), node2 (the directory), name -> attr.
  kLink,
  // node, name, flags (0 or AT_REMOVEDIR).
  kUnlink,
  // node, node2, name, name, flags (RENAME_NOREPLACE, RENAME_EXCHANGE).
  kRename,
  // node, name, flags (XATTR_*), value (value_size bytes behind the name's NUL).
  kSetXattr,
  // node, name.
  kRemoveXattr,
  // payload: count * NodeId.
  kForget,
  // node (the root of a filestore) -> a new file without a name, open for both, on the socket.
  kNewUnnamed,
  // node (a socket), flags (SOCK_STREAM, SOCK_DGRAM or SOCK_SEQPACKET) -> a socket that is connected
  // to it, on the socket. It never blocks. Policy::connect_sockets.
  kConnect,
  // node (a directory), name, flags (as above), mode, uid, gid -> payload: WalkedNode, and the
  // socket that has this name now, on the socket. Policy::bind_sockets.
  kBind,
  // node (a directory) -> what is in it is on the disk: the sentry has no descriptor to sync.
  kSync,
};
inline constexpr uint32_t kOpCount = static_cast<uint32_t>(Op::kSync) + 1;

struct Time {
  int64_t seconds = 0;
  uint32_t nanoseconds = 0;
  uint32_t reserved = 0;
};

struct Attr {
  uint64_t ino = 0;
  uint64_t dev = 0;   // As in stat(2).
  uint64_t rdev = 0;  // Likewise.
  uint64_t size = 0;
  uint64_t blocks = 0;
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint32_t nlink = 0;
  uint32_t blksize = 0;
  uint32_t reserved = 0;
  Time atime;
  Time mtime;
  Time ctime;
  Time btime;  // Zero where the file system has none.
};
static_assert(sizeof(Attr) == 128);

struct WalkedNode {
  NodeId id = NodeId::kNone;
  Attr attr;
};

struct StatFs {
  uint64_t type = 0;
  uint64_t block_size = 0;
  uint64_t blocks = 0;
  uint64_t blocks_free = 0;
  uint64_t blocks_available = 0;
  uint64_t files = 0;
  uint64_t files_free = 0;
  uint64_t name_length = 0;
  uint64_t fragment_size = 0;
  uint64_t flags = 0;
};

// Followed by the attributes if they were asked for, or by a WalkedNode, then by the name without a
// NUL, then by padding up to a multiple of eight.
struct DirectoryRecord {
  uint64_t ino = 0;
  uint64_t offset = 0;  // Where to go on after this entry.
  uint8_t type = 0;     // DT_*.
  uint8_t name_size = 0;
  uint8_t has_attr = 0;  // An entry that vanished meanwhile comes without.
  uint8_t has_node = 0;  // The attributes are in a WalkedNode.
  uint8_t reserved[4] = {};
};
static_assert(sizeof(DirectoryRecord) == 24);

// What stands between a record and its name.
constexpr size_t DirectoryRecordExtra(bool has_attr, bool has_node) {
  return has_node ? sizeof(WalkedNode) : has_attr ? sizeof(Attr) : 0;
}
constexpr size_t DirectoryRecordSize(size_t extra, size_t name_size) {
  return (sizeof(DirectoryRecord) + extra + name_size + 7) & ~size_t{7};
}

inline constexpr uint32_t kReadDirAttributes = 1;
// Each entry but "." and ".." is walked to as well, by name (kWalkByName). EINVAL in an export that
// can be written to.
inline constexpr uint32_t kReadDirNodes = 2;
// The names stay what they are, as far as the client is concerned: the gofer may close the nodes'
// descriptors and open them again by name. ESTALE if that is another file meanwhile. Has no effect
// in an export that can be written to.
inline constexpr uint32_t kWalkByName = 1;

enum SetAttrField : uint32_t {
  kSetMode = 1,
  kSetUid = 2,
  kSetGid = 4,
  kSetSize = 8,
  kSetAtime = 16,
  kSetMtime = 32,
  kSetAtimeNow = 64,
  kSetMtimeNow = 128,
};

// The payload of a request starts with `name_count` names, each with its NUL, back to back. What
// an operation does not use is ignored.
struct Request {
  uint64_t tag = 0;  // Comes back with a descriptor.
  Op op = Op::kGetAttr;
  uint32_t flags = 0;
  NodeId node = NodeId::kNone;
  NodeId node2 = NodeId::kNone;
  uint64_t offset = 0;
  uint32_t mode = 0;
  uint32_t uid = kNoOwner;
  uint32_t gid = kNoOwner;
  uint32_t valid = 0;
  Time atime;
  Time mtime;
  uint32_t payload_size = 0;
  uint32_t value_size = 0;
  uint32_t count = 0;  // Of ids in the payload (kForget).
  uint16_t name_count = 0;
  uint16_t forget_count = 0;  // Of `forgets`, dropped before the operation.
  uint32_t client_cpu = 0;    // A hint: the gofer does not spin on the cpu of its client.
  uint32_t reserved = 0;
  NodeId forgets[kMaxPiggybackForgets] = {};
};
static_assert(std::is_trivially_copyable_v<Request>);

struct Response {
  int32_t error = 0;  // An errno, or 0.
  uint32_t payload_size = 0;
  uint32_t count = 0;
  int32_t walk_error = 0;  // Why a walk stopped early: an errno, or 0 at a symlink.
  NodeId node = NodeId::kNone;
  uint64_t offset = 0;
  uint32_t has_fd = 0;  // A descriptor was sent, before this response.
  uint32_t reserved = 0;
  Attr attr;
};
static_assert(std::is_trivially_copyable_v<Response>);

// The only message from the gofer on the socket: goes with one descriptor. The other way, any
// message is a doorbell and its content is ignored.
struct FdMessage {
  uint64_t tag = 0;
};

}  // namespace gofer

#endif  // GOFER_PROTOCOL_MESSAGES_H_
