// How long an x86-64 instruction is, and what of it matters to somebody who executes it elsewhere.
#ifndef PLATFORM_SYSTRAP_INSTRUCTION_H_
#define PLATFORM_SYSTRAP_INSTRUCTION_H_

#include <cstddef>
#include <cstdint>
#include <span>

namespace platform::systrap {

struct Instruction {
  uint8_t size = 0;  // 0: no instruction that 64-bit programs use.
  // Does the same at any address: no jump, no prefix but REX, and not the base of %gs. Only general
  // registers and memory.
  bool movable = false;
  uint8_t relative = 0;  // Where it keeps a displacement from %rip of four bytes; 0 if nowhere.
  uint8_t branch = 0;    // Of a relative jump: where its distance is (the rest of it); 0 if none.
};

// Intel SDM volume 2, chapter 2 and appendix A. Reads no more than 15 bytes; what does not end with
// `code` has no size.
Instruction Decode(std::span<const uint8_t> code);

}  // namespace platform::systrap

#endif  // PLATFORM_SYSTRAP_INSTRUCTION_H_
