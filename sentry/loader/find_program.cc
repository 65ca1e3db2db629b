#include <array>
#include <span>
#include <string_view>

#include <sys/mount.h>
#include <unistd.h>

#include "sentry/loader/elf.h"
#include "sentry/loader/loader.h"
#include "sentry/loader/read.h"
#include "sentry/loader/script.h"

namespace sentry {

Result<size_t> ReadUpTo(File& file, uint64_t offset, std::span<std::byte> dst) {
  size_t done = 0;
  while (done < dst.size()) {
    IoDst rest(dst.subspan(done));
    const size_t got = TRY(file.ReadAt(rest, static_cast<int64_t>(offset + done)));
    if (got == 0) break;
    done += got;
  }
  return done;
}

Result<Ref<File>> OpenExecutable(Vfs& vfs, const WalkContext& walk, std::string_view path,
                                 const WalkOptions& options, Attributes* attributes,
                                 bool* nosuid) {
  const Path found = TRY(vfs.Walk(walk, path, options));
  if (found.dentry->negative()) return Errno(ENOENT);
  *attributes = TRY(vfs.GetAttributes(found));
  if (S_ISLNK(attributes->mode)) return Errno(ELOOP);
  if (!S_ISREG(attributes->mode)) return Errno(EACCES);
  const uint64_t flags = found.mount->flags();
  if ((flags & MS_NOEXEC) != 0) return Errno(EACCES);
  TRY(Vfs::CheckAccess(*attributes, walk.creds, X_OK));
  *nosuid = (flags & MS_NOSUID) != 0;
  // The right to execute is enough; reading is the kernel's own.
  WalkContext privileged = walk;
  privileged.creds = Credentials::ForUser(0, 0);
  Ref<File> file = TRY(vfs.OpenPath(privileged, found, OpenFlags(O_RDONLY)));
  TRY(file->HoldAsExecutable());
  return file;
}

Result<Program> FindProgram(Vfs& vfs, ProgramRequest request) {
  Program program;
  program.file = TRY(OpenExecutable(vfs, request.walk, request.path, request.options,
                                    &program.attributes, &program.nosuid));
  program.argv = std::move(request.argv);
  std::string name = request.exec_name;
  for (int depth = 0;; ++depth) {
    if (depth > kMaxScriptDepth) return Errno(ELOOP);
    std::array<std::byte, kScriptHeadSize> bytes{};
    const size_t size = TRY(ReadUpTo(*program.file, 0, bytes));
    const std::string_view head(reinterpret_cast<const char*>(bytes.data()), size);
    if (!IsScript(head)) return program;
    ScriptLine line = TRY(ParseScript(head));
    if (depth == 0 && request.name_vanishes) return Errno(ENOENT);
    // The script's own name goes in the place of argv[0], the interpreter before it.
    std::vector<std::string> argv = {line.interpreter};
    if (line.argument.has_value()) argv.push_back(std::move(*line.argument));
    argv.push_back(name);
    for (size_t i = 1; i < program.argv.size(); ++i) argv.push_back(std::move(program.argv[i]));
    program.argv = std::move(argv);
    name = line.interpreter;
    program.file = TRY(OpenExecutable(vfs, request.interpreters, line.interpreter, {},
                                      &program.attributes, &program.nosuid));
  }
}

}  // namespace sentry
