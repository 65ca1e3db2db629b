// Stacks that one thread switches between: a call that has to wait stays on its own, while the
// thread goes on answering others (spinner.cc).
#ifndef PLATFORM_SYSTRAP_FIBER_H_
#define PLATFORM_SYSTRAP_FIBER_H_

#include <cstddef>
#include <memory>

namespace platform::systrap {

class Fiber {
 public:
  // Of the thread that calls: what it switches back to.
  Fiber() = default;
  // Runs `main(argument)`, which never returns, once it is switched to; nullptr without memory.
  static std::unique_ptr<Fiber> Create(void (*main)(void*), void* argument);
  ~Fiber();
  Fiber(const Fiber&) = delete;

  // Leaves `from`, which is the one that runs, for `to`; returns when somebody switches back, who
  // may be another thread.
  static void Switch(Fiber& from, Fiber& to);

 private:
  static void Enter(Fiber* self);

  std::byte* memory_ = nullptr;  // With a page in front that nobody may touch.
  void* stack_pointer_ = nullptr;
  void (*main_)(void*) = nullptr;
  void* argument_ = nullptr;
#if defined(__SANITIZE_ADDRESS__)
  const void* bottom_ = nullptr;
  size_t size_ = 0;
  void* fake_stack_ = nullptr;
#elif defined(__SANITIZE_THREAD__)
  void* sanitizer_ = nullptr;  // What ThreadSanitizer knows of it.
#endif
};

}  // namespace platform::systrap

#endif  // PLATFORM_SYSTRAP_FIBER_H_
