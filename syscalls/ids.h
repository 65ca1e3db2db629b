// User and group ids and capabilities: credentials(7), capabilities(7).
#ifndef SYSCALLS_IDS_H_
#define SYSCALLS_IDS_H_

#include "syscalls/abi_types.h"
#include "syscalls/syscall.h"

namespace syscalls {

Result<int64_t> Getuid(Task& task);
Result<int64_t> Geteuid(Task& task);
Result<int64_t> Getgid(Task& task);
Result<int64_t> Getegid(Task& task);
Status Getresuid(Task& task, UserPtr<uint32_t> ruid, UserPtr<uint32_t> euid,
                 UserPtr<uint32_t> suid);
Status Getresgid(Task& task, UserPtr<uint32_t> rgid, UserPtr<uint32_t> egid,
                 UserPtr<uint32_t> sgid);
Status Setuid(Task& task, uint32_t uid);
Status Setgid(Task& task, uint32_t gid);
Status Setreuid(Task& task, uint32_t ruid, uint32_t euid);
Status Setregid(Task& task, uint32_t rgid, uint32_t egid);
Status Setresuid(Task& task, uint32_t ruid, uint32_t euid, uint32_t suid);
Status Setresgid(Task& task, uint32_t rgid, uint32_t egid, uint32_t sgid);
Result<int64_t> Setfsuid(Task& task, uint32_t uid);
Result<int64_t> Setfsgid(Task& task, uint32_t gid);
Result<int64_t> Getgroups(Task& task, int size, UserPtr<uint32_t> list);
Status Setgroups(Task& task, int size, UserPtr<const uint32_t> list);
Status Capget(Task& task, UserPtr<abi::CapHeader> header, UserPtr<abi::CapData> data);
Status Capset(Task& task, UserPtr<abi::CapHeader> header, UserPtr<const abi::CapData> data);

}  // namespace syscalls

#endif  // SYSCALLS_IDS_H_
