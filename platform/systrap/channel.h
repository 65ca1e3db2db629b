// A zygote with the listener of its stubs, and who receives from it.
#ifndef PLATFORM_SYSTRAP_CHANNEL_H_
#define PLATFORM_SYSTRAP_CHANNEL_H_

#include <deque>
#include <memory>

#include "platform/native/zygote.h"
#include "platform/systrap/listener.h"

namespace platform::systrap {

struct HostThread;

// Stubs have the filter of their zygote, and so its listener, for life. The host hands a
// notification over on the core of its thread, and whoever received it goes on there: with one
// channel everything that happens is drawn to one core. Programs that run at the same time are
// therefore spread over several; what a program forks stays in its channel.
//
// Everything but the constants is guarded by Systrap::mu().
struct Channel {
  explicit Channel(std::unique_ptr<native::Zygote> zygote)
      : zygote(std::move(zygote)), listener(this->zygote->TakeListener()) {}

  const std::unique_ptr<native::Zygote> zygote;
  const Listener listener;
  bool broken = false;  // The zygote is gone.
  // A thread of the sentry receives, or is about to. Only that one may call Receive.
  bool led = false;
  const HostThread* borrowed_by = nullptr;  // Whose worker does, while that thread is awaited.
  bool wanted = false;  // There are stubs that call: it is to be led at all times.
  int awaiting = 0;     // Workers in Systrap::Await for a stub of this channel.
  // Received while waiting for another one.
  std::deque<seccomp_notif> deferred;
};

}  // namespace platform::systrap

#endif  // PLATFORM_SYSTRAP_CHANNEL_H_
