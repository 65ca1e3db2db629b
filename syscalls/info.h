// The system, resources, and what fits nowhere else.
#ifndef SYSCALLS_INFO_H_
#define SYSCALLS_INFO_H_

#include "syscalls/abi_types.h"
#include "syscalls/syscall.h"

namespace syscalls {

Status Uname(Task& task, UserPtr<abi::Utsname> out);
Status Sethostname(Task& task, UserAddr name, int length);
Status Setdomainname(Task& task, UserAddr name, int length);
Status Sysinfo(Task& task, UserPtr<abi::Sysinfo> out);
Result<int64_t> Getrandom(Task& task, UserAddr buffer, uint64_t size, uint32_t flags);
Result<Control> Getrusage(Task& task, int who, UserPtr<abi::Rusage> out);
Status Getrlimit(Task& task, uint32_t resource, UserPtr<abi::Rlimit> out);
Status Setrlimit(Task& task, uint32_t resource, UserPtr<const abi::Rlimit> value);
Status Prlimit64(Task& task, int pid, uint32_t resource, UserPtr<const abi::Rlimit> value,
                 UserPtr<abi::Rlimit> old);
Control Getcpu(Task& task);
Result<int64_t> Syslog(Task& task, int type, UserAddr buffer, int length);

}  // namespace syscalls

#endif  // SYSCALLS_INFO_H_
