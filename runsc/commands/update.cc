#include "runsc/commands/update.h"

#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "runsc/commands/options.h"
#include "runsc/spec/parse.h"

namespace runsc {

namespace {

constexpr OptionName kNames[] = {
    {"resources", "r", true},         {"blkio-weight", nullptr, true},
    {"cpu-period", nullptr, true},    {"cpu-quota", nullptr, true},
    {"cpu-burst", nullptr, true},     {"cpu-share", nullptr, true},
    {"cpu-rt-period", nullptr, true}, {"cpu-rt-runtime", nullptr, true},
    {"cpu-idle", nullptr, true},      {"cpuset-cpus", nullptr, true},
    {"cpuset-mems", nullptr, true},   {"memory", nullptr, true},
    {"kernel-memory", nullptr, true}, {"kernel-memory-tcp", nullptr, true},
    {"memory-swap", nullptr, true},   {"memory-reservation", nullptr, true},
    {"pids-limit", nullptr, true},    {"l3-cache-schema", nullptr, true},
    {"mem-bw-schema", nullptr, true},
};

// Bytes, with the suffixes of Docker's units: "64m", "1g".
bool ParseBytes(const std::string& text, int64_t& bytes) {
  if (absl::SimpleAtoi(text, &bytes)) return true;
  const std::string suffixes = "bkmgt";
  std::string number = text;
  if (number.ends_with('b') || number.ends_with('B')) number.pop_back();
  if (number.empty()) return false;
  const size_t power = suffixes.find(static_cast<char>(number.back() | 0x20));
  if (power != suffixes.npos && power > 0) number.pop_back();
  if (!absl::SimpleAtoi(number, &bytes) || bytes < 0) return false;
  const int shift = power == suffixes.npos ? 0 : static_cast<int>(10 * power);
  if (bytes > (INT64_MAX >> shift)) return false;
  bytes <<= shift;
  return true;
}

class FlagReader {
 public:
  explicit FlagReader(const Options& options) : options_(options) {}
  template <typename T>
  void Number(const char* name, std::optional<T>& out) {
    if (!options_.Has(name)) return;
    T value;
    if (absl::SimpleAtoi(options_.Get(name), &value)) {
      out = value;
    } else {
      Fail(name, "is no number");
    }
  }
  void Bytes(const char* name, std::optional<int64_t>& out) {
    if (!options_.Has(name)) return;
    int64_t value;
    if (ParseBytes(options_.Get(name), value)) {
      out = value;
    } else {
      Fail(name, "is no size");
    }
  }
  void Fail(const char* name, const char* why) {
    if (!status_.ok()) return;
    status_ = absl::InvalidArgumentError(
        absl::StrCat("update: --", name, ": ", options_.Get(name), " ", why));
  }
  const absl::Status& status() const { return status_; }

 private:
  const Options& options_;
  absl::Status status_;
};

absl::StatusOr<spec::Resources> FromFlags(const Options& options) {
  spec::Resources r;
  FlagReader flags(options);
  std::optional<uint32_t> weight;
  flags.Number("blkio-weight", weight);
  if (weight.value_or(0) != 0) {
    if (*weight < 10 || *weight > 1000) flags.Fail("blkio-weight", "is not from 10 to 1000");
    r.block_io.weight = static_cast<uint16_t>(*weight);
  }
  flags.Number("cpu-period", r.cpu.period);
  flags.Number("cpu-quota", r.cpu.quota);
  flags.Number("cpu-burst", r.cpu.burst);
  flags.Number("cpu-share", r.cpu.shares);
  flags.Number("cpu-rt-period", r.cpu.realtime_period);
  flags.Number("cpu-rt-runtime", r.cpu.realtime_runtime);
  flags.Number("cpu-idle", r.cpu.idle);
  r.cpu.cpus = options.Get("cpuset-cpus");
  r.cpu.mems = options.Get("cpuset-mems");
  flags.Bytes("memory", r.memory.limit);
  flags.Bytes("memory-swap", r.memory.swap);
  flags.Bytes("memory-reservation", r.memory.reservation);
  flags.Bytes("kernel-memory", r.memory.kernel);
  flags.Bytes("kernel-memory-tcp", r.memory.kernel_tcp);
  flags.Number("pids-limit", r.pids_limit);
  for (const char* name : {"l3-cache-schema", "mem-bw-schema"}) {
    if (options.Has(name)) flags.Fail(name, "is not supported");
  }
  if (!flags.status().ok()) return flags.status();
  return r;
}

}  // namespace

absl::StatusOr<UpdateRequest> ParseUpdate(std::span<char* const> args) {
  const absl::StatusOr<Options> options = ParseOptions("update", kNames, args);
  if (!options.ok()) return options.status();
  if (options->others.size() != 1)
    return absl::InvalidArgumentError("update: wants one container id");
  UpdateRequest request = {.id = options->others[0]};
  absl::StatusOr<spec::Resources> resources;
  if (options->Has("resources")) {
    const std::string file = options->Get("resources");
    const absl::StatusOr<std::string> text = spec::ReadFile(file == "-" ? "/dev/stdin" : file);
    if (!text.ok()) return text.status();
    resources = spec::ParseResources(*text);
  } else {
    resources = FromFlags(*options);
  }
  if (!resources.ok()) return resources.status();
  request.resources = *std::move(resources);
  return request;
}

}  // namespace runsc
