#include "runsc/cgroup/plan.h"

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace runsc::cgroup {

namespace {

// "-1" for v1, "max" for v2.
std::string Bytes(int64_t value, const char* unlimited) {
  return value < 0 ? unlimited : absl::StrCat(value);
}

std::string Number(int64_t major, int64_t minor) { return absl::StrCat(major, ":", minor); }

constexpr uint64_t kDefaultPeriod = 100000;

// Writes down what each section asks for; the first failure counts.
class PlanBuilder {
 public:
  PlanBuilder(const Placement& placement, std::vector<Write>& plan)
      : placement_(placement), plan_(plan) {}
  void Memory(const spec::MemoryLimits& memory);
  void Cpu(const spec::CpuLimits& cpu);
  void Cpuset(const spec::CpuLimits& cpu);
  void Pids(int64_t limit);
  void BlockIo(const spec::BlockIoLimits& io);
  void Hugepages(const std::vector<spec::HugepageLimit>& limits);
  void Network(const spec::NetworkLimits& network);
  void Rdma(const std::map<std::string, spec::RdmaLimit>& rdma);
  void Devices(const std::vector<spec::DeviceRule>& rules);
  void Unified(const std::map<std::string, std::string>& files);
  const absl::Status& status() const { return status_; }

 private:
  // Where `controller` is; remembers a failure and answers nullptr if nowhere. `v2` is set.
  const std::string* Directory(const std::string& controller, const char* field, bool& v2);
  void Add(const char* field, const std::string& directory, const std::string& file,
           const std::string& value);
  void MemoryV1(const std::string& directory, const spec::MemoryLimits& memory);
  void MemoryV2(const std::string& directory, const spec::MemoryLimits& memory);
  void CpuV1(const std::string& directory, const spec::CpuLimits& cpu);
  void CpuV2(const std::string& directory, const spec::CpuLimits& cpu);
  void BlockIoV1(const std::string& directory, const spec::BlockIoLimits& io);
  void BlockIoV2(const std::string& directory, const spec::BlockIoLimits& io);
  void Refuse(const char* field, const char* why);

  const Placement& placement_;
  std::vector<Write>& plan_;
  absl::Status status_;
};

const std::string* PlanBuilder::Directory(const std::string& controller, const char* field,
                                          bool& v2) {
  const std::string* v1_directory = placement_.Find(controller);
  v2 = v1_directory == nullptr;
  if (!v2) return v1_directory;
  const std::string* directory = placement_.Find("");
  if (directory == nullptr) {
    Refuse(field, absl::StrCat("the host has no control group ", controller).c_str());
  }
  return directory;
}

void PlanBuilder::Refuse(const char* field, const char* why) {
  if (status_.ok()) {
    status_ = absl::FailedPreconditionError(absl::StrCat("linux.resources.", field, ": ", why));
  }
}

void PlanBuilder::Add(const char* field, const std::string& directory, const std::string& file,
                      const std::string& value) {
  plan_.push_back({.field = field, .path = absl::StrCat(directory, "/", file), .value = value});
}

void PlanBuilder::Memory(const spec::MemoryLimits& memory) {
  if (memory.kernel && *memory.kernel > 0) {
    return Refuse("memory.kernel", "Linux has no limit of kernel memory any more");
  }
  const bool asked = memory.limit || memory.reservation || memory.swap || memory.kernel_tcp ||
                     memory.swappiness || memory.disable_oom_killer.value_or(false);
  if (!asked) return;
  bool v2;
  const std::string* directory = Directory("memory", "memory", v2);
  if (directory == nullptr) return;
  if (v2) {
    MemoryV2(*directory, memory);
  } else {
    MemoryV1(*directory, memory);
  }
}

// Docker writes 0 for what was not asked; as a limit it would end the container at once.
void PlanBuilder::MemoryV1(const std::string& directory, const spec::MemoryLimits& memory) {
  const int64_t limit = memory.limit.value_or(0);
  int64_t swap = memory.swap.value_or(0);
  // Without a limit there can be none on the sum, either.
  if (limit == -1 && swap == 0) swap = -1;
  // The sum may never be below the limit. A limit that grows past the old sum is refused at first;
  // the manager tries it once more after the sum has grown.
  if (limit != 0) Add("memory.limit", directory, "memory.limit_in_bytes", absl::StrCat(limit));
  if (swap != 0) {
    Add("memory.swap", directory, "memory.memsw.limit_in_bytes", absl::StrCat(swap));
    // A kernel that does not count swap does not limit it, either.
    plan_.back().may_be_absent = swap < 0;
  }
  if (memory.reservation.value_or(0) != 0) {
    Add("memory.reservation", directory, "memory.soft_limit_in_bytes",
        absl::StrCat(*memory.reservation));
  }
  if (memory.kernel_tcp.value_or(0) != 0) {
    Add("memory.kernelTCP", directory, "memory.kmem.tcp.limit_in_bytes",
        absl::StrCat(*memory.kernel_tcp));
  }
  if (memory.swappiness) {
    Add("memory.swappiness", directory, "memory.swappiness", absl::StrCat(*memory.swappiness));
  }
  if (memory.disable_oom_killer.value_or(false)) {
    Add("memory.disableOOMKiller", directory, "memory.oom_control", "1");
  }
}

void PlanBuilder::MemoryV2(const std::string& directory, const spec::MemoryLimits& memory) {
  if (memory.kernel_tcp.value_or(0) > 0) return Refuse("memory.kernelTCP", "cgroup v2 has none");
  if (memory.disable_oom_killer.value_or(false)) {
    return Refuse("memory.disableOOMKiller", "cgroup v2 has no such switch");
  }
  const int64_t limit = memory.limit.value_or(0);
  int64_t swap = memory.swap.value_or(0);
  if (limit == -1 && swap == 0) swap = -1;
  if (swap > 0) {
    // The spec's is the sum, the kernel's is swap alone.
    if (limit <= 0) return Refuse("memory.swap", "wants a memory.limit");
    if (swap < limit) return Refuse("memory.swap", "is below memory.limit");
    swap -= limit;
    Add("memory.swap", directory, "memory.swap.max", absl::StrCat(swap));
  } else if (swap < 0) {
    Add("memory.swap", directory, "memory.swap.max", "max");
    plan_.back().may_be_absent = true;
  }
  if (limit != 0) Add("memory.limit", directory, "memory.max", Bytes(limit, "max"));
  if (memory.reservation.value_or(0) != 0) {
    Add("memory.reservation", directory, "memory.low", Bytes(*memory.reservation, "max"));
  }
}

void PlanBuilder::Cpu(const spec::CpuLimits& cpu) {
  const bool asked = cpu.shares.value_or(0) != 0 || cpu.quota.value_or(0) != 0 || cpu.burst ||
                     cpu.period.value_or(0) != 0 || cpu.idle ||
                     cpu.realtime_period.value_or(0) != 0 || cpu.realtime_runtime.value_or(0) != 0;
  if (!asked) return;
  bool v2;
  const std::string* directory = Directory("cpu", "cpu", v2);
  if (directory == nullptr) return;
  if (v2) {
    CpuV2(*directory, cpu);
  } else {
    CpuV1(*directory, cpu);
  }
}

void PlanBuilder::CpuV1(const std::string& directory, const spec::CpuLimits& cpu) {
  if (cpu.idle) Add("cpu.idle", directory, "cpu.idle", absl::StrCat(*cpu.idle));
  // A group that is idle has no shares.
  if (cpu.shares.value_or(0) != 0 && cpu.idle.value_or(0) != 1) {
    Add("cpu.shares", directory, "cpu.shares", absl::StrCat(*cpu.shares));
  }
  if (cpu.realtime_period.value_or(0) != 0) {
    Add("cpu.realtimePeriod", directory, "cpu.rt_period_us", absl::StrCat(*cpu.realtime_period));
  }
  if (cpu.realtime_runtime.value_or(0) != 0) {
    Add("cpu.realtimeRuntime", directory, "cpu.rt_runtime_us", absl::StrCat(*cpu.realtime_runtime));
  }
  if (cpu.period.value_or(0) != 0) {
    Add("cpu.period", directory, "cpu.cfs_period_us", absl::StrCat(*cpu.period));
  }
  if (cpu.quota.value_or(0) != 0) {
    Add("cpu.quota", directory, "cpu.cfs_quota_us", Bytes(*cpu.quota, "-1"));
  }
  if (cpu.burst) Add("cpu.burst", directory, "cpu.cfs_burst_us", absl::StrCat(*cpu.burst));
}

void PlanBuilder::CpuV2(const std::string& directory, const spec::CpuLimits& cpu) {
  if (cpu.realtime_period.value_or(0) != 0 || cpu.realtime_runtime.value_or(0) != 0) {
    return Refuse("cpu.realtimeRuntime", "cgroup v2 has none");
  }
  if (cpu.idle) Add("cpu.idle", directory, "cpu.idle", absl::StrCat(*cpu.idle));
  if (cpu.shares.value_or(0) != 0 && cpu.idle.value_or(0) != 1) {
    Add("cpu.shares", directory, "cpu.weight", absl::StrCat(WeightOfShares(*cpu.shares)));
  }
  const int64_t quota = cpu.quota.value_or(0);
  const uint64_t period = cpu.period.value_or(0);
  if (quota != 0 || period != 0) {
    Add("cpu.quota", directory, "cpu.max",
        absl::StrCat(quota > 0 ? absl::StrCat(quota) : "max", " ",
                     period != 0 ? period : kDefaultPeriod));
  }
  if (cpu.burst) Add("cpu.burst", directory, "cpu.max.burst", absl::StrCat(*cpu.burst));
}

void PlanBuilder::Cpuset(const spec::CpuLimits& cpu) {
  if (cpu.cpus.empty() && cpu.mems.empty()) return;
  bool v2;
  const std::string* directory = Directory("cpuset", "cpu.cpus", v2);
  if (directory == nullptr) return;
  if (!cpu.cpus.empty()) Add("cpu.cpus", *directory, "cpuset.cpus", cpu.cpus);
  if (!cpu.mems.empty()) Add("cpu.mems", *directory, "cpuset.mems", cpu.mems);
}

void PlanBuilder::Pids(int64_t limit) {
  bool v2;
  const std::string* directory = Directory("pids", "pids.limit", v2);
  if (directory == nullptr) return;
  Add("pids.limit", *directory, "pids.max", limit > 0 ? absl::StrCat(HostPidsLimit(limit)) : "max");
}

void PlanBuilder::BlockIo(const spec::BlockIoLimits& io) {
  const bool asked = io.weight || io.leaf_weight || !io.weight_devices.empty() ||
                     !io.read_bps.empty() || !io.write_bps.empty() || !io.read_iops.empty() ||
                     !io.write_iops.empty();
  if (!asked) return;
  bool v2;
  const std::string* directory = Directory("blkio", "blockIO", v2);
  if (directory == nullptr) return;
  if (v2) {
    BlockIoV2(*directory, io);
  } else {
    BlockIoV1(*directory, io);
  }
}

void PlanBuilder::BlockIoV1(const std::string& directory, const spec::BlockIoLimits& io) {
  const auto add_weight = [&](const char* suffix, const std::string& value) {
    Add("blockIO.weight", directory, absl::StrCat("blkio.weight", suffix), value);
    plan_.back().other_path = absl::StrCat(directory, "/blkio.bfq.weight", suffix);
  };
  if (io.weight) add_weight("", absl::StrCat(*io.weight));
  if (io.leaf_weight) {
    Add("blockIO.leafWeight", directory, "blkio.leaf_weight", absl::StrCat(*io.leaf_weight));
  }
  for (const spec::WeightDevice& one : io.weight_devices) {
    const std::string number = Number(one.major, one.minor);
    if (one.weight) add_weight("_device", absl::StrCat(number, " ", *one.weight));
    if (one.leaf_weight) {
      Add("blockIO.weightDevice", directory, "blkio.leaf_weight_device",
          absl::StrCat(number, " ", *one.leaf_weight));
    }
  }
  const auto throttle = [&](const std::vector<spec::ThrottleDevice>& devices, const char* file) {
    for (const spec::ThrottleDevice& one : devices) {
      Add("blockIO.throttle", directory, absl::StrCat("blkio.throttle.", file, "_device"),
          absl::StrCat(Number(one.major, one.minor), " ", one.rate));
    }
  };
  throttle(io.read_bps, "read_bps");
  throttle(io.write_bps, "write_bps");
  throttle(io.read_iops, "read_iops");
  throttle(io.write_iops, "write_iops");
}

void PlanBuilder::BlockIoV2(const std::string& directory, const spec::BlockIoLimits& io) {
  if (io.leaf_weight) return Refuse("blockIO.leafWeight", "cgroup v2 has none");
  if (io.weight) {
    // bfq's has the range of v1.
    Add("blockIO.weight", directory, "io.bfq.weight", absl::StrCat(*io.weight));
    plan_.back().other_path = absl::StrCat(directory, "/io.weight");
    plan_.back().other_value = absl::StrCat("default ", IoWeight(*io.weight));
  }
  for (const spec::WeightDevice& one : io.weight_devices) {
    if (one.leaf_weight) return Refuse("blockIO.weightDevice", "cgroup v2 has no leafWeight");
    if (!one.weight) continue;
    const std::string number = Number(one.major, one.minor);
    Add("blockIO.weightDevice", directory, "io.bfq.weight", absl::StrCat(number, " ", *one.weight));
    plan_.back().other_path = absl::StrCat(directory, "/io.weight");
    plan_.back().other_value = absl::StrCat(number, " ", IoWeight(*one.weight));
  }
  const auto throttle = [&](const std::vector<spec::ThrottleDevice>& devices, const char* key) {
    for (const spec::ThrottleDevice& one : devices) {
      const std::string rate = one.rate == 0 ? "max" : absl::StrCat(one.rate);
      Add("blockIO.throttle", directory, "io.max",
          absl::StrCat(Number(one.major, one.minor), " ", key, "=", rate));
    }
  };
  throttle(io.read_bps, "rbps");
  throttle(io.write_bps, "wbps");
  throttle(io.read_iops, "riops");
  throttle(io.write_iops, "wiops");
}

void PlanBuilder::Hugepages(const std::vector<spec::HugepageLimit>& limits) {
  if (limits.empty()) return;
  bool v2;
  const std::string* directory = Directory("hugetlb", "hugepageLimits", v2);
  if (directory == nullptr) return;
  for (const spec::HugepageLimit& one : limits) {
    const std::string front = absl::StrCat("hugetlb.", one.page_size, ".");
    const char* file = v2 ? "max" : "limit_in_bytes";
    const std::string value = absl::StrCat(one.limit);
    Add("hugepageLimits", *directory, absl::StrCat(front, file), value);
    Add("hugepageLimits", *directory, absl::StrCat(front, "rsvd.", file), value);
    plan_.back().may_be_absent = true;
  }
}

void PlanBuilder::Network(const spec::NetworkLimits& network) {
  bool v2;
  if (network.class_id.value_or(0) != 0) {
    const std::string* directory = Directory("net_cls", "network.classID", v2);
    if (directory != nullptr && v2) return Refuse("network.classID", "cgroup v2 has none");
    if (directory == nullptr) return;
    Add("network.classID", *directory, "net_cls.classid", absl::StrCat(*network.class_id));
  }
  for (const spec::InterfacePriority& one : network.priorities) {
    const std::string* directory = Directory("net_prio", "network.priorities", v2);
    if (directory != nullptr && v2) return Refuse("network.priorities", "cgroup v2 has none");
    if (directory == nullptr) return;
    Add("network.priorities", *directory, "net_prio.ifpriomap",
        absl::StrCat(one.name, " ", one.priority));
  }
}

void PlanBuilder::Rdma(const std::map<std::string, spec::RdmaLimit>& rdma) {
  for (const auto& [device, limit] : rdma) {
    bool v2;
    const std::string* directory = Directory("rdma", "rdma", v2);
    if (directory == nullptr) return;
    std::string value = device;
    if (limit.hca_handles) absl::StrAppend(&value, " hca_handle=", *limit.hca_handles);
    if (limit.hca_objects) absl::StrAppend(&value, " hca_object=", *limit.hca_objects);
    Add("rdma", *directory, "rdma.max", value);
  }
}

// v1 has a list in the kernel. v2 wants a BPF program; it is left out, because nothing in the group
// can reach a device of the host anyway: the gofer's mounts are nodev, and the sentry opens no
// path. The program's own devices are the sentry's, which reads the same rules.
void PlanBuilder::Devices(const std::vector<spec::DeviceRule>& rules) {
  const std::string* directory = placement_.Find("devices");
  if (directory == nullptr) return;
  for (const spec::DeviceRule& rule : rules) {
    std::string value = "a";
    if (rule.type != 'a' || rule.major || rule.minor) {
      const auto number = [](const std::optional<int64_t>& n) {
        return n ? absl::StrCat(*n) : std::string("*");
      };
      value = absl::StrCat(std::string(1, rule.type), " ", number(rule.major), ":",
                           number(rule.minor), " ", rule.access.empty() ? "rwm" : rule.access);
    }
    Add("devices", *directory, rule.allow ? "devices.allow" : "devices.deny", value);
  }
}

void PlanBuilder::Unified(const std::map<std::string, std::string>& files) {
  if (files.empty()) return;
  const std::string* directory = placement_.Find("");
  if (directory == nullptr) return Refuse("unified", "the host has no cgroup v2");
  for (const auto& [file, value] : files) {
    const std::pair<std::string, std::string> name = absl::StrSplit(file, absl::MaxSplits('.', 1));
    if (placement_.Find(name.first == "io" ? "blkio" : name.first) != nullptr) {
      return Refuse("unified", absl::StrCat(file, " is in the hands of cgroup v1 here").c_str());
    }
    Add("unified", *directory, file, value);
  }
}

}  // namespace

int64_t HostPidsLimit(int64_t limit) {
  constexpr int64_t kMost = 1 << 30, kOwn = 64;
  return 2 * std::min(limit, kMost) + kOwn;
}

uint64_t WeightOfShares(uint64_t shares) {
  shares = std::clamp<uint64_t>(shares, 2, 262144);
  return 1 + (shares - 2) * 9999 / 262142;
}

uint64_t IoWeight(uint64_t weight) {
  return 1 + (std::clamp<uint64_t>(weight, 10, 1000) - 10) * 9999 / 990;
}

absl::Status MakePlan(const Placement& placement, const spec::Resources& resources,
                      std::vector<Write>& plan) {
  PlanBuilder builder(placement, plan);
  builder.Cpuset(resources.cpu);
  builder.Cpu(resources.cpu);
  builder.Memory(resources.memory);
  if (resources.pids_limit) builder.Pids(*resources.pids_limit);
  builder.BlockIo(resources.block_io);
  builder.Hugepages(resources.hugepages);
  builder.Network(resources.network);
  builder.Rdma(resources.rdma);
  builder.Devices(resources.devices);
  builder.Unified(resources.unified);
  return builder.status();
}

}  // namespace runsc::cgroup
