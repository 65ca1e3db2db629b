// The first stack of a program: strings, auxiliary vector, pointers (fs/binfmt_elf.c,
// create_elf_tables).
#ifndef SENTRY_LOADER_STACK_H_
#define SENTRY_LOADER_STACK_H_

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace sentry {

struct StackInput {
  uint64_t top = 0;  // Page-aligned end of the stack.
  std::span<const std::string> argv;
  std::span<const std::string> envp;
  std::string exec_name;
  std::array<std::byte, 16> random{};
  uint64_t gap = 0;  // Random bytes to leave between strings and pointers.
  // AT_* pairs in order; AT_RANDOM, AT_EXECFN and AT_PLATFORM get their addresses filled in, and
  // AT_NULL is added.
  std::vector<std::pair<uint64_t, uint64_t>> auxv;
};

struct StackContents {
  uint64_t sp = 0;                // 16-byte aligned; argc lies there.
  std::vector<std::byte> bytes;   // From sp to the top.
  uint64_t arg_start = 0, arg_end = 0, env_start = 0, env_end = 0;
  uint64_t auxv = 0, auxv_size = 0;
};
StackContents BuildStack(const StackInput& input);

}  // namespace sentry

#endif  // SENTRY_LOADER_STACK_H_
