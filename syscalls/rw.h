// Reading, writing and seeking.
#ifndef SYSCALLS_RW_H_
#define SYSCALLS_RW_H_

#include "syscalls/abi_types.h"
#include "syscalls/syscall.h"

namespace syscalls {

Result<int64_t> Read(Task& task, Fd fd, UserAddr buffer, uint64_t count);
Result<int64_t> Write(Task& task, Fd fd, UserAddr buffer, uint64_t count);
Result<int64_t> Pread64(Task& task, Fd fd, UserAddr buffer, uint64_t count, int64_t offset);
Result<int64_t> Pwrite64(Task& task, Fd fd, UserAddr buffer, uint64_t count, int64_t offset);
Result<int64_t> Readv(Task& task, Fd fd, UserPtr<const abi::Iovec> iov, uint64_t count);
Result<int64_t> Writev(Task& task, Fd fd, UserPtr<const abi::Iovec> iov, uint64_t count);
Result<int64_t> Preadv(Task& task, Fd fd, UserPtr<const abi::Iovec> iov, uint64_t count,
                       int64_t offset);
Result<int64_t> Pwritev(Task& task, Fd fd, UserPtr<const abi::Iovec> iov, uint64_t count,
                        int64_t offset);
Result<int64_t> Preadv2(Task& task, Fd fd, UserPtr<const abi::Iovec> iov, uint64_t count,
                        int64_t offset, uint64_t offset_high, uint32_t flags);
Result<int64_t> Pwritev2(Task& task, Fd fd, UserPtr<const abi::Iovec> iov, uint64_t count,
                         int64_t offset, uint64_t offset_high, uint32_t flags);
Result<int64_t> Lseek(Task& task, Fd fd, int64_t offset, uint32_t whence);

}  // namespace syscalls

#endif  // SYSCALLS_RW_H_
