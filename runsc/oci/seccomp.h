// linux.seccomp of the spec, as the sentry applies it.
#ifndef RUNSC_OCI_SECCOMP_H_
#define RUNSC_OCI_SECCOMP_H_

#include "base/ref.h"
#include "runsc/spec/spec.h"
#include "sentry/task/seccomp.h"

namespace runsc::oci {

// What libseccomp makes of it: a rule without arguments goes before those with, of which the first
// that matches counts; names that this kernel does not know are skipped, as libseccomp does. Calls
// newer than any that the profile names are ENOSYS where the default is an error (runc).
Ref<sentry::SeccompProgram> MakeSeccompProgram(const spec::Seccomp& seccomp);

// Whether the calls that never reach the sentry, because the host or the stub answers them, are
// allowed by it anyway. Otherwise they have to come.
bool AllowsUnseenCalls(const sentry::SeccompProgram& program);

}  // namespace runsc::oci

#endif  // RUNSC_OCI_SECCOMP_H_
