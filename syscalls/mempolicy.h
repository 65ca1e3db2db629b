// Memory policies (numa(7)) on a machine of one node.
#ifndef SYSCALLS_MEMPOLICY_H_
#define SYSCALLS_MEMPOLICY_H_

#include "syscalls/syscall.h"

namespace syscalls {

Status SetMempolicy(Task& task, int mode, UserAddr nodes, uint64_t max_node);
Status GetMempolicy(Task& task, UserPtr<int> mode, UserAddr nodes, uint64_t max_node, uint64_t addr,
                    uint64_t flags);
Status Mbind(Task& task, uint64_t addr, uint64_t length, uint64_t mode, UserAddr nodes,
             uint64_t max_node, uint32_t flags);
Status SetMempolicyHomeNode(Task& task, uint64_t addr, uint64_t length, uint64_t node,
                            uint64_t flags);
Status MigratePages(Task& task, int pid, uint64_t max_node, UserAddr from, UserAddr to);
Status MovePages(Task& task, int pid, uint64_t count, UserPtr<const uint64_t> pages,
                 UserPtr<const int> nodes, UserPtr<int> status, int flags);

}  // namespace syscalls

#endif  // SYSCALLS_MEMPOLICY_H_
