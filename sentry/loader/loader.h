// From a path to an image that is ready to run: what execve(2) and the first process share.
#ifndef SENTRY_LOADER_LOADER_H_
#define SENTRY_LOADER_LOADER_H_

#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "platform/api/platform.h"
#include "sentry/fs/vfs.h"
#include "sentry/mm/mm.h"
#include "sentry/task/container_group.h"
#include "sentry/task/credentials.h"

namespace sentry {

// The file that is to be executed, scripts followed to their interpreter.
struct Program {
  Ref<File> file;
  Attributes attributes;
  bool nosuid = false;
  std::vector<std::string> argv;
};
struct ProgramRequest {
  WalkContext walk;          // For `path`.
  WalkContext interpreters;  // For what scripts name: starts at the working directory.
  std::string path;
  WalkOptions options;
  std::string exec_name;       // What a script's interpreter is given as its path.
  bool name_vanishes = false;  // exec_name leads through a close-on-exec descriptor.
  std::vector<std::string> argv;
};
// ENOENT, EACCES, ENOEXEC, ELOOP, … as execve(2).
Result<Program> FindProgram(Vfs& vfs, ProgramRequest request);

struct LoadRequest {
  WalkContext walk;  // For the ELF interpreter.
  std::vector<std::string> envp;
  std::string exec_name;  // AT_EXECFN.
  Credentials creds;      // Of the new program, for AT_UID and its like.
  bool secure = false;
  uint64_t stack_limit = 8 << 20;
  bool randomize = true;
  bool read_implies_exec = false;
  Ref<ContainerGroup> host_group;  // Where it is to live on the host; may be empty.
};
struct LoadedProgram {
  std::unique_ptr<platform::Image> image;
  Ref<Mm> mm;
  platform::Registers registers;
};
// Builds the whole image. Nothing outside of it changes.
Result<LoadedProgram> LoadProgram(platform::Platform& platform, Vfs& vfs, const Program& program,
                                  const LoadRequest& request);

}  // namespace sentry

#endif  // SENTRY_LOADER_LOADER_H_
