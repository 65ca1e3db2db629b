// The CPUs that the sandbox may use.
#ifndef BASE_HOST_CPUS_H_
#define BASE_HOST_CPUS_H_

#include <sched.h>

// Asked for once, by the first caller, who must be free of restrictions of its own: some threads
// (the spinner of systrap) keep away from a CPU for a while, which is nobody else's affair.
// Libraries would read files of the host.
const cpu_set_t& HostCpus();
int HostCpuCount();  // At least 1.

#endif  // BASE_HOST_CPUS_H_
