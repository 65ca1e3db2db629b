// Classic BPF, as filters of sockets and of system calls use it: what a program may hold, and its
// machine. Documentation/networking/filter.rst; bpf_check_classic() and bpf_convert_filter() of
// net/core/filter.c.
#ifndef BASE_CLASSIC_BPF_H_
#define BASE_CLASSIC_BPF_H_

#include <linux/filter.h>

#include <cstdint>
#include <optional>
#include <span>

#include "absl/functional/function_ref.h"

namespace classic_bpf {

// Everything but jumps and what looks at the data, which is for each kind of filter to allow:
// calculations without a constant that has no result, scratch memory that exists, returns.
bool IsPlain(const sock_filter& one);

// Whether the program can be run: not empty and at most BPF_MAXINSNS long, jumps lead forward and
// stay inside, whichever way leads to a read of scratch memory writes it before, the last
// instruction returns, and `is_known` knows all that are no jumps.
bool IsValid(std::span<const sock_filter> code,
             absl::FunctionRef<bool(const sock_filter&)> is_known);

// Runs a valid program, which cannot loop. `load` brings what an instruction of class LD or LDX
// takes from the data (modes ABS, IND, LEN and MSH); `x` is the index register. Answers what the
// program returns, 0 where it divides by nothing, and nothing if a load brought nothing.
std::optional<uint32_t> Run(
    std::span<const sock_filter> code,
    absl::FunctionRef<std::optional<uint32_t>(const sock_filter& one, uint32_t x)> load);

}  // namespace classic_bpf

#endif  // BASE_CLASSIC_BPF_H_
