// Small files of the kernel: a control group's settings are read and written as text.
#ifndef RUNSC_CGROUP_FILES_H_
#define RUNSC_CGROUP_FILES_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace runsc::cgroup {

// The content, without the last newline. A failure is "PATH: WHY", with absl's code for the errno.
absl::StatusOr<std::string> ReadText(const std::string& path);
// One write(2); a file that is not there is not made.
absl::Status WriteText(const std::string& path, const std::string& text);
bool Exists(const std::string& path);

// Numbers of a file; 0 when it is absent or holds something else, UINT64_MAX for "max".
uint64_t ReadNumber(const std::string& path);
// Lines of "name number".
std::map<std::string, uint64_t> ReadTable(const std::string& path);
// Lines of one pid each.
std::vector<pid_t> ReadPids(const std::string& path);
// The names of the directories in `path`.
std::vector<std::string> Subdirectories(const std::string& path);

// The parts of `text` that are not empty.
std::vector<std::string> Split(const std::string& text, char delimiter);

// `path` without ".", ".." and doubled slashes; ".." stops at the front. A relative path stays one.
std::string CleanPath(const std::string& path);

}  // namespace runsc::cgroup

#endif  // RUNSC_CGROUP_FILES_H_
