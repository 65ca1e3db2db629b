// linux.seccomp (config-linux.md, "Seccomp"): libseccomp's words, decoded.
#include <linux/seccomp.h>

#include <cerrno>

#include "runsc/spec/sections.h"

namespace runsc::spec {

namespace {

// SECCOMP_RET_* with the number that ERRNO and TRACE carry in their low half; EPERM if none is
// given, as in runc.
uint32_t ReadAction(const Reader& action, const Reader& number) {
  if (!action.present()) action.Fail("is missing");
  const uint32_t value = ReadName(action, SeccompActions(), "seccomp action").value_or(0);
  std::optional<uint32_t> data;
  number.Read(data);
  if (value != SECCOMP_RET_ERRNO && value != SECCOMP_RET_TRACE) {
    if (data.value_or(0) != 0) number.Fail("is for SCMP_ACT_ERRNO and SCMP_ACT_TRACE only");
    return value;
  }
  if (data.value_or(0) > SECCOMP_RET_DATA) number.Fail("is above 65535");
  return value | (data.value_or(EPERM) & SECCOMP_RET_DATA);
}

void ReadArg(const Reader& in, SeccompArg& arg) {
  in["index"].Require(arg.index);
  if (arg.index > 5) in["index"].Fail("is above 5");
  in["value"].Require(arg.value);
  in["valueTwo"].Read(arg.value_two);
  if (!in["op"].present()) in["op"].Fail("is missing");
  arg.op = static_cast<SeccompArg::Op>(
      ReadName(in["op"], SeccompOperators(), "operator of seccomp").value_or(0));
}

void ReadRule(const Reader& in, SeccompRule& rule) {
  in["names"].Require(rule.names);
  if (!in.failed() && rule.names.empty()) in["names"].Fail("is empty");
  rule.action = ReadAction(in["action"], in["errnoRet"]);
  ReadEach(in["args"], rule.args, ReadArg);
}

}  // namespace

void ReadSeccomp(const Reader& in, Seccomp& seccomp) {
  seccomp.default_action = ReadAction(in["defaultAction"], in["defaultErrnoRet"]);
  in["architectures"].Read(seccomp.architectures);
  for (const Reader& element : in["architectures"].Elements()) {
    ReadName(element, SeccompArchitectures(), "architecture of seccomp");
  }
  in["flags"].Read(seccomp.flags);
  for (const Reader& element : in["flags"].Elements()) {
    ReadName(element, SeccompFlags(), "flag of seccomp");
  }
  in["listenerPath"].Read(seccomp.listener_path);
  ReadEach(in["syscalls"], seccomp.rules, ReadRule);
}

}  // namespace runsc::spec
