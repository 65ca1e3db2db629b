// The handlers, joined to the rows of the ABI document.
#ifndef SYSCALLS_TABLE_H_
#define SYSCALLS_TABLE_H_

#include <cstdint>
#include <string>

#include "syscalls/abi.h"
#include "syscalls/syscall.h"

namespace syscalls {

// nullptr for calls that are missing and numbers without a call.
Handler FindHandler(uint64_t nr);

// The compatibility table as text, for `sandbox help syscalls`: number, name, disposition, support
// and note, one line each, with a summary at the end.
std::string DescribeSyscalls();

}  // namespace syscalls

#endif  // SYSCALLS_TABLE_H_
