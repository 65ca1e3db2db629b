// A stopped guest thread: it waits in a notification of the stub's own.
#ifndef PLATFORM_SYSTRAP_CONTEXT_H_
#define PLATFORM_SYSTRAP_CONTEXT_H_

#include <array>

#include "platform/systrap/core.h"

namespace platform::systrap {

class StubContext final : public Context {
 public:
  // `frame` is the address of the ucontext that the stub resumes.
  // With a `mailbox` the stub waits there, not in a notification.
  StubContext(Systrap& platform, HostThread& thread, uint64_t notification,
              native::Mailbox* mailbox, uint64_t frame)
      : platform_(platform),
        thread_(thread),
        notification_(notification),
        mailbox_(mailbox),
        frame_(frame) {}

  // Reads the registers, from the mailbox if the stub has brought the frame `along`. False when the
  // frame is not readable: the guest has broken its stub.
  bool Load(bool along = false);
  // Takes the registers of a thread that interrupted itself.
  void LoadSelf(native::MailboxPage& page);
  // Writes back what has changed and lets the thread go on.
  void Resume();
  bool exec_done() const { return exec_done_; }

  Result<std::vector<std::byte>> ReadFpState() override;
  Status WriteFpState(std::span<const std::byte> state) override;
  Result<uint64_t> HostCall(const HostCallRequest& request) override;
  Result<std::unique_ptr<Thread>> Clone(const CloneRequest& request, Guest& guest) override;
  Status Exec(Image& image) override;

 private:
  native::NativeAddressSpace& space() const { return *thread_.process->space; }
  const Listener& listener() const { return thread_.process->channel.listener; }
  // `mailbox` is BatchCall's. What is to be `told` is written before the call is made.
  Result<uint64_t> RunCall(uint64_t nr, std::span<const uint64_t, 6> args, uint64_t mailbox = 0,
                           const native::NativeAddressSpace::WritePiece& told = {});
  size_t LoadFrameBrought();
  // The extended state as it was loaded; empty when it lies elsewhere.
  std::span<const std::byte> LoadedFpState() const;
  void SetAwaited(bool awaited);
  // Tells the stub what to do.
  void Answer(int command);
  // From here on the stub waits in a notification.
  Status EnsureNotification();
  // `mark` is the batch's.
  Result<uint64_t> FollowCall(uint64_t nr, std::span<const uint64_t, 6> args, uint64_t mark);
  Status PrepareSlot(native::Slot slot);
  // Threads of a busy process that follow each other come with a mailbox; nullptr for others.
  native::MailboxPage* PrepareMailbox(native::Slot slot);
  // What rt_sigreturn(2) of a thread with these registers and this one's extended state takes, at
  // the address of a slot's frame.
  Result<std::vector<std::byte>> MakeChildFrame(uint64_t slot, const Registers& registers);

  Systrap& platform_;
  HostThread& thread_;  // Its process changes only here, on the worker in charge.
  uint64_t notification_;
  native::Mailbox* mailbox_;
  native::MailboxPage* self_ = nullptr;  // The registers are there, and there is no frame.
  uint64_t frame_;
  Registers loaded_;
  native::MachineContext machine_;
  // The frame and what lies above it, which as a rule is the extended state.
  std::array<std::byte, 3584> window_;
  size_t window_size_ = 0;
  bool brought_along_ = false;
  bool exec_done_ = false;
};

// An address space under construction: a stub parked in the set-up copy, where the filter lets it
// make any call.
class StubImage final : public Image {
 public:
  StubImage(Systrap& platform, Channel& channel, pid_t pid);
  ~StubImage() override;

  void Map(const Mapping& mapping) override;
  bool SetBreak(uint64_t start, uint64_t stack_top) override;
  Status Flush() override;
  Status JoinGroups(std::span<const int> files) override;
  Ref<AddressSpace> address_space() override { return process_->space; }
  Result<std::unique_ptr<Thread>> Start(const Registers& registers, Guest& guest) override;

  // For execve: gives the process away; it is parked in the notification returned.
  struct Parked {
    Ref<HostProcess> process;
    uint64_t notification;
    native::MailboxPage* mailbox;  // nullptr without one.
  };
  Result<Parked> Release();

 private:
  Status Park();
  void AddFastPath();
  void Bind();
  void Unbind();
  std::vector<Ref<const ImageCache::Copy>> SubstituteCopies();
  Status RunBatch();

  Systrap& platform_;
  const Ref<HostProcess> process_;
  Ref<HostThread> waiting_;  // Stands for the stub until it has a guest.
  uint64_t notification_ = 0;
  std::vector<native::BatchCall> batch_;
  std::vector<std::pair<int, int>> descriptors_;  // Host, and its number in the stub.
  Errno error_{0};
  bool released_ = false;
  bool filled_ = false;  // The first batch has gone.
  bool closed_ = false;  // What the zygote had open.
  bool bound_ = false;   // It may run on the CPU of its maker only, until it is released.
  native::MailboxPage* mailbox_ = nullptr;
};

}  // namespace platform::systrap

#endif  // PLATFORM_SYSTRAP_CONTEXT_H_
