// UDP over loopback between two sockets of the sandbox, which stays in memory although the sandbox
// uses a network of the host: who can be given a message so, and what has been given.
#ifndef SENTRY_NET_HOST_HOST_DATAGRAMS_H_
#define SENTRY_NET_HOST_HOST_DATAGRAMS_H_

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/container/flat_hash_map.h"
#include "absl/synchronization/mutex.h"
#include "base/ref.h"
#include "sentry/net/inet/inet_address.h"

namespace sentry {

class HostSocket;

// One message that waits to be received; its bytes are shared by those who look and who take.
struct InboxMessage {
  Endpoint from;
  std::shared_ptr<const std::byte[]> bytes;
  size_t size = 0;
  std::span<const std::byte> data() const { return {bytes.get(), size}; }
};

// The messages of one socket that the host does not know of, in order. Thread-safe.
class DatagramInbox {
 public:
  // Drops it when `limit` bytes, as SO_RCVBUF counts them, are used. Whether it got in.
  bool Put(InboxMessage message, size_t limit) ABSL_LOCKS_EXCLUDED(mu_);
  // The first one; `take` takes it out.
  std::optional<InboxMessage> First(bool take) ABSL_LOCKS_EXCLUDED(mu_);
  bool empty() const ABSL_LOCKS_EXCLUDED(mu_);
  // Used bytes of SO_RCVBUF.
  size_t charged() const ABSL_LOCKS_EXCLUDED(mu_);

 private:
  mutable absl::Mutex mu_;  // Leaf.
  std::deque<InboxMessage> queue_ ABSL_GUARDED_BY(mu_);
  size_t charged_ ABSL_GUARDED_BY(mu_) = 0;
};

// The sockets of a namespace that take messages in memory, by their ports. Thread-safe.
class HostDatagramPorts {
 public:
  // Names on the host; `remote.port` is 0 for one that is not connected. In the place of the
  // former.
  void Set(HostSocket& socket, int domain, bool v6_only, const Endpoint& local,
           const Endpoint& remote) ABSL_LOCKS_EXCLUDED(mu_);
  void Erase(HostSocket& socket) ABSL_LOCKS_EXCLUDED(mu_);
  // Whether anybody has the port: a cheap look before there is a sender's name.
  bool Has(uint16_t port) const ABSL_LOCKS_EXCLUDED(mu_);
  // Who gets a message: the most specific name, the latest of equals (udp4_lib_lookup2()). Empty
  // when it is the host's affair.
  Ref<HostSocket> Find(const Endpoint& to, const Endpoint& from) ABSL_LOCKS_EXCLUDED(mu_);

 private:
  struct Entry {
    HostSocket* socket;
    int domain;
    bool v6_only;
    Endpoint local, remote;
  };
  // -1: does not hear it.
  static int Score(const Entry& entry, const Endpoint& to, const Endpoint& from);
  void EraseLocked(HostSocket& socket) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mu_);

  mutable absl::Mutex mu_;  // Leaf.
  absl::flat_hash_map<uint16_t, std::vector<Entry>> ports_ ABSL_GUARDED_BY(mu_);
  absl::flat_hash_map<const HostSocket*, uint16_t> named_ ABSL_GUARDED_BY(mu_);
};

}  // namespace sentry

#endif  // SENTRY_NET_HOST_HOST_DATAGRAMS_H_
