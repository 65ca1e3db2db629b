// Texts for the user.
#ifndef RUNSC_HELP_H_
#define RUNSC_HELP_H_

#include <string>

namespace runsc {

// `sandbox --version`, in the form container managers parse.
std::string VersionText();
// Of the release, and of the source that it was built from.
std::string Version();
std::string Commit();
// What `sandbox help syscalls` prints: the compatibility table.
std::string SyscallsText();

}  // namespace runsc

#endif  // RUNSC_HELP_H_
