// What travels with the bytes of a message: addresses, control messages, flags.
#ifndef SENTRY_NET_MESSAGE_H_
#define SENTRY_NET_MESSAGE_H_

#include <sys/socket.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "sentry/fs/file.h"
#include "sentry/net/address.h"
#include "sentry/task/thread_group.h"

namespace sentry {

// Who sent something: struct ucred, with the process for SCM_PIDFD and SO_PEERPIDFD (may be empty).
struct SocketCredentials {
  int32_t pid = 0;
  uint32_t uid = 65534, gid = 65534;  // The overflow ids, as Linux shows for nobody in particular.
  Ref<ThreadGroup> process;
};

// Open files on their way (SCM_RIGHTS). Each counts as a descriptor of its file as long as it is
// here, so that the last close is told in time. Move-only.
class FileRights {
 public:
  FileRights() = default;
  explicit FileRights(std::vector<Ref<File>> files) : files_(std::move(files)) {
    for (const Ref<File>& file : files_) file->AddDescriptor();
  }
  FileRights(FileRights&& other) noexcept
      : files_(std::exchange(other.files_, {})), uid_(std::exchange(other.uid_, std::nullopt)) {}
  FileRights& operator=(FileRights&& other) noexcept {
    std::swap(files_, other.files_);
    std::swap(uid_, other.uid_);
    return *this;
  }
  // May close files: no lock may be held.
  ~FileRights() {
    if (uid_) Discharge(*uid_, files_.size());
    if (!files_.empty()) Drop(std::move(files_));
  }
  FileRights Copy() const { return FileRights(files_); }
  const std::vector<Ref<File>>& files() const { return files_; }
  bool empty() const { return files_.empty(); }

  // Counts them as in flight on the account of user `uid` (user_struct::unix_inflight of Linux), as
  // long as they are here. Copies do not count.
  void Charge(uint32_t uid);
  bool charged() const { return uid_.has_value(); }
  static size_t InFlight(uint32_t uid);

  // How often rights have left a queue, in the whole sandbox: who looks through several queues can
  // see that something moved meanwhile. Called with the queue's lock held.
  static void CountMove() { moves_.fetch_add(1, std::memory_order_seq_cst); }
  static uint64_t moves() { return moves_.load(std::memory_order_seq_cst); }

 private:
  // Sockets lie in the queues of sockets, to any depth: closes one after the other, not
  // recursively.
  static void Drop(std::vector<Ref<File>> files);
  static void Discharge(uint32_t uid, size_t count);

  static inline std::atomic<uint64_t> moves_{0};
  std::vector<Ref<File>> files_;
  std::optional<uint32_t> uid_;  // Once charged.
};

// One control message that a family makes or understands itself (IP_PKTINFO, SCM_TIMESTAMP, …).
struct ControlMessage {
  int level = 0, type = 0;
  std::string data;
};

struct ControlData {
  FileRights rights;
  std::optional<SocketCredentials> credentials;
  // Received: the receiver wants SCM_CREDENTIALS, SCM_PIDFD of `credentials`.
  bool pass_credentials = false, pidfd = false;
  std::vector<ControlMessage> others;
};

// sendmsg(2), as one attempt of Socket::Send sees it.
struct OutgoingMessage {
  const SocketAddress* to = nullptr;  // nullptr: the peer.
  uint32_t flags = 0;                 // MSG_*.
  ControlData control;                // Moved from by the attempt that takes the first byte.
  bool connecting = false;            // MSG_FASTOPEN: an attempt before has begun to connect.
};

// recvmsg(2), likewise: `from` and what follows are the answers.
struct IncomingMessage {
  uint32_t flags = 0;  // MSG_PEEK, MSG_OOB, MSG_TRUNC, MSG_ERRQUEUE, …; waiting is the caller's.
  size_t minimum = 1;  // Streams: EAGAIN while fewer bytes are there (and more may come).
  bool keep_apart = false;  // Streams: bytes of different senders are not joined (SO_PASSCRED).
  bool wants_name = false;  // The caller asks for `from`; streams leave it out otherwise.
  // Streams: once it is true, a read takes no more bytes (EAGAIN if it has none). It becomes true
  // before the byte arrives that is not to be taken.
  const std::atomic<bool>* mark = nullptr;
  bool oob_inline = false;  // AF_UNIX streams: the urgent byte is one like others (SO_OOBINLINE).

  SocketAddress from;
  ControlData control;
  uint32_t answer_flags = 0;  // MSG_TRUNC, MSG_EOR, MSG_OOB, MSG_ERRQUEUE, …
  size_t full_size = 0;       // Datagrams: the bytes that it had.
  bool boundary = false;      // Streams: what follows must not be joined (MSG_WAITALL ends here).
};

}  // namespace sentry

#endif  // SENTRY_NET_MESSAGE_H_
