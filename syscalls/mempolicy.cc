#include "syscalls/mempolicy.h"

#include <linux/capability.h>
#include <linux/mempolicy.h>

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "sentry/mm/host_maps.h"
#include "sentry/task/kernel.h"
#include "syscalls/common.h"
#include "syscalls/memory.h"
#include "syscalls/process_vm.h"

namespace syscalls {
namespace {

using sentry::HostRange;
using sentry::MemoryPolicy;

constexpr uint32_t kWeightedInterleave = 6;  // MPOL_WEIGHTED_INTERLEAVE, the last mode.
constexpr uint32_t kModeFlags = MPOL_F_STATIC_NODES | MPOL_F_RELATIVE_NODES | MPOL_F_NUMA_BALANCING;
constexpr uint64_t kMaxNodes = 1024;  // MAX_NUMNODES.
constexpr uint64_t kNodeIds = 1;      // nr_node_ids: those that can be.

// get_nodes() of mm/mempolicy.c: bit 0 of the result is the node. EINVAL for numbers that no node
// has.
struct NodeSet {
  bool empty = true;
  uint64_t present = 0;
};
Result<NodeSet> ReadNodes(Task& task, UserAddr addr, uint64_t max_node) {
  --max_node;
  if (max_node == 0 || !addr) return NodeSet{};
  if (max_node > kPageSize * 8) return Errno(EINVAL);
  std::vector<uint64_t> words =
      TRY(task.mem().ReadArray(UserPtr<const uint64_t>{addr}, (max_node + 63) / 64));
  if (max_node % 64 != 0) words.back() &= (uint64_t{1} << max_node % 64) - 1;
  NodeSet set;
  for (size_t i = 0; i < words.size(); ++i) {
    if (words[i] == 0) continue;
    if (i >= kMaxNodes / 64) return Errno(EINVAL);
    set.empty = false;
  }
  set.present = words[0] & 1;
  return set;
}

// sanitize_mpol_flags() and mpol_new(): the policy to record.
// What can be said without the nodes, and is said first: sanitize_mpol_flags() of Linux.
Status CheckMode(uint64_t raw_mode) {
  const auto flags = static_cast<uint32_t>(raw_mode) & kModeFlags;
  const uint64_t mode = raw_mode & ~uint64_t{kModeFlags};
  if (mode > kWeightedInterleave) return Errno(EINVAL);
  constexpr uint32_t kBoth = MPOL_F_RELATIVE_NODES | MPOL_F_STATIC_NODES;
  if ((flags & kBoth) == kBoth) return Errno(EINVAL);
  if ((flags & MPOL_F_NUMA_BALANCING) != 0 && mode != MPOL_BIND && mode != MPOL_PREFERRED_MANY) {
    return Errno(EINVAL);
  }
  return kOk;
}

Result<MemoryPolicy> CheckPolicy(uint64_t raw_mode, const NodeSet& nodes) {
  TRY(CheckMode(raw_mode));
  const auto flags = static_cast<uint32_t>(raw_mode) & kModeFlags;
  const uint64_t mode = raw_mode & ~uint64_t{kModeFlags};
  const bool relative = (flags & MPOL_F_RELATIVE_NODES) != 0;
  const bool remapped = relative || (flags & MPOL_F_STATIC_NODES) != 0;
  if (mode == MPOL_DEFAULT)
    return nodes.empty ? MemoryPolicy{} : Result<MemoryPolicy>(Errno(EINVAL));
  const auto recorded = static_cast<uint32_t>(mode) | flags;
  if (mode == MPOL_LOCAL || (mode == MPOL_PREFERRED && nodes.empty)) {
    if (!nodes.empty || remapped) return Errno(EINVAL);
    return MemoryPolicy{.mode = MPOL_LOCAL, .nodes = 0};
  }
  // Relative numbers wrap around to the one node.
  const uint64_t present = relative && !nodes.empty ? 1 : nodes.present;
  if (present == 0) return Errno(EINVAL);
  return MemoryPolicy{.mode = recorded, .nodes = present};
}

Result<std::vector<HostRange>> HostRanges(Task& task) {
  const std::string text = TRY(task.mem().space().HostMaps());
  return sentry::ParseHostMaps(text);
}

// copy_nodes_to_user(): zeroes what is asked for beyond the nodes there are.
Status WriteNodes(Task& task, UserAddr addr, uint64_t max_node, uint64_t nodes) {
  const uint64_t bytes = (max_node - 1 + 63) / 64 * 8;
  if (bytes > kPageSize + 8) return Errno(EINVAL);
  std::vector<uint64_t> words(std::max<uint64_t>(bytes / 8, 1));
  words[0] = nodes;
  return task.mem().WriteArray(UserPtr<uint64_t>{addr},
                               std::span<const uint64_t>(words).first(bytes / 8));
}

// The end of a page-aligned range. EINVAL where mm/mempolicy.c says so.
Result<uint64_t> EndOfRange(uint64_t addr, uint64_t length) {
  if (!Aligned(addr)) return Errno(EINVAL);
  const uint64_t rounded = (length + kPageSize - 1) & ~(kPageSize - 1);
  if (addr + rounded < addr) return Errno(EINVAL);
  return addr + rounded;
}

Result<Ref<Task>> Subject(Task& task, int pid) {
  if (pid == 0) return Ref<Task>::Share(task);
  const Ref<Task> other = task.kernel().FindTask(pid);
  if (!other) return Errno(ESRCH);
  return other;
}

}  // namespace

Status SetMempolicy(Task& task, int mode, UserAddr nodes, uint64_t max_node) {
  TRY(CheckMode(static_cast<uint32_t>(mode)));
  const NodeSet set = TRY(ReadNodes(task, nodes, max_node));
  task.set_memory_policy(TRY(CheckPolicy(static_cast<uint32_t>(mode), set)));
  return kOk;
}

Status GetMempolicy(Task& task, UserPtr<int> mode, UserAddr nodes, uint64_t max_node, uint64_t addr,
                    uint64_t flags) {
  if (nodes && max_node < kNodeIds) return Errno(EINVAL);
  if ((flags & ~uint64_t{MPOL_F_NODE | MPOL_F_ADDR | MPOL_F_MEMS_ALLOWED}) != 0) {
    return Errno(EINVAL);
  }
  MemoryPolicy policy = task.memory_policy();
  int told = 0;
  if ((flags & MPOL_F_MEMS_ALLOWED) != 0) {
    if ((flags & (MPOL_F_NODE | MPOL_F_ADDR)) != 0) return Errno(EINVAL);
    policy = {.mode = 0, .nodes = 1};
  } else if ((flags & MPOL_F_ADDR) != 0) {
    const std::vector<HostRange> ranges = TRY(HostRanges(task));
    if (!sentry::CoversRange(ranges, addr, addr + 1)) return Errno(EFAULT);
    policy = task.mm().policies().At(addr).value_or(policy);
    // The node of the page, which is there as soon as somebody looks.
    told = (flags & MPOL_F_NODE) != 0 ? 0 : static_cast<int>(policy.mode);
  } else if (addr != 0) {
    return Errno(EINVAL);
  } else if ((flags & MPOL_F_NODE) != 0) {
    const uint32_t kind = policy.mode & ~kModeFlags;
    if (kind != MPOL_INTERLEAVE && kind != kWeightedInterleave) return Errno(EINVAL);
  } else {
    told = static_cast<int>(policy.mode);
  }
  if (mode) TRY(task.mem().Write(mode, told));
  return nodes ? WriteNodes(task, nodes, max_node, policy.nodes) : Status(kOk);
}

Status Mbind(Task& task, uint64_t addr, uint64_t length, uint64_t mode, UserAddr nodes,
             uint64_t max_node, uint32_t flags) {
  TRY(CheckMode(mode));
  const NodeSet set = TRY(ReadNodes(task, nodes, max_node));
  if ((flags & ~(MPOL_MF_STRICT | MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)) != 0) return Errno(EINVAL);
  if ((flags & MPOL_MF_MOVE_ALL) != 0 && !HasCapability(task, CAP_SYS_NICE)) return Errno(EPERM);
  const uint64_t end = TRY(EndOfRange(addr, length));
  if (end == addr) return kOk;
  const MemoryPolicy policy = TRY(CheckPolicy(mode, set));
  const std::vector<HostRange> ranges = TRY(HostRanges(task));
  if (!sentry::CoversRange(ranges, addr, end)) return Errno(EFAULT);
  return task.mm().policies().Set(addr, end, policy);
}

Status SetMempolicyHomeNode(Task& task, uint64_t addr, uint64_t length, uint64_t node,
                            uint64_t flags) {
  if (!Aligned(addr) || flags != 0 || node != 0) return Errno(EINVAL);
  const uint64_t end = TRY(EndOfRange(addr, length));
  if (end == addr) return kOk;
  const std::optional<MemoryPolicy> policy = task.mm().policies().FirstIn(addr, end);
  if (!policy) return Errno(ENOENT);
  const uint32_t kind = policy->mode & ~kModeFlags;
  return kind == MPOL_BIND || kind == MPOL_PREFERRED_MANY ? Status(kOk) : Errno(EOPNOTSUPP);
}

Status MigratePages(Task& task, int pid, uint64_t max_node, UserAddr from, UserAddr to) {
  TRY(ReadNodes(task, from, max_node));
  const NodeSet target = TRY(ReadNodes(task, to, max_node));
  const Ref<Task> other = TRY(Subject(task, pid));
  TRY(MayAccessMemory(task, *other, MemoryAccess::kAttach));
  return target.present != 0 ? Status(kOk) : Errno(EINVAL);
}

Status MovePages(Task& task, int pid, uint64_t count, UserPtr<const uint64_t> pages,
                 UserPtr<const int> nodes, UserPtr<int> status, int flags) {
  constexpr uint64_t kPiece = 512;
  if ((flags & ~(MPOL_MF_MOVE | MPOL_MF_MOVE_ALL)) != 0) return Errno(EINVAL);
  if ((flags & MPOL_MF_MOVE_ALL) != 0 && !HasCapability(task, CAP_SYS_NICE)) return Errno(EPERM);
  const Ref<Task> other = TRY(Subject(task, pid));
  TRY(MayAccessMemory(task, *other, MemoryAccess::kAttach));
  const std::vector<HostRange> ranges = TRY(HostRanges(*other));
  for (uint64_t done = 0; done < count; done += kPiece) {
    const uint64_t piece = std::min(kPiece, count - done);
    const std::vector<uint64_t> addrs = TRY(task.mem().ReadArray(pages + done, piece));
    if (nodes) {
      for (const int node : TRY(task.mem().ReadArray(nodes + done, piece))) {
        if (node != 0) return Errno(ENODEV);
      }
    }
    std::vector<int> result(piece);
    for (uint64_t i = 0; i < piece; ++i) {
      const uint64_t page = addrs[i] & ~(kPageSize - 1);
      result[i] = sentry::CoversRange(ranges, page, page + 1) ? 0 : -EFAULT;
    }
    TRY(task.mem().WriteArray(status + done, std::span<const int>(result)));
  }
  return kOk;
}

}  // namespace syscalls
