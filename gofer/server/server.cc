#include "gofer/server/server.h"

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>
#include <utility>

#include "base/log.h"
#include "gofer/protocol/ring.h"
#include "gofer/server/file_service.h"

namespace gofer {

namespace {

// Descriptors that are no nodes: roots aside, the socket, one being opened and some to spare.
constexpr rlim_t kReservedDescriptors = 64;
constexpr rlim_t kMostNodes = 1 << 20;

// Owned by Serve, used by its thread.
class Server {
 public:
  Server(UniqueFd socket, RingMapping ring)
      : socket_(std::move(socket)), ring_(std::move(ring)), spinning_pays_(SpinningPays()) {}

  FileService& files() { return files_; }

  // Returns when the sentry is gone.
  void Run() {
    while (alive_) {
      uint32_t pending = ring_->header.pending.exchange(0, std::memory_order_acquire);
      if (pending == 0) {
        WaitForRequest();
        continue;
      }
      ring_->header.server_cpu.store(CurrentCpu(), std::memory_order_relaxed);
      for (; pending != 0; pending &= pending - 1) {
        ServeSlot(static_cast<uint32_t>(std::countr_zero(pending)));
      }
    }
  }

 private:
  bool HasRequest() const { return ring_->header.pending.load(std::memory_order_seq_cst) != 0; }

  void WaitForRequest() {
    // A client on this cpu cannot ask again while this thread keeps it busy.
    const auto limit = woke_client_ ? kWakeSpinLimit : kSpinLimit;
    const bool spin = spinning_pays_ && client_elsewhere_;
    client_elsewhere_ = false;
    woke_client_ = false;
    if (spin && SpinUntil([this] { return HasRequest(); }, limit)) return;
    ring_->header.server_state.store(ServerState::kSleeping, std::memory_order_seq_cst);
    if (!HasRequest()) {
      char bell;
      const ssize_t size = recv(socket_.get(), &bell, sizeof(bell), 0);
      alive_ = size > 0 || (size < 0 && errno == EINTR);
    }
    ring_->header.server_state.store(ServerState::kAwake, std::memory_order_seq_cst);
  }

  void ServeSlot(uint32_t index) {
    Slot& slot = ring_->slots[index];
    // Copied once; from here on only the copy counts.
    Request request;
    CopyIn(&request, &slot.request, sizeof(request));
    client_elsewhere_ |= request.client_cpu != CurrentCpu();
    Response response;
    UniqueFd fd;
    if (request.payload_size > kPayloadSize) {
      response.error = EINVAL;
    } else {
      CopyIn(payload_, ring_->payloads[index], request.payload_size);
      files_.Handle(request, {payload_, request.payload_size}, ring_->payloads[index], response,
                    fd);
    }
    if (fd.valid()) SendFd(request.tag, fd, response);
    slot.response = response;
    if (slot.state.exchange(SlotState::kDone, std::memory_order_acq_rel) == SlotState::kSleeping) {
      WakeSlot(slot.state);
      woke_client_ = true;
    }
  }

  // The compiler must not read the source a second time.
  static void CopyIn(void* to, const void* from, size_t size) {
    memcpy(to, from, size);
    std::atomic_signal_fence(std::memory_order_seq_cst);
  }

  void SendFd(uint64_t tag, const UniqueFd& fd, Response& response) {
    FdMessage message{.tag = tag};
    iovec io{.iov_base = &message, .iov_len = sizeof(message)};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
    msghdr header{};
    header.msg_iov = &io;
    header.msg_iovlen = 1;
    header.msg_control = control;
    header.msg_controllen = sizeof(control);
    cmsghdr* cmsg = CMSG_FIRSTHDR(&header);
    cmsg->cmsg_level = SOL_SOCKET;
    cmsg->cmsg_type = SCM_RIGHTS;
    cmsg->cmsg_len = CMSG_LEN(sizeof(int));
    const int number = fd.get();
    memcpy(CMSG_DATA(cmsg), &number, sizeof(number));
    if (sendmsg(socket_.get(), &header, MSG_NOSIGNAL) >= 0) {
      response.has_fd = 1;
      return;
    }
    // Too many descriptors under way is the sentry's to solve; a closed socket is its end.
    alive_ = errno != EPIPE && errno != ECONNRESET;
    files_.Forget(response.node);
    response = {.error = EIO};
  }

  const UniqueFd socket_;
  const RingMapping ring_;
  FileService files_;
  const bool spinning_pays_;
  bool alive_ = true;
  // Of the requests since the last wait.
  bool client_elsewhere_ = false;
  bool woke_client_ = false;
  char payload_[kPayloadSize];
};

Result<uint32_t> NodeLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return Errno::Last();
  if (limit.rlim_cur <= 2 * kReservedDescriptors) return Errno(EMFILE);
  return static_cast<uint32_t>(std::min(limit.rlim_cur - kReservedDescriptors, kMostNodes));
}

Result<std::unique_ptr<Server>> SetUp(ServerConfig config) {
  auto server = std::make_unique<Server>(std::move(config.socket), TRY(MapRing(config.ring)));
  TRY(server->files().Init(std::move(config.exports), config.policy, TRY(NodeLimit())));
  if (fchdir(config.proc_self_fd.get()) != 0) return Errno::Last();
  umask(0);  // Modes are the sentry's choice.
  return server;
}

}  // namespace

int Serve(ServerConfig config, const std::function<bool()>& lock_down) {
  Result<std::unique_ptr<Server>> server = SetUp(std::move(config));
  if (!server.ok()) {
    LOG_ERROR("gofer: cannot start: %s", strerror(server.error().code()));
    return 1;
  }
  if (lock_down && !lock_down()) return 1;
  (*server)->Run();
  return 0;
}

}  // namespace gofer
