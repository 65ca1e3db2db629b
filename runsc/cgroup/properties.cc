#include "runsc/cgroup/properties.h"

#include <cstdlib>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "runsc/cgroup/files.h"
#include "runsc/cgroup/plan.h"

namespace runsc::cgroup {

namespace {

constexpr uint64_t kInfinity = UINT64_MAX;
constexpr uint64_t kDefaultPeriod = 100'000;
// The first versions that know them.
constexpr int kHasQuotaPeriod = 242, kHasCpuset = 244, kHasIdle = 252;

uint64_t Limit(int64_t value) { return value < 0 ? kInfinity : static_cast<uint64_t>(value); }

class PropertyBuilder {
 public:
  PropertyBuilder(const Placement& placement, int version)
      : placement_(placement), version_(version) {}

  void Memory(const spec::MemoryLimits& memory) {
    const int64_t limit = memory.limit.value_or(0), swap = memory.swap.value_or(0);
    if (IsV1("memory")) {
      if (limit != 0) Add("MemoryLimit", Limit(limit));
      return;
    }
    if (limit != 0) Add("MemoryMax", Limit(limit));
    if (memory.reservation.value_or(0) != 0) Add("MemoryLow", Limit(*memory.reservation));
    // systemd's is swap alone. What does not fit together is refused by the plan of writes.
    if (swap < 0 || (limit == -1 && swap == 0)) Add("MemorySwapMax", kInfinity);
    if (swap > 0 && limit > 0 && swap >= limit) Add("MemorySwapMax", Limit(swap - limit));
  }

  void Cpu(const spec::CpuLimits& cpu) {
    const uint64_t shares = cpu.shares.value_or(0);
    if (IsV1("cpu")) {
      if (shares != 0) Add("CPUShares", shares);
    } else if (cpu.idle.value_or(0) == 1) {
      if (version_ >= kHasIdle) Add("CPUWeight", uint64_t{0});
    } else if (shares != 0) {
      Add("CPUWeight", WeightOfShares(shares));
    }
    Quota(cpu.quota.value_or(0), cpu.period.value_or(0));
    if (IsV1("cpuset") || version_ < kHasCpuset) return;
    Bits("AllowedCPUs", "cpu.cpus", cpu.cpus);
    Bits("AllowedMemoryNodes", "cpu.mems", cpu.mems);
  }

  void Tasks(const std::optional<int64_t>& limit) {
    if (!limit) return;
    Add("TasksMax", *limit > 0 ? static_cast<uint64_t>(HostPidsLimit(*limit)) : kInfinity);
  }

  void BlockIo(const spec::BlockIoLimits& io) {
    if (!io.weight) return;
    if (IsV1("blkio")) return Add("BlockIOWeight", uint64_t{*io.weight});
    Add("IOWeight", IoWeight(*io.weight));
  }

  // Files of v2 that systemd would set back.
  void Unified(const std::map<std::string, std::string>& files) {
    constexpr std::pair<const char*, const char*> kLimits[] = {
        {"memory.min", "MemoryMin"},          {"memory.low", "MemoryLow"},
        {"memory.high", "MemoryHigh"},        {"memory.max", "MemoryMax"},
        {"memory.swap.max", "MemorySwapMax"}, {"pids.max", "TasksMax"},
        {"cpu.weight", "CPUWeight"}};
    for (const auto& [file, property] : kLimits) {
      const auto found = files.find(file);
      if (found != files.end()) Number(file, property, found->second);
    }
    if (const auto found = files.find("cpu.max"); found != files.end()) CpuMax(found->second);
    if (version_ < kHasCpuset) return;
    for (const auto& [file, property] : {std::pair("cpuset.cpus", "AllowedCPUs"),
                                         std::pair("cpuset.mems", "AllowedMemoryNodes")}) {
      const auto found = files.find(file);
      if (found != files.end()) Bits(property, absl::StrCat("unified.", file), found->second);
    }
  }

  absl::StatusOr<std::vector<Property>> Finish() {
    if (!status_.ok()) return status_;
    return std::move(properties_);
  }

