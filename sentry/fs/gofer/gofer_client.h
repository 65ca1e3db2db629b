// The sentry's connection to its gofer: one blocking call for each operation of
// gofer/protocol/messages.h.
#ifndef SENTRY_FS_GOFER_GOFER_CLIENT_H_
#define SENTRY_FS_GOFER_GOFER_CLIENT_H_

#include <atomic>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/inlined_vector.h"
#include "absl/functional/function_ref.h"
#include "absl/synchronization/mutex.h"
#include "base/result.h"
#include "base/unique_fd.h"
#include "gofer/protocol/messages.h"
#include "gofer/protocol/ring.h"
#include "platform/api/platform.h"

namespace sentry {

// Nodes for the first nodes.size() names. Where these are not all: `stop` says why, as an errno
// (ENOENT: the next name does not exist), or 0: the last node is a symlink.
struct GoferWalkResult {
  absl::InlinedVector<gofer::WalkedNode, 1> nodes;
  int stop = 0;
};

struct GoferCreatedFile {
  gofer::WalkedNode node;
  UniqueFd fd;
};
// The owner and mode of a new file. kNoOwner leaves the choice to the host.
struct GoferNewFile {
  uint32_t mode = 0;
  uint32_t uid = gofer::kNoOwner;
  uint32_t gid = gofer::kNoOwner;
};

struct GoferSetAttr {
  uint32_t valid = 0;  // gofer::SetAttrField
  uint32_t mode = 0;
  uint32_t uid = 0;
  uint32_t gid = 0;
  uint64_t size = 0;
  gofer::Time atime;
  gofer::Time mtime;
};

struct GoferDirectoryEntry {
  std::string_view name;  // Valid during the visit.
  uint64_t ino = 0;
  uint64_t offset = 0;  // The `offset` of a cursor that continues behind this entry.
  uint8_t type = 0;     // DT_*.
  // Null if not asked for or already gone. Valid during the visit.
  const gofer::Attr* attr = nullptr;
  gofer::NodeId node = gofer::NodeId::kNone;  // The visitor's, if it was asked for and is there.
};
// Where a listing stands. Set `offset` (0, or that of an entry) and clear `at_end` to seek.
struct GoferDirectoryCursor {
  gofer::NodeId directory = gofer::NodeId::kNone;
  gofer::NodeId stream = gofer::NodeId::kNone;  // Open while a listing takes several calls.
  uint64_t offset = 0;
  bool at_end = false;
};

// Owned by the mount that made the connection. Thread-safe; up to gofer::kSlotCount calls are under
// way at a time, more wait. Once the gofer is dead every call answers EIO.
//
// Every NodeId that a call returns is the caller's until it gives it to Forget; the gofer holds a
// descriptor for each. An id must not be forgotten while a call with it is under way.
class GoferClient {
 public:
  using NodeId = gofer::NodeId;
  using Attr = gofer::Attr;
  using WalkedNode = gofer::WalkedNode;

  using WalkResult = GoferWalkResult;
  using CreatedFile = GoferCreatedFile;
  using NewFile = GoferNewFile;
  using SetAttrRequest = GoferSetAttr;
  using DirectoryEntry = GoferDirectoryEntry;
  using DirectoryCursor = GoferDirectoryCursor;
  // kNodes: as well as nodes, as if walked to by name; EINVAL in an export that can be written to.
  enum class Attributes : uint32_t {
    kNo = 0,
    kYes = gofer::kReadDirAttributes,
    kNodes = gofer::kReadDirAttributes | gofer::kReadDirNodes,
  };
  // Whether a node of a read-only export stands for the file, or for its name: that saves
  // descriptors, and answers ESTALE when the host has put another file there.
  enum class By : uint32_t { kFile = 0, kName = gofer::kWalkByName };
  enum class UnlinkKind : uint8_t { kFile, kDirectory };
  using DirectoryVisitor = absl::FunctionRef<void(const DirectoryEntry&)>;

  // `hooks` must outlive the client; they are called only around real sleeps.
  static Result<std::unique_ptr<GoferClient>> Create(UniqueFd socket, UniqueFd ring,
                                                     platform::BlockingHooks& hooks);
  GoferClient(const GoferClient&) = delete;
  GoferClient& operator=(const GoferClient&) = delete;
  ~GoferClient();

  // Up to kMaxWalk names. Fails only if `parent` is no directory or the gofer does not answer.
  Result<WalkResult> Walk(NodeId parent, std::span<const std::string_view> names);
  // A walk of one name: ENOENT if there is none.
  Result<WalkedNode> Lookup(NodeId parent, std::string_view name, By by = By::kFile);
  Result<Attr> GetAttr(NodeId node);
  // Regular files only: a descriptor of a directory would lead out of the root (`..`), so
  // directories are EISDIR; other types are ENXIO. `flags` as in open(2), reduced to access mode,
  // O_TRUNC, O_APPEND, O_SYNC, O_DSYNC and O_DIRECTORY.
  Result<UniqueFd> Open(NodeId node, int flags);
  // Visits a batch of entries, `.` and `..` among them, and moves the cursor. No call of this
  // client may be made from `visit`.
  Status ReadDir(DirectoryCursor& cursor, Attributes attributes, DirectoryVisitor visit);
  // Gives up a listing that may not have come to its end.
  void CloseDirectory(DirectoryCursor& cursor);
  Result<std::string> ReadLink(NodeId node);
  Result<gofer::StatFs> StatFs(NodeId node);
  // fsync(2) of a directory; files are synced by their descriptors.
  Status Sync(NodeId directory);
  Result<std::string> GetXattr(NodeId node, std::string_view name);
  // The names, each with its NUL, as listxattr(2) gives them.
  Result<std::string> ListXattr(NodeId node);

