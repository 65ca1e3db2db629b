// One row of a process's list of allowed host calls.
#ifndef BASE_SECCOMP_RULE_H_
#define BASE_SECCOMP_RULE_H_

#include <cstddef>
#include <cstdint>

// Holds when (arg & mask) == value. The kernel takes most integers as 32 bits: a mask without the
// high half leaves those to it.
struct ArgRule {
  uint8_t index;
  uint64_t mask;
  uint64_t value;
};

// All rules of a row must hold; several rows for one call are alternatives.
struct SeccompRule {
  uint32_t nr;
  const char* reason;
  uint8_t arg_rule_count;
  ArgRule arg_rules[3];
  // Not 0: the call is answered with this errno instead of being executed.
  uint16_t refuse_with = 0;
};

// A table made of two.
template <size_t N>
struct SeccompRuleList {
  SeccompRule rows[N] = {};
};
template <size_t N, size_t M>
constexpr SeccompRuleList<N + M> JoinRules(const SeccompRule (&first)[N],
                                           const SeccompRule (&second)[M]) {
  SeccompRuleList<N + M> list;
  size_t at = 0;
  for (const SeccompRule& rule : first) list.rows[at++] = rule;
  for (const SeccompRule& rule : second) list.rows[at++] = rule;
  return list;
}

#endif  // BASE_SECCOMP_RULE_H_
