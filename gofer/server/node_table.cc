#include "gofer/server/node_table.h"

#include <sys/mman.h>
#include <unistd.h>

namespace gofer {

Status NodeTable::Init(uint32_t limit) {
  // Mapped, not allocated: untouched pages cost nothing, and no growing needs a host call later.
  void* memory = mmap(nullptr, kMostNodes * sizeof(Node), PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (memory == MAP_FAILED) return Errno::Last();
  nodes_ = static_cast<Node*>(memory);
  limit_ = limit;
  return names_.Init(kMostNodes * size_t{64});
}

NodeTable::~NodeTable() {
  if (nodes_ == nullptr) return;
  for (uint32_t i = 0; i < used_; ++i) {
    if (nodes_[i].type != 0 && nodes_[i].fd >= 0) close(nodes_[i].fd);
  }
  munmap(nodes_, kMostNodes * sizeof(Node));
}

Result<Node*> NodeTable::Get(NodeId id) const {
  const uint32_t index = NodeIndex(id);
  if (index >= used_) return Errno(EBADF);
  Node& node = nodes_[index];
  if (node.type == 0 || node.generation != NodeGeneration(id)) return Errno(ESTALE);
  return &node;
}

bool NodeTable::full() {
  while (open_ >= limit_ - reserve()) {
    if (!CloseOne()) return true;
  }
  return false;
}

bool NodeTable::CloseOne() {
  if (reopenable_ == 0) return false;
  // Twice around: the first time may only clear marks.
  for (uint64_t steps = 2 * uint64_t{used_}; steps > 0; --steps) {
    if (++hand_ >= used_) hand_ = 0;
    Node& node = nodes_[hand_];
    if (node.type == 0 || node.fd < 0 || node.name == 0 || hand_ == busy_) continue;
    if (node.used) {
      node.used = 0;
      continue;
    }
    close(node.fd);
    node.fd = -1;
    --open_;
    --reopenable_;
    return true;
  }
  return false;
}

Result<NodeId> NodeTable::Add(UniqueFd fd, uint16_t export_index, uint16_t type,
                              const Origin* origin) {
  const bool has_room = !fd.valid() || (type == kStream ? open_ < limit_ : !full());
  if (!has_room || (free_head_ == kNoIndex && used_ >= kMostNodes)) return Errno(ENFILE);
  const uint32_t name = origin != nullptr ? names_.Add(origin->name) : 0;
  if (origin != nullptr && name == 0) return Errno(ENFILE);
  uint32_t index = used_;
  if (free_head_ != kNoIndex) {
    index = free_head_;
    free_head_ = static_cast<uint32_t>(nodes_[index].fd);
  } else {
    ++used_;
  }
  Node& node = nodes_[index];
  ++node.generation;
  node.export_index = export_index;
  node.type = type;
  node.name = name;
  node.used = 1;
  node.position = 0;
  if (origin != nullptr) {
    node.parent = origin->parent;
    node.ino = origin->ino;
  }
  if (fd.valid()) {
    ++open_;
    reopenable_ += name != 0;
  }
  node.fd = fd.release();
  return MakeNodeId(index, node.generation);
}

Status NodeTable::SetFd(Node& node, UniqueFd fd) {
  if (full()) return Errno(ENFILE);
  node.fd = fd.release();
  ++open_;
  ++reopenable_;
  return kOk;
}

void NodeTable::Forget(NodeId id) {
  const Result<Node*> found = Get(id);
  const uint32_t index = NodeIndex(id);
  if (!found.ok() || index < pinned_) return;
  Node& node = **found;
  if (node.fd >= 0) {
    close(node.fd);
    --open_;
    reopenable_ -= node.name != 0;
  }
  names_.Remove(node.name);
  node.name = 0;
  node.type = 0;
  node.fd = static_cast<int>(free_head_);
  free_head_ = index;
}

}  // namespace gofer
