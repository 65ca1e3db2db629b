// What the tests of filesystems share: a VFS with one root filesystem, and terse operations.
#ifndef SENTRY_FS_VFS_VFS_TEST_UTIL_H_
#define SENTRY_FS_VFS_VFS_TEST_UTIL_H_

#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "sentry/fs/vfs.h"
#include "sentry/mm/io.h"

namespace sentry {

// The errno of a result, 0 for success.
template <typename T>
int Code(const Result<T>& result) {
  return result.ok() ? 0 : result.error().code();
}

inline Credentials Root() {
  Credentials creds;
  creds.effective = creds.permitted = Credentials::kAllCapabilities;
  return creds;
}

inline Credentials User(uint32_t uid, uint32_t gid) {
  Credentials creds;
  creds.uid = creds.euid = creds.suid = creds.fsuid = uid;
  creds.gid = creds.egid = creds.sgid = creds.fsgid = gid;
  return creds;
}

class TestVfs {
 public:
  explicit TestVfs(Ref<Inode> root, uint64_t flags = 0) {
    ctx.root = ctx.start = vfs.MountRoot(std::move(root), "test", "test", flags);
    ctx.creds = Root();
  }

  Result<Ref<File>> Open(std::string_view path, uint32_t flags, uint32_t mode = 0644) {
    return vfs.Open(ctx, path, OpenFlags(flags), mode);
  }
  Result<Attributes> Stat(std::string_view path, bool follow = true) {
    return vfs.GetAttributes(TRY(vfs.Walk(ctx, path, {.follow_last = follow})));
  }
  int Errors(std::string_view path) { return Code(Stat(path)); }
  Status Write(std::string_view path, std::string_view text, uint32_t flags = O_CREAT | O_TRUNC) {
    const Ref<File> file = TRY(Open(path, flags | O_WRONLY));
    if (TRY(WriteTo(*file, text)) != text.size()) return Errno(EIO);
    return kOk;
  }
  static Result<size_t> WriteTo(File& file, std::string_view text) {
    IoSrc src(std::as_bytes(std::span(text)));
    return file.Write(src);
  }
  static Result<std::string> ReadFrom(File& file, size_t size = 1 << 20) {
    std::string text(size, '\0');
    IoDst dst(std::as_writable_bytes(std::span(text)));
    text.resize(TRY(file.Read(dst)));
    return text;
  }
  std::string Read(std::string_view path) {
    const Result<Ref<File>> file = Open(path, O_RDONLY);
    if (!file.ok()) return "errno " + std::to_string(file.error().code());
    const Result<std::string> text = ReadFrom(**file);
    return text.ok() ? *text : "errno " + std::to_string(text.error().code());
  }
  // Without "." and "..".
  std::vector<std::string> List(std::string_view path) {
    std::vector<std::string> names;
    const Result<Ref<File>> file = Open(path, O_RDONLY | O_DIRECTORY);
    if (!file.ok()) return {"errno " + std::to_string(file.error().code())};
    (void)(*file)->ReadDir([&names](const DirEntry& entry) {
      if (entry.name != "." && entry.name != "..") names.push_back(entry.name);
      return true;
    });
    return names;
  }
  int Rename(std::string_view from, std::string_view to, uint32_t flags = 0) {
    return Code(vfs.Rename(ctx, from, ctx, to, flags));
  }
  Status Chmod(std::string_view path, uint32_t mode) {
    AttributeChange change;
    change.mode = mode;
    return vfs.SetAttributes(ctx, TRY(vfs.Walk(ctx, path, {})), change);
  }

  Vfs vfs;
  WalkContext ctx;
};

}  // namespace sentry

#endif  // SENTRY_FS_VFS_VFS_TEST_UTIL_H_
