#include "runsc/help.h"

#include "syscalls/table.h"

#ifndef SANDBOX_VERSION
#define SANDBOX_VERSION "unknown"
#endif
#ifndef SANDBOX_COMMIT
#define SANDBOX_COMMIT "unknown"
#endif

namespace runsc {

std::string VersionText() {
  // 1.2.0: the release of the OCI runtime specification whose command line this follows.
  return "sandbox version " SANDBOX_VERSION "\ncommit: " SANDBOX_COMMIT "\nspec: 1.2.0\n";
}

std::string Version() { return SANDBOX_VERSION; }
std::string Commit() { return SANDBOX_COMMIT; }

std::string SyscallsText() { return syscalls::DescribeSyscalls(); }

}  // namespace runsc
