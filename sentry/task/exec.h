// execve(2): a new program for a process.
#ifndef SENTRY_TASK_EXEC_H_
#define SENTRY_TASK_EXEC_H_

#include <string>
#include <vector>

#include "base/result.h"
#include "platform/api/platform.h"
#include "sentry/fs/vfs.h"
#include "sentry/loader/loader.h"
#include "sentry/task/task.h"

namespace sentry {

struct ExecArgs {
  WalkContext walk;  // Whose `start` is the working directory or what dirfd names.
  std::string path;
  std::string exec_name;  // AT_EXECFN; also what a script's interpreter is given.
  WalkOptions options;
  bool close_on_exec_dirfd = false;  // The name in /dev/fd/N would be gone: scripts are ENOENT.
  std::vector<std::string> argv, envp;
};

// Whether the file could be executed, as far as its mount, its mode and who writes to it decide.
Status CheckExecutable(Task& task, const ExecArgs& args);

// On success context.regs are the new program's first registers, and the old one is gone. An error
// leaves everything as it was, except kRestartNoIntr when the process is being killed.
Status ExecTask(Task& task, platform::Context& context, ExecArgs args);

// What a file says about capabilities (setcap(8)).
struct FileCapabilities {
  uint64_t permitted = 0, inheritable = 0;
  bool effective = false;
};

// The credentials after executing a file with these attributes (capabilities(7), "Transformation
// of capabilities during execve()"). `secure` is AT_SECURE.
Credentials CredentialsAfterExec(const Credentials& before, const Attributes& file,
                                 const FileCapabilities& capabilities, bool nosuid, bool* secure);

// Who executes `program` becomes, file capabilities read. EPERM for a program that relies on
// capabilities which it would not get (Linux).
struct ExecCredentials {
  Credentials creds;
  bool secure = false;  // AT_SECURE
};
Result<ExecCredentials> CredentialsFor(const Program& program, const Credentials& before);

}  // namespace sentry

#endif  // SENTRY_TASK_EXEC_H_
