// New programs, processes and threads.
#ifndef SYSCALLS_EXEC_H_
#define SYSCALLS_EXEC_H_

#include <cstddef>
#include <cstdint>

#include "syscalls/syscall.h"

namespace syscalls {

// All have disposition context.
Control Execve(Task& task, Context& context, UserCString path, UserPtr<const uint64_t> argv,
               UserPtr<const uint64_t> envp);
Control Execveat(Task& task, Context& context, Fd dirfd, UserCString path,
                 UserPtr<const uint64_t> argv, UserPtr<const uint64_t> envp, int flags);
Result<int64_t> Clone(Task& task, Context& context, uint64_t flags, uint64_t stack,
                      UserPtr<int> parent_tid, UserPtr<int> child_tid, uint64_t tls);
// `args` is a struct clone_args of `size` bytes.
Result<int64_t> Clone3(Task& task, Context& context, UserAddr args, size_t size);
Result<int64_t> Fork(Task& task, Context& context);
Result<int64_t> Vfork(Task& task, Context& context);

}  // namespace syscalls

#endif  // SYSCALLS_EXEC_H_
