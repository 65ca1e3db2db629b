// From file to file without the application's memory.
#ifndef SYSCALLS_COPY_H_
#define SYSCALLS_COPY_H_

#include "syscalls/abi_types.h"
#include "syscalls/syscall.h"

namespace syscalls {

Result<int64_t> Sendfile(Task& task, Fd out, Fd in, UserPtr<int64_t> offset, uint64_t count);
Result<int64_t> CopyFileRange(Task& task, Fd in, UserPtr<int64_t> in_offset, Fd out,
                              UserPtr<int64_t> out_offset, uint64_t count, uint32_t flags);
Result<int64_t> Splice(Task& task, Fd in, UserPtr<int64_t> in_offset, Fd out,
                       UserPtr<int64_t> out_offset, uint64_t count, uint32_t flags);
Result<int64_t> Vmsplice(Task& task, Fd fd, UserPtr<const abi::Iovec> iov, uint64_t count,
                         uint32_t flags);
Result<int64_t> Tee(Task& task, Fd in, Fd out, uint64_t count, uint32_t flags);

}  // namespace syscalls

#endif  // SYSCALLS_COPY_H_
