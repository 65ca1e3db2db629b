// linux.resources of the runtime-spec (config-linux.md, "Control groups"); `update` takes the same
// text. An absent field leaves the control group's file alone.
#ifndef RUNSC_SPEC_RESOURCES_H_
#define RUNSC_SPEC_RESOURCES_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace runsc::spec {

struct DeviceRule {
  bool allow = false;
  char type = 'a';               // a (all), b, c
  std::optional<int64_t> major;  // Any when absent.
  std::optional<int64_t> minor;
  std::string access;  // Some of r, w, m.
};

// Bytes; -1 is unlimited.
struct MemoryLimits {
  std::optional<int64_t> limit;
  std::optional<int64_t> reservation;
  std::optional<int64_t> swap;  // Memory and swap together.
  std::optional<int64_t> kernel;
  std::optional<int64_t> kernel_tcp;
  std::optional<uint64_t> swappiness;
  std::optional<bool> disable_oom_killer;
  std::optional<bool> check_before_update;
};

struct CpuLimits {
  std::optional<uint64_t> shares;
  std::optional<int64_t> quota;    // Microseconds of a period; below 0 is unlimited.
  std::optional<uint64_t> burst;   // Microseconds.
  std::optional<uint64_t> period;  // Microseconds.
  std::optional<int64_t> realtime_runtime;
  std::optional<uint64_t> realtime_period;
  std::string cpus;  // A CPU list; empty for the parent's.
  std::string mems;
  std::optional<int64_t> idle;
};

struct WeightDevice {
  int64_t major = 0;
  int64_t minor = 0;
  std::optional<uint16_t> weight;
  std::optional<uint16_t> leaf_weight;
};

struct ThrottleDevice {
  int64_t major = 0;
  int64_t minor = 0;
  uint64_t rate = 0;  // Bytes or operations a second.
};

struct BlockIoLimits {
  std::optional<uint16_t> weight;  // 10 to 1000
  std::optional<uint16_t> leaf_weight;
  std::vector<WeightDevice> weight_devices;
  std::vector<ThrottleDevice> read_bps;
  std::vector<ThrottleDevice> write_bps;
  std::vector<ThrottleDevice> read_iops;
  std::vector<ThrottleDevice> write_iops;
};

struct HugepageLimit {
  std::string page_size;  // "2MB"
  uint64_t limit = 0;     // Bytes.
};

struct InterfacePriority {
  std::string name;
  uint32_t priority = 0;
};

struct NetworkLimits {
  std::optional<uint32_t> class_id;
  std::vector<InterfacePriority> priorities;
};

struct RdmaLimit {
  std::optional<uint32_t> hca_handles;
  std::optional<uint32_t> hca_objects;
};

struct Resources {
  std::vector<DeviceRule> devices;
  MemoryLimits memory;
  CpuLimits cpu;
  std::optional<int64_t> pids_limit;  // 0 or below is unlimited.
  BlockIoLimits block_io;
  std::vector<HugepageLimit> hugepages;
  NetworkLimits network;
  std::map<std::string, RdmaLimit> rdma;
  std::map<std::string, std::string> unified;  // Files of cgroup v2 and what goes into them.
};

}  // namespace runsc::spec

#endif  // RUNSC_SPEC_RESOURCES_H_