  Result<Attr> SetAttr(NodeId node, const SetAttrRequest& request);
  // A new regular file, opened with `flags`; EEXIST if the name is taken, whatever `flags` say.
  Result<CreatedFile> CreateFile(NodeId parent, std::string_view name, int flags,
                                 const NewFile& file);
  Result<WalkedNode> Mkdir(NodeId parent, std::string_view name, const NewFile& file);
  // S_IFREG or S_IFIFO in `file.mode`.
  Result<WalkedNode> Mknod(NodeId parent, std::string_view name, const NewFile& file);
  Result<WalkedNode> Symlink(NodeId parent, std::string_view name, std::string_view target,
                             const NewFile& file);
  // The attributes of `node` with its new link count.
  Result<Attr> Link(NodeId node, NodeId parent, std::string_view name);
  Status Unlink(NodeId parent, std::string_view name, UnlinkKind kind);
  // `flags`: RENAME_NOREPLACE, RENAME_EXCHANGE.
  Status Rename(NodeId from, std::string_view from_name, NodeId to, std::string_view to_name,
                uint32_t flags);
  Status SetXattr(NodeId node, std::string_view name, std::string_view value, int flags);
  Status RemoveXattr(NodeId node, std::string_view name);

  // Sockets of the host: gofer::Op::kConnect and kBind. `type`: SOCK_*.
  Result<UniqueFd> Connect(NodeId node, uint32_t type);
  Result<CreatedFile> Bind(NodeId parent, std::string_view name, uint32_t type,
                           const NewFile& file);

  // A file without a name in the filestore that export `index` is.
  Result<UniqueFd> NewUnnamed(uint32_t index);

  // Never blocks and never fails: ids travel with later requests.
  void Forget(NodeId node);

  // True once the gofer has been found dead.
  bool dead() const { return dead_.load(std::memory_order_relaxed); }

 private:
  class Call;

  GoferClient(UniqueFd socket, gofer::RingMapping ring, platform::BlockingHooks& hooks);

  // The connection (connection.cc): slots, the hand-over, descriptors, forgotten ids.
  uint32_t TakeSlot() ABSL_LOCKS_EXCLUDED(mu_);
  void ReturnSlot(uint32_t slot) ABSL_LOCKS_EXCLUDED(mu_);
  bool HasFreeSlotLocked() const ABSL_SHARED_LOCKS_REQUIRED(mu_) { return free_slots_ != 0; }
  // Moves up to `ids.size()` forgotten ids there; returns how many.
  size_t TakeForgotten(std::span<NodeId> ids) ABSL_LOCKS_EXCLUDED(mu_);
  // Sends forgotten ids through `slot` when they are too many to travel with other requests.
  void SendForgotten(uint32_t slot);
  // Sends the request that was filled in and waits for the answer, which it copies.
  Result<gofer::Response> Exchange(uint32_t slot);
  // Hands `slot` over and waits until the gofer has answered.
  Status HandOver(uint32_t slot);
  Status Sleep(gofer::Slot& slot);
  // Wakes the gofer. False if it is dead.
  bool RingDoorbell();
  Errno Died();
  // The descriptor that was sent for the request `tag` in `slot`.
  Result<UniqueFd> TakeFd(uint32_t slot, uint64_t tag) ABSL_LOCKS_EXCLUDED(receive_mu_);
  Status ReceiveFdLocked() ABSL_EXCLUSIVE_LOCKS_REQUIRED(receive_mu_);

  static Result<WalkedNode> OneNode(Call& call);
  Result<CreatedFile> CreateOpen(gofer::Op op, NodeId parent, std::string_view name, uint32_t flags,
                                 const NewFile& file);

  const UniqueFd socket_;
  const gofer::RingMapping ring_;
  platform::BlockingHooks& hooks_;
  const bool spinning_pays_;
  std::atomic<bool> dead_ = false;
  std::atomic<uint64_t> next_tag_ = 1;

  absl::Mutex mu_;  // Leaf.
  uint32_t free_slots_ ABSL_GUARDED_BY(mu_) = UINT32_MAX;
  std::vector<NodeId> forgotten_ ABSL_GUARDED_BY(mu_);
  std::atomic<size_t> forgotten_count_ = 0;  // Of forgotten_, to be read without the lock.

  struct ReceivedFd {
    uint64_t tag = 0;
    UniqueFd fd;
  };
  absl::Mutex receive_mu_;  // Leaf.
  ReceivedFd received_[gofer::kSlotCount] ABSL_GUARDED_BY(receive_mu_);
};

}  // namespace sentry

#endif  // SENTRY_FS_GOFER_GOFER_CLIENT_H_
