// The dispositions of all calls as the platform wants them, derived from the ABI document at compile
// time. Needs no handler to be linked.
#ifndef SYSCALLS_DISPOSITIONS_H_
#define SYSCALLS_DISPOSITIONS_H_

#include "platform/api/disposition.h"
#include "syscalls/abi.h"

namespace syscalls {

constexpr platform::DispositionTable Dispositions() {
  platform::DispositionTable table{};  // kEmulate.
  for (const AbiRow& row : abi::kRows) table[row.nr] = row.disposition;
  return table;
}

}  // namespace syscalls

#endif  // SYSCALLS_DISPOSITIONS_H_
