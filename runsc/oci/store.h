// What is known of the containers below --root: a directory for each, with state.json, a lock, and
// the socket of its monitor.
#ifndef RUNSC_OCI_STORE_H_
#define RUNSC_OCI_STORE_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace runsc::oci {

// A process of the host for as long as it lives: pids are used again, start times are not.
struct ProcessId {
  pid_t pid = 0;
  uint64_t start_time = 0;  // proc_pid_stat(5), field 22.
};
// What `pid` is now; a start time of 0 when there is no such process or it is a zombie.
ProcessId Identify(pid_t pid);
bool IsAlive(const ProcessId& process);

// state.json.
struct Record {
  std::string id;
  std::string oci_version;
  std::string bundle;
  std::string rootfs;
  std::string created;  // RFC 3339
  std::string owner;
  std::map<std::string, std::string> annotations;
  ProcessId creator;  // Until the container is created.
  ProcessId monitor, sentry, gofer, network;
  bool started = false;
  bool paused = false;
  bool has_hooks = false;  // For later: late_hooks.h.
};

enum class Phase : uint8_t { kCreating, kCreated, kRunning, kPaused, kStopped };
Phase PhaseOf(const Record& record);
const char* NameOf(Phase phase);

// The container's directory, locked against other commands as long as this exists.
class Entry {
 public:
  const std::string& directory() const { return directory_; }
  // Reads state.json. One that is missing or broken, as after a crash, gives a record with nothing
  // but the id, which is `stopped`.
  Record Load() const;
  // Replaces state.json in one step.
  absl::Status Save(const Record& record) const;
  // Removes the directory with what the container's commands may have made in it.
  absl::Status Remove();
  // Others may work on it from here on.
  void Unlock() { lock_.reset(); }

 private:
  friend class Store;
  std::string id_;
  std::string directory_;
  UniqueFd lock_;
};

class Store {
 public:
  explicit Store(std::string root) : root_(std::move(root)) {}

  // Makes the directory. AlreadyExists for an id that is there, and then nothing has changed.
  absl::StatusOr<Entry> Create(const std::string& id) const;
  // NotFound: "container does not exist". Waits for another command's lock.
  absl::StatusOr<Entry> Open(const std::string& id) const;
  // The same without a lock: to look only.
  absl::StatusOr<Entry> Find(const std::string& id) const;
  // In order.
  std::vector<std::string> List() const;

 private:
  const std::string root_;
};

// "invalid container id format" and the like.
absl::Status CheckId(const std::string& id);

// The state as `state` and `list` print it: the runtime-spec's, and runc's root and owner.
std::string StateJson(const Record& record, Phase phase);

}  // namespace runsc::oci

#endif  // RUNSC_OCI_STORE_H_
