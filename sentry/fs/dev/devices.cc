#include "sentry/fs/dev/devices.h"

#include <sys/mman.h>
#include <sys/random.h>
#include <sys/sysmacros.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <memory>
#include <utility>

#include "base/unique_fd.h"
#include "sentry/task/job_control.h"
#include "sentry/task/task.h"
#include "sentry/tty/devpts.h"

namespace sentry {
namespace {

// /dev/null, and the base of the others: any position is fine, and none matters.
class NullDevice : public File {
 public:
  NullDevice(Ref<Inode> inode, OpenFlags flags) : File(std::move(inode), flags) {}
  Result<size_t> Read(IoDst& dst) override { return size_t{0}; }
  Result<size_t> Write(IoSrc& src) override {
    const size_t taken = src.remaining();
    src.Limit(0);
    return taken;
  }
  Result<size_t> ReadAt(IoDst& dst, int64_t offset) override { return Read(dst); }
  Result<size_t> WriteAt(IoSrc& src, int64_t offset) override { return Write(src); }
  Result<int64_t> Seek(int64_t offset, int whence) override { return int64_t{0}; }
  bool seekable() const override { return true; }
};

class ZeroDevice : public NullDevice {
 public:
  using NullDevice::NullDevice;
  Result<size_t> Read(IoDst& dst) override { return dst.ZeroOut(dst.remaining()); }
  // A mapping is fresh memory: an endless file.
  Result<UniqueFd> FreshHostFd() override {
    UniqueFd fresh(memfd_create("zero", MFD_CLOEXEC));
    if (!fresh.valid()) return Errno::Last();
    // Mappings behind the end would be SIGBUS, so that the file is as long as files get.
    if (ftruncate(fresh.get(), int64_t{1} << 46) != 0) return Errno::Last();
    return fresh;
  }
};

class FullDevice final : public NullDevice {
 public:
  using NullDevice::NullDevice;
  Result<size_t> Read(IoDst& dst) override { return dst.ZeroOut(dst.remaining()); }
  Result<size_t> Write(IoSrc& src) override { return Errno(ENOSPC); }
};

// /dev/random and /dev/urandom, which have been the same since the pool is initialised.
class RandomDevice final : public NullDevice {
 public:
  using NullDevice::NullDevice;
  Result<size_t> Read(IoDst& dst) override {
    size_t done = 0;
    std::array<std::byte, 4096> bytes;
    while (dst.remaining() > 0 && done < kMaxRead) {
      const size_t size = std::min(dst.remaining(), bytes.size());
      const ssize_t count = getrandom(bytes.data(), size, 0);
      if (count < 0) return done > 0 ? Result<size_t>(done) : Errno::Last();
      const auto copied = dst.CopyOut({bytes.data(), static_cast<size_t>(count)});
      if (!copied.ok()) return done > 0 ? Result<size_t>(done) : copied.error();
      done += *copied;
      if (*copied < static_cast<size_t>(count)) break;
    }
    return done;
  }

 private:
  static constexpr size_t kMaxRead = 32 << 20;  // Linux stops for signals; here a read is short.
};

template <typename T>
Ref<File> New(Ref<Inode> inode, OpenFlags flags) {
  return MakeRef<T>(std::move(inode), flags);
}

struct Device {
  uint32_t major, minor;
  Ref<File> (*open)(Ref<Inode> inode, OpenFlags flags);
};

constexpr Device kDevices[] = {
    {1, 3, &New<NullDevice>},   {1, 5, &New<ZeroDevice>},   {1, 7, &New<FullDevice>},
    {1, 8, &New<RandomDevice>}, {1, 9, &New<RandomDevice>},
};

}  // namespace

Result<Ref<File>> OpenDevice(uint64_t rdev, Ref<Inode> inode, OpenFlags flags, Task* task) {
  // /dev/tty is another name for the controlling terminal.
  if (rdev == makedev(5, 0)) {
    if (task == nullptr) return Errno(ENXIO);
    return TRY(ControllingTerminal(*task))->Open(std::move(inode), flags.With(O_NOCTTY));
  }
  flags = flags.Without(O_NOCTTY);
  for (const Device& device : kDevices) {
    if (rdev == makedev(device.major, device.minor)) return device.open(std::move(inode), flags);
  }
  return Errno(ENXIO);
}

Vfs::DeviceOpener DeviceOpener(Ref<Devpts> terminals) {
  return [terminals = std::move(terminals)](uint64_t rdev, Ref<Inode> inode, OpenFlags flags,
                                            Task* task) -> Result<Ref<File>> {
    if (rdev == makedev(5, 2)) return terminals->OpenMaster(std::move(inode), flags);
    return OpenDevice(rdev, std::move(inode), flags, task);
  };
}

}  // namespace sentry
