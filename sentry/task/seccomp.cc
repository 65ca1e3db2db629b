#include "sentry/task/seccomp.h"

#include <linux/audit.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <optional>
#include <utility>

#include "base/classic_bpf.h"

namespace sentry {
namespace {

constexpr size_t kMaxTotal = 32768;  // MAX_INSNS_PER_PATH
constexpr size_t kPenalty = 4;       // Of each filter in that.

// seccomp_check_filter(): what Linux lets pass of classic BPF.
bool IsKnown(const sock_filter& one) {
  switch (one.code) {
    case BPF_LD | BPF_W | BPF_ABS:
      return one.k < sizeof(seccomp_data) && one.k % 4 == 0;
    case BPF_LD | BPF_W | BPF_LEN:
    case BPF_LDX | BPF_W | BPF_LEN:
      return true;
    case BPF_ALU | BPF_MOD | BPF_K:
    case BPF_ALU | BPF_MOD | BPF_X:
      return false;
    default:
      return classic_bpf::IsPlain(one);
  }
}

// For checked code. `known` bytes of the data may be looked at; a load behind them ends it with
// nothing.
std::optional<uint32_t> Interpret(std::span<const sock_filter> code, const seccomp_data& data,
                                  size_t known) {
  return classic_bpf::Run(code, [&](const sock_filter& one, uint32_t x) -> std::optional<uint32_t> {
    uint32_t value = sizeof(data);  // BPF_LEN
    if (BPF_MODE(one.code) != BPF_ABS) return value;
    if (one.k + sizeof(value) > known) return std::nullopt;
    memcpy(&value, reinterpret_cast<const char*>(&data) + one.k, sizeof(value));
    return value;
  });
}

class BpfProgram final : public SeccompProgram {
 public:
  explicit BpfProgram(std::span<const sock_filter> code) : code_(code.begin(), code.end()) {
    // As Linux's cache: the number and the architecture are known, nothing else.
    seccomp_data data{.arch = AUDIT_ARCH_X86_64};
    for (size_t nr = 0; nr < always_.size(); ++nr) {
      data.nr = static_cast<int>(nr);
      const auto action = Interpret(code_, data, offsetof(seccomp_data, instruction_pointer));
      always_[nr] = action.has_value() && *action == SECCOMP_RET_ALLOW;
    }
  }
  uint32_t Evaluate(const seccomp_data& call) const override {
    return *Interpret(code_, call, sizeof(call));
  }
  size_t size() const override { return code_.size(); }

 private:
  const std::vector<sock_filter> code_;
};

}  // namespace

Result<Ref<SeccompProgram>> CompileSeccomp(std::span<const sock_filter> code) {
  if (!classic_bpf::IsValid(code, IsKnown)) return Errno(EINVAL);
  return Ref<SeccompProgram>(MakeRef<BpfProgram>(code));
}

Result<Ref<SeccompFilters>> SeccompFilters::With(const Ref<SeccompFilters>& before,
                                                 Ref<SeccompProgram> added) {
  Ref<SeccompFilters> filters = MakeRef<SeccompFilters>();
  if (before) filters->programs_ = before->programs_;
  filters->programs_.push_back(std::move(added));
  size_t total = 0;
  for (const auto& program : filters->programs_) total += program->size() + kPenalty;
  if (total > kMaxTotal) return Errno(ENOMEM);
  return filters;
}

bool SeccompFilters::Extends(const SeccompFilters& others) const {
  return others.count() <= count() &&
         std::equal(others.programs_.begin(), others.programs_.end(), programs_.begin(),
                    [](const auto& a, const auto& b) { return a.get() == b.get(); });
}

bool SeccompFilters::AlwaysAllow(uint64_t nr) const {
  return std::all_of(programs_.begin(), programs_.end(),
                     [nr](const auto& program) { return program->AlwaysAllows(nr); });
}

uint32_t SeccompFilters::Evaluate(const seccomp_data& call) const {
  uint32_t result = SECCOMP_RET_ALLOW;
  for (auto it = programs_.rbegin(); it != programs_.rend(); ++it) {
    if ((*it)->AlwaysAllows(static_cast<uint64_t>(call.nr))) continue;
    const uint32_t action = (*it)->Evaluate(call);
    // Compared as signed numbers: KILL_PROCESS has the highest bit.
    if (static_cast<int32_t>(action & SECCOMP_RET_ACTION_FULL) <
        static_cast<int32_t>(result & SECCOMP_RET_ACTION_FULL)) {
      result = action;
    }
  }
  return result;
}

}  // namespace sentry
