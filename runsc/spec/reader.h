// Reads typed values out of JSON and remembers the first thing that is wrong, with the path of the
// field. After that every read leaves its target alone, so callers check once, at the end.
#ifndef RUNSC_SPEC_READER_H_
#define RUNSC_SPEC_READER_H_

#include <concepts>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace runsc::spec {

class Reader {
 public:
  // Borrows both; `value` is nullptr for a field that is absent.
  Reader(const nlohmann::json* value, std::string path, absl::Status* failure)
      : value_(value), path_(std::move(path)), failure_(failure) {}

  bool present() const;
  bool failed() const { return !failure_->ok(); }
  const std::string& path() const { return path_; }
  // "PATH: WHY"; the first one counts.
  void Fail(std::string_view why) const;

  // A field of this object; a Reader that is not present if there is none or if it is null. Fails
  // if this is no object.
  Reader operator[](const char* name) const;
  // Fails unless the value is an object (or absent).
  void ExpectObject() const;
  // The elements of this array, or the fields of this object, with their names.
  std::vector<Reader> Elements() const;
  std::vector<std::pair<std::string, Reader>> Fields() const;

  // Each leaves `out` alone when the value is absent and fails when it has another type or range.
  void Read(bool& out) const;
  void Read(std::string& out) const;
  template <std::integral T>
  void Read(T& out) const {
    int64_t low;
    uint64_t high;
    if constexpr (std::is_signed_v<T>) {
      if (ReadSigned(std::numeric_limits<T>::min(), std::numeric_limits<T>::max(), low)) {
        out = static_cast<T>(low);
      }
    } else if (ReadUnsigned(std::numeric_limits<T>::max(), high)) {
      out = static_cast<T>(high);
    }
  }
  template <typename T>
  void Read(std::optional<T>& out) const {
    T value{};
    Read(value);
    if (present() && !failed()) out = std::move(value);
  }
  template <typename T>
  void Read(std::vector<T>& out) const {
    for (const Reader& element : Elements()) {
      T value{};
      element.Read(value);
      out.push_back(std::move(value));
    }
  }
  void Read(std::map<std::string, std::string>& out) const;

  // A field that must be there.
  template <typename T>
  void Require(T& out) const {
    if (!present()) return Fail("is missing");
    Read(out);
  }

 private:
  bool ReadSigned(int64_t lowest, int64_t highest, int64_t& out) const;
  bool ReadUnsigned(uint64_t highest, uint64_t& out) const;
  void WrongType(const char* wanted) const;

  const nlohmann::json* value_;
  std::string path_;
  absl::Status* failure_;
};

// Reads each element of an array of objects with `read(Reader, T&)`.
template <typename T, typename ReadOne>
void ReadEach(const Reader& array, std::vector<T>& out, ReadOne read) {
  for (const Reader& element : array.Elements()) {
    T value{};
    read(element, value);
    if (element.failed()) return;
    out.push_back(std::move(value));
  }
}

}  // namespace runsc::spec

#endif  // RUNSC_SPEC_READER_H_
