// Which call sites can be rewritten, and how.
//
// `syscall` has two bytes, and a jump takes at least five. So the last bytes of the jump are those
// of the syscall, 0f 05, which stay where they are: whoever jumps to it, or is there already, calls
// as before. What gives way is the one instruction in front, which is executed elsewhere:
//
//   kTable  5 to 11 bytes  jmp *[0x050fXXXX], straight to the site's record
//   kNear   3 bytes up     jmp by 0x050fXXXX, to a *step* in a page mapped there
//   kFar    2 bytes        jmp by 0xNN050fXX, to a step as well; NN is the byte behind the call
//
// Surplus bytes become prefixes without a meaning. Since it is one instruction, nobody can be in
// the midst of what is replaced.
#ifndef PLATFORM_SYSTRAP_SITE_FORM_H_
#define PLATFORM_SYSTRAP_SITE_FORM_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "platform/api/disposition.h"
#include "platform/native/stub.h"

namespace platform::systrap {

inline constexpr uint64_t kSyscallSize = 2;
inline constexpr size_t kMostDisplaced = 11;  // Bytes of the instruction in front.

struct SiteForm {
  enum class Jump : uint8_t { kTable, kNear, kFar };
  Jump jump = Jump::kTable;
  std::vector<uint8_t> displaced;  // The instruction in front of the call.
  bool number_known = false;       // It loads the number, and nothing else.
  uint8_t relative = 0;            // Where it keeps a displacement from %rip; 0 if nowhere.
  uint8_t next = 0;                // The byte behind the call.

  bool has_step() const { return jump != Jump::kTable; }
};

// So much of the text in front of a call and behind it is looked at.
inline constexpr size_t kTextBefore = 384, kTextBehind = 192;

// The form of the site whose syscall instruction is at `call` in a piece of text; `nr` is what it
// was called with. Nothing where it cannot be proven that the instruction in front is one, that it
// does the same elsewhere, and that nothing jumps into it.
std::optional<SiteForm> FormOf(std::span<const uint8_t> text, size_t call, uint64_t nr);

// Where the step of a site may lie. `after` is the address behind the call.
struct StepRange {
  uint64_t first = 0;
  uint64_t size = 0;
};
StepRange StepsOf(const SiteForm& form, uint64_t after);

// What is written over the displaced instruction: it becomes a jump. `step` is ignored without one.
std::vector<uint8_t> PatchedCode(const SiteForm& form, uint64_t after, size_t record,
                                 uint64_t step);
// The step's code: the displaced instruction, and a jump to the record. Empty when it cannot be
// made for this address.
std::vector<uint8_t> StepCode(const SiteForm& form, uint64_t after, size_t record, uint64_t step);
inline constexpr size_t kMostStep = kMostDisplaced + 7;

native::SiteRecord MakeRecord(const SiteForm& form, size_t index, uint64_t after, uint64_t nr);

// The head of the table: where the code of records goes on, and what is to be done with each call
// (SITE_CALLS).
std::array<uint8_t, native::kFirstSite * SITE_RECORD_SIZE> MakeTableHead(
    const DispositionTable& dispositions);

// Calls that may come by mailbox: those that are always answered here, and close(2), which the host
// has to see only where it holds the descriptor of a mapping: that one is refused, and made again
// as a notification.
constexpr bool IsMailable(const DispositionTable& table, uint64_t nr) {
  constexpr uint64_t kClose = 3, kExit = 60, kExitGroup = 231, kRestartSyscall = 219;
  if (nr >= kMaxSyscalls || nr == kExit || nr == kExitGroup || nr == kRestartSyscall) return false;
  return table[nr] == Disposition::kEmulate || table[nr] == Disposition::kLocal || nr == kClose;
}

// Where the mailbox keeps the answer of a call that stays the same while the thread does not change
// it itself, or nothing.
std::optional<size_t> LocalIndex(uint64_t nr);
// Whether the thread itself may answer a call, without anybody who looks at its mailbox.
bool AnswersInPlace(uint64_t nr);

}  // namespace platform::systrap

#endif  // PLATFORM_SYSTRAP_SITE_FORM_H_
