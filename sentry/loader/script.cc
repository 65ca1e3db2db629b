#include "sentry/loader/script.h"

namespace sentry {
namespace {
constexpr std::string_view kBlank = " \t";
}

Result<ScriptLine> ParseScript(std::string_view head) {
  if (!IsScript(head)) return Errno(ENOEXEC);
  const bool whole = head.size() < kScriptHeadSize;
  std::string_view line = head.substr(2);
  const size_t newline = line.find('\n');
  const bool ended = newline != std::string_view::npos;
  line = line.substr(0, newline);
  // Bytes behind a NUL do not count.
  line = line.substr(0, line.find('\0'));
  const size_t start = line.find_first_not_of(kBlank);
  if (start == std::string_view::npos) return Errno(ENOEXEC);
  line.remove_prefix(start);
  const size_t name_end = line.find_first_of(kBlank);
  // A name that may have been cut off is no name.
  if (name_end == std::string_view::npos && !ended && !whole) return Errno(ENOEXEC);
  ScriptLine script{.interpreter = std::string(line.substr(0, name_end))};
  if (name_end == std::string_view::npos) return script;
  line.remove_prefix(name_end);
  const size_t first = line.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return script;
  const size_t last = line.find_last_not_of(kBlank);
  script.argument = std::string(line.substr(first, last - first + 1));
  return script;
}

}  // namespace sentry
