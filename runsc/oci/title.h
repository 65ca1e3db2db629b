// What ps(1) shows of a process.
#ifndef RUNSC_OCI_TITLE_H_
#define RUNSC_OCI_TITLE_H_

#include <string>
#include <vector>

namespace runsc::oci {

// Writes `arguments` over this process's own, as far as they have room: proc_pid_cmdline(5). The
// host's ps is what `docker top` runs, and there a container's pid stands for its first process.
void ShowArguments(const std::vector<std::string>& arguments);

}  // namespace runsc::oci

#endif  // RUNSC_OCI_TITLE_H_
