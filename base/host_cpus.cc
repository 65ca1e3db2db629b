#include "base/host_cpus.h"

#include <algorithm>

const cpu_set_t& HostCpus() {
  static const cpu_set_t cpus = [] {
    cpu_set_t set;
    CPU_ZERO(&set);
    if (sched_getaffinity(0, sizeof(set), &set) != 0) CPU_SET(0, &set);
    return set;
  }();
  return cpus;
}

int HostCpuCount() { return std::max(1, CPU_COUNT(&HostCpus())); }
