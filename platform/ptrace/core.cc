#include "platform/ptrace/core.h"

#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <algorithm>

#include "absl/time/clock.h"
#include "platform/native/stub.h"

namespace platform::ptrace {
namespace {

constexpr absl::Duration kFirstLook = absl::Milliseconds(1);
constexpr absl::Duration kLongestLook = absl::Milliseconds(100);

static_assert(sizeof(msghdr) == 56 && CMSG_SPACE(sizeof(int)) == 24 && sizeof(ReceiveBuffer) == 80);

}  // namespace

Core::~Core() {
  zygote_->Shutdown();
  absl::MutexLock lock(&mu_);
  // No tracer is left that could keep a leader from ending, but for threads that nobody has reaped.
  std::stable_partition(dead_.begin(), dead_.end(),
                        [](const Dead& d) { return d.tid != d.process->tgid(); });
  for (const Dead& one : dead_) {
    do {
      siginfo_t info;
      waitid(P_PID, static_cast<id_t>(one.tid), &info, WEXITED | WSTOPPED | WNOWAIT | __WALL);
    } while (!one.process->TryReap(one.tid));
  }
}

void Core::Bury(Ref<HostProcess> process, pid_t tid) {
  if (process->TryReap(tid)) return;
  absl::MutexLock lock(&mu_);
  dead_.push_back({std::move(process), tid});
}

void Core::Collect(std::vector<Dead>& dead) {
  std::erase_if(dead, [](const Dead& d) { return d.process->TryReap(d.tid); });
}

void Core::Run() {
  const auto work = [this]()
                        ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_) { return stopped_ || !dead_.empty(); };
  absl::Duration pause = kFirstLook;
  absl::MutexLock lock(&mu_);
  for (;;) {
    mu_.Await(absl::Condition(&work));
    if (stopped_) break;
    // They die at their own pace; a leader only after its threads.
    mu_.AwaitWithTimeout(absl::Condition(&stopped_), pause);
    const size_t before = dead_.size();
    Collect(dead_);
    pause = dead_.size() < before ? kFirstLook : std::min(2 * pause, kLongestLook);
  }
}

void Core::Stop() {
  absl::MutexLock lock(&mu_);
  stopped_ = true;
}

size_t DescriptorArgument(uint64_t nr) { return nr == SYS_mmap ? 4 : 0; }

Result<uint64_t> CallWithDescriptor(Core& core, Tracee& tracee, HostProcess& process, uint64_t nr,
                                    Tracee::Args args, int host_fd, size_t fd_argument) {
  const uint64_t buffer = native::SlotAddress(0);
  const ReceiveBuffer message = ReceiveBuffer::At(buffer);
  DescriptorChannel& channel = core.channel();
  absl::MutexLock lock(&channel.mu());
  if (!process.space().WriteObject(buffer, message)) return Errno(EIO);
  TRY(channel.Send(host_fd));
  const Result<uint64_t> received =
      tracee.Call(SYS_recvmsg, {static_cast<uint64_t>(channel.stub_end()), buffer, MSG_DONTWAIT});
  channel.Drain();
  if (!received.ok()) return Errno(EIO);
  args[fd_argument] = kReceived;
  const Result<uint64_t> result = tracee.Call(nr, args);
  if (nr != SYS_close) (void)tracee.Call(SYS_close, {kReceived});
  return result;
}

}  // namespace platform::ptrace
