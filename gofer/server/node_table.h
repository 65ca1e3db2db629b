// The files that the sentry has walked to.
#ifndef GOFER_SERVER_NODE_TABLE_H_
#define GOFER_SERVER_NODE_TABLE_H_

#include <cstdint>
#include <string_view>

#include "base/result.h"
#include "base/unique_fd.h"
#include "gofer/protocol/messages.h"
#include "gofer/server/name_store.h"

namespace gofer {

// Of a Node: the S_IFMT bits of a walked file, which never change, or kStream for a directory that
// is being read.
inline constexpr uint16_t kStream = 1;

// All zero while it has never been in use, so that the table costs no memory before that.
struct Node {
  int fd;  // O_PATH, except a stream's; -1 while it has to be opened by name. While free: the next
           // free index.
  uint32_t generation;
  uint16_t export_index;
  uint16_t type;       // S_IFMT bits or kStream; 0 while free.
  uint32_t name : 31;  // In the NameStore; 0 for one that cannot be opened again.
  uint32_t used : 1;   // Since the clock hand last passed.
  union {
    uint64_t position;  // Of a stream: where the next entry is read from.
    NodeId parent;      // Of one with a name.
  };
  union {
    uint64_t ino;      // Likewise: what is found there.
    NodeId directory;  // Of a stream.
  };
};
static_assert(sizeof(Node) == 32);

// By which a file can be found again.
struct Origin {
  NodeId parent;
  uint64_t ino;
  std::string_view name;  // With a NUL behind it.
};

// A bounded number of nodes, of which a bounded number have a descriptor: those with a name lose it
// when others need one. Owned by the FileService, used by one thread.
class NodeTable {
 public:
  NodeTable() = default;
  NodeTable(const NodeTable&) = delete;
  NodeTable& operator=(const NodeTable&) = delete;
  ~NodeTable();
  // `limit`: of descriptors. Call once, first.
  Status Init(uint32_t limit);

  // EBADF for an id that was never given out, ESTALE for a forgotten one. Valid until it is
  // forgotten; its descriptor until the next one is opened, unless it is busy.
  Result<Node*> Get(NodeId id) const;
  // ENFILE when the table is full. With an origin, `fd` may be empty.
  Result<NodeId> Add(UniqueFd fd, uint16_t export_index, uint16_t type,
                     const Origin* origin = nullptr);
  // Gives a node without a descriptor one. ENFILE.
  Status SetFd(Node& node, UniqueFd fd);
  const char* NameOf(const Node& node) const { return names_.Get(node.name); }
  // No room for files' descriptors, even after closing what can be opened again; streams have some
  // more, so that a listing goes on while names are cached.
  bool full();
  // The node that an operation works on, which keeps its descriptor meanwhile.
  void set_busy(NodeId id) { busy_ = NodeIndex(id); }
  // Ignores what is no forgettable node.
  void Forget(NodeId id);
  // The nodes added so far are the roots, and stay.
  void PinAll() { pinned_ = used_; }
  uint32_t open() const { return open_; }

 private:
  static constexpr uint32_t kNoIndex = INT32_MAX;
  static constexpr uint32_t kMostNodes = 1 << 20;
  uint32_t reserve() const { return limit_ / 8 < 64 ? limit_ / 8 : 64; }
  // Closes a descriptor that can be opened again, one that was not used for long. False if there is
  // none.
  bool CloseOne();

  Node* nodes_ = nullptr;
  NameStore names_;
  uint32_t limit_ = 0;  // Of descriptors.
  uint32_t used_ = 0;   // Beyond, no node was ever in use.
  uint32_t open_ = 0;
  uint32_t reopenable_ = 0;  // Of the open ones.
  uint32_t pinned_ = 0;
  uint32_t busy_ = 0;
  uint32_t hand_ = 0;
  uint32_t free_head_ = kNoIndex;
};

}  // namespace gofer

#endif  // GOFER_SERVER_NODE_TABLE_H_
