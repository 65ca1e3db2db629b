#include "sentry/fs/proc/host_info.h"

#include <cpuid.h>
#include <sched.h>
#include <sys/sysinfo.h>
#include <time.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string_view>

#include "absl/strings/str_format.h"
#include "base/host_cpus.h"

namespace sentry {
namespace {

struct CpuidResult {
  uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

CpuidResult Cpuid(uint32_t leaf, uint32_t subleaf = 0) {
  CpuidResult result;
  if (__get_cpuid_count(leaf, subleaf, &result.eax, &result.ebx, &result.ecx, &result.edx) == 0) {
    return {};
  }
  return result;
}

// Names as in Linux's arch/x86/include/asm/cpufeatures.h, in its order.
struct Feature {
  uint32_t leaf;
  uint32_t CpuidResult::*reg;
  uint8_t bit;
  std::string_view name;
};
constexpr auto kEbx = &CpuidResult::ebx;
constexpr auto kEcx = &CpuidResult::ecx;
constexpr auto kEdx = &CpuidResult::edx;
constexpr uint32_t kExtended = 0x80000001;
constexpr Feature kFeatures[] = {
    {1, kEdx, 0, "fpu"},
    {1, kEdx, 4, "tsc"},
    {1, kEdx, 8, "cx8"},
    {1, kEdx, 15, "cmov"},
    {1, kEdx, 19, "clflush"},
    {1, kEdx, 23, "mmx"},
    {1, kEdx, 24, "fxsr"},
    {1, kEdx, 25, "sse"},
    {1, kEdx, 26, "sse2"},
    {1, kEdx, 28, "ht"},
    {kExtended, kEdx, 11, "syscall"},
    {kExtended, kEdx, 20, "nx"},
    {kExtended, kEdx, 27, "rdtscp"},
    {kExtended, kEdx, 29, "lm"},
    {1, kEcx, 0, "pni"},
    {1, kEcx, 1, "pclmulqdq"},
    {1, kEcx, 9, "ssse3"},
    {1, kEcx, 12, "fma"},
    {1, kEcx, 13, "cx16"},
    {1, kEcx, 19, "sse4_1"},
    {1, kEcx, 20, "sse4_2"},
    {1, kEcx, 22, "movbe"},
    {1, kEcx, 23, "popcnt"},
    {1, kEcx, 25, "aes"},
    {1, kEcx, 26, "xsave"},
    {1, kEcx, 28, "avx"},
    {1, kEcx, 29, "f16c"},
    {1, kEcx, 30, "rdrand"},
    {1, kEcx, 31, "hypervisor"},
    {kExtended, kEcx, 0, "lahf_lm"},
    {kExtended, kEcx, 5, "abm"},
    {7, kEbx, 0, "fsgsbase"},
    {7, kEbx, 3, "bmi1"},
    {7, kEbx, 5, "avx2"},
    {7, kEbx, 8, "bmi2"},
    {7, kEbx, 9, "erms"},
    {7, kEbx, 16, "avx512f"},
    {7, kEbx, 17, "avx512dq"},
    {7, kEbx, 18, "rdseed"},
    {7, kEbx, 19, "adx"},
    {7, kEbx, 23, "clflushopt"},
    {7, kEbx, 24, "clwb"},
    {7, kEbx, 28, "avx512cd"},
    {7, kEbx, 29, "sha_ni"},
    {7, kEbx, 30, "avx512bw"},
    {7, kEbx, 31, "avx512vl"},
    {7, kEcx, 8, "gfni"},
    {7, kEcx, 9, "vaes"},
    {7, kEcx, 10, "vpclmulqdq"},
    {7, kEcx, 22, "rdpid"},
};

std::string FeatureNames() {
  std::string names;
  for (const Feature& feature : kFeatures) {
    if ((Cpuid(feature.leaf).*feature.reg >> feature.bit & 1) == 0) continue;
    if (!names.empty()) names += ' ';
    names += feature.name;
  }
  return names;
}

std::string Vendor() {
  const CpuidResult r = Cpuid(0);
  std::array<char, 12> text;
  memcpy(text.data(), &r.ebx, 4);
  memcpy(text.data() + 4, &r.edx, 4);
  memcpy(text.data() + 8, &r.ecx, 4);
  return {text.data(), text.size()};
}

std::string BrandString() {
  std::string text;
  for (uint32_t leaf = 0x80000002; leaf <= 0x80000004; ++leaf) {
    const CpuidResult r = Cpuid(leaf);
    text.append(reinterpret_cast<const char*>(&r), sizeof(r));
  }
  text.resize(strnlen(text.data(), text.size()));
  return text;
}

}  // namespace

std::string CpuInfoText() {
  const uint32_t signature = Cpuid(1).eax;
  uint32_t family = signature >> 8 & 0xf;
  uint32_t model = signature >> 4 & 0xf;
  if (family == 6 || family == 15) model |= signature >> 12 & 0xf0;
  if (family == 15) family += signature >> 20 & 0xff;
  const CpuidResult sizes = Cpuid(0x80000008);
  const std::string common = absl::StrFormat(
      "vendor_id\t: %s\ncpu family\t: %u\nmodel\t\t: %u\nmodel name\t: %s\nstepping\t: %u\n"
      "cpu MHz\t\t: %u.000\n",
      Vendor(), family, model, BrandString(), signature & 0xf, Cpuid(0x16).eax & 0xffff);
  const std::string features = absl::StrFormat(
      "fpu\t\t: yes\nfpu_exception\t: yes\ncpuid level\t: %u\nwp\t\t: yes\nflags\t\t: %s\n"
      "clflush size\t: %u\ncache_alignment\t: 64\naddress sizes\t: %u bits physical, %u bits "
      "virtual\npower management:\n\n",
      Cpuid(0).eax, FeatureNames(), (Cpuid(1).ebx >> 8 & 0xff) * 8, sizes.eax & 0xff,
      sizes.eax >> 8 & 0xff);
  std::string text;
  const int count = HostCpuCount();
  for (int i = 0; i < count; ++i) {
    absl::StrAppendFormat(&text, "processor\t: %d\n%s", i, common);
    absl::StrAppendFormat(&text,
                          "physical id\t: 0\nsiblings\t: %d\ncore id\t\t: %d\ncpu cores\t: %d\n%s",
                          count, i, count, features);
  }
  return text;
}

std::string MemInfoText() {
  struct sysinfo info {};
  sysinfo(&info);
  const auto kib = [&](uint64_t units) { return units * info.mem_unit / 1024; };
  std::string text;
  const auto line = [&](std::string_view name, uint64_t value) {
    absl::StrAppendFormat(&text, "%-16s%8u kB\n", name, value);
  };
  const uint64_t used = kib(info.totalram - info.freeram);
  // What sysinfo(2) does not tell is 0, in the host's order of lines.
  const struct {
    std::string_view name;
    uint64_t value;
  } lines[] = {
      {"MemTotal:", kib(info.totalram)},
      {"MemFree:", kib(info.freeram)},
      {"MemAvailable:", kib(info.freeram + info.bufferram)},
      {"Buffers:", kib(info.bufferram)},
      {"Cached:", kib(info.sharedram)},
      {"SwapCached:", 0},
      {"Active:", used},
      {"Inactive:", 0},
      {"Active(anon):", used},
      {"Inactive(anon):", 0},
      {"Active(file):", 0},
      {"Inactive(file):", 0},
      {"Unevictable:", 0},
      {"Mlocked:", 0},
      {"SwapTotal:", kib(info.totalswap)},
      {"SwapFree:", kib(info.freeswap)},
      {"Dirty:", 0},
      {"Writeback:", 0},
      {"AnonPages:", used},
      {"Mapped:", 0},
      {"Shmem:", kib(info.sharedram)},
      {"KReclaimable:", 0},
      {"Slab:", 0},
      {"SReclaimable:", 0},
      {"SUnreclaim:", 0},
      {"KernelStack:", 0},
      {"PageTables:", 0},
      {"CommitLimit:", kib(info.totalram) / 2 + kib(info.totalswap)},
      {"Committed_AS:", used},
      {"VmallocTotal:", 34359738367},
      {"VmallocUsed:", 0},
      {"VmallocChunk:", 0},
      {"AnonHugePages:", 0},
      {"ShmemHugePages:", 0},
      {"FileHugePages:", 0},
  };
  for (const auto& [name, value] : lines) line(name, value);
  text +=
      "HugePages_Total:       0\nHugePages_Free:        0\nHugePages_Rsvd:        0\n"
      "HugePages_Surp:        0\nHugepagesize:       2048 kB\nHugetlb:               0 kB\n";
  return text;
}

std::string UptimeText() {
  timespec up{};
  clock_gettime(CLOCK_BOOTTIME, &up);
  const int64_t hundredths = up.tv_nsec / 10'000'000;
  return absl::StrFormat("%d.%02d %d.%02d\n", up.tv_sec, hundredths, up.tv_sec * HostCpuCount(),
                         hundredths);
}

}  // namespace sentry
