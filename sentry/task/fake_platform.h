// A platform without guests, for tests: threads that never run, memory that is a map of pages, and a
// record of what was asked of them.
#ifndef SENTRY_TASK_FAKE_PLATFORM_H_
#define SENTRY_TASK_FAKE_PLATFORM_H_

#include <algorithm>
#include <array>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "platform/api/platform.h"
#include "sentry/task/syscall_dispatch.h"

namespace sentry::fake {

// Pages appear by Map; without any, everything below `open_end` is there.
class FakeAddressSpace final : public platform::AddressSpace {
 public:
  static constexpr uint64_t kPage = 4096;

  size_t Read(uint64_t addr, std::span<std::byte> dst) override {
    return Copy(addr, dst.size(), [&](std::byte* at, size_t done, size_t size) {
      std::memcpy(dst.data() + done, at, size);
    });
  }
  size_t Write(uint64_t addr, std::span<const std::byte> src) override {
    return Copy(addr, src.size(), [&](std::byte* at, size_t done, size_t size) {
      std::memcpy(at, src.data() + done, size);
    });
  }
  uint64_t user_end() const override { return 0x7ffffffff000; }
  uint64_t vdso() const override { return 0x7fff00000000; }
  Result<std::string> HostMaps() override { return Errno(ENOSYS); }

  void Map(uint64_t addr, uint64_t length) {
    for (uint64_t at = addr; at < addr + length; at += kPage) pages_[at / kPage];
  }
  Ref<FakeAddressSpace> Copy() const {
    Ref<FakeAddressSpace> copy = MakeRef<FakeAddressSpace>();
    copy->pages_ = pages_;
    return copy;
  }

 private:
  template <typename Move>
  size_t Copy(uint64_t addr, size_t size, Move move) {
    size_t done = 0;
    while (done < size) {
      const auto page = pages_.find((addr + done) / kPage);
      if (page == pages_.end()) break;
      const size_t offset = (addr + done) % kPage;
      const size_t piece = std::min<size_t>(size - done, kPage - offset);
      move(page->second.data() + offset, done, piece);
      done += piece;
    }
    return done;
  }

  std::map<uint64_t, std::array<std::byte, kPage>> pages_;
};

class FakeThread final : public platform::Thread {
 public:
  FakeThread(Ref<platform::AddressSpace> space, platform::Guest& guest)
      : space_(std::move(space)), guest_(guest) {}

  void Start() override { started = true; }
  void Interrupt() override { ++interrupts; }
  void KillProcess() override { killed = true; }
  bool HoldsDescriptor(int) override { return false; }
  platform::AddressSpace& address_space() override { return *space_; }
  uint64_t CpuTimeNs() override { return cpu_ns; }
  int host_tid() const override { return 0; }
  platform::Guest& guest() { return guest_; }
  void ReplaceSpace(Ref<platform::AddressSpace> space) { space_ = std::move(space); }

  bool started = false, killed = false;
  int interrupts = 0;
  uint64_t cpu_ns = 0;

 private:
  Ref<platform::AddressSpace> space_;
  platform::Guest& guest_;
};

class FakePlatform;

class FakeImage final : public platform::Image {
 public:
  explicit FakeImage(FakePlatform& platform)
      : platform_(platform), space_(MakeRef<FakeAddressSpace>()) {}

  void Map(const Mapping& mapping) override {
    mappings.push_back(mapping);
    space_->Map(mapping.addr, mapping.length);
  }
  bool SetBreak(uint64_t start, uint64_t) override {
    break_start = start;
    return true;
  }
  Status Flush() override { return kOk; }
  Ref<platform::AddressSpace> address_space() override { return space_; }
  Result<std::unique_ptr<platform::Thread>> Start(const platform::Registers& registers,
                                                  platform::Guest& guest) override;

  std::vector<Mapping> mappings;
  uint64_t break_start = 0;

 private:
  FakePlatform& platform_;
  Ref<FakeAddressSpace> space_;
};

class FakePlatform final : public platform::Platform {
 public:
  const char* name() const override { return "fake"; }
  Layout layout() const override {
    return {.mmap_top = 0x7ff000000000, .stack_low = 0x7ff800000000, .stack_high = 0x7ffc00000000};
  }
  Result<std::unique_ptr<platform::Image>> NewImage() override {
    return std::unique_ptr<platform::Image>(std::make_unique<FakeImage>(*this));
  }
  void Run() override {}
  void Stop() override { stopped = true; }
  void EnterBlocking() override {}
  void LeaveBlocking() override {}

  bool stopped = false;
  // The latest thread; owned by its task.
  FakeThread* last_thread = nullptr;
};

inline Result<std::unique_ptr<platform::Thread>> FakeImage::Start(const platform::Registers&,
                                                                  platform::Guest& guest) {
  auto thread = std::make_unique<FakeThread>(space_, guest);
  platform_.last_thread = thread.get();
  return std::unique_ptr<platform::Thread>(std::move(thread));
}

class FakeContext final : public platform::Context {
 public:
  FakeContext(FakePlatform& platform, platform::Thread& thread)
      : platform_(platform), thread_(static_cast<FakeThread&>(thread)) {}

  Result<std::vector<std::byte>> ReadFpState() override { return fp_state; }
  Status WriteFpState(std::span<const std::byte> state) override {
    fp_state.assign(state.begin(), state.end());
    return kOk;
  }
  Result<uint64_t> HostCall(const HostCallRequest& request) override {
    host_calls.push_back(request.nr);
    return 0;
  }
  Result<std::unique_ptr<platform::Thread>> Clone(const platform::CloneRequest& request,
                                                  platform::Guest& guest) override {
    clone_request = request;
    auto& space = static_cast<FakeAddressSpace&>(thread_.address_space());
    constexpr uint64_t kCloneVm = 0x100;
    Ref<platform::AddressSpace> child = (request.flags & kCloneVm) != 0
                                            ? Ref<platform::AddressSpace>::Share(space)
                                            : Ref<platform::AddressSpace>(space.Copy());
    auto thread = std::make_unique<FakeThread>(std::move(child), guest);
    platform_.last_thread = thread.get();
    return std::unique_ptr<platform::Thread>(std::move(thread));
  }
  Status Exec(platform::Image& image) override {
    thread_.ReplaceSpace(image.address_space());
    return kOk;
  }

  std::vector<std::byte> fp_state = std::vector<std::byte>(832);
  std::vector<uint64_t> host_calls;
  platform::CloneRequest clone_request;

 private:
  FakePlatform& platform_;
  FakeThread& thread_;
};

// Answers every call with the same value.
class FakeDispatcher final : public SyscallDispatcher {
 public:
  platform::Verdict Dispatch(Task&, const platform::SyscallArgs&, platform::Context*) override {
    return verdict;
  }
  platform::Verdict verdict;
};

}  // namespace sentry::fake

#endif  // SENTRY_TASK_FAKE_PLATFORM_H_
