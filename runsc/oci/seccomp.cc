#include "runsc/oci/seccomp.h"

#include <linux/audit.h>
#include <linux/seccomp.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <string_view>
#include <utility>
#include <vector>

#include "syscalls/abi.h"

namespace runsc::oci {

namespace {

using spec::SeccompArg;

struct Rule {
  std::vector<SeccompArg> args;
  uint32_t action = 0;
};

bool Holds(const SeccompArg& arg, const seccomp_data& call) {
  const uint64_t value = call.args[arg.index];
  switch (arg.op) {
    case SeccompArg::Op::kNe:
      return value != arg.value;
    case SeccompArg::Op::kLt:
      return value < arg.value;
    case SeccompArg::Op::kLe:
      return value <= arg.value;
    case SeccompArg::Op::kEq:
      return value == arg.value;
    case SeccompArg::Op::kGe:
      return value >= arg.value;
    case SeccompArg::Op::kGt:
      return value > arg.value;
    case SeccompArg::Op::kMaskedEq:
      return (value & arg.value) == arg.value_two;
  }
  return false;
}

class SpecProgram final : public sentry::SeccompProgram {
 public:
  explicit SpecProgram(const spec::Seccomp& seccomp) : default_action_(seccomp.default_action) {
    for (const spec::SeccompRule& rule : seccomp.rules) {
      for (const std::string& name : rule.names) Add(name, rule);
    }
    for (size_t nr = 0; nr < always_.size(); ++nr) {
      const auto found = rules_.find(nr);
      if (found == rules_.end()) {
        always_[nr] = DefaultFor(nr) == SECCOMP_RET_ALLOW;
      } else {
        const std::vector<Rule>& rules = found->second;
        always_[nr] = rules[0].args.empty() && rules[0].action == SECCOMP_RET_ALLOW;
      }
    }
  }

  uint32_t Evaluate(const seccomp_data& call) const override {
    const auto nr = static_cast<uint64_t>(static_cast<uint32_t>(call.nr));
    const auto found = rules_.find(nr);
    if (found == rules_.end()) return DefaultFor(nr);
    for (const Rule& rule : found->second) {
      if (std::all_of(rule.args.begin(), rule.args.end(),
                      [&call](const SeccompArg& arg) { return Holds(arg, call); })) {
        return rule.action;
      }
    }
    return default_action_;
  }

 private:
  void Add(std::string_view name, const spec::SeccompRule& rule) {
    const auto row = std::find_if(std::begin(syscalls::abi::kRows), std::end(syscalls::abi::kRows),
                                  [name](const auto& entry) { return entry.name == name; });
    if (row == std::end(syscalls::abi::kRows)) return;
    newest_ = std::max<uint64_t>(newest_, row->nr);
    if (rule.action == default_action_) return;
    std::vector<Rule>& rules = rules_[row->nr];
    const bool unconditional = !rules.empty() && rules[0].args.empty();
    if (unconditional) return;
    if (rule.args.empty()) rules.clear();
    rules.push_back({rule.args, rule.action});
  }

  uint32_t DefaultFor(uint64_t nr) const {
    const bool error = (default_action_ & SECCOMP_RET_ACTION_FULL) == SECCOMP_RET_ERRNO;
    return error && nr > newest_ ? SECCOMP_RET_ERRNO | ENOSYS : default_action_;
  }

  const uint32_t default_action_;
  std::map<uint64_t, std::vector<Rule>> rules_;
  uint64_t newest_ = 0;
};

}  // namespace

Ref<sentry::SeccompProgram> MakeSeccompProgram(const spec::Seccomp& seccomp) {
  return MakeRef<SpecProgram>(seccomp);
}

bool AllowsUnseenCalls(const sentry::SeccompProgram& program) {
  return std::all_of(std::begin(syscalls::abi::kRows), std::end(syscalls::abi::kRows),
                     [&program](const syscalls::AbiRow& row) {
                       const bool unseen = row.disposition == platform::Disposition::kDirect ||
                                           row.disposition == platform::Disposition::kLocal;
                       return !unseen || program.AlwaysAllows(row.nr);
                     });
}

}  // namespace runsc::oci
