#include "runsc/oci/title.h"

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>

#include "absl/strings/str_split.h"
#include "runsc/spec/parse.h"

namespace runsc::oci {

void ShowArguments(const std::vector<std::string>& arguments) {
  const auto stat = spec::ReadFile("/proc/self/stat");
  if (!stat.ok()) return;
  const size_t behind_name = stat->rfind(')');
  if (behind_name == std::string::npos) return;
  const std::vector<std::string> fields =
      absl::StrSplit(stat->substr(behind_name + 1), ' ', absl::SkipEmpty());
  // Fields 48 and 49 of proc_pid_stat(5), arg_start and arg_end; the third is the first here.
  constexpr size_t kStart = 48 - 3, kEnd = 49 - 3;
  if (fields.size() <= kEnd) return;
  const uint64_t start = strtoull(fields[kStart].c_str(), nullptr, 10);
  const uint64_t end = strtoull(fields[kEnd].c_str(), nullptr, 10);
  if (start == 0 || end <= start) return;
  std::string text;
  for (const std::string& argument : arguments) text.append(argument).push_back('\0');
  // The last byte stays NUL: otherwise the kernel reads on into the environment.
  const size_t room = end - start - 1;
  text.resize(std::min(text.size(), room));
  char* const area = reinterpret_cast<char*>(start);
  memcpy(area, text.data(), text.size());
  memset(area + text.size(), 0, room + 1 - text.size());
}

}  // namespace runsc::oci