 private:
  bool IsV1(const char* controller) const { return placement_.Find(controller) != nullptr; }
  void Add(const char* name, Value value) { properties_.push_back({name, std::move(value)}); }

  void Fail(const std::string& field, const std::string& value) {
    if (!status_.ok()) return;
    status_ = absl::InvalidArgumentError(
        absl::StrCat("linux.resources.", field, ": ", value, " is not what systemd can be told"));
  }

  // systemd counts microseconds of processor time in a second, in steps of 10 ms: rounded up, so
  // that the group's own number is the one that binds.
  void Quota(int64_t quota, uint64_t period) {
    if (period != 0 && version_ >= kHasQuotaPeriod) Add("CPUQuotaPeriodUSec", period);
    if (quota < 0) Add("CPUQuotaPerSecUSec", kInfinity);
    if (quota <= 0) return;
    constexpr uint64_t kSecond = 1'000'000, kStep = 10'000;
    if (period == 0) period = kDefaultPeriod;
    const auto share = static_cast<unsigned __int128>(quota) * kSecond / period;
    if (share >= kInfinity - kStep) return Fail("cpu.quota", absl::StrCat(quota));
    Add("CPUQuotaPerSecUSec", (static_cast<uint64_t>(share) + kStep - 1) / kStep * kStep);
  }

  // "QUOTA PERIOD" or "max"
  void CpuMax(const std::string& text) {
    const std::vector<std::string> words = Split(text, ' ');
    int64_t quota = -1;
    uint64_t period = 0;
    const bool good = !words.empty() && words.size() <= 2 &&
                      (words[0] == "max" || absl::SimpleAtoi(words[0], &quota)) &&
                      (words.size() < 2 || absl::SimpleAtoi(words[1], &period));
    if (!good) return Fail("unified.cpu.max", text);
    Quota(quota, period);
  }

  void Number(const char* file, const char* property, const std::string& text) {
    uint64_t number = kInfinity;
    if (text != "max" && !absl::SimpleAtoi(text, &number)) {
      return Fail(absl::StrCat("unified.", file), text);
    }
    Add(property, number);
  }

  void Bits(const char* property, const std::string& field, const std::string& list) {
    if (list.empty()) return;
    absl::StatusOr<std::vector<uint8_t>> bits = BitsOf(field, list);
    if (!bits.ok()) return Fail(field, list);
    Add(property, *std::move(bits));
  }

  const Placement& placement_;
  const int version_;
  std::vector<Property> properties_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<std::vector<Property>> PropertiesOf(const Placement& placement,
                                                   const spec::Resources& resources, int version) {
  PropertyBuilder builder(placement, version);
  builder.Memory(resources.memory);
  builder.Cpu(resources.cpu);
  builder.Tasks(resources.pids_limit);
  builder.BlockIo(resources.block_io);
  builder.Unified(resources.unified);
  return builder.Finish();
}

int ParseVersion(const std::string& text) {
  const char* begin = text.c_str();
  if (*begin == 'v') ++begin;
  const long version = strtol(begin, nullptr, 10);
  return version > 0 && version < 100'000 ? static_cast<int>(version) : 0;
}

absl::StatusOr<std::vector<uint8_t>> BitsOf(const std::string& field, const std::string& list) {
  constexpr uint32_t kMost = 8192;  // More than Linux's NR_CPUS can be.
  const absl::Status bad = absl::InvalidArgumentError(
      absl::StrCat("linux.resources.", field, ": ", list, " is not a list of numbers"));
  std::vector<uint8_t> bits;
  for (const std::string& part : Split(list, ',')) {
    const std::vector<std::string> ends = absl::StrSplit(part, '-');
    uint32_t first = 0, last = 0;
    if (ends.size() > 2 || !absl::SimpleAtoi(ends[0], &first) ||
        !absl::SimpleAtoi(ends.back(), &last) || first > last || last >= kMost) {
      return bad;
    }
    if (bits.size() <= last / 8) bits.resize(last / 8 + 1);
    for (uint32_t n = first; n <= last; ++n) bits[n / 8] |= static_cast<uint8_t>(1 << n % 8);
  }
  return bits;
}

}  // namespace runsc::cgroup
