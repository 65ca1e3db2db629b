// The config.json of an OCI bundle as plain structs: what
// https://github.com/opencontainers/runtime-spec/blob/main/config.md (1.2) names, with its
// defaults. A field that is absent, or null, has the value given here; an optional says that the
// difference matters. Nothing here is checked against the host: parse.h and unsupported.h do the
// checking.
#ifndef RUNSC_SPEC_SPEC_H_
#define RUNSC_SPEC_SPEC_H_

#include <sys/types.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "runsc/spec/resources.h"

namespace runsc::spec {

struct User {
  uid_t uid = 0;
  gid_t gid = 0;
  std::optional<mode_t> umask;
  std::vector<gid_t> additional_gids;
};

// Sets of capabilities, bit n for capability n of linux/capability.h.
struct Capabilities {
  uint64_t bounding = 0;
  uint64_t effective = 0;
  uint64_t inheritable = 0;
  uint64_t permitted = 0;
  uint64_t ambient = 0;
};

struct Rlimit {
  int resource = 0;  // RLIMIT_*
  uint64_t soft = 0;
  uint64_t hard = 0;
};

struct ConsoleSize {
  uint16_t rows = 0;
  uint16_t columns = 0;
};

// sched_setattr(2)
struct Scheduler {
  uint32_t policy = 0;  // SCHED_*
  int32_t nice = 0;
  int32_t priority = 0;
  uint64_t flags = 0;  // SCHED_FLAG_*
  uint64_t runtime = 0;
  uint64_t deadline = 0;
  uint64_t period = 0;
};

// ioprio_set(2)
struct IoPriority {
  int io_class = 0;  // 1 real time, 2 best effort, 3 idle
  int priority = 0;
};

struct ExecCpuAffinity {
  std::string initial;  // CPU lists, as "0-3,7".
  std::string final;
};

struct Process {
  bool terminal = false;
  std::optional<ConsoleSize> console_size;
  User user;
  std::vector<std::string> args;  // At least one.
  std::vector<std::string> env;   // NAME=VALUE
  std::string cwd;                // Absolute.
  std::optional<Capabilities> capabilities;
  std::vector<Rlimit> rlimits;  // Each resource once.
  bool no_new_privileges = false;
  std::optional<int> oom_score_adj;
  std::optional<Scheduler> scheduler;
  std::optional<IoPriority> io_priority;
  std::optional<ExecCpuAffinity> exec_cpu_affinity;
  std::string apparmor_profile;
  std::string selinux_label;
};

struct Root {
  std::string path;  // As written: relative to the bundle unless it is absolute.
  bool readonly = false;
};

struct IdMapping {
  uint32_t container_id = 0;
  uint32_t host_id = 0;
  uint32_t size = 0;
};

// A mount with its options taken apart, as runc does it.
struct Mount {
  std::string destination;  // Absolute.
  std::string type;         // "bind" when the options say so and the spec gives no type.
  std::string source;       // As written; of a bind relative to the bundle unless it is absolute.
  uint64_t flags = 0;       // MS_* to set, without propagation.
  uint64_t cleared_flags = 0;         // MS_* that an option takes away: "rw", "exec", …
  std::vector<uint64_t> propagation;  // MS_PRIVATE | MS_REC and its like, in order.
  uint64_t recursive_set = 0;         // MOUNT_ATTR_* for the tree below: "rro" …
  uint64_t recursive_clear = 0;
  bool tmpcopyup = false;  // What the image has below the destination is copied in.
  bool idmapped = false;   // "idmap", "ridmap", or mappings of its own.
  std::string data;        // What the filesystem itself is to read: "size=64k,mode=755".

  bool IsBind() const;
};

struct Hook {
  std::string path;  // Absolute.
  std::vector<std::string> args;
  std::vector<std::string> env;
  std::optional<int> timeout;  // Seconds, above 0.
};

struct Hooks {
  std::vector<Hook> prestart;
  std::vector<Hook> create_runtime;
  std::vector<Hook> create_container;
  std::vector<Hook> start_container;
  std::vector<Hook> poststart;
  std::vector<Hook> poststop;
};

enum class NamespaceType : uint8_t { kPid, kNetwork, kMount, kIpc, kUts, kUser, kCgroup, kTime };

struct Namespace {
  NamespaceType type = NamespaceType::kPid;
  std::string path;  // Empty for a new one.
};

struct Device {
  char type = 'c';  // b, c, p; "u" of the spec is c.
  std::string path;
  int64_t major = 0;
  int64_t minor = 0;
  mode_t file_mode = 0666;
  uid_t uid = 0;
  gid_t gid = 0;
};

struct SeccompArg {
  uint32_t index = 0;  // 0 to 5
  uint64_t value = 0;
  uint64_t value_two = 0;
  enum class Op : uint8_t { kNe, kLt, kLe, kEq, kGe, kGt, kMaskedEq } op = Op::kEq;
};

struct SeccompRule {
  std::vector<std::string> names;  // Of system calls.
  uint32_t action = 0;             // As in Seccomp.
  std::vector<SeccompArg> args;    // All must hold.
};

struct Seccomp {
  // SECCOMP_RET_* of linux/seccomp.h, with the errno of an ERRNO in the low half.
  uint32_t default_action = 0;
  std::vector<std::string> architectures;  // SCMP_ARCH_…; empty for the host's own.
  std::vector<std::string> flags;          // SECCOMP_FILTER_FLAG_…
  std::string listener_path;
  std::vector<SeccompRule> rules;
};

struct Linux {
  std::vector<Namespace> namespaces;  // Each type once.
  std::vector<IdMapping> uid_mappings;
  std::vector<IdMapping> gid_mappings;
  std::vector<Device> devices;
  std::string cgroups_path;
  std::optional<Resources> resources;
  uint64_t rootfs_propagation = 0;  // MS_PRIVATE and its like; 0 when not given.
  std::optional<Seccomp> seccomp;
  std::map<std::string, std::string> sysctl;
  std::vector<std::string> masked_paths;
  std::vector<std::string> readonly_paths;
  std::string mount_label;
  std::optional<uint32_t> personality;  // PER_LINUX, PER_LINUX32
  bool time_offsets = false;            // One that is not zero.
  bool intel_rdt = false;
  bool memory_policy = false;
  bool net_devices = false;

  const Namespace* Find(NamespaceType type) const;
};

struct Spec {
  std::string oci_version;
  std::optional<Process> process;
  std::optional<Root> root;
  std::vector<Mount> mounts;
  std::string hostname;
  std::string domainname;
  Hooks hooks;
  std::map<std::string, std::string> annotations;
  Linux linux_;  // `linux` is a macro of gcc.
  // Sections for other systems: "windows", "vm" …
  std::vector<std::string> foreign;
};

}  // namespace runsc::spec

#endif  // RUNSC_SPEC_SPEC_H_
