#include "platform/systrap/fiber.h"

#include <sys/mman.h>

#include <cstdint>
#include <cstring>
#include <new>

#if defined(__SANITIZE_ADDRESS__)
#include <pthread.h>
#include <sanitizer/common_interface_defs.h>
#elif defined(__SANITIZE_THREAD__)
#include <sanitizer/tsan_interface.h>
#endif

namespace platform::systrap {
namespace {

// Those of workers are as large. What is not used has no memory behind it.
constexpr size_t kStackSize = 256 * 1024;
constexpr size_t kGuardSize = 4096;

}  // namespace

// What the ABI has a function preserve (System V, x86-64, 3.2.1). Nobody here changes MXCSR or the
// x87 control word.
extern "C" void sandbox_fiber_switch(void** from, void* to);
asm(R"(
    .pushsection .text
    .type sandbox_fiber_switch, @function
sandbox_fiber_switch:
    pushq %rbp
    pushq %rbx
    pushq %r12
    pushq %r13
    pushq %r14
    pushq %r15
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    popq %r15
    popq %r14
    popq %r13
    popq %r12
    popq %rbx
    popq %rbp
    ret
    .size sandbox_fiber_switch, . - sandbox_fiber_switch
    .type sandbox_fiber_enter, @function
sandbox_fiber_enter:
    movq %rbx, %rdi
    call *%r12
    ud2
    .size sandbox_fiber_enter, . - sandbox_fiber_enter
    .popsection
)");
extern "C" void sandbox_fiber_enter();

std::unique_ptr<Fiber> Fiber::Create(void (*main)(void*), void* argument) {
  void* const memory = mmap(nullptr, kGuardSize + kStackSize, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
  if (memory == MAP_FAILED) return nullptr;
  mprotect(memory, kGuardSize, PROT_NONE);
  auto fiber = std::make_unique<Fiber>();
  fiber->memory_ = static_cast<std::byte*>(memory);
  fiber->main_ = main;
  fiber->argument_ = argument;
  std::byte* const top = fiber->memory_ + kGuardSize + kStackSize;
#if defined(__SANITIZE_ADDRESS__)
  fiber->bottom_ = fiber->memory_ + kGuardSize;
  fiber->size_ = kStackSize;
#elif defined(__SANITIZE_THREAD__)
  fiber->sanitizer_ = __tsan_create_fiber(0);
#endif
  // As sandbox_fiber_switch leaves it: r15, r14, r13, r12, rbx, rbp and where to go on. The ABI
  // wants the stack aligned to 16 bytes at a call.
  const uint64_t frame[] = {0,
                            0,
                            0,
                            reinterpret_cast<uint64_t>(&Fiber::Enter),
                            reinterpret_cast<uint64_t>(fiber.get()),
                            0,
                            reinterpret_cast<uint64_t>(&sandbox_fiber_enter)};
  fiber->stack_pointer_ = top - sizeof(frame);
  std::memcpy(fiber->stack_pointer_, frame, sizeof(frame));
  return fiber;
}

Fiber::~Fiber() {
#if defined(__SANITIZE_THREAD__)
  if (memory_ != nullptr) __tsan_destroy_fiber(sanitizer_);
#endif
  if (memory_ != nullptr) munmap(memory_, kGuardSize + kStackSize);
}

void Fiber::Enter(Fiber* self) {
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  self->main_(self->argument_);
}

void Fiber::Switch(Fiber& from, Fiber& to) {
#if defined(__SANITIZE_ADDRESS__)
  if (from.memory_ == nullptr) {  // A thread, whose stack nobody has told.
    pthread_attr_t attributes;
    void* bottom = nullptr;
    if (pthread_getattr_np(pthread_self(), &attributes) == 0) {
      pthread_attr_getstack(&attributes, &bottom, &from.size_);
      pthread_attr_destroy(&attributes);
      from.bottom_ = bottom;
    }
  }
  __sanitizer_start_switch_fiber(&from.fake_stack_, to.bottom_, to.size_);
#elif defined(__SANITIZE_THREAD__)
  if (from.memory_ == nullptr) from.sanitizer_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(to.sanitizer_, 0);
#endif
  sandbox_fiber_switch(&from.stack_pointer_, to.stack_pointer_);
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_finish_switch_fiber(from.fake_stack_, nullptr, nullptr);
#endif
}

}  // namespace platform::systrap
