// The files that the sentry has walked to.
#ifndef GOFER_SERVER_NODE_TABLE_H_
#define GOFER_SERVER_NODE_TABLE_H_

#include <cstdint>

#include "base/result.h"
#include "base/unique_fd.h"
#include "gofer/protocol/messages.h"

namespace gofer {

// Of a Node: the S_IFMT bits of a walked file, which never change, or kStream for a directory that
// is being read.
inline constexpr uint16_t kStream = 1;

// All zero while it has never been in use, so that the table costs no memory before that.
struct Node {
  int fd;  // O_PATH, except a stream's. While free: the next free index.
  uint32_t generation;
  uint16_t export_index;
  uint16_t type;      // S_IFMT bits or kStream; 0 while free.
  uint64_t position;  // Of a stream: where the next entry is read from.
};

// A fixed number of nodes, each with a descriptor. Owned by the FileService, used by one thread.
class NodeTable {
 public:
  NodeTable() = default;
  NodeTable(const NodeTable&) = delete;
  NodeTable& operator=(const NodeTable&) = delete;
  ~NodeTable();
  // Makes room for `limit` nodes. Call once, first.
  Status Init(uint32_t limit);

  // EBADF for an id that was never given out, ESTALE for a forgotten one. Valid until the next Add
  // or Forget.
  Result<Node*> Get(NodeId id) const;
  // ENFILE when the table is full.
  Result<NodeId> Add(UniqueFd fd, uint16_t export_index, uint16_t type);
  // No room for files; streams have some more, so that a listing goes on while names are cached.
  bool full() const { return in_use_ >= limit_ - reserve(); }
  // Ignores what is no forgettable node.
  void Forget(NodeId id);
  // The nodes added so far are the roots, and stay.
  void PinAll() { pinned_ = used_; }

 private:
  static constexpr uint32_t kNoIndex = INT32_MAX;
  uint32_t reserve() const { return limit_ / 8 < 64 ? limit_ / 8 : 64; }

  Node* nodes_ = nullptr;
  uint32_t limit_ = 0;
  uint32_t used_ = 0;  // Beyond, no node was ever in use.
  uint32_t in_use_ = 0;
  uint32_t pinned_ = 0;
  uint32_t free_head_ = kNoIndex;
};

}  // namespace gofer

#endif  // GOFER_SERVER_NODE_TABLE_H_
