#include "sentry/loader/stack.h"

#include <elf.h>

#include <cstring>

namespace sentry {
namespace {

constexpr std::string_view kPlatform = "x86_64";

uint64_t TotalSize(std::span<const std::string> strings) {
  uint64_t size = 0;
  for (const std::string& string : strings) size += string.size() + 1;
  return size;
}

}  // namespace

StackContents BuildStack(const StackInput& input) {
  StackContents stack;
  // Top down: eight zero bytes, the file name, environment, arguments; gap; platform, random bytes.
  const uint64_t exec_name = input.top - 8 - (input.exec_name.size() + 1);
  stack.env_end = exec_name;
  stack.env_start = stack.env_end - TotalSize(input.envp);
  stack.arg_end = stack.env_start;
  stack.arg_start = stack.arg_end - TotalSize(input.argv);
  const uint64_t platform = (stack.arg_start - input.gap - kPlatform.size() - 1) & ~uint64_t{15};
  const uint64_t random = platform - input.random.size();
  const uint64_t pointers = 1 + input.argv.size() + 1 + input.envp.size() + 1;
  stack.auxv_size = (input.auxv.size() + 1) * 16;
  stack.sp = (random - stack.auxv_size - pointers * 8) & ~uint64_t{15};
  stack.auxv = stack.sp + pointers * 8;

  stack.bytes.resize(input.top - stack.sp);
  const auto put = [&stack](uint64_t addr, const void* data, size_t size) {
    if (size != 0) std::memcpy(&stack.bytes[addr - stack.sp], data, size);
  };
  put(exec_name, input.exec_name.data(), input.exec_name.size());
  put(platform, kPlatform.data(), kPlatform.size());
  put(random, input.random.data(), input.random.size());

  uint64_t at = stack.sp;
  const auto push = [&](uint64_t word) {
    put(at, &word, sizeof(word));
    at += sizeof(word);
  };
  const auto push_strings = [&](std::span<const std::string> strings, uint64_t where) {
    for (const std::string& string : strings) {
      put(where, string.data(), string.size());
      push(where);
      where += string.size() + 1;
    }
    push(0);
  };
  push(input.argv.size());
  push_strings(input.argv, stack.arg_start);
  push_strings(input.envp, stack.env_start);
  for (const auto& [type, value] : input.auxv) {
    push(type);
    push(type == AT_RANDOM     ? random
         : type == AT_EXECFN   ? exec_name
         : type == AT_PLATFORM ? platform
                               : value);
  }
  push(AT_NULL);
  push(0);
  return stack;
}

}  // namespace sentry
