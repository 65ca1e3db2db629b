// linux.resources (config-linux.md, "Control groups").
#include "runsc/spec/resources.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "runsc/spec/sections.h"

namespace runsc::spec {

namespace {

constexpr uint16_t kMinWeight = 10, kMaxWeight = 1000;

// -1 stands for every number, as nothing does.
void ReadDeviceNumber(const Reader& in, std::optional<int64_t>& out) {
  in.Read(out);
  if (out == -1) out.reset();
  if (out && *out < 0) in.Fail("is below -1");
}

void ReadDeviceRule(const Reader& in, DeviceRule& rule) {
  in["allow"].Require(rule.allow);
  std::string type = "a";
  in["type"].Read(type);
  if (type != "a" && type != "b" && type != "c") {
    in["type"].Fail(absl::StrCat("\"", type, "\" is not one of a, b, c"));
  }
  rule.type = type[0];
  ReadDeviceNumber(in["major"], rule.major);
  ReadDeviceNumber(in["minor"], rule.minor);
  in["access"].Read(rule.access);
  if (rule.access.find_first_not_of("rwm") != rule.access.npos) {
    in["access"].Fail(absl::StrCat("\"", rule.access, "\" has letters other than r, w, m"));
  }
}

// Bytes, with -1 for no limit.
void ReadBytes(const Reader& in, std::optional<int64_t>& out) {
  in.Read(out);
  if (out.value_or(0) < -1) in.Fail("is below -1");
}

void ReadMemory(const Reader& in, MemoryLimits& memory) {
  ReadBytes(in["limit"], memory.limit);
  ReadBytes(in["reservation"], memory.reservation);
  ReadBytes(in["swap"], memory.swap);
  ReadBytes(in["kernel"], memory.kernel);
  ReadBytes(in["kernelTCP"], memory.kernel_tcp);
  in["swappiness"].Read(memory.swappiness);
  if (memory.swappiness.value_or(0) > 100) in["swappiness"].Fail("is above 100");
  in["disableOOMKiller"].Read(memory.disable_oom_killer);
  in["checkBeforeUpdate"].Read(memory.check_before_update);
}

// "0-3,7"; it goes into a file of the host as it is.
void ReadCpuList(const Reader& in, std::string& out) {
  in.Read(out);
  if (out.find_first_not_of("0123456789-, ") != out.npos) {
    in.Fail(absl::StrCat("\"", out, "\" is no list of numbers"));
  }
}

void ReadCpu(const Reader& in, CpuLimits& cpu) {
  in["shares"].Read(cpu.shares);
  in["quota"].Read(cpu.quota);
  in["burst"].Read(cpu.burst);
  in["period"].Read(cpu.period);
  in["realtimeRuntime"].Read(cpu.realtime_runtime);
  in["realtimePeriod"].Read(cpu.realtime_period);
  ReadCpuList(in["cpus"], cpu.cpus);
  ReadCpuList(in["mems"], cpu.mems);
  in["idle"].Read(cpu.idle);
}

void ReadWeight(const Reader& in, std::optional<uint16_t>& out) {
  in.Read(out);
  if (out == 0) out.reset();  // What Docker writes for none.
  if (out && (*out < kMinWeight || *out > kMaxWeight)) {
    in.Fail(absl::StrCat(*out, " is not from 10 to 1000"));
  }
}

void ReadWeightDevice(const Reader& in, WeightDevice& device) {
  in["major"].Require(device.major);
  in["minor"].Require(device.minor);
  ReadWeight(in["weight"], device.weight);
  ReadWeight(in["leafWeight"], device.leaf_weight);
}

void ReadThrottle(const Reader& in, ThrottleDevice& device) {
  in["major"].Require(device.major);
  in["minor"].Require(device.minor);
  in["rate"].Require(device.rate);
}

void ReadBlockIo(const Reader& in, BlockIoLimits& io) {
  ReadWeight(in["weight"], io.weight);
  ReadWeight(in["leafWeight"], io.leaf_weight);
  ReadEach(in["weightDevice"], io.weight_devices, ReadWeightDevice);
  ReadEach(in["throttleReadBpsDevice"], io.read_bps, ReadThrottle);
  ReadEach(in["throttleWriteBpsDevice"], io.write_bps, ReadThrottle);
  ReadEach(in["throttleReadIOPSDevice"], io.read_iops, ReadThrottle);
  ReadEach(in["throttleWriteIOPSDevice"], io.write_iops, ReadThrottle);
}

// A word that becomes part of a file's name in the control group.
void RequireFileWord(const Reader& in, const std::string& word) {
  if (word.empty() || absl::StrContains(word, '/') || word.starts_with('.')) {
    in.Fail(absl::StrCat("\"", word, "\" cannot be part of a file's name"));
  }
}

void ReadHugepage(const Reader& in, HugepageLimit& limit) {
  in["pageSize"].Require(limit.page_size);
  if (!in.failed()) RequireFileWord(in["pageSize"], limit.page_size);
  in["limit"].Require(limit.limit);
}

void ReadPriority(const Reader& in, InterfacePriority& priority) {
  in["name"].Require(priority.name);
  in["priority"].Require(priority.priority);
  if (absl::StrContains(priority.name, '\n')) in["name"].Fail("holds a newline");
}

void ReadRdma(const Reader& in, std::map<std::string, RdmaLimit>& out) {
  for (const auto& [name, field] : in.Fields()) {
    RdmaLimit limit;
    field["hcaHandles"].Read(limit.hca_handles);
    field["hcaObjects"].Read(limit.hca_objects);
    if (name.find_first_of(" \n") != name.npos) field.Fail("is no device's name");
    out[name] = limit;
  }
}

}  // namespace

void ReadResources(const Reader& in, Resources& resources) {
  ReadEach(in["devices"], resources.devices, ReadDeviceRule);
  ReadMemory(in["memory"], resources.memory);
  ReadCpu(in["cpu"], resources.cpu);
  in["pids"]["limit"].Read(resources.pids_limit);
  ReadBlockIo(in["blockIO"], resources.block_io);
  ReadEach(in["hugepageLimits"], resources.hugepages, ReadHugepage);
  in["network"]["classID"].Read(resources.network.class_id);
  ReadEach(in["network"]["priorities"], resources.network.priorities, ReadPriority);
  ReadRdma(in["rdma"], resources.rdma);
  in["unified"].Read(resources.unified);
  for (const auto& [file, value] : resources.unified) RequireFileWord(in["unified"], file);
}

}  // namespace runsc::spec
