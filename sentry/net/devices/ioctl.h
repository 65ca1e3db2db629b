// netdevice(7): the ioctl(2) commands about interfaces that every socket understands.
#ifndef SENTRY_NET_DEVICES_IOCTL_H_
#define SENTRY_NET_DEVICES_IOCTL_H_

#include <cstdint>

#include "base/result.h"
#include "sentry/net/devices/devices.h"

namespace sentry {

class Task;

// For a socket of family `domain`: what is about addresses is known to AF_INET only. ENOTTY for
// commands that are about something else.
Result<int64_t> DeviceIoctl(Task& task, NetworkDevices& devices, int domain, uint32_t command,
                            uint64_t arg);

}  // namespace sentry

#endif  // SENTRY_NET_DEVICES_IOCTL_H_
