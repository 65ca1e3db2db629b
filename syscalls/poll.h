// Waiting for many files at once.
#ifndef SYSCALLS_POLL_H_
#define SYSCALLS_POLL_H_

#include "syscalls/abi_types.h"
#include "syscalls/syscall.h"

namespace syscalls {

Result<int64_t> Poll(Task& task, UserPtr<abi::PollFd> fds, uint32_t count, int timeout_ms);
Result<int64_t> Ppoll(Task& task, UserPtr<abi::PollFd> fds, uint32_t count,
                      UserPtr<abi::Timespec> timeout, UserAddr mask, uint64_t mask_size);
Result<int64_t> Select(Task& task, int count, UserAddr read, UserAddr write, UserAddr except,
                       UserPtr<abi::Timeval> timeout);
Result<int64_t> Pselect6(Task& task, int count, UserAddr read, UserAddr write, UserAddr except,
                         UserPtr<abi::Timespec> timeout,
                         UserPtr<const abi::SigsetArgument> mask);

Result<Fd> EpollCreate(Task& task, int size);
Result<Fd> EpollCreate1(Task& task, int flags);
Status EpollCtl(Task& task, Fd epoll_fd, int operation, Fd fd,
                UserPtr<const abi::EpollEvent> event);
Result<int64_t> EpollWait(Task& task, Fd epoll_fd, UserPtr<abi::EpollEvent> events, int max,
                          int timeout_ms);
Result<int64_t> EpollPwait(Task& task, Fd epoll_fd, UserPtr<abi::EpollEvent> events, int max,
                           int timeout_ms, UserAddr mask, uint64_t mask_size);
Result<int64_t> EpollPwait2(Task& task, Fd epoll_fd, UserPtr<abi::EpollEvent> events, int max,
                            UserPtr<const abi::Timespec> timeout, UserAddr mask,
                            uint64_t mask_size);

}  // namespace syscalls

#endif  // SYSCALLS_POLL_H_
