#include "syscalls/strace.h"

#include <cstring>

#include "absl/strings/str_format.h"
#include "syscalls/syscall.h"

namespace syscalls {

StraceLine::StraceLine(sentry::UserMemory& mem, const platform::SyscallArgs& call)
    : mem_(mem), call_(call) {
  const AbiRow* row = FindRow(call.nr);
  name_ = row != nullptr && !row->name.empty() ? std::string(row->name)
                                               : absl::StrFormat("syscall_%d", call.nr);
  before_ = FormatArgs(false, 0);
}

std::string StraceLine::FormatArgs(bool after, int64_t result) {
  std::string text;
  for (uint64_t arg : call_.args) absl::StrAppendFormat(&text, "%s%#x", text.empty() ? "" : ", ", arg);
  return text;
}

std::string StraceLine::Finish(const platform::Verdict& verdict) {
  return absl::StrFormat("%s(%s) = %d", name_, before_, verdict.value);
}

std::string_view ErrnoName(int code) {
  const char* name = strerrorname_np(code);
  return name != nullptr ? name : "";
}

std::string_view ErrnoText(int code) {
  const char* text = strerrordesc_np(code);
  return text != nullptr ? text : "";
}

std::string SignalName(int sig) { return absl::StrFormat("%d", sig); }

}  // namespace syscalls
