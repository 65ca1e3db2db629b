// Intrusive reference counting.
#ifndef BASE_REF_H_
#define BASE_REF_H_

#include <atomic>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <utility>

// Base of every shared object. Starts with one reference, owned by MakeRef's result.
class RefCounted {
 public:
  RefCounted() = default;
  RefCounted(const RefCounted&) = delete;
  RefCounted& operator=(const RefCounted&) = delete;

  void AddRef() const { refs_.fetch_add(1, std::memory_order_relaxed); }
  void Release() const {
    if (refs_.fetch_sub(1, std::memory_order_acq_rel) == 1) delete this;
  }
  // Takes a reference unless the last one is already gone: for weak tables under a lock.
  bool TryAddRef() const {
    uint32_t refs = refs_.load(std::memory_order_relaxed);
    while (refs != 0) {
      if (refs_.compare_exchange_weak(refs, refs + 1, std::memory_order_acq_rel)) return true;
    }
    return false;
  }
  uint32_t ref_count() const { return refs_.load(std::memory_order_acquire); }

 protected:
  virtual ~RefCounted() = default;

 private:
  mutable std::atomic<uint32_t> refs_{1};
};

// An owning pointer to a RefCounted object: one word. Empty only when default-constructed or
// moved from; functions never return an empty one.
template <typename T>
class Ref {
 public:
  constexpr Ref() = default;
  constexpr Ref(std::nullptr_t) {}  // NOLINT: implicit on purpose.
  Ref(const Ref& other) : ptr_(other.ptr_) {
    if (ptr_ != nullptr) ptr_->AddRef();
  }
  Ref(Ref&& other) noexcept : ptr_(std::exchange(other.ptr_, nullptr)) {}
  template <typename U>
    requires std::convertible_to<U*, T*>
  Ref(const Ref<U>& other) : ptr_(other.get()) {  // NOLINT: implicit on purpose.
    if (ptr_ != nullptr) ptr_->AddRef();
  }
  template <typename U>
    requires std::convertible_to<U*, T*>
  Ref(Ref<U>&& other) noexcept : ptr_(other.Leak()) {}  // NOLINT: likewise.
  ~Ref() {
    if (ptr_ != nullptr) ptr_->Release();
  }
  Ref& operator=(Ref other) noexcept {
    std::swap(ptr_, other.ptr_);
    return *this;
  }

  // Adopts a reference that the caller owns.
  static Ref Adopt(T* ptr) {
    Ref ref;
    ref.ptr_ = ptr;
    return ref;
  }
  // Adds a reference to a borrowed object.
  static Ref Share(T& object) {
    object.AddRef();
    return Adopt(&object);
  }

  T* get() const { return ptr_; }
  T* operator->() const { return ptr_; }
  T& operator*() const { return *ptr_; }
  explicit operator bool() const { return ptr_ != nullptr; }
  bool operator==(const Ref& other) const { return ptr_ == other.ptr_; }
  // Gives up ownership without releasing.
  T* Leak() { return std::exchange(ptr_, nullptr); }

 private:
  T* ptr_ = nullptr;
};

template <typename T, typename... Args>
Ref<T> MakeRef(Args&&... args) {
  return Ref<T>::Adopt(new T(std::forward<Args>(args)...));
}

#endif  // BASE_REF_H_
