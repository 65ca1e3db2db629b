#include "gofer/server/node_table.h"

#include <sys/mman.h>
#include <unistd.h>

namespace gofer {

Status NodeTable::Init(uint32_t limit) {
  // Mapped, not allocated: untouched pages cost nothing, and no growing needs a host call later.
  void* memory = mmap(nullptr, limit * sizeof(Node), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return Errno::Last();
  nodes_ = static_cast<Node*>(memory);
  limit_ = limit;
  return kOk;
}

NodeTable::~NodeTable() {
  if (nodes_ == nullptr) return;
  for (uint32_t i = 0; i < used_; ++i) {
    if (nodes_[i].type != 0) close(nodes_[i].fd);
  }
  munmap(nodes_, limit_ * sizeof(Node));
}

Result<Node*> NodeTable::Get(NodeId id) const {
  const uint32_t index = NodeIndex(id);
  if (index >= used_) return Errno(EBADF);
  Node& node = nodes_[index];
  if (node.type == 0 || node.generation != NodeGeneration(id)) return Errno(ESTALE);
  return &node;
}

Result<NodeId> NodeTable::Add(UniqueFd fd, uint16_t export_index, uint16_t type) {
  if (type == kStream ? in_use_ >= limit_ : full()) return Errno(ENFILE);
  uint32_t index = used_;
  if (free_head_ != kNoIndex) {
    index = free_head_;
    free_head_ = static_cast<uint32_t>(nodes_[index].fd);
  } else {
    ++used_;
  }
  ++in_use_;
  Node& node = nodes_[index];
  node.fd = fd.release();
  ++node.generation;
  node.export_index = export_index;
  node.type = type;
  return MakeNodeId(index, node.generation);
}

void NodeTable::Forget(NodeId id) {
  const Result<Node*> found = Get(id);
  const uint32_t index = NodeIndex(id);
  if (!found.ok() || index < pinned_) return;
  Node& node = **found;
  close(node.fd);
  --in_use_;
  node.type = 0;
  node.fd = static_cast<int>(free_head_);
  free_head_ = index;
}

}  // namespace gofer
