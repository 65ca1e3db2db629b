// What a seccomp program answers, without installing it. For tests.
#ifndef PLATFORM_NATIVE_EVALUATE_FILTER_H_
#define PLATFORM_NATIVE_EVALUATE_FILTER_H_

#include <linux/filter.h>
#include <linux/seccomp.h>

#include <cstdint>
#include <cstring>
#include <span>

// Interprets the instructions that seccomp(2) filters here are made of. An instruction it does not
// know, or a jump out of the program, kills.
inline uint32_t EvaluateFilter(std::span<const sock_filter> program, const seccomp_data& data) {
  uint32_t accumulator = 0;
  for (size_t at = 0; at < program.size(); ++at) {
    const sock_filter& op = program[at];
    switch (op.code) {
      case BPF_LD | BPF_W | BPF_ABS:
        if (op.k + sizeof(accumulator) > sizeof(data)) return SECCOMP_RET_KILL_PROCESS;
        memcpy(&accumulator, reinterpret_cast<const char*>(&data) + op.k, sizeof(accumulator));
        break;
      case BPF_ALU | BPF_AND | BPF_K:
        accumulator &= op.k;
        break;
      case BPF_JMP | BPF_JA:
        at += op.k;
        break;
      case BPF_JMP | BPF_JEQ | BPF_K:
        at += accumulator == op.k ? op.jt : op.jf;
        break;
      case BPF_JMP | BPF_JGE | BPF_K:
        at += accumulator >= op.k ? op.jt : op.jf;
        break;
      case BPF_JMP | BPF_JGT | BPF_K:
        at += accumulator > op.k ? op.jt : op.jf;
        break;
      case BPF_RET | BPF_K:
        return op.k;
      default:
        return SECCOMP_RET_KILL_PROCESS;
    }
  }
  return SECCOMP_RET_KILL_PROCESS;
}

#endif  // PLATFORM_NATIVE_EVALUATE_FILTER_H_
