// Scripts: the first line `#! interpreter [argument]` (execve(2), fs/binfmt_script.c).
#ifndef SENTRY_LOADER_SCRIPT_H_
#define SENTRY_LOADER_SCRIPT_H_

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"

namespace sentry {

inline constexpr size_t kScriptHeadSize = 256;  // BINPRM_BUF_SIZE: what is looked at.
inline constexpr int kMaxScriptDepth = 5;

struct ScriptLine {
  std::string interpreter;
  std::optional<std::string> argument;
};
inline bool IsScript(std::string_view head) { return head.starts_with("#!"); }
// `head` is the beginning of the file, at most kScriptHeadSize bytes. ENOEXEC without a usable line.
Result<ScriptLine> ParseScript(std::string_view head);

}  // namespace sentry

#endif  // SENTRY_LOADER_SCRIPT_H_
